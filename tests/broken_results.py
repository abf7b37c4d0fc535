"""Results that are wrong in one known way: what each metric must notice.

The source is the animated astronaut in a lossless RGB clip; a break is a function of (frame index,
source picture, its face) that returns the result's picture. Breaks live beside the tests that use
them; clips and measured faces are shared by all.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import renders
from clips import Clip as Container
from clips import write_clip
from face_clips import FPS, SIZE, START, animated_astronaut, one_face
from renders import Rendered
from runs import preset

from fapvideo.composite.paste import place
from fapvideo.evaluation.measure import Metric
from fapvideo.evaluation.views import SIDE, Bools, Clip, FaceView, FramePair
from fapvideo.ops.geometry import warp
from fapvideo.structs import Bytes, Floats
from fapvideo.synth.motion import Motion, talking
from fapvideo.track.older import OlderMesh

Curves = Mapping[str, Mapping[int, float]]
FRAMES = 24
PARTS = ("eyes", "brows", "nose", "mouth")
BAD = 11
"""The frame in which something happens, where it happens in one."""
LOSSLESS = Container(".mkv", "ffv1", "bgr0", SIZE, FRAMES, matrix=0, full_range=True)

Break = Callable[[int, Bytes, FaceView], Floats | Bytes]

_SCRATCH: list[tempfile.TemporaryDirectory[str]] = []


def nothing(index: int, rgb: Bytes, face: FaceView) -> Bytes:
    """Do nothing: the result is the source."""
    return rgb


def motion(index: int) -> Motion:
    """Return what the source's face does in a frame."""
    return talking(START + index / FPS)


def drawn(moves: Motion) -> Rendered:
    """Return the animated astronaut doing that, and its true landmarks."""
    return renders.drawn(animated_astronaut(), moves)


def painted(rgb: Bytes, face: FaceView, where: Bools | Floats, change: Floats | float) -> Floats:
    """Add `change` (levels) under `where` [SIDE, SIDE], a mask in the face's crop."""
    alpha = place(where.astype(np.float32), face.matrix, face.frame_size)
    alpha[np.abs(alpha) <= 1 / 32] = 0.0  # a warp rounds its coordinates to so much of a pixel
    return rgb.astype(np.float32) + alpha[..., None] * change


@cache
def scratch() -> Path:
    """Return a folder that lives as long as the tests."""
    _SCRATCH.append(tempfile.TemporaryDirectory(prefix="fapvideo-broken-"))
    return Path(_SCRATCH[0].name)


def written(name: str, paint: Callable[[int], Floats | Bytes]) -> Path:
    """Write a lossless clip, once."""
    path = scratch() / f"{name}.mkv"
    if not path.exists():
        write_clip(path, LOSSLESS, lambda i: np.clip(np.rint(paint(i)), 0, 255).astype(np.uint8))
    return path


def followed(path: Path, parts: Sequence[str] = PARTS) -> Clip:
    """Return a clip, its faces followed, with a scratch folder of its own."""
    return Clip.open(path, preset(), parts, Path(tempfile.mkdtemp(dir=scratch())))


@cache
def source() -> Clip:
    """Return the source, followed."""
    return followed(written("source", lambda i: one_face(i)[0]))


@cache
def pairs(damage: Break = nothing) -> tuple[FramePair, ...]:
    """Return the frames of source and broken result, faces cut out and measured.

    What `Clip.pairs` gives for a result that was encoded without loss, made in memory.
    """
    if damage is nothing:
        return tuple(source().pairs(source().path))
    return tuple(_broken(pair, damage) for pair in pairs())


def _broken(pair: FramePair, damage: Break) -> FramePair:
    """Return `pair` with the damaged picture as its result."""
    (face,) = pair.faces
    rgb = np.rint(damage(pair.index, pair.source_rgb, face)).clip(0, 255).astype(np.uint8)
    if np.array_equal(rgb, pair.result_rgb):
        return pair  # as measured
    planes = tuple(np.ascontiguousarray(rgb[..., channel]) for channel in (1, 2, 0))
    crop = warp(rgb, face.matrix, (SIDE, SIDE))
    measured = face_mesh().from_landmarks(crop, face.landmarks).landmarks
    view = replace(face, result=crop, measured_result=measured)
    return replace(pair, result=replace(pair.result, planes=planes), result_rgb=rgb, faces=(view,))


@cache
def face_mesh() -> OlderMesh:
    """Return one mesh net for all tests."""
    return OlderMesh()


def run(metric: Metric, frames: Sequence[FramePair]) -> tuple[Mapping[str, float], Curves]:
    """Return a metric's values, and its curves as key -> frame -> value."""
    curves: dict[str, dict[int, float]] = {}
    for pair in frames:
        for key, value in metric.update(pair).items():
            curves.setdefault(key, {})[pair.index] = value
    curves |= {key: dict(points) for key, points in getattr(metric, "curves", dict)().items()}
    return metric.summary(), curves


def worst(curve: Mapping[int, float]) -> int:
    """Return the frame with the highest value."""
    return max(curve, key=lambda frame: curve[frame])
