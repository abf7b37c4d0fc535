"""Colour: stream tags, the RGB picture of a frame, HDR10 metadata in x265's notation."""

from __future__ import annotations

import re
import struct
import threading
from typing import Any

import av
import numpy as np
from av.sidedata.sidedata import Type as SideDataType
from av.video.reformatter import VideoReformatter

from fapvideo.ops.yuv import dequantise, plane_layout, resolve_matrix, yuv_to_rgb
from fapvideo.structs import Array, Bytes, ColorTags, HdrMetadata
from fapvideo.video.planar import planar_format

_LIMITED, _FULL = 1, 2
"""`AVColorRange`."""

_SWSCALE_MATRIX = {1: 1, 4: 4, 5: 5, 6: 5, 7: 7, 9: 9, 10: 9}
"""H.273 matrix -> `SWS_CS_*`."""

_BILINEAR, _FULL_CHROMA, _ACCURATE = 0x2, 0x2000, 0x40000  # `SwsFlags`; PyAV 17 names only one
UNBIASED = _BILINEAR | _FULL_CHROMA | _ACCURATE
"""How swscale converts. Its default is ten times faster (1 against 10 ms for 1080p) and 1 to 2 of
255 too dark, which would show as a patch wherever a crop is painted back."""

BT709 = ColorTags(matrix=1, primaries=1, transfer=1)

_PQ, _HLG = 16, 18
"""H.273 transfer characteristics of HDR."""


def read_tags(context: Any, pixel_format: str) -> ColorTags:
    """Return the colour tags of a decoder context; `pixel_format` as coded settles the range.

    An untagged range means full for RGB, gray and `yuvj` formats, limited for all others.
    """
    range_tag = int(context.color_range)
    full = range_tag == _FULL or pixel_format.startswith("yuvj")
    if range_tag not in (_LIMITED, _FULL):
        full = full or plane_layout(planar_format(pixel_format)).family != "yuv"
    return ColorTags(
        matrix=int(context.colorspace),
        primaries=int(context.color_primaries),
        transfer=int(context.color_trc),
        full_range=full,
    )


def write_tags(target: Any, tags: ColorTags) -> None:
    """Put the tags on an encoder context or a frame."""
    target.colorspace = tags.matrix
    target.color_primaries = tags.primaries
    target.color_trc = tags.transfer
    target.color_range = _FULL if tags.full_range else _LIMITED


def is_hdr(tags: ColorTags) -> bool:
    """Tell whether the transfer is PQ or HLG."""
    return tags.transfer in (_PQ, _HLG)


def bt709_frame(rgb: Bytes) -> av.VideoFrame:
    """Return a picture uint8 [height, width, 3] as a BT.709 4:2:0 frame."""
    return av.VideoFrame.from_ndarray(rgb, format="rgb24").reformat(
        format="yuv420p",
        dst_colorspace=BT709.matrix,
        src_color_range=_FULL,
        dst_color_range=_LIMITED,
        interpolation=UNBIASED,
    )


