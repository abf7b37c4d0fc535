"""Uncompressed video through pipes: YUV4MPEG2 and raw planes, in and out, sample for sample.

YUV4MPEG2 is a line about the stream and then, for every frame, a line and its planes. Lines go out
as they came in (https://wiki.multimedia.cx/index.php/YUV4MPEG2; FFmpeg's `yuv4mpegenc.c` for what
it adds: `XCOLORRANGE`, and depths over 8 bits as `C420p10`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import BinaryIO

import numpy as np

from fapvideo.errors import VideoReadError
from fapvideo.ops.yuv import plane_layout
from fapvideo.structs import Array, ColorTags, FieldOrder, VideoFrame, VideoInfo
from fapvideo.video.stream import stream_info

MAGIC = b"YUV4MPEG2"
LONGEST_LINE = 1 << 12
LARGEST_SIDE = 1 << 15
"""Pixels: what claims to be larger is no video."""
INTERLEAVED = {"rgb24": (1, 2, 0), "bgr24": (1, 0, 2)}
"""Raw pictures of three samples a pixel: which of them are G, B and R."""
HINT = "for example: ffmpeg -i in.mp4 -f yuv4mpegpipe -strict -1 - | fapvideo filter | ..."
ODD = (
    "FFmpeg writes chroma of more than 8 bits and an odd width half a sample short: send raw frames"
    " (-f rawvideo, and here --size, --pix-fmt and --rate)"
)
_FIELDS: dict[str, FieldOrder] = {"t": "tff", "b": "bff", "m": "tff"}
_CHROMA = re.compile(r"(420|422|444|411|440|mono)(jpeg|mpeg2|paldv|alpha)?(?:p?(9|10|12|14|16))?")


@dataclass(frozen=True, slots=True)
class Stream:
    """What the frames of a pipe are, and how they lie there."""

    info: VideoInfo
    header: bytes = b""
    """The first line with its end; empty for raw planes."""
    interleaved: tuple[int, int, int] | None = None
    """Order of G, B, R where samples of a pixel lie side by side."""

    @property
    def frame_bytes(self) -> int:
        """Bytes of a frame's samples."""
        layout, size = plane_layout(self.info.pixel_format), (self.info.width, self.info.height)
        shapes = (layout.plane_shape(index, *size) for index in range(layout.planes))
        return sum(rows * columns for rows, columns in shapes) * np.dtype(layout.dtype).itemsize


def raw_stream(size: str, pixel_format: str, rate: str) -> Stream:
    """Describe raw frames: `1280x720`, FFmpeg's name of a planar format, `30000/1001`.

    Raises:
        VideoReadError: something of it makes no sense.
    """
    sides = re.fullmatch(r"(\d+)x(\d+)", size)
    if sides is None:
        raise VideoReadError(f"size {size!r} is no size", hint="for example: --size 1280x720")
    width, height = (int(side) for side in sides.groups())
    planar = "gbrp" if pixel_format in INTERLEAVED else pixel_format
    info = _info(width, height, _rate(rate.replace("/", ":")), planar)
    return Stream(info, interleaved=INTERLEAVED.get(pixel_format))


def read_header(pipe: BinaryIO) -> Stream:
    """Read the first line of YUV4MPEG2.

    Raises:
        VideoReadError: it is something else, or a kind that is not supported.
    """
    line = pipe.readline(LONGEST_LINE)
    if not line.startswith(MAGIC + b" ") or not line.endswith(b"\n"):
        what = "nothing" if not line else "no YUV4MPEG2"
        raise VideoReadError(
            f"standard input is {what}",
            hint=f"{HINT}; raw frames need --size, --pix-fmt and --rate",
        )
    tags: dict[str, str] = {}
    extras = []
    for word in line.decode("ascii", "replace").split()[1:]:
        if word[0] == "X":
            extras.append(word[1:].upper())
        else:
            tags[word[0]] = word[1:]
    try:
        width, height, rate = int(tags["W"]), int(tags["H"]), _rate(_known(tags.get("F", "")))
    except (KeyError, ValueError):
        raise VideoReadError(f"header without a size: {line[:80]!r}", hint=HINT) from None
    info = _info(width, height, rate, _format_of(tags.get("C", "420")))
    shape = tags.get("A", "1:1")
    info = replace(
        info,
        color=ColorTags(full_range="COLORRANGE=FULL" in extras),
        field_order=_FIELDS.get(tags.get("I", "p"), "progressive"),
        sample_aspect_ratio=Fraction(1) if shape.startswith("0:") else _rate(shape),
    )
    return Stream(info, line)


