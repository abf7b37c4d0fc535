"""The injection of an SD-1.5-class UNet: what is trained falls, is exported, and runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from test_loop import CPU, assert_same_state, stop_after
from training_setup import first_of, swap_nose

from fapvideo.config.schema import DenoiseConfig, FuseConfig
from fapvideo.config.train import TrainPreset, load_train_preset
from fapvideo.denoise.denoiser import Denoiser
from fapvideo.errors import PresetError
from fapvideo.nets.inputs import conditioning, fill_hole
from fapvideo.structs import Bytes
from fapvideo.training.faces.prepare import FaceSet
from fapvideo.training.learning import adapter_task
from fapvideo.training.learning.adapter_task import AdapterTask
from fapvideo.training.learning.draws import Draws
from fapvideo.training.learning.export import base_files, export_bundle
from fapvideo.training.learning.loop import Trainer, metrics_of
from fapvideo.training.learning.records import read_log
from fapvideo.training.samples.pool import Pool, PoolRecipe, build_pool
from fapvideo.training.train import train
from fapvideo.training.work import work_folder
from fapvideo.weights.bundle import Bundle, load_bundle

QUICK = {
    "data.pool": 16,
    "data.heldout_pool": 4,
    "optim.batch_size": 4,
    "optim.steps": 10,
    "optim.learning_rate": 1e-2,
    "optim.warmup": 3,
    "optim.eval_steps": 1000,
    "optim.sheet_steps": 1000,
}


def adapter_preset(variant: str = "B", train_unet: bool = False, **changes: Any) -> TrainPreset:
    kind = {"model.kind": "sd15_adapter", "model.resolution": 128, "start": "tiny_sd15"}
    chosen = {"model.variant": variant, "optim.train_unet": train_unet}
    return load_train_preset("debug", {**QUICK, **kind, **chosen, **changes})


@pytest.fixture(autouse=True)
def few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let results that are only measured or shown take two steps."""
    monkeypatch.setattr(adapter_task, "STEPS", 2)


@pytest.fixture(scope="module")
def adapter_pool(
    faces_folder: Path, faces: FaceSet, tmp_path_factory: pytest.TempPathFactory
) -> Pool:
    """Return four samples with the tokens of the bundle's own image tower."""
    base, preset = load_bundle("tiny_sd15"), adapter_preset()
    chosen = tuple(faces.indices(heldout=False))
    fill = base.manifest.hole_fill
    recipe = PoolRecipe(faces_folder, chosen, 1, 128, preset.data, base.encoder, fill)
    return build_pool(tmp_path_factory.mktemp("adapter_pool"), recipe, 4)


def trainer(folder: Path, pool: Pool, preset: TrainPreset) -> Trainer:
    start = load_bundle(preset.start)
    return Trainer(preset, folder, pool, first_of(pool, 2), None, CPU, start)


def lively(start: Bundle, preset: TrainPreset) -> AdapterTask:
    """Return a task whose injection does something, in numbers float16 holds."""
    task = AdapterTask(preset, CPU, start)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for name, parameter in task.network.trained_state().items():
            if name.startswith("adapter") and not parameter.any():
                parameter.normal_(0, 0.3, generator=generator)
            parameter.copy_(parameter.half())
    return task


