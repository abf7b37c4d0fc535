"""From detections to masks: pure functions on boxes.

Two kinds of box occur. A *detection* box is (x0, y0, x1, y1) in pixels of the searched picture. A
*part* box is (y0, x0, y1, x1) in [0, 1] of the face crop, the order and range of FuseAnyPart's
`*_bbox.pth` (docs/fuseanypart.md, 2).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from fapvideo.ops.geometry import iou
from fapvideo.ops.image import soft_edge
from fapvideo.parts import PARTS
from fapvideo.structs import Floats, PartMasks

PartBox = tuple[float, float, float, float]
"""y0, x0, y1, x1 in [0, 1] of the crop."""

PAIR_SCORE = 0.5
"""The second box of a pair counts from this share of the first one's score on."""
CHAIN = tuple(name for name, part in PARTS.items() if part.chained)
"""Parts whose boxes touch in the published examples, from top to bottom."""


@dataclass(frozen=True, slots=True)
class Detection:
    """One thing that a detector found."""

    label: str
    """The prompt it answers to."""
    score: float
    """Confidence in [0, 1]."""
    box: tuple[float, float, float, float]
    """x0, y0, x1, y1, pixels."""


def suppress_overlaps(detections: Iterable[Detection], max_overlap: float) -> list[Detection]:
    """Greedy non-maximum suppression among detections of one label.

    Args:
        detections: in any order.
        max_overlap: largest intersection over union with a better box of the same label.

    Returns:
        The survivors, best first.
    """
    kept: list[Detection] = []
    for detection in sorted(detections, key=lambda d: -d.score):
        rivals = [other.box for other in kept if other.label == detection.label]
        if np.all(iou([detection.box], rivals) <= max_overlap):
            kept.append(detection)
    return kept


def best_per_label(detections: Iterable[Detection]) -> dict[str, Detection]:
    """Return the detection with the highest score of every label."""
    best: dict[str, Detection] = {}
    for detection in detections:
        if detection.label not in best or detection.score > best[detection.label].score:
            best[detection.label] = detection
    return best


def detected_parts(detections: Sequence[Detection], size: tuple[int, int]) -> dict[str, PartBox]:
    """Return the box of every part that was found, in the order of `PARTS`.

    Two eyes (or brows) found one by one become one box: everything of that label in the row of the
    best one, with at least half its score.

    Args:
        detections: labelled with the prompts of `PARTS`; others are ignored.
        size: width and height of the searched picture, pixels.
    """
    width, height = size
    best = best_per_label(detections)
    boxes: dict[str, PartBox] = {}
    for part, row in PARTS.items():
        label = row.prompt
        if label not in best:
            continue
        group = [best[label]]
        if row.paired:
            group = [d for d in detections if d.label == label and _pairs_with(best[label], d)]
        x0, y0 = (min(d.box[i] for d in group) for i in (0, 1))
        x1, y1 = (max(d.box[i] for d in group) for i in (2, 3))
        boxes[part] = _clip((y0 / height, x0 / width, y1 / height, x1 / width))
    return boxes


def _pairs_with(best: Detection, other: Detection) -> bool:
    """Whether `other` stands in the row of `best` and is about as certain."""
    shared = min(best.box[3], other.box[3]) - max(best.box[1], other.box[1])
    lower = min(best.box[3] - best.box[1], other.box[3] - other.box[1])
    return other.score >= PAIR_SCORE * best.score and shared >= 0.5 * lower


def _clip(box: PartBox) -> PartBox:
    y0, x0, y1, x1 = (min(max(edge, 0.0), 1.0) for edge in box)
    return y0, x0, y1, x1


def label_boxes(
    detections: Sequence[Detection], labels: Sequence[str], size: tuple[int, int]
) -> dict[str, PartBox]:
    """Return the best box of each free-text label that was found ("glasses", "beard").

    Args:
        detections: of one picture.
        labels: prompts as they were asked for.
        size: width and height of the searched picture, pixels.
    """
    width, height = size
    best = best_per_label(detections)
    edges = {label: best[label].box for label in labels if label in best}
    return {
        label: _clip((y0 / height, x0 / width, y1 / height, x1 / width))
        for label, (x0, y0, x1, y1) in edges.items()
    }


def chain_boxes(boxes: Mapping[str, PartBox]) -> dict[str, PartBox]:
    """Make neighbouring parts touch: eyes.y1 == nose.y0 and nose.y1 == mouth.y0.

    The common edge is half way between the two, so a gap and an overlap are shared alike. Parts
    that stand in the wrong order (a nose above the eyes) are left as they are.

    Source: all four published examples are chained; the rule is inferred (docs/fuseanypart.md, 2).
    """
    chained = dict(boxes)
    for upper, lower in pairwise(CHAIN):
        if upper not in chained or lower not in chained:
            continue
        top, bottom = chained[upper], chained[lower]
        seam = (top[2] + bottom[0]) / 2
        if top[0] < seam < bottom[2] and top[0] + top[2] < bottom[0] + bottom[2]:
            chained[upper] = (top[0], top[1], seam, top[3])
            chained[lower] = (seam, bottom[1], bottom[2], bottom[3])
    return chained


