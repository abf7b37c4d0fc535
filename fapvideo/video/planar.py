"""Planes of decoded frames as numpy arrays, and back; packed formats become planar without loss."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from fapvideo.errors import VideoReadError
from fapvideo.ops.yuv import plane_layout
from fapvideo.structs import Array, VideoFrame

_Component = tuple[int, int, int]
"""(plane, first sample, step between samples), one for each plane of the planar twin."""


@dataclass(frozen=True, slots=True)
class _Packing:
    """How a packed or semi-planar format maps to its planar twin."""

    twin: str
    components: tuple[_Component, ...]
    shift: int = 0
    """Unused low bits of a sample (`p010` keeps its 10 bits at the top of 16)."""


def _interleaved(twin: str, order: str, size: int) -> _Packing:
    """Describe packed RGB: `order` names the bytes, `size` samples make a pixel."""
    planes = "gbra" if twin.startswith("gbra") else "gbr"
    return _Packing(twin, tuple((0, order.index(name), size) for name in planes))


def _semi_planar(twin: str, *, swapped: bool = False, shift: int = 0) -> _Packing:
    """Describe a luma plane followed by one of U V pairs (V U if `swapped`)."""
    return _Packing(twin, ((0, 0, 1), (1, int(swapped), 2), (1, 1 - swapped, 2)), shift)


def _packed_422(twin: str, luma: int, u: int, v: int, shift: int = 0) -> _Packing:
    """Describe Y U Y V and its permutations by the position of each sample."""
    return _Packing(twin, ((0, luma, 2), (0, u, 4), (0, v, 4)), shift)


_PACKED = {
    **{name: _interleaved("gbrp", name[:3], 3) for name in ("rgb24", "bgr24")},
    **{name: _interleaved("gbrap", name, 4) for name in ("rgba", "bgra", "argb", "abgr")},
    **{name: _interleaved("gbrp", name, 4) for name in ("rgb0", "bgr0", "0rgb", "0bgr")},
    **{f"{name}48le": _interleaved("gbrp16le", name, 3) for name in ("rgb", "bgr")},
    **{f"{name}64le": _interleaved("gbrap16le", name, 4) for name in ("rgba", "bgra")},
    "ya8": _Packing("gbrap", ((0, 0, 2), (0, 0, 2), (0, 0, 2), (0, 1, 2))),
    "ya16le": _Packing("gbrap16le", ((0, 0, 2), (0, 0, 2), (0, 0, 2), (0, 1, 2))),
    "yuyv422": _packed_422("yuv422p", 0, 1, 3),
    "yvyu422": _packed_422("yuv422p", 0, 3, 1),
    "uyvy422": _packed_422("yuv422p", 1, 0, 2),
    "y210le": _packed_422("yuv422p10le", 0, 1, 3, shift=6),
    "y212le": _packed_422("yuv422p12le", 0, 1, 3, shift=4),
    "nv12": _semi_planar("yuv420p"),
    "nv21": _semi_planar("yuv420p", swapped=True),
    "nv16": _semi_planar("yuv422p"),
    "nv24": _semi_planar("yuv444p"),
    "nv42": _semi_planar("yuv444p", swapped=True),
    "nv20le": _semi_planar("yuv422p10le"),
    "p010le": _semi_planar("yuv420p10le", shift=6),
    "p012le": _semi_planar("yuv420p12le", shift=4),
    "p016le": _semi_planar("yuv420p16le"),
    "p210le": _semi_planar("yuv422p10le", shift=6),
    "p212le": _semi_planar("yuv422p12le", shift=4),
    "p216le": _semi_planar("yuv422p16le"),
    "p410le": _semi_planar("yuv444p10le", shift=6),
    "p412le": _semi_planar("yuv444p12le", shift=4),
    "p416le": _semi_planar("yuv444p16le"),
}

NOT_EXACT = {
    # Palettes and fewer than 8 bits per component: every value has an exact 8-bit twin.
    "pal8": "gbrap",
    "monow": "gray",
    "monob": "gray",
    **dict.fromkeys(("rgb8", "bgr8", "rgb4_byte", "bgr4_byte"), "gbrp"),
    **dict.fromkeys(("rgb565le", "bgr565le", "rgb555le", "bgr555le", "rgb444le"), "gbrp"),
    "x2rgb10le": "gbrp10le",
    "x2bgr10le": "gbrp10le",
    # Floating point has no integer twin; 16 bits are as near as the encoders go.
    "gbrpf32le": "gbrp16le",
    "gbrapf32le": "gbrap16le",
    "grayf32le": "gray16le",
}
"""Formats whose planar twin is made by FFmpeg's scaler: there is no way back bit by bit."""


def planar_format(pixel_format: str) -> str:
    """Return the planar format that frames of `pixel_format` are delivered in.

    `yuvj420p` becomes `yuv420p`: its full range is in the colour tags.

    Raises:
        VideoReadError: no planar integer format can hold it (Bayer, XYZ, hardware surfaces).
    """
    if pixel_format in _PACKED:
        return _PACKED[pixel_format].twin
    if pixel_format in NOT_EXACT:
        return NOT_EXACT[pixel_format]
    name = pixel_format.replace("yuvj", "yuv")
    if name.endswith("be"):
        little = planar_format(name[:-2] + "le")
        if not name.startswith(("gbr", "yuv", "gray")):
            raise _unsupported(pixel_format)
        return little
    try:
        plane_layout(name)
    except ValueError:
        raise _unsupported(pixel_format) from None
    return name


def planes_of(frame: av.VideoFrame) -> tuple[str, tuple[Array, ...]]:
    """Return (planar format, read-only planes [h, w] uint8 or uint16) of a decoded frame.

    Planes of a planar frame are views of the decoder's own memory, which they keep alive.

    Raises:
        VideoReadError: the pixel format is not supported.
    """
    name = frame.format.name
    twin = planar_format(name)
    if name in NOT_EXACT:
        frame, name = frame.reformat(format=twin), twin
    layout = plane_layout(twin)
    stored: np.dtype[Any] = np.dtype(layout.dtype)
    if name.endswith("be"):
        stored = stored.newbyteorder(">")
    packing = _PACKED.get(name)
    planes = []
    for index in range(layout.planes):
        height, width = layout.plane_shape(index, frame.width, frame.height)
        if packing is None:
            plane = _samples(frame, index, stored)[:height, :width]
            plane = plane if stored.isnative else plane.astype(layout.dtype)
        else:
            source, first, step = packing.components[index]
            plane = _samples(frame, source, stored)[:height, first::step][:, :width]
            plane = np.ascontiguousarray(plane >> packing.shift if packing.shift else plane)
        plane.flags.writeable = False
        planes.append(plane)
    return twin, tuple(planes)


def av_frame_of(frame: VideoFrame) -> av.VideoFrame:
    """Return a new PyAV frame that holds a copy of the planes; no times, no colour tags."""
    height, width = frame.planes[0].shape
    result = av.VideoFrame(width, height, frame.pixel_format)
    for index, plane in enumerate(frame.planes):
        rows, columns = plane.shape
        _samples(result, index, plane.dtype)[:rows, :columns] = plane
    return result


def _samples(frame: av.VideoFrame, plane: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return one plane's memory as [rows, line] samples, padding included."""
    source = frame.planes[plane]
    line = source.line_size // dtype.itemsize
    data = np.frombuffer(source, dtype)
    return data[: len(data) // line * line].reshape(-1, line)


def _unsupported(pixel_format: str) -> VideoReadError:
    return VideoReadError(
        f"pixel format {pixel_format} is not supported",
        hint="convert the video first, for example to ProRes or 10-bit H.265",
    )
