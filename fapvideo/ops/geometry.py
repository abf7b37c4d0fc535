"""Similarity transforms, image warps, and how far boxes cover each other.

A transform is a float64 [2, 3] matrix that maps (x, y) of the source to (x, y) of the destination,
with the origin at the outer corner of the top left pixel (a pixel's centre is at +0.5), so that a
matrix can be scaled to another crop size by plain multiplication.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

Matrix = NDArray[np.float64]
Points = NDArray[np.floating[Any]]


def fit_similarity(
    source: Points, target: Points, weights: Points | None = None
) -> tuple[float, Matrix, Matrix]:
    """Fit `target ~ scale * source @ rotation.T + shift` by weighted least squares.

    Args:
        source: [N, D] points.
        target: [N, D] points.
        weights: [N] non-negative weights, or None for equal ones.

    Returns:
        scale, rotation [D, D] (no reflection), shift [D].

    Source: Umeyama, "Least-squares estimation of transformation parameters between two point
    patterns", TPAMI 1991.
    """
    w = np.ones(len(source)) if weights is None else np.asarray(weights, np.float64)
    w = w / w.sum()
    x, y = np.asarray(source, np.float64), np.asarray(target, np.float64)
    x_mean, y_mean = w @ x, w @ y
    x, y = x - x_mean, y - y_mean
    u, s, vt = np.linalg.svd((y * w[:, None]).T @ x)
    sign = np.ones(len(s))
    sign[-1] = np.sign(np.linalg.det(u @ vt))
    rotation = (u * sign) @ vt
    scale = float((s * sign).sum() / max(float(w @ (x**2).sum(1)), 1e-12))
    return scale, rotation, y_mean - scale * rotation @ x_mean


def similarity_matrix(source: Points, target: Points, weights: Points | None = None) -> Matrix:
    """Return the [2, 3] similarity that maps `source` [N, 2] onto `target` [N, 2]."""
    scale, rotation, shift = fit_similarity(source, target, weights)
    return np.column_stack([scale * rotation, shift])


def transform(matrix: Matrix, points: Points) -> NDArray[np.float32]:
    """Map [..., 2 or 3] points; a third coordinate (depth) is scaled with the transform."""
    out = np.empty(points.shape, np.float32)
    out[..., :2] = points[..., :2] @ matrix[:, :2].T + matrix[:, 2]
    if points.shape[-1] == 3:
        out[..., 2] = points[..., 2] * scale_of(matrix)
    return out


def stretched(matrix: Matrix, shape: tuple[float, float]) -> Matrix:
    """Return a [2, 3] transform of square pixels for pixels that are `shape` (width, height)."""
    return matrix * np.array([*shape, 1.0])


def invert(matrix: Matrix) -> Matrix:
    """Return the inverse of a [2, 3] transform."""
    linear = np.linalg.inv(matrix[:, :2])
    return np.column_stack([linear, -linear @ matrix[:, 2]])


def combined(second: Matrix, first: Matrix) -> Matrix:
    """Return the [2, 3] transform that does `first`, then `second`."""
    linear = second[:, :2] @ first[:, :2]
    return np.column_stack([linear, second[:, :2] @ first[:, 2] + second[:, 2]])


def scale_of(matrix: Matrix) -> float:
    """Return the mean enlargement of a [2, 3] transform."""
    return float(np.sqrt(abs(np.linalg.det(matrix[:, :2]))))


def turned_square(
    centre: Points, direction: Points, side: float, size: int, *, flip: bool = False
) -> Matrix:
    """Return the transform of a square whose upper edge lies along `direction` into a crop.

    Args:
        centre: [2 or more] x, y of its middle; what follows is not looked at.
        direction: [2] any length.
        side: of the square, in the picture.
        size: of the crop.
        flip: mirror the crop.
    """
    cos, sin = direction / max(float(np.linalg.norm(direction)), 1e-6)
    scale = size / max(side, 1e-3)
    linear = scale * np.array([[cos, sin], [-sin, cos]])
    if flip:
        linear[0] *= -1
    return np.column_stack([linear, size / 2 - linear @ centre[:2]])


def warp(
    image: NDArray[Any],
    matrix: Matrix,
    size: tuple[int, int],
    *,
    border: int = cv2.BORDER_REPLICATE,
    interpolation: int = cv2.INTER_LINEAR,
) -> NDArray[Any]:
    """Resample `image` [H, W(, C)] through `matrix` into a picture of `size` (width, height).

    When the transform shrinks by more than two the image is first reduced by area averaging, so
    that fine texture does not alias.
    """
    scale = scale_of(matrix)
    if scale < 0.5 and min(image.shape[:2]) * scale >= 8:
        factor = 2 ** int(np.floor(np.log2(1.0 / scale)))
        height, width = (max(1, s // factor) for s in image.shape[:2])
        ratio = np.array([image.shape[1] / width, image.shape[0] / height, 1.0])
        image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
        matrix = matrix * ratio
    centred = matrix.copy()
    centred[:, 2] += matrix[:, :2] @ np.array([0.5, 0.5]) - 0.5
    return cv2.warpAffine(image, centred, size, flags=interpolation, borderMode=border)


def box_areas(boxes: Points) -> NDArray[Any]:
    """Return [N] areas of boxes [N, 4] (x0, y0, x1, y1); 0 where a side is negative."""
    return np.maximum(boxes[:, 2:] - boxes[:, :2], 0).prod(axis=-1)


def shared_areas(a: Points, b: Points) -> NDArray[Any]:
    """Return [N, M] areas that boxes [N, 4] and [M, 4] have in common."""
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    return np.maximum(high - low, 0).prod(axis=-1)


def iou(a: ArrayLike, b: ArrayLike) -> NDArray[Any]:
    """Return [N, M] intersection over union of boxes [N, 4] and [M, 4]; 0 where both are empty."""
    a, b = np.asarray(a).reshape(-1, 4), np.asarray(b).reshape(-1, 4)
    shared = shared_areas(a, b)
    return shared / np.maximum(box_areas(a)[:, None] + box_areas(b)[None] - shared, 1e-9)
