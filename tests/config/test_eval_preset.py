"""Suites: every shipped one is valid and quick where it says so; what is wrong is said at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from fapvideo.config import evaluation
from fapvideo.config.evaluation import examples_root, load_eval_preset
from fapvideo.config.presets import ASSETS, list_presets, load_preset
from fapvideo.errors import PresetError
from fapvideo.training.faces.sets import WheelSet, public_set

HEAD = '[[clips]]\nname = "talk"\n'


def write(folder: Path, text: str) -> Path:
    path = folder / "mine.toml"
    path.write_text(text, "utf-8")
    return path


def test_the_promised_suites_are_shipped() -> None:
    assert [entry.name for entry in list_presets("eval")] == ["smoke", "standard"]
    assert all(entry.description for entry in list_presets("eval"))


@pytest.mark.parametrize("name", ["smoke", "standard"])
def test_a_shipped_suite_names_files_sets_and_presets_that_are_there(name: str) -> None:
    suite = load_eval_preset(name)
    for clip in suite.clips:
        if clip.set:
            entry = public_set(clip.set)
            assert isinstance(entry, WheelSet)
            assert entry.members.endswith(clip.member)
        else:
            assert Path(clip.path or clip.portrait).is_file()
        assert load_preset(clip.preset).references


def test_smoke_downloads_nothing_and_standard_compares_with_all_baselines() -> None:
    smoke, standard = load_eval_preset("smoke"), load_eval_preset("standard")
    assert not [clip for clip in smoke.clips if clip.set]
    assert not smoke.pairs.count
    assert set(standard.systems) == {"embedded", "guide", "paste", "poisson", "noop"}
    assert standard.pairs.count == 48


def test_paths_start_at_the_file(tmp_path: Path) -> None:
    for name in ("a.mp4", "face.png", "mine_run.toml"):
        (tmp_path / name).touch()
    text = f"""
        {HEAD}
        path = "a.mp4"
        preset = "mine_run.toml"
        references = {{eyes = "face.png", mouth = ["face.png", "pkg:brand_face.png"]}}
        [[clips]]
        name = "example"
        path = "example:talking_portrait.mp4"
        [pairs]
        folder = "photos"
    """
    first, second = load_eval_preset(write(tmp_path, text)).clips
    assert first.path == str(tmp_path / "a.mp4")
    assert first.preset == str(tmp_path / "mine_run.toml")
    assert first.references["eyes"] == (str(tmp_path / "face.png"),)
    assert first.references["mouth"][1] == str(ASSETS / "brand_face.png")
    assert second.path == str(examples_root() / "talking_portrait.mp4")
    assert load_eval_preset(tmp_path / "mine.toml").pairs.folder == str(tmp_path / "photos")


def test_an_installed_copy_looks_beside_its_own_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "_examples").mkdir()
    monkeypatch.setattr(evaluation, "PACKAGE", tmp_path)
    assert examples_root() == tmp_path / "_examples"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (HEAD, "clips.0: give exactly one of path, set and portrait"),
        (f'{HEAD}path = "a.mp4"\nset = "carphone"\n', "give exactly one of path, set and portrait"),
        (f'{HEAD}set = "carphone"\n', "clips.0: set needs a member"),
        (f'{HEAD}path = "gone.mp4"\n', "clip talk: file not found"),
        (f'{HEAD}path = "a.mp4"\nend_s = 1\nstart_s = 2\n', "end_s 1.0 is not after start_s 2.0"),
        (f'{HEAD}path = "a.mp4"\n' * 2, "clips need names of their own"),
        ('[[clips]]\nname = "pairs"\npath = "a.mp4"\n', "none may be called pairs"),
        ("[pairs]\ncount = 0\n", "a suite needs clips or pairs"),
        ("[pairs]\ncount = 2\n[thresholds]\n'a.b' = {}\n", "give min, max or both"),
        ("[pairs]\ncount = 2\ncuont = 3\n", "pairs.cuont: unknown key, did you mean pairs.count?"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(PresetError) as caught:
        load_eval_preset(write(tmp_path, text))
    assert message in str(caught.value)
    assert caught.value.exit_code == 2


def test_an_unknown_suite_suggests_the_nearest() -> None:
    with pytest.raises(PresetError, match="did you mean standard"):
        load_eval_preset("standart")
