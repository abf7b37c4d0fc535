"""Where frames come from: a protocol, and frames that Python hands over."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Protocol

import numpy as np

from fapvideo.config.schema import VideoConfig
from fapvideo.errors import VideoReadError
from fapvideo.ops.image import picture_fault
from fapvideo.structs import Bytes, FrameBatch, VideoFrame, VideoInfo
from fapvideo.video.probe import probe
from fapvideo.video.reader import ROUNDING_S, VideoReader
from fapvideo.video.stream import stream_info


class Source(Protocol):
    """Frames that can be gone through more than once; `VideoReader` is the one for files."""

    info: VideoInfo
    damaged: int
    """Packets of the last pass that gave no frame."""

    @property
    def expected(self) -> int:
        """How many frames there will be; 0 where that is not known."""

    def batches(self, size: int) -> Generator[FrameBatch]:
        """Yield all frames in order, `size` at a time, counted from 0 in every pass."""

    def cut(self, start_s: float, end_s: float | None) -> Source:
        """Return the frames from `start_s` on that come before `end_s`, counted from 0."""


class FrameSource:
    """RGB pictures of one size as a clip of constant frame rate."""

    damaged = 0

    def __init__(
        self, pictures: Sequence[Bytes] | Bytes, frame_rate: Fraction | float = 25
    ) -> None:
        """Take pictures uint8 [H, W, 3], or one array [N, H, W, 3]; they are not copied.

        Raises:
            VideoReadError: there is none, or one is no picture of the first one's size.
        """
        self._pictures = pictures
        if not len(pictures):
            raise VideoReadError("there are no frames")
        for number, picture in enumerate(pictures):
            fault = picture_fault(picture)
            if not fault and picture.shape != pictures[0].shape:
                fault = f"{list(picture.shape)} after {list(pictures[0].shape)}"
            if fault:
                raise VideoReadError(
                    f"frame {number}: {fault}", hint="give RGB pixels uint8 [height, width, 3]"
                )
        height, width = pictures[0].shape[:2]
        info, count = stream_info(width, height, frame_rate), len(pictures)
        self.info = replace(info, frames=count, duration_s=float(count / info.frame_rate))

    @property
    def expected(self) -> int:
        """How many frames there are."""
        return len(self._pictures)

    def batches(self, size: int) -> Generator[FrameBatch]:
        """Yield all frames in order, `size` at a time."""
        for start in range(0, len(self._pictures), size):
            numbers = range(start, min(start + size, len(self._pictures)))
            frames = tuple(self.frame(number) for number in numbers)
            views = tuple(_view(self._pictures[number]) for number in numbers)
            yield FrameBatch(frames, self.info.time_base, views)

    def cut(self, start_s: float, end_s: float | None) -> FrameSource:
        """Return the pictures from `start_s` on that come before `end_s`."""
        rate, count = self.info.frame_rate, len(self._pictures)
        first = math.ceil(rate * (Fraction(start_s) - ROUNDING_S))
        last = count if end_s is None else math.ceil(rate * (Fraction(end_s) - ROUNDING_S))
        return FrameSource(self._pictures[max(0, first) : max(0, last)], rate)

    def frame(self, number: int) -> VideoFrame:
        """Return one picture as a decoded frame would be."""
        time_s = float(number * self.info.time_base)
        return frame_of_picture(self._pictures[number], number, time_s)


def frame_of_picture(rgb: Bytes, number: int, time_s: float) -> VideoFrame:
    """Return an RGB picture uint8 [H, W, 3] as a decoded frame would be."""
    planes = tuple(np.ascontiguousarray(rgb[..., channel]) for channel in (1, 2, 0))
    return VideoFrame(number, number, time_s, "gbrp", planes, duration=1)


def _view(picture: Bytes) -> Callable[[], Bytes]:
    return lambda: picture


def open_source(input: str | Path | Source, config: VideoConfig) -> Source:
    """Return a source for a path; a source as it is.

    Raises:
        VideoReadError: the file cannot be read.
    """
    if isinstance(input, str | Path):
        return VideoReader(probe(Path(input)), config)
    return input
