"""Guide landmarks: the reference part's own shape with the target's pose and expression."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np

from fapvideo.config.guide import GuideExpression, GuideShape
from fapvideo.config.schema import GuideConfig
from fapvideo.guide.moves import Moves
from fapvideo.ops import mesh
from fapvideo.ops.image import smoothstep
from fapvideo.ops.pose import HeadPose
from fapvideo.parts import PARTS
from fapvideo.structs import NUM_LANDMARKS, Floats

REACH = 0.14
"""How far a part's shape weight reaches over the face, inter-ocular distances."""
REST = 0.04
"""Pull of the unchanged rest of the face."""
OPEN, SHUT = 0.75, 0.3
"""Shares of the resting eye opening from which on an eye closes, and at which it is shut: measured
lids keep a gap at a blink."""
OWN_LIDS = 0.6, 0.42
"""Shares of it from which on the target's own lids are seen, and at which nothing else is: lids of
two frames' blinks are measured half open."""
BOTH, ALIKE = 0.13, (0.2, 0.3)
"""Beside an eye that is shut the other one counts as so much less open, if their shares differ by
no more than the first of these; not at all from the second on. Blinks are of both, and one is
measured more open; in a wink they are far apart."""
RESTING_EYES = (0.2, 0.31)
"""Mean openings of eyes at rest, in eye widths: who squints or stares all the clip has no
other eyes."""
UNEVEN_EYES = 0.8
"""An eye at rest is at least so much as open as the other."""
RESTING_BROWS = 0.36
"""Height of brows at rest over the lid corners, inter-ocular distances: higher ones are raised."""
UNEVEN_BROWS = (0.02, 0.05)
"""One brow that is so much higher than the other is raised, from the second value on for sure."""
KEPT = 1e-3
"""Changes of a lid by a smaller share are none."""
BROW_REACH = 0.25
"""How far what raises a brow reaches over the face, inter-ocular distances."""
EYELIDS = tuple(
    (list(lids[1:8]), list(lids[15:8:-1])) for lids in (mesh.RIGHT_EYE_LIDS, mesh.LEFT_EYE_LIDS)
)
"""Per eye: points of the upper lid, and the points of the lower lid below them."""


def shape_weights(config: GuideShape, parts: Sequence[str]) -> Floats:
    """Return [478] weights in [0, 1]: 1 takes the reference's shape, 0 keeps the target's.

    A part that is not swapped keeps the target's. Irises are always the target's.
    """
    weights = _spread(config, parts, 0.0)
    weights[list(mesh.RIGHT_IRIS + mesh.LEFT_IRIS)] = 0.0
    return weights


def moves_of(
    config: GuideConfig, parts: Sequence[str], own: Mapping[str, float] = MappingProxyType({})
) -> Moves:
    """Return what `guide.expression` and `guide.offsets` do to the swapped parts' expression.

    `own` has the gains of parts for which `guide.expression` does not hold.
    """
    gains = config.expression.model_copy(update=dict(own)) if own else config.expression
    return Moves(_spread(gains, parts, 1.0), config.offsets)


def _spread(config: GuideShape | GuideExpression, parts: Sequence[str], rest: float) -> Floats:
    """Return [478] the values of `config` over the face; `rest` where nothing is swapped.

    Every part pulls to its own value with a force that falls off with distance on the canonical
    face, so neighbouring parts with different values are joined smoothly.
    """
    face = mesh.canonical()[:, :2]
    total = np.full(NUM_LANDMARKS, REST)
    value = np.zeros(NUM_LANDMARKS)  # above `rest`
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
        value += force * (getattr(config, name) - rest if swapped else 0.0)
        total += force
    for name in whole:
        value += REST * (getattr(config, name) - rest)
    return (rest + value / total).astype(np.float32)


def guide_landmarks(
    landmarks: Floats,
    pose: HeadPose,
    neutral: Floats,
    reference: Floats,
    weights: Floats,
    moves: Moves | None = None,
) -> Floats:
    """Return [478, 3] where the reference's points belong in this frame.

    Args:
        landmarks: [478, 3] of the target in this frame.
        pose: its head pose.
        neutral: [478, 3] the target's neutral shape, head frame.
        reference: [478, 3] the reference's shape, head frame.
        weights: [478] from `shape_weights`.
        moves: makes the expression another; by default it is the target's.

    The shape difference is measured between the two *neutral* heads in 3-D and turned with the
    head, so pose and expression stay the target's (docs/method.md).
    """
    resting = at_rest(neutral)
    head = pose.to_head(landmarks)
    points, moved = landmarks, head
    if moves is not None and not moves.idle:
        moved = moves(head, resting)
        points = landmarks + pose.turn(moved - head)
    offset = pose.turn((reference - resting) * weights[:, None])
    return _set_lids((points + offset).astype(np.float32), pose, moved, neutral, reference, weights)


