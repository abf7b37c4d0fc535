"""Systems by name: what they are called, what decides their output, and what they make."""

from __future__ import annotations

from pathlib import Path

import face_clips
import numpy as np
import pytest
import runs
from portrait import astronaut

from fapvideo.errors import PresetError, VideoReadError, WeightsError
from fapvideo.evaluation.suites.systems import Outside, System, judged, make_system, make_systems

MOUTH = {"mouth": [face_clips.BRAND]}


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clips")
    return face_clips.face_clip(folder, "one_face", frames=4, suffix=".mkv")


def system(text: str) -> System:
    made = make_system(text, "cpu")
    assert not isinstance(made, Outside)
    return made


def test_doing_nothing_gives_the_same_file_and_the_same_picture(clip: Path, tmp_path: Path) -> None:
    noop = system("noop")
    noop.video(clip, tmp_path / "out.mkv", runs.preset())
    assert (tmp_path / "out.mkv").read_bytes() == clip.read_bytes()
    np.testing.assert_array_equal(noop.picture(astronaut(), MOUTH, runs.preset()), astronaut())


@pytest.mark.slow
@pytest.mark.parametrize("text", ["embedded", "guide", "bundle=tiny", "paste", "poisson"])
def test_every_system_swaps_a_video_and_a_picture(text: str, clip: Path, tmp_path: Path) -> None:
    preset, made = runs.preset(denoise={"steps": 1}), system(text)
    extra = made.video(clip, tmp_path / "out.mkv", preset)
    assert extra["cpu_s"] > 0
    before, after = runs.decode(clip), runs.decode(tmp_path / "out.mkv")
    assert after.info.codec == "ffv1"
    assert not any(before.same_samples(after, index) for index in range(4))
    changed = np.abs(made.picture(astronaut(), MOUTH, preset).astype(int) - astronaut())
    assert 0 < np.count_nonzero(changed.max(axis=-1)) < 3000
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.mkv"]
    made.close()


def test_a_picture_without_a_face_stays_as_it_is() -> None:
    grey = np.full((64, 64, 3), 90, np.uint8)
    for text in ("guide", "paste"):
        np.testing.assert_array_equal(system(text).picture(grey, MOUTH, runs.preset()), grey)


@pytest.mark.slow
def test_the_guide_alone_is_the_preset_without_its_network(clip: Path, tmp_path: Path) -> None:
    with_network = runs.preset(denoise={"mode": "guided", "steps": 1})
    system("guide").video(clip, tmp_path / "guide.mkv", with_network)
    system("embedded").video(clip, tmp_path / "off.mkv", runs.preset())
    guide, off = runs.decode(tmp_path / "guide.mkv"), runs.decode(tmp_path / "off.mkv")
    np.testing.assert_array_equal(guide.rgb, off.rgb)


@pytest.mark.slow
def test_a_value_of_the_preset_makes_a_system(clip: Path, tmp_path: Path) -> None:
    preset = runs.preset(denoise={"mode": "guided", "steps": 1})
    made = system("fuse.scale=0")
    assert made.name == "fuse.scale=0"
    made.video(clip, tmp_path / "without.mkv", preset)
    without = preset.model_copy(update={"fuse": preset.fuse.model_copy(update={"scale": 0.0})})
    system("embedded").video(clip, tmp_path / "same.mkv", without)
    system("embedded").video(clip, tmp_path / "with.mkv", preset)
    pictures = [runs.decode(tmp_path / f"{name}.mkv").rgb for name in ("without", "same", "with")]
    np.testing.assert_array_equal(pictures[0], pictures[1])
    assert np.any(pictures[0] != pictures[2])


def test_names_and_what_decides_the_output() -> None:
    assert system("bundle=tiny").name == "bundle:tiny"
    identities = [system(text).identity for text in ("embedded", "guide", "bundle=embedded")]
    assert len(set(identities)) == 3
    assert judged(["embedded", "paste", "mine", "noop"]) == ("embedded", "mine")
    assert judged(["paste", "noop"]) == ("paste", "noop")


@pytest.mark.parametrize(
    ("texts", "error", "message"),
    [
        (["embeded"], PresetError, "unknown system 'embeded', did you mean embedded?"),
        (["noop", "noop"], PresetError, "system 'noop' is given twice"),
        (["denoise.steps=many"], PresetError, "system denoise.steps=many: denoise.steps"),
        (["bundle=nowhere"], WeightsError, "nowhere"),
        (["tool=nowhere.mp4"], VideoReadError, "tool: nowhere.mp4 does not exist"),
    ],
)
def test_what_is_no_system_is_refused(
    texts: list[str], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        make_systems(texts, "cpu")


def test_another_tools_results_are_found_by_the_clips_name(tmp_path: Path) -> None:
    (tmp_path / "pairs").mkdir()
    for name in ("talk.mp4", "walk.mkv"):
        (tmp_path / name).touch()
    folder = make_system(f"tool={tmp_path}")
    assert isinstance(folder, Outside)
    assert folder.result("talk", only=False) == tmp_path / "talk.mp4"
    assert folder.result("walk", only=False) == tmp_path / "walk.mkv"
    assert folder.result("run", only=True) is None
    assert folder.pictures() == tmp_path / "pairs"
    file = make_system(f"tool={tmp_path / 'talk.mp4'}")
    assert isinstance(file, Outside)
    assert file.result("anything", only=True) == tmp_path / "talk.mp4"
    assert file.result("anything", only=False) is None
    assert file.result("talk", only=False) == tmp_path / "talk.mp4"
