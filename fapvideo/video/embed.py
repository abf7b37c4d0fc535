"""Small videos in memory, to be shown in a page: pictures in, an MP4 file's bytes out."""

from __future__ import annotations

import contextlib
import io
from fractions import Fraction
from typing import Any

import av
import av.error

from fapvideo.structs import Bytes
from fapvideo.video.color import BT709, bt709_frame, write_tags

TIME_BASE = Fraction(1, 90000)


class EmbeddedVideo(contextlib.AbstractContextManager["EmbeddedVideo"]):
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
        options = {"crf": "22", "preset": "medium"}
        options |= {"maxrate": f"{kilobits}k", "bufsize": f"{2 * kilobits}k"}
        stream: Any = self._container.add_stream("libx264", rate=rate, options=options)
        context = stream.codec_context
        context.width, context.height = size
        context.pix_fmt = "yuv420p"
        context.time_base = TIME_BASE
        write_tags(context, BT709)
        self._stream = stream
        self._last = -1

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
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
        frame = bt709_frame(rgb)
        write_tags(frame, BT709)
        self._last = max(self._last + 1, round(time_s / TIME_BASE))
        frame.pts, frame.time_base = self._last, TIME_BASE
        self._container.mux(self._stream.encode(frame))
