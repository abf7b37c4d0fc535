"""Cutting the aligned crop out of a frame, and pasting a finished crop back."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from fapvideo.composite.planes import Box, FrameCanvas
from fapvideo.ops.geometry import Matrix, invert, scale_of, transform, warp
from fapvideo.structs import Floats

SMALLEST_ALPHA = 1 / 512
"""Less than this cannot change an 8-bit sample; set to 0, the sample keeps its bits."""

EDGE_PIXELS = 0.5
"""Nearer than this to the frame's edge, a resampled pixel is part of what is beyond."""
EDGE_SAMPLES = 40
"""Of a hole that the frame's edge cuts, at least so many rows and columns are looked at."""


def cut(canvas: FrameCanvas, matrix: Matrix, size: int, frame_size: tuple[int, int]) -> Floats:
    """Return the aligned crop [size, size, 3] in [0, 1], read at the frame's full bit depth.

    Args:
        canvas: the frame.
        matrix: frame -> crop.
        size: side of the crop.
        frame_size: (width, height) as displayed. Outside the frame the border is repeated.
    """
    margin = 2.0 / max(scale_of(matrix), 1e-6) + 2.0
    box = _box_of(invert(matrix), (0.0, 0.0, size, size), frame_size, margin)
    if box is None:
        return np.zeros((size, size, 3), np.float32)
    moved = _shifted(matrix, box)
    return warp(canvas.read_rgb(box), moved, (size, size)).astype(np.float32)


def paste(
    canvas: FrameCanvas,
    crop: Floats,
    alpha: Floats,
    matrix: Matrix,
    frame_size: tuple[int, int],
) -> tuple[Box, Floats] | None:
    """Blend `crop` [S, S, 3] under `alpha` [S, S] into the frame; return where and how strongly.

    Only the frame pixels under a positive alpha are touched.
    """
    rows, columns = (np.flatnonzero(alpha.max(axis=axis) > 0) for axis in (1, 0))
    if not len(rows):
        return None
    area = (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)
    inverse = invert(matrix)
    box = _box_of(inverse, area, frame_size, 2.0)
    if box is None:
        return None
    size = (box[2] - box[0], box[3] - box[1])
    placed = inverse.copy()
    placed[:, 2] -= (box[0], box[1])
    picture = warp(crop, placed, size, interpolation=cv2.INTER_CUBIC)
    opacity = warp(alpha, placed, size, border=cv2.BORDER_CONSTANT)
    opacity = np.where(opacity < SMALLEST_ALPHA, 0.0, opacity).astype(np.float32)
    canvas.blend(np.clip(picture, 0.0, 1.0).astype(np.float32), opacity, box)
    return box, opacity


def share_outside(hole: Floats, matrix: Matrix, frame_size: tuple[int, int]) -> float:
    """Return how much of a hole [S, S] of the crop lies outside the frame, in [0, 1]; 0 of none."""
    rows, columns = (np.flatnonzero(hole.max(axis=axis) > 0) for axis in (1, 0))
    if not len(rows):
        return 0.0
    inverse = invert(matrix)
    ends = [(x, y) for x in (columns[0], columns[-1] + 1) for y in (rows[0], rows[-1] + 1)]
    if _within(transform(inverse, np.array(ends)), frame_size).all():
        return 0.0
    step = max(1, min(len(rows), len(columns)) // EDGE_SAMPLES)
    thinned = hole[::step, ::step]
    rows, columns = np.nonzero(thinned > 0)
    points = np.stack([columns, rows], axis=1) * step + 0.5
    inside = _within(transform(inverse, points), frame_size)
    amount = thinned[rows, columns]
    return float(1.0 - amount[inside].sum() / amount.sum())


def shown_of(matrix: Matrix, frame_size: tuple[int, int], size: int) -> Floats | None:
    """Return [size, size] 1 where a crop shows the frame, 0 beyond; None where it is all frame.

    Args:
        matrix: from the frame's pixels to the crop's.
        frame_size: (width, height).
        size: side of the crop.
    """
    corners = [(x, y) for x in (0, size) for y in (0, size)]
    inner = transform(invert(matrix), np.array(corners, np.float64)) - EDGE_PIXELS
    if _within(inner, (frame_size[0] - 2 * EDGE_PIXELS, frame_size[1] - 2 * EDGE_PIXELS)).all():
        return None
    whole = np.ones((frame_size[1], frame_size[0]), np.float32)
    return warp(whole, matrix, (size, size), border=cv2.BORDER_CONSTANT)


def _within(points: Floats, frame_size: tuple[float, float]) -> NDArray[np.bool_]:
    """Return which of [N, 2] points lie in the frame."""
    inside = (points >= 0) & (points <= np.array(frame_size))
    return np.asarray(inside.all(axis=1), np.bool_)


def place(crop: Floats, matrix: Matrix, frame_size: tuple[int, int]) -> Floats:
    """Return `crop` [S, S(, 3)] in its place in a frame of `frame_size` (width, height), else 0."""
    return warp(crop, invert(matrix), frame_size, border=cv2.BORDER_CONSTANT)


def _box_of(
    inverse: Matrix, area: tuple[float, ...], frame_size: tuple[int, int], margin: float
) -> Box | None:
    """Return the whole-pixel frame box around a rectangle of the crop, or None outside."""
    x0, y0, x1, y1 = area
    corners = transform(inverse, np.array([[x0, y0], [x1, y0], [x0, y1], [x1, y1]]))
    low = np.floor(corners.min(axis=0) - margin).astype(int)
    high = np.ceil(corners.max(axis=0) + margin).astype(int)
    low = np.maximum(low, 0)
    high = np.minimum(high, frame_size)
    if (high <= low).any():
        return None
    return int(low[0]), int(low[1]), int(high[0]), int(high[1])


def _shifted(matrix: Matrix, box: Box) -> Matrix:
    """Return `matrix` for a picture whose origin is the corner of `box`."""
    out = matrix.copy()
    out[:, 2] += matrix[:, :2] @ np.array(box[:2], np.float64)
    return out
