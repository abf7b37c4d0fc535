"""PyAV's own frames, as Python hands them over: in, and out again as the same kind."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any

import av

from fapvideo.errors import VideoReadError
from fapvideo.structs import VideoFrame
from fapvideo.video.planar import NOT_EXACT, av_frame_of, planar_format, planes_of

_CARRIED = (
    *("pts", "dts", "time_base", "duration", "pict_type"),
    *("colorspace", "color_range", "color_primaries", "color_trc"),
)
"""Attributes of a frame that a painted one takes over, unless it is None."""


def is_av_frame(frame: object) -> bool:
    """Tell whether it is a frame of PyAV."""
    return isinstance(frame, av.VideoFrame)


def time_of(frame: Any) -> Fraction | None:
    """Return when a frame is shown, seconds on its own clock; None where it does not say."""
    if frame.pts is None or not frame.time_base:
        return None
    return Fraction(frame.pts) * Fraction(frame.time_base)


def taken(frame: Any, number: int, time_s: float) -> VideoFrame:
    """Return a frame of PyAV as ours; planes of a planar one are views of its memory.

    Raises:
        VideoReadError: its pixel format is not supported.
    """
    name, planes = planes_of(frame)
    return VideoFrame(number, int(frame.pts or 0), time_s, name, planes)


def handed_back(painted: VideoFrame, original: Any) -> Any:
    """Return a painted frame of ours as one of PyAV, in the original's pixel format and time."""
    name = original.format.name
    if name.startswith("yuvj"):  # the same samples: only the name says that they are full range
        result = av_frame_of(replace(painted, pixel_format=name))
    else:
        result = av_frame_of(painted)
        if result.format.name != name:
            result = result.reformat(format=name)
    for attribute in _CARRIED:
        value = getattr(original, attribute, None)
        if value is not None:
            setattr(result, attribute, value)
    return result


def check_supported(frame: Any) -> None:
    """See that frames of this pixel format can be painted.

    Raises:
        VideoReadError: they cannot.
    """
    name = frame.format.name
    planar_format(name)
    if name in NOT_EXACT or name.endswith("be"):
        raise VideoReadError(
            f"frames of pixel format {name} would not come back bit by bit",
            hint="convert them first, for example to yuv444p16le or gbrp16le",
        )
