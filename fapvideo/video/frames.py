"""Decoded frames one after the other: whole pictures, of one shape, each with a time."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Any

from fapvideo.errors import VideoReadError
from fapvideo.structs import VideoInfo
from fapvideo.video.fields import Deinterlacer


def whole(frames: list[Any], fields: Deinterlacer | None) -> Iterator[Any]:
    """Yield frames, deinterlaced where asked; None at the end lets go of the last one."""
    for frame in frames:
        if fields is not None:
            yield from fields(frame)
        elif frame is not None:
            yield frame


class PixelShape:
    """Sees to it that pixels keep their shape, which the decoder knows."""

    def __init__(self, stream: Any) -> None:
        """Look at the decoder of `stream`; None knows no shapes."""
        self._context = None if stream is None else stream.codec_context
        self._first: Fraction | None = None

    def check(self, info: VideoInfo, decoded: int, fresh: int) -> None:
        """Compare with the first frame's; `decoded` frames came before `fresh` new ones."""
        if self._context is None or not fresh:
            return
        now = self._context.sample_aspect_ratio or None
        if not decoded:
            self._first = now
        elif now is not None and self._first is not None and now != self._first:
            raise VideoReadError(
                f"{info.path}: the shape of the pixels changes from "
                f"{_ratio(self._first)} to {_ratio(now)} at frame {decoded}",
                hint="split the video there, or scale it to square pixels first",
            )


def _ratio(value: Fraction) -> str:
    return f"{value.numerator}:{value.denominator}"


class Clock:
    """Gives every frame a presentation time after the one before it."""

    def __init__(self, info: VideoInfo) -> None:
        """Begin at the start of a file."""
        self.step = max(1, round(1 / (info.frame_rate * info.time_base)))
        self._by_decoding = info.times == "decoded"
        self._start = self._next = info.start_pts
        self._first_dts: int | None = None
        self._last: int | None = None

    def __call__(self, frame: Any) -> int:
        """Return the time of the next frame, ticks."""
        time = self._decoded(frame) if self._by_decoding else frame.pts
        pts = int(time) if time is not None else self._next
        if self._last is not None and pts <= self._last:
            pts = self._next if self._by_decoding else self._last + 1
        self._last = pts
        self._next = pts + (int(frame.duration) if frame.duration else self.step)
        return pts

    def _decoded(self, frame: Any) -> int | None:
        """Return the time of a frame by when it comes out of the decoder (AVI keeps no other)."""
        if frame.dts is None:
            return None
        if self._first_dts is None:
            self._first_dts = frame.dts
        return self._start + int(frame.dts) - self._first_dts