@pytest.mark.slow
@pytest.mark.parametrize(
    ("variant", "train_unet"),
    [
        *(("A", True), ("B", False)),
        *(pytest.param(*kind, marks=pytest.mark.slow) for kind in (("A", False), ("B", True))),
    ],
)
def test_training_and_the_denoiser_compute_the_same(
    adapter_pool: Pool, tmp_path: Path, variant: str, train_unet: bool
) -> None:
    start, preset = load_bundle("tiny_sd15"), adapter_preset(variant, train_unet)
    task = lively(start, preset)
    licences = dict.fromkeys((*base_files(start), *task.network.files()), "CC0")
    export_bundle(tmp_path / "b", task.manifest, task.network, base_files(start), licences, "")
    bundle = load_bundle(tmp_path / "b")
    assert bundle.manifest.adapter.variant == variant
    denoiser = Denoiser(bundle, DenoiseConfig(steps=2, strength=1.0), FuseConfig())
    target, _, core, tokens = adapter_pool.batch(np.arange(2), CPU)
    noise, hole_noise = torch.randn(2, 2, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    ones = torch.ones(2)
    seen: list[torch.Tensor] = []

    known = bundle.codec.encode(fill_hole(target, core, bundle.manifest.hole_fill))
    channels = conditioning(known, bundle.codec.mask(core), None, hole_noise)
    maps, latents = bundle.project(tokens), bundle.codec.encode(target)
    with torch.no_grad():
        denoiser.sample(latents, channels, maps, noise, lambda _, x: seen.append(x))

    def stepped(injected: float) -> torch.Tensor:
        """Return where DDIM goes from t = 501 with the noise that training predicts."""
        time = torch.full((2,), 501)
        with torch.no_grad():
            given = (target, core, tokens, time, noise, hole_noise, injected * ones)
            predicted = task.network(*given)
        first, second = task.network.alphas[[501, 1]]
        noisy = first.sqrt() * latents + (1 - first).sqrt() * noise
        clean = (noisy - (1 - first).sqrt() * predicted) / first.sqrt()
        return second.sqrt() * clean + (1 - second).sqrt() * predicted

    torch.testing.assert_close(seen[0], stepped(1.0), atol=2e-4, rtol=0)
    assert float((seen[0] - stepped(0.0)).abs().mean()) > 1e-3  # the injection takes part
    if variant == "B":  # dropped tokens are guidance's unconditional branch
        seen.clear()
        denoiser.sample(
            latents, channels, bundle.unconditional(), noise, lambda _, x: seen.append(x)
        )
        torch.testing.assert_close(seen[0], stepped(0.0), atol=2e-4, rtol=0)


def test_what_is_under_the_hole_is_seen_as_noise_only(adapter_pool: Pool) -> None:
    task = lively(load_bundle("tiny_sd15"), adapter_preset())
    target, _, core, tokens = adapter_pool.batch(np.arange(2), CPU)
    erased = torch.lerp(target, torch.zeros_like(target), core)
    last, ones, zeros = torch.full((2,), 999), torch.ones(2), torch.zeros(2, 4, 16, 16)
    known = task.network.codec.encode
    assert not torch.allclose(known(target), known(erased), atol=1e-3)
    with torch.no_grad():
        task.network.alphas[999] = 0  # nothing of the truth is left in the noisy latents
        results = [
            task.network(picture, core, tokens, last, zeros, zeros, ones)
            for picture in (target, erased)
        ]
    torch.testing.assert_close(*results)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("variant", "train_unet"), [pytest.param("A", True, marks=pytest.mark.slow), ("B", False)]
)
def test_a_short_run_learns_and_its_bundle_swaps_parts(
    photos: Path,
    pictures: list[Bytes],
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    variant: str,
    train_unet: bool,
) -> None:
    output = tmp_path / "mine"
    report = train(adapter_preset(variant, train_unet), [photos], output)
    assert report.finished
    assert report.metrics["noise_error"] < 0.95 * report.before["noise_error"]
    rows = read_log(work_folder(output) / "log.csv")
    assert metrics_of(rows[-1])["loss"] < 1.5
    assert (work_folder(output) / "sheet_000010.png").is_file()
    shown = swap_nose(output, pictures, 2, tmp_path, capfd)
    assert shown["frames"]["swapped"] == 2
    assert shown["outside_changed_samples"] == 0
    card = (output / "MODEL_CARD.md").read_text("utf-8")
    assert "The UNet of bundle tiny_sd15 on 128 px face crops" in card
    assert ("The UNet was frozen" in card) == (not train_unet)
    names = {entry.path for entry in load_bundle(output).files}
    assert ("projector.safetensors" in names) == (variant == "B")


@pytest.mark.slow
def test_a_frozen_base_is_handed_on_to_the_bit(adapter_pool: Pool, tmp_path: Path) -> None:
    """From a bundle on the disk: codec, image tower and a frozen UNet are its files."""
    first = load_bundle("tiny_sd15")
    task = AdapterTask(adapter_preset(), CPU, first)
    licences = dict.fromkeys((*base_files(first), *task.network.files()), "CC0")
    export_bundle(tmp_path / "a", task.manifest, task.network, base_files(first), licences, "")
    preset = adapter_preset(
        "A", start=str(tmp_path / "a"), **{"optim.steps": 1, "optim.batch_size": 2}
    )
    run = trainer(tmp_path / "work", adapter_pool, preset)
    run.run()
    start = load_bundle(tmp_path / "a")
    frozen = base_files(start)
    licences = dict.fromkeys((*frozen, *run.averaged().files()), "CC0")
    export_bundle(tmp_path / "b", run.manifest, run.averaged(), frozen, licences, "")
    for name in ("codec.safetensors", "encoder.safetensors", "unet.safetensors"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    assert not (tmp_path / "b" / "projector.safetensors").exists()
    assert load_bundle(tmp_path / "b").manifest.adapter.variant == "A"


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["A", pytest.param("B", marks=pytest.mark.slow)])
def test_a_resumed_run_equals_a_straight_one(
    adapter_pool: Pool, tmp_path: Path, variant: str
) -> None:
    few = {"optim.steps": 4, "optim.batch_size": 2}
    preset = adapter_preset(variant, variant == "A", **few)
    trainer(tmp_path / "straight", adapter_pool, preset).run()
    preset = adapter_preset(variant, variant == "A", **few, **{"optim.eval_steps": 2})
    trainer(tmp_path / "parts", adapter_pool, preset).run(stop=stop_after(1))
    trainer(tmp_path / "parts", adapter_pool, preset).run()
    assert_same_state(tmp_path / "straight", tmp_path / "parts")


