"""Small clips with real faces in them, each one with the trait that its name says.

The faces are `AnimatedPortrait`s of NASA's astronaut and of the packaged brand face, so what every
frame shows is known (`one_face`). Containers and barcodes come from `clips`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from functools import cache
from pathlib import Path

import cv2
import numpy as np
from clips import VFR_GAPS, Clip, Paint, picture, write_clip
from portrait import astronaut
from renders import Rendered, drawn

from fapvideo.config.presets import ASSETS
from fapvideo.ops.files import write_atomically
from fapvideo.structs import Bytes
from fapvideo.synth.motion import talking
from fapvideo.synth.portrait import AnimatedPortrait

BRAND = ASSETS / "brand_face.png"
SIZE = (320, 240)
FPS = 25
GREY = (118, 122, 126)
START = 0.7
"""Seconds of the script that lie before the first frame: a blink and syllables follow."""


def read_rgb(path: Path) -> Bytes:
    """Return an image file as uint8 [H, W, 3] RGB."""
    return cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)


@cache
def animated_astronaut(size: tuple[int, int] = SIZE) -> AnimatedPortrait:
    """Return the talking astronaut, head and shoulders, below room for the barcode."""
    width = 288
    scale = size[0] / width
    top = 112 - 0.52 * size[1] / scale
    view = np.array([[scale, 0, -81 * scale], [0, scale, -top * scale]])
    return AnimatedPortrait(astronaut(), size, view=view)


@cache
def animated_brand_face(size: int = 192) -> AnimatedPortrait:
    """Return the packaged reference, talking."""
    return AnimatedPortrait(read_rgb(BRAND), (size, size))


def rendered(portrait: AnimatedPortrait, t: float) -> Rendered:
    """Return `portrait.render(t)`; clips share their frames."""
    return drawn(portrait, talking(t))


def one_face(index: int) -> Rendered:
    """Return frame `index` of `one_face` before encoding (no barcode), and its true landmarks."""
    return rendered(animated_astronaut(), START + index / FPS)


def _one(index: int) -> Bytes:
    return one_face(index)[0]


def _two(index: int) -> Bytes:
    """Place the astronaut left, the brand face right."""
    left, _ = one_face(index)
    right, _ = rendered(animated_brand_face(), START + 1.0 + index / FPS)
    shot = np.empty((240, 384, 3), np.uint8)
    shot[:] = GREY
    shot[:, :192] = left[:, 60:252]
    shot[48:, 192:] = right
    return shot


def _cut(index: int) -> Bytes:
    """Show the astronaut, and from frame 12 on somebody else elsewhere."""
    if index < 12:
        return _one(index)
    face, _ = rendered(animated_brand_face(), START + index / FPS)
    shot = np.empty((240, 320, 3), np.uint8)
    shot[:] = (70, 84, 96)
    shot[48:, 120:312] = face
    return shot


def _leaving(index: int) -> Bytes:
    """Move the face out to the right and back in: frames 10 to 19 show none."""
    face, _ = rendered(animated_brand_face(), START + index / FPS)
    away = int(np.interp(index, (2, 10, 19, 27), (64, 330, 330, 64)))
    wide = np.empty((240, 640, 3), np.uint8)
    wide[:] = GREY
    wide[48:, away : away + 192] = face
    return wide[:, :320]


def _wide(index: int) -> Bytes:
    """A face about 40 px wide, somewhere in 1280x720."""
    face, _ = one_face(index)
    small = cv2.resize(face[28:], (0, 0), fx=0.385, fy=0.385, interpolation=cv2.INTER_AREA)
    shot = np.empty((720, 1280, 3), np.float32)
    shot[:] = (122, 124, 116)
    shot += 25 * np.sin(np.arange(1280) / 40.0)[None, :, None]
    height, width = small.shape[:2]
    left = 860 + 2 * index
    shot[400 : 400 + height, left : left + width] = small
    return np.clip(shot, 0, 255).astype(np.uint8)


def _occluded(index: int) -> Bytes:
    """A dark disc passes before the face; from frame 10 to 14 it hides most of it."""
    shot = _one(index).copy()
    x = int(np.interp(index, (3, 21), (-70, 390)))
    cv2.ellipse(shot, (x, 135), (48, 80), 0, 0, 360, (36, 52, 92), -1, cv2.LINE_AA)
    return shot


def _upright(index: int) -> Bytes:
    """The picture as coded; turned clockwise for display it stands upright."""
    return np.rot90(_one(index))


def _on_its_head(index: int) -> Bytes:
    return np.rot90(_one(index), 2)


def _as_in_a_mirror(index: int) -> Bytes:
    """The picture as coded; turned clockwise and then mirrored for display it is the usual one."""
    return np.rot90(np.fliplr(_one(index)))


def _squeezed(index: int) -> Bytes:
    """Half as wide as it is shown."""
    return cv2.resize(_one(index), (SIZE[0] // 2, SIZE[1]), interpolation=cv2.INTER_AREA)


def _uneven(index: int) -> Bytes:
    """Show what the face does at the frame's own time."""
    seconds = sum(VFR_GAPS[i % len(VFR_GAPS)] for i in range(index)) / 90000
    return rendered(animated_astronaut(), START + seconds)[0]