def at_rest(neutral: Floats) -> Floats:
    """Return a neutral shape [478, 3], head frame, with brows where they rest.

    The median over a track holds what the face does all the time, too: one brow, or both, raised.
    """
    face = mesh.canonical()
    out = neutral.copy()
    rings = (list(mesh.RIGHT_BROW), list(mesh.LEFT_BROW))
    corners = ((33, 133), (263, 362))
    heights = np.array(
        [
            neutral[list(two), 1].mean() - neutral[ring, 1].mean()
            for ring, two in zip(rings, corners, strict=True)
        ]
    )
    low, high = UNEVEN_BROWS
    raised = float(smoothstep(np.array((np.ptp(heights) - low) / (high - low))))
    wanted = np.minimum(heights + raised * (heights.min() - heights), RESTING_BROWS)
    for ring, height, rest in zip(rings, heights, wanted, strict=True):
        away = np.linalg.norm(face[:, None, :2] - face[ring, :2][None], axis=-1).min(axis=1)
        out[:, 1] += (height - rest) * np.exp(-((away / BROW_REACH) ** 2)) * mesh.above_lids()
    return out.astype(neutral.dtype)


def _set_lids(
    points: Floats,
    pose: HeadPose,
    head: Floats,
    neutral: Floats,
    reference: Floats,
    weights: Floats,
) -> Floats:
    """Return `points` with each eye's lids as far apart as the target's are, in shares.

    An eye that is a third open is a third open in the reference's shape, too, and what is shut is
    shut. Each eye is on its own.
    """
    out = points.copy()
    resting = _resting(neutral)
    for i, (upper, lower) in enumerate(EYELIDS):
        own = _opening(head, EYELIDS[i])
        share = own / (resting[i] * _width(head, i))
        fuller = _opening(reference, EYELIDS[i]) / (_width(reference, i) * resting[i])
        wanted = own * (1.0 + float(weights[upper + lower].mean()) * (fuller - 1.0))
        wanted *= min(1.0, max(0.0, (share - SHUT) / (OPEN - SHUT)) * OPEN / max(share, 1e-6))
        keep = wanted * pose.scale / _opening(points, EYELIDS[i])
        if abs(keep - 1.0) > KEPT:
            out[upper] = out[lower] + keep * (out[upper] - out[lower])
    return out


def lids_shut(head: Floats, neutral: Floats) -> Floats:
    """Return [2] how far the right and the left eye are shut: 0 open as usual, 1 closed.

    Args:
        head: [478, 3] the target's landmarks of this frame, head frame.
        neutral: [478, 3] its neutral shape.
    """
    resting = _resting(neutral)
    opened = [_opening(head, eye) / _width(head, i) for i, eye in enumerate(EYELIDS)]
    begin, end = OWN_LIDS
    share = np.array(opened) / resting
    alone = np.clip((begin - share) / (begin - end), 0.0, 1.0)
    near = np.clip((ALIKE[1] - abs(share[0] - share[1])) / (ALIKE[1] - ALIKE[0]), 0.0, 1.0)
    return np.clip((begin - share + BOTH * near * alone[::-1]) / (begin - end), 0.0, 1.0)


def _resting(neutral: Floats) -> Floats:
    """Return [2] the openings of the right and the left eye at rest, in eye widths."""
    found = np.array([_opening(neutral, eye) / _width(neutral, i) for i, eye in enumerate(EYELIDS)])
    return np.clip(np.maximum(found, UNEVEN_EYES * found.max()), *RESTING_EYES)


def _width(shape: Floats, i: int) -> float:
    """Return the distance of the corners of the right (0) or the left (1) eye in [478, 3]."""
    outer, inner = ((33, 133), (263, 362))[i]
    return max(float(np.linalg.norm(shape[outer] - shape[inner])), 1e-6)


def _opening(shape: Floats, eye: tuple[list[int], list[int]]) -> float:
    """Return the mean distance of an eye's lids in `shape` [478, 3]."""
    upper, lower = eye
    return max(float(np.linalg.norm(shape[upper] - shape[lower], axis=-1).mean()), 1e-6)
