"""A suite that runs in seconds: one clip of four frames, the tiny bundle, two photos."""

from __future__ import annotations

from pathlib import Path

import cv2
import face_clips

RUN = f"""
bundle = "tiny"
[references]
mouth = "{face_clips.BRAND}"
[denoise]
mode = "off"
[composite]
max_size = 64
"""
CLIP = """
systems = ["embedded", "noop"]
[[clips]]
name = "one"
path = "one.mkv"
preset = "tiny.toml"
"""


def write_run_preset(folder: Path) -> Path:
    """Write `tiny.toml`: the brand face's mouth, the guide alone, small crops."""
    path = folder / "tiny.toml"
    path.write_text(RUN, "utf-8")
    return path


def write_clip(folder: Path) -> Path:
    """Write `one.mkv`, four frames of one face."""
    made = face_clips.face_clip(folder, "one_face", frames=4, suffix=".mkv")
    return made.rename(folder / "one.mkv")


def write_suite(folder: Path, more: str = "") -> Path:
    """Write a suite of that clip, its run preset included; `more` is added to its text."""
    write_run_preset(folder)
    path = folder / "tiny_suite.toml"
    path.write_text(CLIP + more, "utf-8")
    return path


def write_photos(folder: Path) -> Path:
    """Write three photos of two people in a folder `photos`."""
    photos = folder / "photos"
    photos.mkdir()
    for name, picture in (
        ("astronaut", face_clips.one_face(0)[0]),
        ("brand", face_clips.read_rgb(face_clips.BRAND)),
        ("moment", face_clips.one_face(8)[0]),
    ):
        cv2.imwrite(str(photos / f"{name}.png"), picture[..., ::-1])
    return photos
