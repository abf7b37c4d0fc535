"""Warping a reference photo onto other landmarks, triangle by triangle."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from fapvideo.ops import mesh
from fapvideo.structs import Floats

SUBPIXEL_BITS = 4
STRAY = 3.0
"""How far, in pixels of the photo, a pixel may be read beyond its triangle."""
PAINTED_BEYOND = 1.5
"""No pixel is painted farther than this from its triangle, pixels of the crop."""
SLIVER = 0.25
"""Twice the area, in pixels, under which a triangle is not painted."""
LIP_MARGIN = 0.2


def triangle_map(points: Floats, size: int) -> NDArray[np.int32]:
    """Return [size, size] the index of the visible mesh triangle at every pixel, -1 outside.

    Triangles are painted from far to near, so a nose in profile hides the cheek behind it. Those
    seen from behind or edge-on are left out: a sliver has no picture, only stray pixels.

    Args:
        points: [478, 3] landmarks in crop pixels.
        size: side of the crop.
    """
    corners = points[mesh.triangles()]
    a, b, c = corners[:, 0, :2], corners[:, 1, :2], corners[:, 2, :2]
    facing = (b - a)[:, 1] * (c - a)[:, 0] - (b - a)[:, 0] * (c - a)[:, 1]
    order = np.argsort(-corners[..., 2].mean(axis=1))
    order = order[facing[order] > SLIVER]
    fixed = np.round((corners[..., :2] - 0.5) * (1 << SUBPIXEL_BITS)).astype(np.int32)
    ids = np.full((size, size), -1, np.int32)
    for index, triangle in zip(order.tolist(), fixed[order], strict=True):
        cv2.fillConvexPoly(ids, triangle, index, lineType=cv2.LINE_8, shift=SUBPIXEL_BITS)
    return ids


def source_map(points: Floats, source: Floats, ids: NDArray[np.int32]) -> Floats:
    """Return [S, S, 2]: where in the source every pixel comes from (x, y; pixel-corner origin).

    Pixels outside the mesh all come from one place.

    Args:
        points: [478, >=2] landmarks of the destination.
        source: [478, >=2] landmarks of the source picture.
        ids: triangle index per pixel, from `triangle_map`.
    """
    size = ids.shape[0]
    triangles = mesh.triangles()
    a, b, c = (points[triangles[:, k], :2].astype(np.float64) for k in range(3))
    u, v, w = (source[triangles[:, k], :2].astype(np.float64) for k in range(3))
    edges = np.stack([b - a, c - a], axis=-1)
    determinant = edges[:, 0, 0] * edges[:, 1, 1] - edges[:, 0, 1] * edges[:, 1, 0]
    safe = np.where(np.abs(determinant) < 1e-6, 1e-6, determinant)
    inverse = np.empty_like(edges)
    inverse[:, 0, 0], inverse[:, 1, 1] = edges[:, 1, 1] / safe, edges[:, 0, 0] / safe
    inverse[:, 0, 1], inverse[:, 1, 0] = -edges[:, 0, 1] / safe, -edges[:, 1, 0] / safe
    linear = np.stack([v - u, w - u], axis=-1) @ inverse
    shift = u - np.einsum("tij,tj->ti", linear, a)
    affine = np.concatenate([linear.reshape(-1, 4), shift], axis=1)
    affine = np.concatenate([affine, [[0, 0, 0, 0, *u[0]]]]).astype(np.float32)  # for index -1
    axis = np.arange(size, dtype=np.float32) + 0.5
    x, y = axis[None, :], axis[:, None]
    out = np.empty((size, size, 2), np.float32)
    for k in range(2):
        by_x, by_y, rest = (np.take(affine[:, c], ids) for c in (2 * k, 2 * k + 1, 4 + k))
        by_x *= x
        by_y *= y
        by_x += by_y
        np.add(by_x, rest, out=out[..., k])
    # A pixel on the rim of a thin triangle is extrapolated; it must not leave the triangle's photo.
    strays = np.linalg.norm(linear, axis=2).max(axis=1) * PAINTED_BEYOND > STRAY
    pixels = np.flatnonzero(np.take(np.append(strays, False), ids))
    corners = np.stack([u, v, w]).astype(np.float32)
    lowest, highest = corners.min(axis=0) - STRAY, corners.max(axis=0) + STRAY
    found, flat = ids.ravel()[pixels], out.reshape(-1, 2)
    flat[pixels] = np.clip(flat[pixels], lowest[found], highest[found])
    return out


def without_teeth(source: Floats) -> Floats:
    """Return the reference landmarks [478, 3] with the inner lip line moved into the lips.

    The mesh's inner lip line is rarely exact, and one pixel of the reference's teeth shows as a
    white sliver on the target's closed lips.
    """
    out = source.copy()
    inner, outer = list(mesh.LIPS_INNER), list(mesh.LIPS_OUTER)
    out[inner] += LIP_MARGIN * (source[outer] - source[inner])
    return out


def sample(image: Floats, where: Floats) -> Floats:
    """Read `image` [H, W, 3] float32 at the positions `where` [S, S, 2], bilinear."""
    return cv2.remap(
        image,
        where[..., 0] - 0.5,
        where[..., 1] - 0.5,
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )
