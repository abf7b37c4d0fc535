"""Soft masks of facial parts from the smoothed mesh.

Growth and feather are fractions of the inter-ocular distance, never pixels, so a face keeps its
mask when it comes nearer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np

from fapvideo.config.schema import MaskConfig
from fapvideo.ops import mesh
from fapvideo.ops.image import signed_distance, soft_edge
from fapvideo.parts import PARTS
from fapvideo.structs import Floats, PartMasks

INNER_LIP_SOFTNESS = 0.018
WELL_INSIDE = 0.18
"""How far within the face's outline what is dark is surely no hair of the head, inter-ocular."""
OVAL_MARGIN = 0.02
"""Parts end this far inside the face's outline: no hair, no background beside a turned cheek."""

SLIGHT = 1e-6
"""Of a mask: as good as none."""


def part_masks(
    shapes: Sequence[Floats],
    parts: Sequence[str],
    config: MaskConfig,
    size: int,
    interocular: float,
    beyond: Mapping[str, Sequence[Floats]] = MappingProxyType({}),
) -> PartMasks:
    """Return the masks of one face in its crop.

    Args:
        shapes: landmark sets [478, 2 or 3] in crop pixels; the first is the target's own. The hole
            covers the part in every one of them (the old part and the new one).
        parts: which parts are swapped.
        config: growth, feather, eye side, inner mouth.
        size: side of the crop, pixels.
        interocular: inter-ocular distance in the crop, pixels.
        beyond: part -> closed lines [N, 2] around what the old part is beside its outline.

    Why so: docs/method.md ("tight holes", "inner mouth").
    """
    feather = config.feather * interocular
    nearest = np.full((size, size), 1e6, np.float32)
    soft: dict[str, Floats] = {}
    oval = signed_distance([shapes[0][list(mesh.FACE_OVAL), :2]], size, 0.0)
    for part in parts:
        rings = mesh.outlines(part, config.eye_side)
        polygons = [shape[list(ring), :2] for shape in shapes for ring in rings]
        own = PARTS[part].grow
        grow = (config.dilate if own is None else own) * interocular
        distance = signed_distance(polygons, size, max(0.0, grow + feather)) - np.float32(grow)
        if beyond.get(part):
            extra = signed_distance(beyond[part], size, feather)
            np.minimum(distance, np.maximum(extra, oval + WELL_INSIDE * interocular), out=distance)
        soft[part] = soft_edge(distance, 0.0, feather)
        np.minimum(nearest, distance, out=nearest)
    oval += (OVAL_MARGIN + config.feather) * interocular
    np.maximum(nearest, oval, out=nearest)
    inner = inner_mouth(shapes[0], size, interocular)
    hole = soft_edge(nearest, 0.0, feather)
    soft = {part: np.minimum(mask, hole) for part, mask in soft.items()}
    core = (nearest < feather).astype(np.float32)
    if config.keep_inner_mouth:
        outside = 1.0 - inner
        hole *= outside
        core *= outside > 0.0
        soft = {part: mask * outside for part, mask in soft.items()}
    return PartMasks(soft, hole.astype(np.float32), core, inner)


def opacity_of(masks: PartMasks, strengths: Mapping[str, float]) -> Floats:
    """Return [S, S] what the hole is multiplied by where parts have a strength of their own.

    Where parts meet, the stronger of two masks counts, so that no border is seen.
    """
    own = list(masks.parts.values())
    whole = np.maximum.reduce([*own, np.full_like(masks.hole, SLIGHT)])
    shown = [mask * np.float32(strengths.get(part, 1.0)) for part, mask in masks.parts.items()]
    rest = np.float32(max(strengths.values()))
    return np.where(whole > SLIGHT, np.maximum.reduce([*shown, 0 * whole]) / whole, rest)


def inner_mouth(shape: Floats, size: int, interocular: float) -> Floats:
    """Return [size, size] softness-edged area between the lips of `shape`; zero when closed."""
    distance = signed_distance([shape[list(mesh.LIPS_INNER), :2]], size, 0.0)
    softness = INNER_LIP_SOFTNESS * interocular
    return soft_edge(distance, -softness, softness).astype(np.float32)


def part_boxes(landmarks: Floats, parts: Sequence[str], size: int) -> Floats:
    """Return [P, 4] boxes (y0, x0, y1, x1) of the parts' outlines, as shares of the crop's side."""
    boxes = []
    for part in parts:
        ring = np.concatenate([landmarks[list(r), :2] for r in mesh.outlines(part)]) / size
        (x0, y0), (x1, y1) = ring.min(axis=0), ring.max(axis=0)
        boxes.append((y0, x0, y1, x1))
    return np.clip(np.array(boxes, np.float32), 0.0, 1.0)
