"""Reading and writing pictures in a decoded frame's own samples, a box at a time.

Boxes are (x0, y0, x1, y1) whole display pixels, x1 and y1 exclusive. All arithmetic happens in the
coded orientation: the caller's arrays are turned (as views), never the frame, so that the cells of
subsampled chroma stay where the encoder put them, whatever the rotation and however odd the size.

A chroma sample stands for the luma samples of its cell: reading repeats it over the cell, writing
takes the alpha-weighted mean of the cell. The two are each other's inverse.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from fapvideo.ops.display import to_coded, to_display
from fapvideo.ops.yuv import (
    PlaneLayout,
    dequantise,
    plane_layout,
    quantise,
    resolve_matrix,
    rgb_to_yuv,
    yuv_to_rgb,
)
from fapvideo.structs import Array, Bytes, Floats, VideoFrame, VideoInfo

Box = tuple[int, int, int, int]
Region = tuple[Box, Floats]
"""A box and its alpha [h, w]."""


@dataclass(frozen=True, slots=True)
class Stroke:
    """What one `FrameCanvas.blend` painted, as displayed."""

    box: Box
    rgb: Floats
    """[h, w, 3] in [0, 1]; anything where `alpha` is 0."""
    alpha: Floats
    """[h, w] in [0, 1]."""


_GBR = (1, 2, 0)
"""Index of R, G, B's value for the planes G, B, R."""


