"""`train` and `fapvideo train`: from a folder of photos to a bundle that swaps parts."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from portrait import headshot
from runs import research_bundle
from training_setup import TINY, hand_on, swap_nose, tiny_preset

from fapvideo.cli import train as command
from fapvideo.cli.main import run_program
from fapvideo.config.presets import list_presets
from fapvideo.config.train import load_train_preset
from fapvideo.errors import Cancelled, PresetError, WeightsError
from fapvideo.progress import Progress
from fapvideo.structs import Bytes
from fapvideo.training.faces.prepare import load_faces
from fapvideo.training.learning.pretrained import load_encoder
from fapvideo.training.train import BARE, Hooks, make_pools, train
from fapvideo.training.work import open_work, work_folder
from fapvideo.weights.bundle import load_bundle

FEW = [f"--set={key}={value}" for key, value in TINY.items()]
FEW += ["--set=data.pool=16", "--set=data.heldout_pool=2", "--workers=1", "--device=cpu"]


def few(**optim: Any) -> Any:
    preset = tiny_preset(**optim)
    data = preset.data.model_copy(update={"pool": 16, "heldout_pool": 2})
    return preset.model_copy(update={"data": data})


@pytest.fixture(scope="module")
def trained(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the output of one command, and `debug` preset, on eight photos."""
    output = tmp_path_factory.mktemp("trained") / "mine"
    arguments = ["train", "-p", "debug", "--data", str(photos), "-o", str(output), *FEW]
    assert run_program(arguments) == 0
    return output


