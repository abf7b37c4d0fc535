"""Cutting the aligned crop out of a frame, and pasting a finished crop back."""

from __future__ import annotations

import cv2
import numpy as np

from fapvideo.composite.planes import Box, FrameCanvas
from fapvideo.ops.geometry import Matrix, invert, scale_of, transform, warp
from fapvideo.structs import Floats

SMALLEST_ALPHA = 1 / 512
"""Less than this cannot change an 8-bit sample; set to 0, the sample keeps its bits."""


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