class FrameCanvas:
    """A frame that is being painted: its planes are copied once, at the first `blend`."""

    def __init__(self, frame: VideoFrame, info: VideoInfo, *, record: bool = False) -> None:
        """Take `frame` of the video `info`; neither is changed. `record` keeps the `strokes`.

        Raises:
            ValueError: the frame's pixel format is not planar, or its size is not `info`'s.
        """
        self._frame = frame
        self._layout = plane_layout(frame.pixel_format)
        self._info = info
        self._height, self._width = frame.planes[0].shape
        if (self._width, self._height) != (info.width, info.height):
            raise ValueError(
                f"frame {frame.index} is {self._width}x{self._height}, "
                f"the video {info.width}x{info.height}"
            )
        self._matrix = resolve_matrix(info.color.matrix, info.width, info.height)
        self._full = info.color.full_range or self._layout.jpeg or self._layout.family == "rgb"
        self._planes: list[Array] = list(frame.planes)
        self._copied = False
        self._record = record
        self.strokes: list[Stroke] = []
        """What was painted, in order, where that is recorded."""

    def read_rgb(self, box: Box, *, clip: bool = True) -> Floats:
        """Return float32 [h, w, 3] RGB of `box` as displayed, at the full bit depth.

        Values are in [0, 1]. `clip=False` keeps what lies outside the legal range, so that
        painting it back with alpha 1 gives the very same samples.
        """
        coded = self._coded_box(box)
        components = [self._component(plane, coded) for plane in range(self._layout.colour_planes)]
        if self._layout.family == "gray":
            rgb = np.repeat(components[0][..., None], 3, axis=-1)
        elif self._layout.family == "rgb":
            rgb = np.stack([components[2], components[0], components[1]], axis=-1)
        else:
            rgb = yuv_to_rgb(np.stack(components, axis=-1), self._matrix)
        if clip:
            np.clip(rgb, 0.0, 1.0, out=rgb)
        return np.ascontiguousarray(to_display(rgb, self._info))

    def blend(self, rgb: Floats, alpha: Floats, box: Box) -> None:
        """Paint `rgb` float32 [h, w, 3] over `box` with `alpha` float32 [h, w] in [0, 1].

        Every sample becomes round(old * (1 - a) + new * a); one under which alpha is 0 keeps its
        bits. `rgb` may hold anything where alpha is 0. A plane of transparency is not touched.

        Raises:
            ValueError: the box leaves the picture, or the shapes do not match it.
        """
        coded = self._coded_box(box)
        shape = (box[3] - box[1], box[2] - box[0])
        if rgb.shape != (*shape, 3) or alpha.shape != shape:
            raise ValueError(f"box {box} needs rgb {(*shape, 3)} and alpha {shape}")
        if self._record:
            self.strokes.append(Stroke(box, rgb, alpha))
        alpha = to_coded(np.asarray(alpha, np.float32), self._info)
        touched = alpha > 0
        if not touched.any():
            return
        rgb = np.where(touched[..., None], to_coded(rgb, self._info), 0.0).astype(np.float32)
        self._copy_once()
        for plane, values in enumerate(self._to_components(rgb)):
            self._paint(plane, values, alpha, coded)

    def frame(self) -> VideoFrame:
        """Return the painted frame: the original one if nothing was painted."""
        if self._copied:
            self._frame = replace(self._frame, planes=tuple(self._planes))
            self._copied = False  # the next blend must not reach into the frame given away
        return self._frame

    # ------------------------------------------------------------------------ inside

    def _copy_once(self) -> None:
        if not self._copied:
            colour = self._layout.colour_planes
            self._planes[:colour] = [plane.copy() for plane in self._planes[:colour]]
            self._copied = True

    def _coded_box(self, box: Box) -> Box:
        """Turn a display box into the coded orientation, after checking it."""
        width, height = self._width, self._height
        shown, rotation = self._info.display_size, self._info.rotation
        x0, y0, x1, y1 = box
        if not (0 <= x0 < x1 <= shown[0] and 0 <= y0 < y1 <= shown[1]):
            raise ValueError(f"box {box} is not inside the picture of {shown[0]}x{shown[1]}")
        if self._info.mirrored:
            x0, x1 = shown[0] - x1, shown[0] - x0
        if rotation == 90:  # display (x, y) is coded (y, H - 1 - x)
            return y0, height - x1, y1, height - x0
        if rotation == 180:
            return width - x1, height - y1, width - x0, height - y0
        if rotation == 270:  # display (x, y) is coded (W - 1 - y, x)
            return width - y1, x0, width - y0, x1
        return x0, y0, x1, y1

    def _component(self, plane: int, box: Box) -> Floats:
        """Return one plane over a coded box at luma resolution, in nominal values."""
        shift_x, shift_y = self._layout.shifts(plane)
        x0, y0, x1, y1 = box
        cells = self._planes[plane][_cells(y0, y1, shift_y), _cells(x0, x1, shift_x)]
        values = dequantise(
            cells, self._layout.bits, full_range=self._full, chroma=_is_chroma(self._layout, plane)
        )
        if shift_y:
            values = values[(np.arange(y0, y1) >> shift_y) - (y0 >> shift_y)]
        if shift_x:
            values = values[:, (np.arange(x0, x1) >> shift_x) - (x0 >> shift_x)]
        return values

    def _to_components(self, rgb: Floats) -> list[Floats]:
        """Split coded-orientation RGB into the planes' nominal values at luma resolution."""
        if self._layout.family == "rgb":
            return [rgb[..., channel] for channel in _GBR]
        yuv = rgb_to_yuv(rgb, self._matrix)
        return [yuv[..., index] for index in range(self._layout.colour_planes)]

    def _paint(self, plane: int, values: Floats, alpha: Floats, box: Box) -> None:
        """Blend nominal `values` into one plane; see the module docstring for chroma."""
        shift_x, shift_y = self._layout.shifts(plane)
        x0, y0, x1, y1 = box
        rows, columns = _cells(y0, y1, shift_y), _cells(x0, x1, shift_x)
        bits = self._layout.bits
        chroma = _is_chroma(self._layout, plane)
        new = quantise(values, bits, full_range=self._full, chroma=chroma) * alpha
        weight = alpha
        if shift_x or shift_y:
            counts = (
                _cell_sizes(y0, y1, shift_y, self._height)[:, None]
                * (_cell_sizes(x0, x1, shift_x, self._width)[None, :])
            )
            new = _sum_cells(new, box, shift_x, shift_y) / counts
            weight = _sum_cells(alpha, box, shift_x, shift_y) / counts
        target = self._planes[plane][rows, columns]
        blended = np.rint(target * (1.0 - weight) + new)
        np.clip(blended, 0, (1 << bits) - 1, out=blended)
        np.copyto(target, blended.astype(target.dtype), where=weight > 0)


def displayed(frame: VideoFrame, info: VideoInfo) -> Bytes:
    """Return a frame as RGB uint8 [H, W, 3], as displayed."""
    width, height = info.display_size
    rgb = FrameCanvas(frame, info).read_rgb((0, 0, width, height))
    return np.round(rgb * 255).astype(np.uint8)


