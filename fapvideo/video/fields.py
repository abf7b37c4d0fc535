"""Two fields in one frame: making whole pictures of them, or marking them as what they are."""

from __future__ import annotations

from collections import deque
from fractions import Fraction
from typing import Any

import av.error
import av.filter
from av.codec.context import Flags

from fapvideo.structs import VideoInfo
from fapvideo.video.encoder import Encoding


class Deinterlacer:
    """Makes one whole picture of every interlaced frame (FFmpeg's `bwdif`), at its own time.

    The missing lines are interpolated from the fields before and after, so that a frame comes out
    when the next one goes in.
    """

    def __init__(self, info: VideoInfo) -> None:
        """Take the order of the fields from `info`."""
        self._order = info.field_order
        self._graph: Any = None
        self._times: deque[tuple[int | None, int | None, int]] = deque()
        self._pushed = 0

    def __call__(self, frame: Any) -> list[Any]:
        """Take the next frame, or None after the last; return what is ready."""
        if self._graph is None:
            if frame is None:
                return []
            self._graph = self._make(frame)
        if frame is not None:
            self._times.append((frame.pts, frame.dts, frame.duration))
            # A time for the filter alone: frames without one are allowed.
            frame.pts, frame.time_base = self._pushed, Fraction(1, 25)
            self._pushed += 1
        self._graph.push(frame)
        done: list[Any] = []
        while True:
            try:
                picture = self._graph.pull()
            except (av.error.BlockingIOError, av.error.EOFError):
                return done
            picture.pts, picture.dts, picture.duration = self._times.popleft()
            done.append(picture)

    def _make(self, frame: Any) -> Any:
        graph = av.filter.Graph()
        source = graph.add_buffer(
            width=frame.width, height=frame.height, format=frame.format, time_base=Fraction(1, 25)
        )
        filter_ = graph.add("bwdif", f"mode=send_frame:parity={self._order}:deint=all")
        graph.link_nodes(source, filter_, graph.add("buffersink")).configure()
        return graph


_AV_FIELD_ORDER = {"progressive": 1, "tff": 2, "bff": 3}
"""`AVFieldOrder`."""


def mark_fields(context: Any, encoding: Encoding) -> None:
    """Make an encoder code fields as fields, and its stream say so."""
    if encoding.field_order != "progressive":
        context.field_order = _AV_FIELD_ORDER[encoding.field_order]
        context.flags |= Flags.interlaced_dct | Flags.interlaced_me


class FieldMarker:
    """Marks frames with the order of their fields, which PyAV has no setter for."""

    def __init__(self, encoding: Encoding, info: VideoInfo) -> None:
        """Prepare FFmpeg's `setfield`; it changes no sample."""
        self._graph: Any = None
        if encoding.field_order == "progressive":
            return
        self._graph = av.filter.Graph()
        source = self._graph.add_buffer(
            width=info.width,
            height=info.height,
            format=av.VideoFormat(encoding.pixel_format),
            time_base=info.time_base,
        )
        filter_ = self._graph.add("setfield", encoding.field_order)
        sink = self._graph.add("buffersink")
        self._graph.link_nodes(source, filter_, sink).configure()

    def __call__(self, frame: Any) -> Any:
        """Return the frame, marked."""
        if self._graph is None:
            return frame
        self._graph.push(frame)
        return self._graph.pull()