def _known(rate: str) -> str:
    """Return a rate of a header; 25 where it says none, or `0:0`, which is `unknown`."""
    return "25:1" if rate in ("", "0:0") else rate


def _info(width: int, height: int, rate: Fraction, pixel_format: str) -> VideoInfo:
    if not (0 < width <= LARGEST_SIDE and 0 < height <= LARGEST_SIDE):
        raise VideoReadError(f"{width}x{height} is no size of a picture")
    try:
        return stream_info(width, height, rate, pixel_format)
    except ValueError:
        raise VideoReadError(
            f"pixel format {pixel_format} is not supported in a pipe",
            hint="use a planar one, such as yuv420p, yuv422p10le, yuv444p or gbrp, or rgb24",
        ) from None


def _rate(text: str) -> Fraction:
    """Read `30000:1001`, `25` or `23.976`."""
    above, _, below = text.partition(":")
    try:
        value = Fraction(above) / Fraction(below or 1)
    except (ValueError, ZeroDivisionError):
        raise VideoReadError(f"{text!r} is no rate", hint="for example: 30000/1001") from None
    if value <= 0:
        raise VideoReadError(f"{text!r} is no rate", hint="for example: 30000/1001")
    return value


def _format_of(chroma: str) -> str:
    """Return FFmpeg's name for what follows `C` in a header."""
    found = _CHROMA.fullmatch(chroma)
    if found is None:
        raise VideoReadError(f"YUV4MPEG2 of kind C{chroma} is not supported", hint=HINT)
    kind, variant, bits = found.groups()
    name = "gray" if kind == "mono" else f"yuv{'a' if variant == 'alpha' else ''}{kind}p"
    return f"{name}{bits}le" if bits else name


def read_frames(pipe: BinaryIO, stream: Stream) -> Iterator[tuple[bytes, VideoFrame]]:
    """Yield the line before each frame (empty for raw planes) and the frame.

    Raises:
        VideoReadError: the stream ends within a frame.
    """
    number, step = 0, 1 / stream.info.frame_rate
    while True:
        line = b""
        if stream.header:
            line = pipe.readline(LONGEST_LINE)
            if line and not (line.startswith(b"FRAME") and line.endswith(b"\n")):
                raise VideoReadError(
                    f"frame {number}: the stream is damaged: {line[:40]!r}",
                    hint=ODD if number and _written_wrongly(stream.info) else "",
                )
            if not line:
                return
        data = pipe.read(stream.frame_bytes)
        if not data and not line:
            return
        if not stream.header and not number and data.startswith(MAGIC + b" "):
            raise VideoReadError(
                "standard input is YUV4MPEG2, not raw frames",
                hint="leave out --size, --pix-fmt and --rate: its header says them",
            )
        if len(data) < stream.frame_bytes:
            raise VideoReadError(
                f"frame {number}: the stream ends within it ({len(data)} of"
                f" {stream.frame_bytes} bytes)",
                hint="did the program before this one fail?",
            )
        yield (
            line,
            VideoFrame(
                number,
                number,
                float(number * step),
                stream.info.pixel_format,
                _planes(data, stream),
            ),
        )
        number += 1


def _written_wrongly(info: VideoInfo) -> bool:
    """Tell whether FFmpeg's YUV4MPEG2 of this kind has lines of half a sample less."""
    layout = plane_layout(info.pixel_format)
    return layout.bits > 8 and layout.shift_x > 0 and info.width % 2 == 1


def _planes(data: bytes, stream: Stream) -> tuple[Array, ...]:
    info, layout = stream.info, plane_layout(stream.info.pixel_format)
    samples = np.frombuffer(data, np.dtype(layout.dtype).newbyteorder("<"))
    if stream.interleaved is not None:
        picture = samples.reshape(info.height, info.width, 3)
        return tuple(np.ascontiguousarray(picture[..., at]) for at in stream.interleaved)
    planes, start = [], 0
    for index in range(layout.planes):
        rows, columns = layout.plane_shape(index, info.width, info.height)
        planes.append(samples[start : start + rows * columns].reshape(rows, columns))
        start += rows * columns
    return tuple(planes)


def write_frame(pipe: BinaryIO, stream: Stream, line: bytes, frame: VideoFrame) -> None:
    """Write a frame after the line that came before it."""
    pipe.write(line)
    if stream.interleaved is not None:
        picture = np.empty((*frame.planes[0].shape, 3), np.uint8)
        for plane, at in zip(frame.planes, stream.interleaved, strict=True):
            picture[..., at] = plane
        pipe.write(picture.tobytes())
        return
    for plane in frame.planes:
        pipe.write(np.ascontiguousarray(plane).tobytes())