class RgbConverter:
    """Turns decoded frames into 8-bit RGB pictures, in the coded orientation.

    swscale by itself reads untagged video as BT.601 and gray as full range; here both follow
    the tags, and untagged matrices the picture size (`ops.yuv.resolve_matrix`). PQ and HLG code
    values are kept as they are, without tone mapping.
    """

    def __init__(self, tags: ColorTags) -> None:
        """Remember the tags of the stream."""
        self._tags = tags
        self._own = threading.local()
        """swscale's context serves one thread: two at once write beyond each other's pictures."""

    def __call__(self, frame: av.VideoFrame, planar: str, planes: tuple[Array, ...]) -> Bytes:
        """Return uint8 [height, width, 3] of a frame and its planes."""
        layout = plane_layout(planar)
        matrix = resolve_matrix(self._tags.matrix, frame.width, frame.height)
        if layout.family == "rgb" and layout.bits == 8:
            return np.stack([planes[2], planes[0], planes[1]], axis=-1)
        if layout.family == "gray":
            values = dequantise(
                planes[0], layout.bits, full_range=self._tags.full_range, chroma=False
            )
            return np.repeat(_to_bytes(values)[..., None], 3, axis=-1)
        if layout.family == "yuv" and matrix not in _SWSCALE_MATRIX:
            return self._exact(planar, planes, matrix)
        swscale = _SWSCALE_MATRIX.get(matrix, 1)
        full = self._tags.full_range or layout.family == "rgb"
        if not hasattr(self._own, "reformatter"):
            self._own.reformatter = VideoReformatter()
        picture = self._own.reformatter.reformat(
            frame,
            format="rgb24",
            src_colorspace=swscale,
            dst_colorspace=swscale,
            src_color_range=_FULL if full else _LIMITED,
            dst_color_range=_FULL,
            interpolation=UNBIASED,
        )
        return np.asarray(picture.to_ndarray(), np.uint8)

    def _exact(self, planar: str, planes: tuple[Array, ...], matrix: int) -> Bytes:
        """Convert in float what swscale has no matrix for (YCgCo)."""
        layout = plane_layout(planar)
        height, width = planes[0].shape
        components = []
        for index, plane in enumerate(planes[:3]):
            shift_x, shift_y = layout.shifts(index)
            rows = plane.repeat(1 << shift_y, axis=0)[:height]
            full = rows.repeat(1 << shift_x, axis=1)[:, :width]
            components.append(
                dequantise(full, layout.bits, full_range=self._tags.full_range, chroma=index > 0)
            )
        return _to_bytes(yuv_to_rgb(np.stack(components, axis=-1), matrix))


_POINT = r"\((\d+),(\d+)\)"
_MASTERING = re.compile(rf"G{_POINT}B{_POINT}R{_POINT}WP{_POINT}L{_POINT}")


def read_hdr(frame: av.VideoFrame) -> HdrMetadata:
    """Return the HDR10 static metadata of a frame, as `x265-params` takes it."""
    mastering = frame.side_data.get(SideDataType.MASTERING_DISPLAY_METADATA)
    light = frame.side_data.get(SideDataType.CONTENT_LIGHT_LEVEL)
    kinds = {"HDR10+": SideDataType.DYNAMIC_HDR_PLUS, "Dolby Vision": SideDataType.DOVI_METADATA}
    dynamic = [name for name, kind in kinds.items() if frame.side_data.get(kind) is not None]
    # `AVContentLightMetadata` is MaxCLL and MaxFALL in cd/m2.
    levels = () if light is None else struct.unpack_from("2I", bytes(light))
    return HdrMetadata(
        mastering_display=_mastering(bytes(mastering)) if mastering is not None else "",
        max_cll=",".join(map(str, levels)),
        dynamic=", ".join(dynamic),
    )


def _mastering(data: bytes) -> str:
    """Format `AVMasteringDisplayMetadata`: ten rationals, then two flags.

    x265 wants chromaticities in units of 0.00002 (order G, B, R, white) and luminances in 0.0001.
    """
    values = struct.unpack_from("20i", data)
    has_primaries, has_luminance = struct.unpack_from("2i", data, 80)
    numbers = [
        num / den if den else 0.0 for num, den in zip(values[::2], values[1::2], strict=True)
    ]
    red, green, blue, white = (numbers[i : i + 2] for i in (0, 2, 4, 6))
    low, high = numbers[8], numbers[9]
    if not (has_primaries and has_luminance):
        return ""
    points = "".join(
        f"{name}({round(x * 50000)},{round(y * 50000)})"
        for name, (x, y) in (("G", green), ("B", blue), ("R", red), ("WP", white))
    )
    return f"{points}L({round(high * 10000)},{round(low * 10000)})"


def mastering_numbers(hdr: HdrMetadata) -> tuple[int, ...]:
    """Return the mastering display: x, y of G, B, R, white in 0.00002, luminances in 0.0001 cd/m2.

    Ten numbers, the higher luminance before the lower; none where there is no such metadata.
    """
    found = _MASTERING.fullmatch(hdr.mastering_display)
    return () if found is None else tuple(map(int, found.groups()))


def light_levels(hdr: HdrMetadata) -> tuple[int, ...]:
    """Return MaxCLL and MaxFALL in cd/m2; nothing where there is no such metadata."""
    return tuple(map(int, hdr.max_cll.split(","))) if hdr.max_cll else ()


def _to_bytes(values: Array) -> Bytes:
    return np.rint(np.clip(values, 0.0, 1.0) * 255.0).astype(np.uint8)
