"""Guide landmarks: the reference part's own shape with the target's pose and expression."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fapvideo.config.schema import GuideShape
from fapvideo.ops import mesh
from fapvideo.ops.pose import HeadPose
from fapvideo.parts import PARTS
from fapvideo.structs import NUM_LANDMARKS, Floats

REACH = 0.14
"""How far a part's shape weight reaches over the face, inter-ocular distances."""
REST = 0.04
"""Pull of the unchanged rest of the face."""
OPEN, SHUT = 0.85, 0.42
"""Shares of the neutral eye opening from which on an eye closes, and at which it is shut."""
WINK = 0.6
"""Difference of the two eyes' shares from which on they are taken apart; below it is noise."""
EYELIDS = tuple(
    (list(lids[1:8]), list(lids[15:8:-1])) for lids in (mesh.RIGHT_EYE_LIDS, mesh.LEFT_EYE_LIDS)
)
"""Per eye: points of the upper lid, and the points of the lower lid below them."""


def shape_weights(config: GuideShape, parts: Sequence[str]) -> Floats:
    """Return [478] weights in [0, 1]: 1 takes the reference's shape, 0 keeps the target's.

    Every part pulls the weight to its own value with a force that falls off with distance on the
    canonical face, so neighbouring parts with different values are joined smoothly. A part that is
    not swapped pulls to 0.
    """
    face = mesh.canonical()[:, :2]
    total = np.full(NUM_LANDMARKS, REST)
    value = np.zeros(NUM_LANDMARKS)
    whole = [name for name in parts if PARTS[name].whole]
    for name, part in PARTS.items():
        if part.whole or not (part.trained or name in parts):
            continue
        ring = np.concatenate([face[list(outline)] for outline in part.outline])
        distance = np.linalg.norm(face[:, None] - ring[None], axis=-1).min(axis=1)
        if part.inside is not None:
            x0, y0, x1, y1 = part.inside
            inside = ((face > (x0, y0)) & (face < (x1, y1))).all(axis=1)
            distance = np.where(inside, 0.0, distance)
        force = np.exp(-((distance / REACH) ** 2))
        swapped = name in parts or whole
        value += force * (getattr(config, name) if swapped else 0.0)
        total += force
    for name in whole:
        value += REST * getattr(config, name)
    weights = value / total
    weights[list(mesh.RIGHT_IRIS + mesh.LEFT_IRIS)] = 0.0
    return weights.astype(np.float32)


def guide_landmarks(
    landmarks: Floats, pose: HeadPose, neutral: Floats, reference: Floats, weights: Floats
) -> Floats:
    """Return [478, 3] where the reference's points belong in this frame.

    Args:
        landmarks: [478, 3] of the target in this frame.
        pose: its head pose.
        neutral: [478, 3] the target's neutral shape, head frame.
        reference: [478, 3] the reference's shape, head frame.
        weights: [478] from `shape_weights`.

    The shape difference is measured between the two *neutral* heads in 3-D and turned with the
    head, so pose and expression stay the target's (docs/method.md).
    """
    offset = pose.turn((reference - neutral) * weights[:, None])
    points = (landmarks + offset).astype(np.float32)
    return _close_lids(points, pose.to_head(landmarks), neutral)


def _close_lids(points: Floats, head: Floats, neutral: Floats) -> Floats:
    """Return `points` with each eye's lids together where the target's eye is nearly shut.

    Measured lids keep a gap at a blink, through which the reference's eye would be seen. The gap
    shrinks to nothing between `OPEN` and `SHUT` of the eye's neutral opening.
    """
    out = points.copy()
    for (upper, lower), shut in zip(EYELIDS, lids_shut(head, neutral), strict=True):
        # At share s of the neutral opening (1 - shut) * OPEN of it is wanted.
        share = OPEN - shut * (OPEN - SHUT)
        keep = min(1.0, (1.0 - shut) * OPEN / max(share, 1e-6))
        out[upper] = out[lower] + keep * (out[upper] - out[lower])
    return out


def lids_shut(head: Floats, neutral: Floats) -> Floats:
    """Return [2] how far the right and the left eye are shut: 0 open as usual, 1 closed.

    Args:
        head: [478, 3] the target's landmarks of this frame, head frame.
        neutral: [478, 3] its neutral shape.
    """
    shares = np.array([_opening(head, eye) / _opening(neutral, eye) for eye in EYELIDS])
    if np.ptp(shares) < WINK:
        shares[:] = shares.mean()
    return np.clip((OPEN - shares) / (OPEN - SHUT), 0.0, 1.0)


def _opening(shape: Floats, eye: tuple[list[int], list[int]]) -> float:
    """Return the mean distance of an eye's lids in `shape` [478, 3]."""
    upper, lower = eye
    return max(float(np.linalg.norm(shape[upper] - shape[lower], axis=-1).mean()), 1e-6)
