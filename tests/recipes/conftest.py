"""What recipes start from: a folder with a clip, a preset, and the examples."""

from __future__ import annotations

import shutil
from pathlib import Path

import face_clips
import pytest
from runs import BRAND

PRESET = f"""
bundle = "tiny"
[references]
mouth = "{BRAND}"
[video]
codec = "h264"
speed = "ultrafast"
segment_s = 0.3
[denoise]
mode = "off"
[composite]
max_size = 64
[provenance]
enabled = false
"""
"""Quick; four segments of 32 frames; the same file every time."""


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make the clip once."""
    folder = tmp_path_factory.mktemp("recipes")
    clip = face_clips.face_clip(folder, "one_face", frames=32, options={"bf": "2", "g": "8"})
    clip.rename(folder / "talk.mp4")
    (folder / "mine.toml").write_text(PRESET, "utf-8")
    return folder


@pytest.fixture
def folder(start: Path, checkout: Path, tmp_path: Path) -> Path:
    """Return a folder of its own for a recipe."""
    for name in ("talk.mp4", "mine.toml"):
        shutil.copy(start / name, tmp_path / name)
    (tmp_path / "examples").symlink_to(checkout / "examples")
    return tmp_path
