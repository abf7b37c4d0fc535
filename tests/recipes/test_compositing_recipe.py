"""The recipe for compositing rebuilds the finished video, by Python and by FFmpeg."""

from __future__ import annotations

import shutil
from contextlib import chdir
from pathlib import Path
from typing import Any

import face_clips
import numpy as np
import pytest
from runs import decode
from served import recipe, run_script


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="there is no ffmpeg")
def test_compositing(checkout: Path, mine: str, tmp_path: Path) -> None:
    face_clips.face_clip(tmp_path, "one_face", frames=4).rename(tmp_path / "talk.mp4")
    (tmp_path / "mine.toml").write_text(mine, "utf-8")
    page = checkout / "docs" / "recipes" / "compositing.md"
    ran = run_script(recipe(page), tmp_path, {})
    assert ran.code == 0, ran.text
    names: dict[str, Any] = {}
    with chdir(tmp_path):
        exec(compile(recipe(page, "python"), page.name, "exec"), names)
    finished, mixed = decode(tmp_path / "new.mkv"), decode(tmp_path / "mixed.mkv")
    assert len(finished.frames) == 4
    begins = mixed.times[0]  # later: FFmpeg moves all by what the sound has before its beginning
    assert [time - begins for time in mixed.times] == finished.times
    last = finished.frames[-1]
    planes = zip(names["rebuilt"].planes, mixed.frames[-1].planes, last.planes, strict=True)
    for by_python, by_ffmpeg, wanted in planes:
        assert np.abs(by_python.astype(int) - wanted).max() <= 1
        assert np.abs(by_ffmpeg.astype(int) - wanted).mean() < 0.6
