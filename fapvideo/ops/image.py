"""Small image helpers: distances to outlines, soft edges, blurs, statistics."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]

LUMA = np.array([0.2126, 0.7152, 0.0722], np.float32)
"""BT.709."""
DISTANCE_GRID = 64
FAR_CELLS = 3
"""Cells of that grid beyond which an exact distance does not matter to its neighbours."""
BLOCK = 16
"""Windows are whole blocks of so many pixels: most reduced pictures have the same pixels then."""
SHARPEST_REDUCED = 2.0
"""Smallest sigma, in reduced pixels, at which a reduced picture still shows the blur smoothly."""


def picture_fault(picture: Any) -> str:
    """Return why something is no RGB picture uint8 [H, W, 3]; empty where it is one."""
    if not isinstance(picture, np.ndarray):
        return f"a {type(picture).__name__} is no picture"
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3 or not picture.size:
        return f"{picture.dtype} {list(picture.shape)} is no picture"
    return ""


def signed_distance(
    polygons: Sequence[Floats],
    size: int,
    reach: float | None = None,
    window: tuple[slice, slice] | None = None,
) -> NDArray[np.float32]:
    """Return [size, size] distances in pixels to the union of closed polygons, negative inside.

    Exact to a fraction of a pixel and continuous in the polygons' points, so masks made from it do
    not pop. Computed on a coarse grid (a distance is nearly linear) and enlarged.

    Args:
        polygons: each [N, 2], (x, y) in pixels of the picture.
        size: side of the square picture.
        reach: what is farther outside needs no exact distance, only one above `reach`; only the
            polygons' surroundings are computed then.
        window: rows and columns that are wanted; by default all.

    Source: the crossing-number form by Quilez, "2D distance functions".
    """
    grid = min(size, DISTANCE_GRID)
    step = size / grid
    # Cubic enlargement looks two cells around; beyond `far` no cell touches what must be exact.
    far = 1e6 if reach is None else reach + FAR_CELLS * step
    if window is not None and size % grid:
        return signed_distance(polygons, size, reach)[window]
    seen = [_cells_of(span, size, grid) for span in window or (slice(None), slice(None))]
    best = np.full([cells.stop - cells.start for cells in seen], np.inf, np.float32)
    for polygon in polygons:
        points = np.asarray(polygon, np.float32)
        columns, rows = (_cells_near(points[:, k], far, step, seen[1 - k]) for k in (0, 1))
        x, y = (
            (np.arange(s.start, s.stop) + 0.5).astype(np.float32) * step for s in (columns, rows)
        )
        part = best[_less(rows, seen[0].start), _less(columns, seen[1].start)]
        np.minimum(part, _polygon_distance(x, y, points), out=part)
    best[np.isinf(best)] = far
    pixels = size / grid
    if grid != size:
        wide, high = round(best.shape[1] * pixels), round(best.shape[0] * pixels)
        best = cv2.resize(best, (wide, high), interpolation=cv2.INTER_CUBIC)
    if window is None:
        return best
    rows, columns = (slice(*span.indices(size)[:2]) for span in window)
    return best[
        _less(rows, round(seen[0].start * pixels)), _less(columns, round(seen[1].start * pixels))
    ]


def _cells_of(span: slice, size: int, grid: int) -> slice:
    """Return the grid's cells under these pixels, and those around them that cubic sees."""
    start, stop, _ = span.indices(size)
    first, last = start * grid // size - 2, -(-stop * grid // size) + 2
    return slice(max(0, first), min(grid, last))


def _less(span: slice, start: int) -> slice:
    return slice(span.start - start, span.stop - start)