def read_rgb(frame: VideoFrame, info: VideoInfo, box: Box, *, clip: bool = True) -> Floats:
    """Return float32 [h, w, 3] RGB in [0, 1] of a display box; see `FrameCanvas.read_rgb`."""
    return FrameCanvas(frame, info).read_rgb(box, clip=clip)


def blend(frame: VideoFrame, info: VideoInfo, rgb: Floats, alpha: Floats, box: Box) -> VideoFrame:
    """Return a new frame with `rgb` painted over a display box; see `FrameCanvas.blend`."""
    canvas = FrameCanvas(frame, info)
    canvas.blend(rgb, alpha, box)
    return canvas.frame()


def changed_outside(
    before: VideoFrame, after: VideoFrame, info: VideoInfo, regions: Iterable[Region] = ()
) -> int:
    """Count samples that differ between two frames although no region allows it.

    A region allows a sample if alpha is above 0 at one or more of the displayed pixels it stands
    for. This shares no code with `blend`: it is the check, not the rule.
    """
    if len(before.planes) != len(after.planes) or before.pixel_format != after.pixel_format:
        raise ValueError(f"{before.pixel_format} and {after.pixel_format} cannot be compared")
    layout = plane_layout(before.pixel_format)
    touched: Sequence[tuple[Array, Array]] | None = None
    count = 0
    for plane, (old, new) in enumerate(zip(before.planes, after.planes, strict=True)):
        if old is new:
            continue
        changed = old != new
        if plane < layout.colour_planes and changed.any():
            if touched is None:
                touched = [_touched_pixels(region, info) for region in regions]
            shift_x, shift_y = layout.shifts(plane)
            for x, y in touched:
                changed[y >> shift_y, x >> shift_x] = False
        count += int(np.count_nonzero(changed))
    return count


# ------------------------------------------------------------------------------------ helpers


def _touched_pixels(region: Region, info: VideoInfo) -> tuple[Array, Array]:
    """Return the coded (x, y) of every pixel of a region whose alpha is above 0."""
    (left, top, _, _), alpha = region
    rows, columns = np.nonzero(alpha > 0)
    x, y = columns + left, rows + top
    if info.mirrored:
        x = info.display_size[0] - 1 - x
    if info.rotation == 90:
        return y, info.height - 1 - x
    if info.rotation == 180:
        return info.width - 1 - x, info.height - 1 - y
    if info.rotation == 270:
        return info.width - 1 - y, x
    return x, y


def _is_chroma(layout: PlaneLayout, plane: int) -> bool:
    return layout.family == "yuv" and plane in (1, 2)


def _cells(start: int, stop: int, shift: int) -> slice:
    """Return the cells that the luma samples [start, stop) lie in."""
    return slice(start >> shift, -(-stop >> shift))


def _cell_sizes(start: int, stop: int, shift: int, size: int) -> Floats:
    """Return how many luma samples of a picture of `size` each of those cells holds."""
    cells = _cells(start, stop, shift)
    first = np.arange(cells.start, cells.stop) << shift
    return (np.minimum(first + (1 << shift), size) - first).astype(np.float32)


def _sum_cells(values: Floats, box: Box, shift_x: int, shift_y: int) -> Floats:
    """Sum [h, w] values of a coded box over the chroma cells it lies in."""
    x0, y0, x1, y1 = box
    rows, columns = _cells(y0, y1, shift_y), _cells(x0, x1, shift_x)
    step_x, step_y = 1 << shift_x, 1 << shift_y
    shape = ((rows.stop - rows.start) * step_y, (columns.stop - columns.start) * step_x)
    whole = np.zeros(shape, np.float32)  # the box grown to whole cells
    top, left = y0 - rows.start * step_y, x0 - columns.start * step_x
    whole[top : top + y1 - y0, left : left + x1 - x0] = values
    # Strided adds: several times faster than np.add.reduceat on such short groups.
    by_rows = sum((whole[k::step_y] for k in range(1, step_y)), whole[::step_y])
    return sum((by_rows[:, k::step_x] for k in range(1, step_x)), by_rows[:, ::step_x])