@pytest.mark.parametrize("variant", ["A", "B"])
def test_a_new_adapter_begins_as_the_plain_unet(adapter_pool: Pool, variant: str) -> None:
    """Tokens make no difference yet, and everything that is to be trained gets a gradient."""
    start = load_bundle("tiny_sd15")
    if variant == "B":  # a start of the other variant
        a = AdapterTask(adapter_preset("A"), CPU, start)
        a.network.adapter.eject()
        start = Bundle(
            **{name: getattr(start, name) for name in Bundle.__slots__}
            | {"manifest": a.manifest, "adapter": a.network.adapter, "projector": None}
        )
    task = AdapterTask(adapter_preset(variant), CPU, start)
    batch = adapter_pool.batch(np.arange(2), CPU)
    target, _, core, tokens = batch
    noise, ones = torch.zeros(2, 4, 16, 16), torch.ones(2)
    time = torch.tensor([10, 500])
    with torch.no_grad():
        given = (target, core, tokens, time, noise, noise)
        torch.testing.assert_close(task.network(*given, ones), task.network(*given, 0 * ones))
    loss, _ = task.loss(batch, Draws(torch.Generator().get_state(), CPU), 0)
    loss.backward()
    reached = {name for name, value in task.network.named_parameters() if value.grad is not None}
    assert reached == set(task.network.trained_state())
    assert not any(name.startswith("unet") for name in reached)


def test_an_error_in_the_hole_weighs_more(adapter_pool: Pool) -> None:
    """With no weight outside the loss is the hole's error; with equal weights it is the mean."""
    found = {}
    for outside in (0.0, 0.1, 1.0):
        task = lively(load_bundle("tiny_sd15"), adapter_preset(**{"optim.outside_weight": outside}))
        batch = adapter_pool.batch(np.arange(1), CPU)
        with torch.no_grad():
            loss, parts = task.loss(batch, Draws(torch.Generator().get_state(), CPU), 0)
        found[outside] = float(loss)
        assert (float(loss) == pytest.approx(float(parts["hole"]))) == (outside == 0)
    share = float(task.network.codec.mask(batch[2]).mean())
    rest = (found[1.0] - share * found[0.0]) / (1 - share)
    expected = (share * found[0.0] + 0.1 * (1 - share) * rest) / (share + 0.1 * (1 - share))
    assert found[0.1] == pytest.approx(expected, rel=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["A", "B"])
def test_checkpointing_changes_memory_only(adapter_pool: Pool, variant: str) -> None:
    gradients = []
    for checkpointing in (False, True):
        changes = {"optim.checkpointing": checkpointing}
        task = lively(load_bundle("tiny_sd15"), adapter_preset(variant, True, **changes))
        batch = adapter_pool.batch(np.arange(2), CPU)
        task.network.train()
        loss, _ = task.loss(batch, Draws(torch.Generator().get_state(), CPU), 0)
        loss.backward()
        gradients.append([value.grad for value in task.network.parameters()])
    assert sum(value is not None for value in gradients[0]) > 100
    for plain, again in zip(*gradients, strict=True):
        assert (plain is None) == (again is None)
        if plain is not None:
            torch.testing.assert_close(plain, again)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"start": ""}, "needs start"),
        ({"optim.adversarial_weight": 0.1}, "optim.adversarial_weight has to be 0"),
        ({"optim.perceptual_weight": 0.1}, "optim.perceptual_weight has to be 0"),
        ({"model.resolution": 96}, "multiple of 64"),
        ({"model.kind": "embedded", "start": ""}, "variant B needs cross-attention"),
        ({"model.kind": "embedded", "model.variant": "A", "start": ""}, "train_unet = false"),
    ],
)
def test_settings_that_do_not_fit_together(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(PresetError, match=message):
        adapter_preset(**changes)


def test_a_base_without_such_a_unet_is_refused(photos: Path, tmp_path: Path) -> None:
    preset = adapter_preset(start="tiny")
    with pytest.raises(PresetError, match=r"no UNet of SD-1.5's class"):
        train(preset, [photos], tmp_path / "mine")