def _cells_near(values: Floats, far: float, step: float, seen: slice) -> slice:
    """Return the cells in `seen` that are not farther than `far` from `values`; perhaps none."""
    first = int((float(values.min()) - far) // step)
    last = int((float(values.max()) + far) // step) + 1
    return slice(min(max(seen.start, first), seen.stop), min(max(seen.start, last), seen.stop))


def _polygon_distance(x: Floats, y: Floats, polygon: Floats) -> Floats:
    """Return [len(y), len(x)] signed distances to one polygon [N, 2]."""
    start, stop = polygon, np.roll(polygon, 1, axis=0)
    px, py = x - start[:, :1], y - start[:, 1:]
    ex, ey = (stop - start)[:, :1], (stop - start)[:, 1:]
    # What depends on x or y alone stays a row or a column; only sums of both are whole planes.
    length = np.maximum(ex**2 + ey**2, 1e-12)[..., None]
    along = (px * ex)[:, None, :] + (py * ey)[:, :, None]
    along /= length
    np.maximum(along, 0, out=along)
    np.minimum(along, 1, out=along)
    across = px[:, None, :] - ex[..., None] * along
    np.multiply(across, across, out=across)
    along *= ey[..., None]
    np.subtract(py[:, :, None], along, out=along)
    np.multiply(along, along, out=along)
    along += across
    distance = np.sqrt(along.min(axis=0))
    above, below_stop = py >= 0, y < stop[:, 1:]
    left = (ex * py)[:, :, None] > (ey * px)[:, None, :]
    rising, falling = (above & below_stop)[..., None], (~above & ~below_stop)[..., None]
    inside = np.logical_xor.reduce(np.where(left, rising, falling), axis=0)
    np.negative(distance, out=distance, where=inside)
    return distance


def smoothstep(values: Floats) -> Floats:
    """Return 0 below 0, 1 above 1, and a smooth S in between."""
    t = np.clip(values, 0.0, 1.0)
    rest = 3.0 - 2.0 * t
    t *= t
    t *= rest
    return t


def soft_edge(distance: Floats, start: float, width: float) -> Floats:
    """Return 1 up to `start`, 0 from `start + width`, smooth in between (same unit as distance)."""
    width = max(width, 1e-6)
    out = np.zeros(distance.shape, distance.dtype)
    inside = np.flatnonzero(distance < start + width)
    share = (distance.ravel()[inside] - start) / width
    out.reshape(-1)[inside] = smoothstep(1.0 - share)
    return out


def window_of(mask: Floats, margin: float) -> tuple[slice, slice]:
    """Return the rows and columns around the positive values of `mask` [H, W].

    Args:
        mask: at least one value should be positive; else the whole picture is returned.
        margin: pixels on every side, rounded up to blocks of 16 pixels, so that a blur in the
            window, which may be computed on a reduced picture, sees the same pixels there.
    """
    rows, columns = (np.flatnonzero(mask.max(axis=axis) > 0) for axis in (1, 0))
    if not len(rows):
        return slice(None), slice(None)
    return block_span(rows[0], rows[-1], margin), block_span(columns[0], columns[-1], margin)


def block_span(first: float, last: float, margin: float) -> slice:
    """Return whole blocks of 16 pixels that hold `first` to `last` with a margin; from 0 on."""
    start, stop = int((first - margin) // BLOCK), int((last + margin) // BLOCK) + 1
    return slice(max(0, start) * BLOCK, max(0, stop) * BLOCK)


def blur(image: Floats, sigma: float) -> Floats:
    """Gaussian blur with reflected borders; no-op for a sigma under 0.2 px.

    A wide blur is computed on a reduced picture: it holds no detail that would be lost, and costs
    a fraction.
    """
    if sigma < 0.2:
        return image
    factor = reduction(sigma, image.shape)
    if factor == 1:
        return cv2.GaussianBlur(image, (0, 0), sigma, borderType=cv2.BORDER_REFLECT_101)
    size = (image.shape[1], image.shape[0])
    small = reduced(image, factor)
    small = cv2.GaussianBlur(small, (0, 0), sigma / factor, borderType=cv2.BORDER_REFLECT_101)
    return cv2.resize(small, size, interpolation=cv2.INTER_LINEAR)


def reduction(sigma: float, shape: Sequence[int]) -> int:
    """Return the power of two by which a picture [H, W, ...] may be reduced to show that blur."""
    factor = 1
    while sigma / factor > 2 * SHARPEST_REDUCED and min(shape[:2]) // (2 * factor) >= 8:
        factor *= 2
    return factor


def reduced(image: Floats, factor: int) -> Floats:
    """Return `image` [H, W(, C)], `factor` times smaller by area averaging, sizes rounded up."""
    size = (-(-image.shape[1] // factor), -(-image.shape[0] // factor))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)


def closed(image: Floats, radius: float) -> Floats:
    """Return [H, W(, 3)] without what is dark and thinner than twice `radius` pixels, softened."""
    side = 2 * max(1, round(radius)) + 1
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    return blur(cv2.morphologyEx(image, cv2.MORPH_CLOSE, kernel), radius / 2)


def luma(rgb: Floats) -> Floats:
    """Return BT.709 luma of [..., 3] RGB."""
    if rgb.ndim == 3 and rgb.dtype == np.float32:
        return cv2.transform(rgb, LUMA[None])  # several times as fast
    return rgb @ LUMA


def chroma(rgb: Floats) -> Floats:
    """Return [..., 2] how much bluer and redder than grey [..., 3] RGB is: BT.709 Cb and Cr."""
    y = luma(rgb)
    return np.stack([(rgb[..., 2] - y) / 1.8556, (rgb[..., 0] - y) / 1.5748], axis=-1)


def as_rgb(plane: Floats) -> Floats:
    """Return [H, W, 3]: one plane three times, to reckon with a picture.

    Arithmetic with `plane[..., None]` gives the same and takes several times as long.
    """
    return cv2.merge([plane, plane, plane])


def resize(image: Floats, size: int) -> Floats:
    """Resize a square picture: area averaging down, bilinear up."""
    if image.shape[0] == size:
        return image
    down = size < image.shape[0]
    return cv2.resize(
        image, (size, size), interpolation=cv2.INTER_AREA if down else cv2.INTER_LINEAR
    )