def box_distance(box: PartBox, size: int) -> Floats:
    """Return [size, size] signed distances of pixel centres to `box`, pixels, negative inside."""
    y0, x0, y1, x1 = (edge * size for edge in box)
    axis = np.arange(size, dtype=np.float32) + 0.5
    dy = np.maximum(y0 - axis, axis - y1)[:, None]
    dx = np.maximum(x0 - axis, axis - x1)[None, :]
    outside = np.hypot(np.maximum(dx, 0.0), np.maximum(dy, 0.0))
    return (outside + np.minimum(np.maximum(dx, dy), 0.0)).astype(np.float32)


def box_masks(boxes: Mapping[str, PartBox], size: int, feather: float) -> dict[str, Floats]:
    """Return a soft [size, size] mask in [0, 1] for every box.

    Args:
        boxes: in fractions of the crop.
        size: side of the crop, pixels.
        feather: width of the soft edge outside the box, pixels. Under 1 the edge is just smoothed
            over one pixel, so that a slowly moving box does not jump from pixel to pixel.
    """
    return {part: _edge(box_distance(box, size), feather) for part, box in boxes.items()}


def _edge(distance: Floats, feather: float) -> Floats:
    return soft_edge(distance, _start(feather), max(feather, 1.0)).astype(np.float32)


def _start(feather: float) -> float:
    return -0.5 if feather < 1.0 else 0.0


def box_part_masks(
    boxes: Mapping[str, PartBox],
    size: int,
    feather: float,
    keep_out: Sequence[PartBox] = (),
    inner_mouth: Floats | None = None,
) -> PartMasks:
    """Return the masks of one face crop from boxes instead of outlines.

    Args:
        boxes: the swapped parts, in fractions of the crop.
        size: side of the crop, pixels.
        feather: width of the soft edge, pixels.
        keep_out: boxes of things that stay as they are: glasses, a beard, a hat.
        inner_mouth: [size, size] the open mouth to keep; None where it is not known.
    """
    open_mouth = np.zeros((size, size), np.float32) if inner_mouth is None else inner_mouth
    kept = open_mouth
    for box in keep_out:
        kept = np.maximum(kept, _edge(box_distance(box, size), feather))
    soft = {part: mask * (1.0 - kept) for part, mask in box_masks(boxes, size, feather).items()}
    hole = np.zeros((size, size), np.float32)
    for mask in soft.values():
        hole = np.maximum(hole, mask)
    return PartMasks(soft, hole, (hole > 0.0).astype(np.float32), open_mouth)


def smooth_boxes(boxes: NDArray[np.floating], half_window: int) -> Floats:
    """Steady one box over time without delay.

    A straight line is fitted to the measured frames around every frame with Gaussian weights, and
    read off in the middle. Where all frames are measured this is the plain Gaussian average that
    the landmarks get; at the ends and beside gaps a steady motion stays steady.

    Args:
        boxes: [T, 4] any edges; NaN where nothing was found.
        half_window: frames on each side; 0 returns a copy.

    Returns:
        [T, 4]. A frame without a measurement is filled if measured frames lie within the window on
        both its sides, and is NaN otherwise.
    """
    from scipy.ndimage import correlate1d

    values = np.asarray(boxes, np.float64)
    measured = np.asarray(np.isfinite(values).all(axis=1))
    if half_window < 1:
        return np.where(measured[:, None], values, np.nan).astype(np.float32)
    offset = np.arange(-half_window, half_window + 1)
    weight = np.asarray(np.exp(-0.5 * (offset / (half_window / 2)) ** 2))
    valid = measured.astype(np.float64)[:, None]
    known = np.where(measured[:, None], values, 0.0)

    def moment(series: NDArray[np.float64], power: int) -> NDArray[np.float64]:
        kernel = weight * offset.astype(np.float64) ** power
        return np.asarray(correlate1d(series, kernel, axis=0, mode="constant"))

    s0, s1, s2 = (moment(valid, power) for power in (0, 1, 2))
    y0, y1 = (moment(known, power) for power in (0, 1))
    spread = s0 * s2 - s1**2
    line = (s2 * y0 - s1 * y1) / np.where(spread > 1e-9, spread, 1.0)
    fitted = np.where(spread > 1e-9, line, y0 / np.maximum(s0, 1e-12))
    before = correlate1d(valid, (offset < 0).astype(np.float64), axis=0, mode="constant") > 0.5
    after = correlate1d(valid, (offset > 0).astype(np.float64), axis=0, mode="constant") > 0.5
    return np.where((valid > 0) | (before & after), fitted, np.nan).astype(np.float32)