TURNED_AND_MIRRORED = (0, 1 << 16, 0, 1 << 16, 0, 0, 0, 0, 1 << 30)
"""Display matrix that swaps x and y: a quarter clockwise, then left to right."""
_PLAIN = Clip(size=SIZE, frames=24, options={"bf": "2"})
FACE_CLIPS: dict[str, tuple[Clip, Paint]] = {
    "one_face": (replace(_PLAIN, audio=("aac",), metadata={"title": "One face"}), _one),
    "two_faces": (replace(_PLAIN, size=(384, 240)), _two),
    "cut": (_PLAIN, _cut),
    "leaving": (replace(_PLAIN, frames=30), _leaving),
    "no_face": (replace(_PLAIN, frames=12), lambda index: picture(index, SIZE)),
    "rotated": (replace(_PLAIN, size=SIZE[::-1], rotation=90, frames=12), _upright),
    "on_its_head": (replace(_PLAIN, frames=12), _on_its_head),
    "mirrored": (
        replace(_PLAIN, size=SIZE[::-1], display_matrix=TURNED_AND_MIRRORED, frames=12),
        _as_in_a_mirror,
    ),
    "squeezed": (
        replace(_PLAIN, size=(SIZE[0] // 2, SIZE[1]), sar=Fraction(2), frames=12),
        _squeezed,
    ),
    "vfr": (replace(_PLAIN, time_base=Fraction(1, 90000), gaps=VFR_GAPS, frames=16), _uneven),
    "wide_shot": (replace(_PLAIN, size=(1280, 720), frames=8), _wide),
    "occluded": (_PLAIN, _occluded),
}


def face_clip(folder: Path, name: str, **changes: object) -> Path:
    """Return the clip `FACE_CLIPS[name]` in `folder`, made when first asked for.

    `changes` to its container's fields (`clips.Clip`) make another file.
    """
    clip, paint = FACE_CLIPS[name]
    clip = replace(clip, **changes)  # type: ignore[arg-type]
    detail = "".join(f"-{key}-{value}" for key, value in sorted(changes.items()))
    safe = "".join(c if c.isalnum() or c in "-_" else "_" for c in f"{name}{detail}")
    path = folder / f"{safe}{clip.suffix}"
    if not path.exists():
        with write_atomically(path) as fresh:
            write_clip(fresh, clip, _cached(paint))
    return path


def _cached(paint: Paint) -> Callable[[int], np.ndarray]:
    """Hand out pictures that may be written on."""
    return lambda index: np.ascontiguousarray(paint(index)).copy()
