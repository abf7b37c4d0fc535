"""Two moments of one face: a photo that moves, and where in the one what the other shows lies.

Photos in the public domain hardly have two moments of a person. Animated ones (`synth.portrait`)
have known motion: full expressions, turns of the head, closed eyes.
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import cv2
import numpy as np

from fapvideo.guide.warp import source_map, triangle_map
from fapvideo.ops.pose import crop_matrix, head_pose
from fapvideo.structs import Floats
from fapvideo.synth.motion import Motion
from fapvideo.synth.portrait import AnimatedPortrait

Face = tuple[Floats, Floats]
"""A crop [S, S, 3] and its landmarks [478, 3]."""

LARGEST_YAW = 40.0
"""Heads are turned to about so far, photo and motion together, degrees."""
LATER = (0.05, 0.6)
"""How far the second moment is on the way to another motion."""
COARSE = 4
"""Places are known on every so-many-th pixel."""
NOWHERE = 9.0
"""A place outside the picture, in `grid_sample`'s coordinates: nothing is there."""


def motions(rng: np.random.Generator, yaw_deg: float) -> tuple[Motion, Motion]:
    """Return what a face does at two moments; `yaw_deg` is how far the photo is turned."""
    first, other = _drawn(rng, yaw_deg), _drawn(rng, yaw_deg)
    return first, between(first, other, float(rng.uniform(*LATER)))


def between(first: Motion, other: Motion, share: float) -> Motion:
    """Return the motion at `share` of the way from one to the other."""
    mixed: dict[str, Any] = {}
    for each in fields(Motion):
        a, b = getattr(first, each.name), getattr(other, each.name)
        if each.name == "pan":
            mixed[each.name] = tuple(x + share * (y - x) for x, y in zip(a, b, strict=True))
        else:
            mixed[each.name] = a if a is None or b is None else a + share * (b - a)
    return Motion(**mixed)


def moment(face: Face, shown: Motion, other: Motion) -> tuple[Face, Floats]:
    """Return a crop [S, S, 3] in [0, 1] with landmarks [478, 3] in one motion, aligned, and the
    landmarks in another.

    Each is cut out where inference would: a head that turns takes the crop along.
    """
    image, points = face
    size = image.shape[0]
    pixels = np.rint(image * 255).astype(np.uint8)
    portrait = AnimatedPortrait(pixels, (size, size), np.eye(2, 3), points)
    views = [crop_matrix(head_pose(portrait.landmarks_at(each)), size) for each in (shown, other)]
    picture, found = portrait.seen_through(views[0]).draw(shown)
    later = portrait.seen_through(views[1]).landmarks_at(other)
    return (picture.astype(np.float32) / 255, found.astype(np.float32)), later.astype(np.float32)


def places(points: Floats, other: Floats, size: int) -> Floats:
    """Return [size / COARSE, size / COARSE, 2] where in the other moment a place of this one is.

    In `grid_sample`'s coordinates (-1 to 1, `align_corners=False`); `NOWHERE` outside the face.
    `points` and `other` are the landmarks [478, 3] of both, in pixels of `size`.
    """
    ids = triangle_map(points, size)
    middle = slice(COARSE // 2, None, COARSE)
    where = source_map(points, other, ids)[middle, middle]
    inside = cv2.erode((ids >= 0).astype(np.uint8), np.ones((3, 3), np.uint8))[middle, middle]
    return np.where(inside[..., None] > 0, 2 * where / size - 1, NOWHERE).astype(np.float32)


def nowhere(size: int) -> Floats:
    """Return the places of a sample that has no other moment."""
    side = size // COARSE
    return np.full((side, side, 2), NOWHERE, np.float32)


def _drawn(rng: np.random.Generator, yaw_deg: float) -> Motion:
    turn = float(np.clip(yaw_deg + rng.normal(0, 16), -LARGEST_YAW, LARGEST_YAW)) - yaw_deg
    speaks, blinks, low, high = rng.random(4)
    return Motion(
        mouth_open=None if speaks < 0.25 else float(0.32 * rng.beta(1.0, 2.0)),
        smile=float(np.clip(rng.normal(-0.2, 0.5), -1, 1)),
        brows=float(np.clip(rng.normal(0.0, 0.5), -0.8, 1)),
        blink=float(low if blinks < 0.2 else 0.25 * high**2),
        yaw_deg=turn,
        pitch_deg=float(np.clip(rng.normal(0, 6), -14, 14)),
        roll_deg=float(rng.normal(0, 4)),
    )
