"""Small image helpers: distances to outlines, soft edges, blurs, statistics."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]

DISTANCE_GRID = 64
SHARPEST_REDUCED = 2.0
"""Smallest sigma, in reduced pixels, at which a reduced picture still shows the blur smoothly."""


def signed_distance(polygons: Sequence[Floats], size: int) -> Floats:
    """Return [size, size] distances in pixels to the union of closed polygons, negative inside.

    Exact to a fraction of a pixel and continuous in the polygons' points, so masks made from it do
    not pop. Computed on a coarse grid (a distance is nearly linear) and enlarged.

    Args:
        polygons: each [N, 2], (x, y) in pixels of the picture.
        size: side of the square picture.

    Source: the crossing-number form by Quilez, "2D distance functions".
    """
    grid = min(size, DISTANCE_GRID)
    step = size / grid
    axis = (np.arange(grid, dtype=np.float32) + 0.5) * step
    x, y = np.meshgrid(axis, axis)
    best: Floats | None = None
    for polygon in polygons:
        distance = _polygon_distance(x, y, np.asarray(polygon, np.float32))
        best = distance if best is None else np.minimum(best, distance)
    if best is None:
        return np.full((size, size), 1e6, np.float32)
    if grid == size:
        return best
    return cv2.resize(best, (size, size), interpolation=cv2.INTER_CUBIC)


def _polygon_distance(x: Floats, y: Floats, polygon: Floats) -> Floats:
    """Return the signed distance of every (x, y) to one polygon [N, 2]."""
    start, stop = polygon, np.roll(polygon, 1, axis=0)
    px = x.ravel()[None] - start[:, :1]
    py = y.ravel()[None] - start[:, 1:]
    ex, ey = (stop - start)[:, :1], (stop - start)[:, 1:]
    along = np.clip((px * ex + py * ey) / np.maximum(ex**2 + ey**2, 1e-12), 0, 1)
    squared = ((px - ex * along) ** 2 + (py - ey * along) ** 2).min(axis=0)
    above = py >= 0
    below_stop = y.ravel()[None] < stop[:, 1:]
    left = ex * py > ey * px
    crossing = (above & below_stop & left) | (~above & ~below_stop & ~left)
    inside = crossing.sum(axis=0) % 2 == 1
    return np.where(inside, -1, 1).astype(np.float32).reshape(x.shape) * np.sqrt(squared).reshape(
        x.shape
    )


def smoothstep(values: Floats) -> Floats:
    """Return 0 below 0, 1 above 1, and a smooth S in between."""
    t = np.clip(values, 0.0, 1.0)
    return t * t * (3.0 - 2.0 * t)


def soft_edge(distance: Floats, start: float, width: float) -> Floats:
    """Return 1 up to `start`, 0 from `start + width`, smooth in between (same unit as distance)."""
    return smoothstep(1.0 - (distance - start) / max(width, 1e-6))


def blur(image: Floats, sigma: float) -> Floats:
    """Gaussian blur with reflected borders; no-op for a sigma under 0.2 px.

    A wide blur is computed on a reduced picture: it holds no detail that would be lost, and costs
    a fraction.
    """
    if sigma < 0.2:
        return image
    factor = 1
    while sigma / factor > 2 * SHARPEST_REDUCED and min(image.shape[:2]) // (2 * factor) >= 8:
        factor *= 2
    if factor == 1:
        return cv2.GaussianBlur(image, (0, 0), sigma, borderType=cv2.BORDER_REFLECT_101)
    size = (image.shape[1], image.shape[0])
    small_size = (-(-size[0] // factor), -(-size[1] // factor))
    small = cv2.resize(image, small_size, interpolation=cv2.INTER_AREA)
    small = cv2.GaussianBlur(small, (0, 0), sigma / factor, borderType=cv2.BORDER_REFLECT_101)
    return cv2.resize(small, size, interpolation=cv2.INTER_LINEAR)


def luma(rgb: Floats) -> Floats:
    """Return BT.709 luma of [..., 3] RGB."""
    return rgb @ np.array([0.2126, 0.7152, 0.0722], np.float32)


def resize(image: Floats, size: int) -> Floats:
    """Resize a square picture: area averaging down, bilinear up."""
    if image.shape[0] == size:
        return image
    down = size < image.shape[0]
    return cv2.resize(
        image, (size, size), interpolation=cv2.INTER_AREA if down else cv2.INTER_LINEAR
    )
