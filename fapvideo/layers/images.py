"""A frame's layers as images: PNG of 16 bits, a file for each, or one OpenEXR with all of them.

Both hold R'G'B' as the source encodes it, not linear light, and name it in their headers. As their
formats want it, a PNG's colours are straight and an OpenEXR's premultiplied. Both have the size of
the frame as displayed; an OpenEXR's data window is where something is painted.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import cv2
import numpy as np

import fapvideo
from fapvideo.errors import VideoWriteError
from fapvideo.layers.colours import chromaticities, in_words, interop_id, layer_colours
from fapvideo.layers.frame import OF_A_PERSON, OTHER_MATTES, FrameLayers
from fapvideo.layers.numbers import Numbers
from fapvideo.structs import Array, Floats, HdrMetadata, VideoInfo
from fapvideo.video.color import light_levels, mastering_numbers

TOP = 65535
"""What 1 is in a PNG of 16 bits."""
DIGITS = 6
PNG_EFFORT = 1
"""Of zlib; what is transparent is packed well by any."""


class ImageWriter(Protocol):
    """Writes the layers of one frame after the other into a folder."""

    def write(self, layers: FrameLayers, folder: Path) -> None:
        """Write the files of one frame; folders are made."""


def image_name(layer: str, number: int, suffix: str) -> str:
    """Return where an image lies in the folder of layers: `swap/swap.000012.png`."""
    return f"{layer}/{layer}.{number:0{DIGITS}}{suffix}"


def image_writer(
    kind: Literal["png", "exr"], contents: Collection[str], info: VideoInfo, numbers: Numbers
) -> ImageWriter:
    """Return the writer of a preset's `layers.images`.

    Raises:
        VideoWriteError: the extra that it needs is missing.
    """
    if kind == "png":
        return PngWriter(contents, info, numbers)
    return ExrWriter(contents, info, numbers)


@dataclass(frozen=True, slots=True)
class PngWriter:
    """Writes PNGs of 16 bits, a folder for each layer."""

    contents: Collection[str]
    info: VideoInfo
    numbers: Numbers

    def write(self, layers: FrameLayers, folder: Path) -> None:
        """Write the files of one frame."""
        number = self.numbers.number(layers.frame)
        for name, picture in self._pictures(layers):
            path = folder / image_name(name, number, ".png")
            path.parent.mkdir(parents=True, exist_ok=True)
            coloured = name in ("swap", "guide")
            path.write_bytes(self._encoded(layers.whole(picture), layers.frame, coloured))

    def _pictures(self, layers: FrameLayers) -> Iterator[tuple[str, Floats]]:
        if "swap" in self.contents:
            yield "swap", layers.swap
        for name, matte in layers.mattes.items():
            if wanted(name, self.contents):
                yield f"matte_{name}", matte
        if "guide" in self.contents:
            yield "guide", layers.guide
        if "st" in self.contents:
            yield "st", layers.st

    def _encoded(self, picture: Floats, frame: int, coloured: bool) -> bytes:
        samples = np.rint(picture * TOP).astype(np.uint16)
        if samples.ndim == 3:
            samples = samples[..., [2, 1, 0, 3][: samples.shape[2]]]  # as OpenCV has them
        good, data = cv2.imencode(".png", samples, [cv2.IMWRITE_PNG_COMPRESSION, PNG_EFFORT])
        if not good:
            raise OSError("OpenCV cannot encode a PNG")
        chunks = [_text("Software", f"fapvideo {fapvideo.__version__}")]
        chunks.append(_text("Frame", str(self.numbers.number(frame))))
        timecode = self.numbers.timecode(frame)
        if timecode is not None:
            chunks.append(_text("Timecode", str(timecode)))
        if coloured:
            tags = layer_colours(self.info)
            codes = (tags.primaries, tags.transfer, tags.matrix, int(tags.full_range))
            chunks = [_chunk(b"cICP", bytes(codes)), *_hdr_chunks(self.info.hdr), *chunks]
            chunks.append(_text("Comment", in_words(tags)))
        whole = data.tobytes()
        header = 8 + 12 + struct.unpack(">I", whole[8:12])[0]
        return whole[:header] + b"".join(chunks) + whole[header:]


class ExrWriter:
    """Writes OpenEXR files with all layers: R G B A, `mattes.eyes`, `guide.R`, `st.R`, ..."""

    def __init__(self, contents: Collection[str], info: VideoInfo, numbers: Numbers) -> None:
        """Load the library.

        Raises:
            VideoWriteError: it is not installed.
        """
        try:
            import OpenEXR
        except ImportError:
            raise VideoWriteError(
                'layers.images = "exr" needs OpenEXR, which is not installed',
                hint='pip install "fapvideo[layers]", or set layers.images = "png"',
            ) from None
        self._exr: Any = OpenEXR
        self._contents, self._info, self._numbers = contents, info, numbers

    def write(self, layers: FrameLayers, folder: Path) -> None:
        """Write the file of one frame."""
        path = folder / image_name("exr", self._numbers.number(layers.frame), ".exr")
        path.parent.mkdir(parents=True, exist_ok=True)
        channels = dict(self._channels(layers))
        if layers.box is None:  # a data window has at least one pixel
            channels = {name: np.zeros((1, 1), one.dtype) for name, one in channels.items()}
        try:
            self._exr.File(self._header(layers), channels).write(str(path))
        except RuntimeError as error:  # what its library makes of a full disk, too
            raise OSError(f"OpenEXR cannot write {path.name}: {error}") from error

    def _channels(self, layers: FrameLayers) -> Iterator[tuple[str, Array]]:
        """Yield channels: 32 bits where a sample or a place hangs on them, else 16."""
        if "swap" in self._contents:
            yield from _split("", _premultiplied(layers.swap), "RGBA", np.float32)
        for name, matte in layers.mattes.items():
            if wanted(name, self._contents):
                yield f"mattes.{name}", np.ascontiguousarray(matte, np.float16)
        if "guide" in self._contents:
            yield from _split("guide.", _premultiplied(layers.guide), "RGBA", np.float16)
        if "st" in self._contents:
            yield from _split("st.", layers.st, "RGA", np.float32)

    def _header(self, layers: FrameLayers) -> dict[str, Any]:
        exr, info, tags = self._exr, self._info, layer_colours(self._info)
        width, height = layers.size
        x0, y0, x1, y1 = layers.box or (0, 0, 1, 1)
        across, down = info.pixel_shape
        header = {
            "compression": exr.ZIP_COMPRESSION,
            "type": exr.scanlineimage,
            "displayWindow": _window(0, 0, width, height),
            "dataWindow": _window(x0, y0, x1, y1),
            "pixelAspectRatio": across / down,
            "framesPerSecond": self._numbers.rate,
            "colorInteropID": interop_id(tags),
            "comments": in_words(tags),
            "software": f"fapvideo {fapvideo.__version__}",
            "fapvideo:frame": self._numbers.number(layers.frame),
            "fapvideo:cicp": f"{tags.primaries}/{tags.transfer}/{tags.matrix}/1",
        }
        known = chromaticities(tags)
        if known is not None and header["colorInteropID"] == "unknown":
            header["chromaticities"] = known  # an identifier stands alone, as its forum asks
        timecode = self._numbers.timecode(layers.frame)
        if timecode is not None:
            flags = (False,) * 5  # colour frame, field phase, three of the binary groups
            header["timeCode"] = exr.TimeCode(*timecode.fields, timecode.drop, *flags, *(0,) * 8)
        return header


def wanted(matte: str, contents: Collection[str]) -> bool:
    """Tell whether a matte is written: those of parts go by `parts`, others by their own name.

    Those of one person alone go by `people` as well.
    """
    what, of_one, _ = matte.partition(OF_A_PERSON)
    if of_one and "people" not in contents:
        return False
    return (what if what in OTHER_MATTES else "parts") in contents


def mattes_written(names: Iterable[str], contents: Collection[str]) -> list[str]:
    """Return the names of the mattes that are written."""
    return [name for name in names if wanted(name, contents)]


def _premultiplied(rgba: Floats) -> Floats:
    return np.concatenate([rgba[..., :3] * rgba[..., 3:], rgba[..., 3:]], axis=-1)


def _split(prefix: str, picture: Floats, names: str, dtype: Any) -> Iterator[tuple[str, Array]]:
    for index, name in enumerate(names):
        yield prefix + name, np.ascontiguousarray(picture[..., index], dtype)


def _window(x0: int, y0: int, x1: int, y1: int) -> tuple[Array, Array]:
    """Return an OpenEXR box, whose ends belong to it."""
    return np.array((x0, y0), np.int32), np.array((x1 - 1, y1 - 1), np.int32)


def _chunk(kind: bytes, data: bytes) -> bytes:
    """Return a chunk of a PNG (third edition, 5.3)."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _hdr_chunks(hdr: HdrMetadata) -> Iterator[bytes]:
    """Yield the chunks of static HDR10 metadata (PNG, third edition, 11.3.2.7 and 11.3.2.8)."""
    mastering, light = mastering_numbers(hdr), light_levels(hdr)
    if mastering:
        green, blue, red, white = (mastering[at : at + 2] for at in (0, 2, 4, 6))
        points = (*red, *green, *blue, *white)
        yield _chunk(b"mDCV", struct.pack(">8H2I", *points, *mastering[8:]))
    if light:
        yield _chunk(b"cLLI", struct.pack(">2I", *(level * 10_000 for level in light)))


def _text(keyword: str, text: str) -> bytes:
    return _chunk(b"tEXt", keyword.encode("latin-1") + b"\0" + text.encode("latin-1"))
