"""Bad input through the real program, on the tiny bundle: a line, a hint, a code, no output."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from clips import audio_only, make_clip, no_frames, truncated
from PIL import Image
from skimage import data

from fapvideo.errors import Cancelled, FapVideoError, QualityError


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Enter a folder with a clip without a face, a portrait, a blank picture and a preset."""
    make_clip(tmp_path, "plain").rename(tmp_path / "talk.mp4")
    Image.fromarray(data.astronaut()).save(tmp_path / "portrait.png")
    Image.fromarray(np.full((256, 256, 3), 128, np.uint8)).save(tmp_path / "blank.png")
    text = 'bundle = "tiny"\n[references]\nmouth = "portrait.png"\n'
    (tmp_path / "tiny.toml").write_text(text, "utf-8")
    monkeypatch.setenv("FAPVIDEO_WEIGHTS", str(tmp_path / "no-weights"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def nothing(work: Path) -> None:
    """Change nothing."""


def without_references(work: Path) -> None:
    (work / "bare.toml").write_text('bundle = "tiny"\n')


CASES: dict[str, tuple[int, str, str, Callable[[Path], object]]] = {
    "missing": (3, "not.mp4", "not.mp4", nothing),
    "a folder": (3, "folder", "folder", lambda w: (w / "folder").mkdir()),
    "not a video": (3, "text.mp4", "text.mp4", lambda w: (w / "text.mp4").write_text("no film")),
    "empty": (3, "empty.mp4", "empty.mp4", lambda w: (w / "empty.mp4").touch()),
    "audio only": (3, "song.mp4", "song.mp4", lambda w: audio_only(w / "song.mp4")),
    "no frames": (3, "zero.mp4", "zero.mp4", lambda w: no_frames(w / "zero.mp4")),
    "truncated": (3, "cut.mp4", "cut.mp4", lambda w: truncated(w / "talk.mp4", w / "cut.mp4", 0.4)),
    "a time after the end": (3, "talk.mp4", "talk.mp4 --start 1:00", nothing),
    "output is the input": (4, "talk.mp4", "talk.mp4 -o talk.mp4 --overwrite", nothing),
    "no such folder": (4, "nowhere", "talk.mp4 -o nowhere/out.mp4", nothing),
    "output exists": (4, "old.mp4", "talk.mp4 -o old.mp4", lambda w: (w / "old.mp4").touch()),
    "unknown container": (4, "out.xyz", "talk.mp4 -o out.xyz", nothing),
    "codec not for the container": (4, "prores", "talk.mp4 --set video.codec=prores", nothing),
    "no face": (5, "no face", "talk.mp4 --require-face", nothing),
    "reference without a face": (6, "blank.png", "talk.mp4 --reference eyes=blank.png", nothing),
    "reference is no picture": (6, "tiny.toml", "talk.mp4 --reference eyes=tiny.toml", nothing),
    "no references": (2, "names no reference", "talk.mp4 --preset bare.toml", without_references),
    "weights not here": (7, "sd15", "talk.mp4 --set bundle=sd15", nothing),
    "no such bundle": (7, "./x", "talk.mp4 --set bundle=./x", nothing),
    "no such device": (8, "cuda:99", "talk.mp4 --device cuda:99", nothing),
    "no device at all": (8, "toaster", "talk.mp4 --device toaster", nothing),
}


def contents(folder: Path) -> dict[str, str]:
    return {
        str(path): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize("name", CASES)
def test_bad_input(fapvideo: Any, work: Path, name: str) -> None:
    code, named, arguments, prepare = CASES[name]
    prepare(work)
    before = contents(work)
    preset = [] if "--preset" in arguments else ["--preset", "tiny.toml"]
    result = fapvideo("run", *preset, *arguments.split())
    assert result.code == code, result.err
    lines = result.err.splitlines()
    (error,) = (line for line in lines if line.startswith("error: "))
    assert named.removeprefix("./") in error
    assert lines[-1].startswith("hint: "), "what to do is not said"
    assert result.out == ""
    assert contents(work) == before, "files were left, or the input was touched"


def test_every_error_that_a_run_can_end_with_is_covered() -> None:
    others = {
        Cancelled.exit_code,
        QualityError.exit_code,
        10,
        11,
        12,
        13,
    }  # test_batch, tests/trust
    mine = {cls.exit_code for cls in FapVideoError.__subclasses__()} - others
    assert {code for code, *_ in CASES.values()} == mine


def test_a_video_without_a_face_is_copied_with_a_warning(fapvideo: Any, work: Path) -> None:
    result = fapvideo("run", "talk.mp4", "--preset", "tiny.toml")
    assert result.code == 0, result.err
    assert "warning: " in result.err
    assert "face" in result.err
    assert (work / "talk.swapped.mp4").is_file()
    assert (work / "talk.swapped.mp4.report.json").is_file()
