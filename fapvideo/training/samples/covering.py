"""Occluders in samples: before the face that is restored, or over the part that is given."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from fapvideo.mask.boxes import box_masks
from fapvideo.mask.open_set import without
from fapvideo.ops import mesh
from fapvideo.ops.image import soft_edge
from fapvideo.ops.pose import CROP_INTEROCULAR
from fapvideo.parts import PARTS
from fapvideo.structs import Floats, PartMasks
from fapvideo.training.samples.drawing import Scene, Thing, scene_of
from fapvideo.training.samples.occluders import glasses, hair, hand, microphone

PROTECTED = 0.7
"""Share of occluders before the target that `mask.keep_out` would know of."""
BOXED = 0.5
"""Share of those that are kept as a box, as a detector says it; the others by their outline."""
DARK = 0.1
"""Share of glasses that hide the eyes."""
COVERED = (0.02, 0.6)
"""Shares of the hole that a thing has to cover at least and may cover at most."""
LEFT = 0.35
"""Share of the hole that has to be left beside what is kept."""
TRIES = 4


def cover_target(
    rng: np.random.Generator, image: Floats, points: Floats, parts: Sequence[str], masks: PartMasks
) -> tuple[Floats, PartMasks]:
    """Put something in front of the face that is to be restored, across the border of its hole.

    Most of the time it is cut out of the hole, roughly, as `mask.keep_out` does. Otherwise the
    hole covers its middle: what is to be seen of it outside says how it goes on.

    Returns the picture [S, S, 3] and the masks of `parts` with what is protected taken out; both as
    they were where nothing that was tried fits. `points` [478, 3] are the face's landmarks.
    """
    for _ in range(TRIES):
        thing = draw_thing(rng, image, points, parts, reference=False)
        share = _share(thing.alpha, masks.core)
        if not COVERED[0] < share < COVERED[1] or _share(thing.alpha, 1 - masks.core) < 1e-3:
            continue
        if rng.random() >= PROTECTED:
            return thing.over(image), masks
        for kept in _keep_outs(rng, thing.alpha):
            cut = without(masks, kept)
            if cut.core.sum() > LEFT * masks.core.sum():
                return thing.over(image), cut
    return image, masks


def cover_reference(
    rng: np.random.Generator, image: Floats, points: Floats, parts: Sequence[str]
) -> Floats:
    """Return a reference photo with something over its part that must not be carried along."""
    return draw_thing(rng, image, points, parts, reference=True).over(image)


def draw_thing(
    rng: np.random.Generator, image: Floats, points: Floats, parts: Sequence[str], reference: bool
) -> Thing:
    """Draw a thing that covers some of `parts`; hands only before a target."""
    scene = scene_of(rng, image, points)
    over = frozenset[str]().union(*(PARTS[part].occluders for part in parts))
    kinds: list[str] = [kind for kind in ("glasses", "hair", "microphone") if kind in over]
    kinds += [] if reference else ["hand", "hand"]
    kind = kinds[rng.integers(len(kinds))]
    if kind == "glasses":
        return glasses(rng, scene, dark=not reference and bool(rng.random() < DARK))
    if kind == "hair":
        return hair_over(rng, scene, parts)
    if kind == "microphone":
        return microphone_at(rng, scene, parts)
    return hand_on(rng, scene, parts)


def hand_on(rng: np.random.Generator, scene: Scene, parts: Sequence[str]) -> Thing:
    """Return a hand that comes from outside the face and touches a part's outline."""
    part = parts[int(rng.integers(len(parts)))]
    rings = mesh.outlines(part)
    ring = scene.points[list(rings[rng.integers(len(rings))]), :2]
    touch = ring[rng.integers(len(ring))]
    away = touch - scene.points[4, :2] + rng.normal(0, 0.5 * scene.unit, 2)
    away[1] += rng.uniform(0.2, 1.6) * scene.unit  # hands come from below, mostly
    away = away / max(float(np.linalg.norm(away)), 1e-6)
    inwards = rng.uniform(0.0, 0.3) * scene.unit
    return hand(rng, scene, touch - away * inwards, away)


def hair_over(rng: np.random.Generator, scene: Scene, parts: Sequence[str]) -> Thing:
    """Return a lock that falls from above the forehead over a brow, an eye or the nose's side."""
    side = rng.integers(2)
    ends = ((105, 70, 33, 50, 66, 98), (334, 300, 263, 280, 296, 327))[side]
    tip = scene.points[ends[rng.integers(len(ends))], :2] + rng.normal(0, 0.08 * scene.unit, 2)
    top = scene.points[(103, 332)[side] if rng.random() < 0.7 else mesh.FOREHEAD, :2]
    root = np.array([top[0] + rng.normal(0, 0.15 * scene.unit), -0.05 * scene.size])
    return hair(rng, scene, root, tip)


def microphone_at(rng: np.random.Generator, scene: Scene, parts: Sequence[str]) -> Thing:
    """Return a microphone held before or below the mouth."""
    angle = np.pi / 2 + rng.normal(0, 0.45)
    away = np.array([np.cos(angle), np.sin(angle)])
    mouth = scene.points[[mesh.UPPER_LIP, mesh.LOWER_LIP], :2].mean(axis=0)
    sideways = np.array([rng.normal(0, 0.15) * scene.unit, 0.0])
    at = mouth + sideways + away * rng.uniform(0.2, 0.5) * scene.unit
    return microphone(rng, scene, at, away)


def _keep_outs(rng: np.random.Generator, alpha: Floats) -> list[Floats]:
    """Return [S, S] areas to keep, in the order they are tried: a box perhaps, and an outline."""
    size = alpha.shape[0]
    iod = CROP_INTEROCULAR * size
    feather = rng.uniform(0.05, 0.15) * iod
    seen = alpha > 0.25
    away = cv2.distanceTransform((~seen).astype(np.uint8), cv2.DIST_L2, 3)
    outline = soft_edge(away, rng.uniform(0.0, 0.05) * iod, feather)
    if rng.random() >= BOXED or not seen.any():
        return [outline]
    rows, columns = (np.nonzero(seen.any(axis=axis))[0] for axis in (1, 0))
    edges = np.array([rows[0], columns[0], rows[-1] + 1, columns[-1] + 1]) / size
    y0, x0, y1, x1 = (float(edge) for edge in edges + rng.normal(0, 0.01, 4))
    return [box_masks({"": (y0, x0, y1, x1)}, size, feather)[""], outline]


def _share(alpha: Floats, region: Floats) -> float:
    """Return how much of a region a thing covers."""
    return float((alpha * region).sum() / max(float(region.sum()), 1.0))
