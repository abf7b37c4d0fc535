"""Which clips a batch takes, and where each goes."""

from __future__ import annotations

from pathlib import Path

import pytest
from runs import preset

from fapvideo.config.jobs import ListedJob
from fapvideo.errors import PresetError, VideoReadError
from fapvideo.run.batch_jobs import find_inputs, jobs_listed, jobs_of


@pytest.fixture
def clips(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("b.mp4", "a.MP4", "c.webm", "x[1].mp4", ".hidden.mp4", "notes.txt", "in/d.mov"):
        path = tmp_path / "clips" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / "clips" / "folder.mp4").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path / "clips"


def names(patterns: list[str]) -> list[str]:
    return [path.name for path in find_inputs(patterns)]


def test_files_folders_and_patterns_in_a_stable_order_each_once(clips: Path) -> None:
    assert names(["clips"]) == ["a.MP4", "b.mp4", "c.webm", "x[1].mp4"]
    assert names(["clips/*.mp4"]) == ["b.mp4", "x[1].mp4"]
    assert names(["clips/**/*"]) == ["a.MP4", "b.mp4", "c.webm", "d.mov", "x[1].mp4"]
    assert names(["clips/x[1].mp4", str(clips / "c.webm"), "clips"]) == [
        "x[1].mp4", "c.webm", "a.MP4", "b.mp4",
    ]  # fmt: skip
    assert names(["clips/notes.txt"]) == ["notes.txt"], "named: reading it says what is wrong"


@pytest.mark.parametrize("pattern", ["clips/*.avi", "none.mp4", "clips/*.txt", "clips/in/e"])
def test_an_argument_that_means_no_video(clips: Path, pattern: str) -> None:
    with pytest.raises(VideoReadError, match="no video there") as caught:
        find_inputs(["clips", pattern])
    assert pattern in str(caught.value)
    assert "pattern" in caught.value.hint


def test_outputs_are_named_as_the_inputs(clips: Path, tmp_path: Path) -> None:
    jobs = jobs_of(find_inputs(["clips"]), preset(), tmp_path / "out")
    assert [job.output for job in jobs] == [
        tmp_path / "out" / name for name in ("a.MP4", "b.mp4", "c.mkv", "x[1].mp4")
    ]


def test_outputs_that_meet_are_an_error_before_anything_starts(clips: Path, tmp_path: Path) -> None:
    (clips / "c.mkv").touch()
    with pytest.raises(PresetError) as caught:
        jobs_of(find_inputs(["clips", "clips/in"]), preset(), tmp_path / "out")
    assert "c.mkv and" in str(caught.value)
    assert "c.webm would all be written to" in str(caught.value)
    with pytest.raises(PresetError, match="is an input, too"):
        jobs_of(find_inputs(["clips/b.mp4"]), preset(), clips)
    assert not (tmp_path / "out").exists()


def test_a_listed_pattern_with_one_output(clips: Path, tmp_path: Path) -> None:
    out = tmp_path / "o.mp4"
    assert jobs_listed([ListedJob("clips/b.mp4", out, preset())], tmp_path)[0].output == out
    with pytest.raises(PresetError, match=r"jobs\.0\.output: one file for the 2 inputs"):
        jobs_listed([ListedJob("clips/*.mp4", out, preset())], tmp_path)
