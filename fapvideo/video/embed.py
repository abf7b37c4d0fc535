"""Small videos in memory, to be shown in a page: pictures in, an MP4 file's bytes out."""

from __future__ import annotations

import contextlib
import io
from fractions import Fraction
from types import TracebackType
from typing import Any, Self

import av
import av.error

from fapvideo.structs import Bytes, ColorTags
from fapvideo.video.color import UNBIASED, write_tags

TIME_BASE = Fraction(1, 90000)
BT709 = ColorTags(matrix=1, primaries=1, transfer=1, full_range=False)


class EmbeddedVideo:
    """Encodes H.264 that every browser plays; use it as a context manager.

    `data` is the file after a clean exit.
    """

    def __init__(self, size: tuple[int, int], rate: Fraction, *, bits_per_s: int) -> None:
        """Open an encoder.

        Args:
            size: (width, height) of the pictures, both even.
            rate: frames per second, a hint: every frame has its own time.
            bits_per_s: never more than this for longer than two seconds.
        """
        self.data = b""
        self._file = io.BytesIO()
        self._container = av.open(self._file, "w", format="mp4")
        kilobits = max(32, bits_per_s // 1000)
        stream: Any = self._container.add_stream(
            "libx264",
            rate=rate,
            options={
                "crf": "22",
                "preset": "medium",
                "maxrate": f"{kilobits}k",
                "bufsize": f"{2 * kilobits}k",
            },
        )
        context = stream.codec_context
        context.width, context.height = size
        context.pix_fmt = "yuv420p"
        context.time_base = TIME_BASE
        write_tags(context, BT709)
        self._stream = stream
        self._last = -1

    def __enter__(self) -> Self:
        """Return the encoder."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Finish the file; after an exception `data` stays empty."""
        if kind is None and self._last >= 0:
            self._container.mux(self._stream.encode(None))
            self._container.close()
            self.data = self._file.getvalue()
        else:
            with contextlib.suppress(av.error.FFmpegError, ValueError):
                self._container.close()

    def add(self, rgb: Bytes, time_s: float) -> None:
        """Encode the picture uint8 [height, width, 3] of `time_s`; times must increase."""
        frame = av.VideoFrame.from_ndarray(rgb, format="rgb24").reformat(
            format="yuv420p",
            dst_colorspace=BT709.matrix,
            src_color_range=2,
            dst_color_range=1,
            interpolation=UNBIASED,
        )
        write_tags(frame, BT709)
        self._last = max(self._last + 1, round(time_s / TIME_BASE))
        frame.pts, frame.time_base = self._last, TIME_BASE
        self._container.mux(self._stream.encode(frame))