@pytest.mark.slow
def test_a_command_makes_a_bundle_that_swaps_parts(
    trained: Path, pictures: list[Bytes], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert sorted(path.name for path in trained.iterdir()) == [
        "MODEL_CARD.md",
        "adapter.safetensors",
        "bundle.toml",
        "encoder.safetensors",
        "unet.safetensors",
    ]
    report = swap_nose(trained, pictures, 3, tmp_path, capfd)
    assert report["bundle"]["name"] == "debug"
    assert report["frames"]["swapped"] == 3
    assert report["outside_changed_samples"] == 0


@pytest.mark.slow
def test_training_starts_from_a_bundle(trained: Path, photos: Path, tmp_path: Path) -> None:
    """Nothing was learnt at a rate of next to 0: the weights are those it started from."""
    start = few(steps=1, learning_rate=1e-12).model_copy(update={"start": str(trained)})
    hand_on(trained, tmp_path / "finer")
    train(start, [photos], tmp_path / "finer")
    before, after = load_bundle(trained), load_bundle(tmp_path / "finer")
    for name, value in before.unet.state_dict().items():
        assert torch.equal(after.unet.state_dict()[name], value), name
    assert (trained / "encoder.safetensors").read_bytes() == (
        tmp_path / "finer" / "encoder.safetensors"
    ).read_bytes()
    sampler = after.manifest.sampler
    assert (sampler.noise, sampler.correction) == (start.optim.noise / 2, 0.9)
    card = (tmp_path / "finer" / "MODEL_CARD.md").read_text("utf-8")
    assert "weights it started from: bundle debug" in card


@pytest.mark.slow
def test_what_a_bundle_may_be_used_for_is_handed_on(photos: Path, tmp_path: Path) -> None:
    """A bundle made from CelebA is for research only, and so is what starts from it."""
    research = research_bundle(tmp_path / "research")
    changes = {"start": str(research), "optim.perceptual_weight": 0}
    shipped = load_train_preset("embedded", changes)
    data = few().data
    optim = few(steps=1, batch_size=1).optim
    preset = shipped.model_copy(update={"data": data, "optim": optim})
    train(preset, [photos], tmp_path / "mine")
    assert "non-commercial use only" in (tmp_path / "mine" / "MODEL_CARD.md").read_text("utf-8")


def test_another_network_is_no_start(photos: Path, tmp_path: Path) -> None:
    preset = few().model_copy(update={"start": "embedded"})
    with pytest.raises(PresetError, match=r"cannot start from bundle embedded: its resolution"):
        train(preset, [photos], tmp_path / "mine")


def test_the_same_command_again_has_nothing_left_to_do(trained: Path, photos: Path) -> None:
    before = (trained / "unet.safetensors").read_bytes()
    heard: list[Progress] = []
    report = train(few(), [photos], trained, hooks=Hooks(heard.append))
    assert report.finished
    assert {progress.stage for progress in heard} == {"export"}
    assert (trained / "unet.safetensors").read_bytes() == before


@pytest.mark.slow
def test_stopped_in_every_stage_it_ends_with_the_same_weights(
    trained: Path, photos: Path, tmp_path: Path
) -> None:
    output, generator = tmp_path / "mine", torch.get_rng_state()
    for stage, done, where in (
        ("faces", 4, "after 4 of 8 files"),
        ("held-out", 2, "with 2 of 2 samples"),
        ("samples", 16, "with 16 of 16 samples"),
        ("train", 4, "at step 4 of 6"),
    ):
        with pytest.raises(Cancelled, match=where):
            train(few(), [photos], output, hooks=stopping_at(stage, done))
        assert not output.exists()
    assert train(few(), [photos], output).finished
    for name in ("unet.safetensors", "adapter.safetensors", "encoder.safetensors"):
        assert (output / name).read_bytes() == (trained / name).read_bytes()
    assert torch.equal(torch.get_rng_state(), generator)  # the program's own is left alone


def stopping_at(stage: str, done: int) -> Hooks:
    """Return hooks that ask to stop once `done` things of `stage` are reported."""
    reached: list[bool] = []

    def hear(progress: Progress) -> None:
        if (progress.stage, progress.done) == (stage, done):
            reached.append(True)

    return Hooks(hear, lambda: bool(reached))


@pytest.mark.slow
def test_when_time_is_up_there_is_a_bundle_of_what_is_trained(
    trained: Path, photos: Path, tmp_path: Path
) -> None:
    output = tmp_path / "mine"
    shutil.copytree(work_folder(trained), work_folder(output))
    (work_folder(output) / "checkpoint.pt").unlink()
    nothing = train(few(), [photos], output, max_minutes=0)
    assert (nothing.output, nothing.step, nothing.finished) == (None, 0, False)
    assert not output.exists()

    part = train(few(steps=100_000), [photos], output, max_minutes=0.03)
    assert part.output == output
    assert 0 < part.step < 100_000
    assert not part.finished
    assert f"Trained for {part.step} steps" in (output / "MODEL_CARD.md").read_text()
    assert load_bundle(output).manifest.name == "debug"


def test_other_settings_need_a_fresh_start(trained: Path, photos: Path, tmp_path: Path) -> None:
    output = tmp_path / "mine"
    shutil.copytree(work_folder(trained), work_folder(output))
    preset = few()
    data = preset.data.model_copy(update={"cycle": 0.1})
    other = preset.model_copy(update={"data": data, "seed": 3})
    with pytest.raises(PresetError, match=r"made with other settings: data.cycle, seed$") as error:
        train(other, [photos], output)
    assert "--fresh" in error.value.hint
    with pytest.raises(PresetError, match="other settings: files"):
        train(preset, [copied(photos, tmp_path / "less", 7)], output)
    open_work(output, fresh=True)
    assert list(work_folder(output).iterdir()) == []


@pytest.mark.slow
def test_held_out_samples_show_photos_as_they_are(trained: Path, tmp_path: Path) -> None:
    """So that metrics of runs with different shares of occluders and light compare."""
    shutil.copytree(work_folder(trained) / "faces", tmp_path / "faces")
    faces, preset = load_faces(tmp_path / "faces"), few()
    data = preset.data.model_copy(update=dict.fromkeys(BARE, 1.0))
    preset = preset.model_copy(update={"data": data})
    encoder = load_encoder(preset, tmp_path, None)
    heldout, pool = make_pools(preset, tmp_path, faces, encoder, 1, Hooks(), lambda: False)
    before = work_folder(trained) / "pool"
    np.testing.assert_array_equal(heldout.target, np.load(before / "heldout" / "target.npy"))
    assert not np.array_equal(pool.target, np.load(before / "train" / "target.npy"))


def test_an_output_that_is_something_else_is_left_alone(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").touch()
    with pytest.raises(WeightsError, match="exists and is no bundle"):
        train(few(), [photos], tmp_path / "mine")
    assert not work_folder(tmp_path / "mine").exists()


def test_what_is_packaged_serves_where_there_is_no_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    face = tmp_path / "brand_face.png"
    monkeypatch.setattr(command, "BRAND_FACE", face)
    preset = load_train_preset("debug")
    with pytest.raises(PresetError, match=r"names no photos, .* no brand_face.png") as error:
        command.packaged_photos(preset, tmp_path / "mine")
    assert "--data" in error.value.hint
    cv2.imwrite(str(face), headshot(300)[..., ::-1])
    (folder,) = command.packaged_photos(preset, tmp_path / "mine")
    images = [cv2.imread(str(path)) for path in sorted(folder.iterdir())]
    assert len(images) == 8
    assert all(np.abs(images[0].astype(int) - image).max() > 20 for image in images[1:])
    assert command.packaged_photos(load_train_preset("embedded"), tmp_path / "other") == []


def test_the_command_reports_bad_input(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    output = str(tmp_path / "mine")
    empty = tmp_path / "empty"
    empty.mkdir()
    for arguments, code, message in (
        (["-p", "embeded"], 2, "unknown preset 'embeded', did you mean embedded?"),
        (["--set", "optim.step=3"], 2, "optim.step: unknown key, did you mean optim.steps?"),
        (["--set", "model.channels=[30]"], 2, "model.channels.0: "),
        (["--set", "model.resolution=96", "--set", "model.factor=5"], 2, "not a multiple"),
        (["-p", "finetune"], 2, "photos or videos of one person, and there are none"),
        (["-p", "debug", "--data", str(empty)], 6, "no photos or videos in"),
        (["-p", "debug", "--data", str(tmp_path / "no")], 6, "is not a folder"),
        (["-p", "debug", "--data", str(empty), "--device", "cuda:99"], 8, "cuda:99"),
    ):
        assert run_program(["train", "-o", output, *arguments]) == code
        assert message in capfd.readouterr().err


@pytest.mark.parametrize("name", [entry.name for entry in list_presets("train")])
def test_every_training_preset_is_valid(name: str) -> None:
    preset = load_train_preset(name)
    assert preset.name == name
    assert preset.description


def copied(photos: Path, folder: Path, count: int) -> Path:
    folder.mkdir()
    for path in sorted(photos.iterdir())[:count]:
        shutil.copy(path, folder)
    return folder
