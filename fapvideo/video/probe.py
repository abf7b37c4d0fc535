"""What is in a video file: one frame decoded, the packets' times read."""

from __future__ import annotations

import itertools
import logging
import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal, cast

import av
import av.error
from av.sidedata.sidedata import Type as SideDataType
from av.stream import Disposition

from fapvideo.errors import VideoReadError
from fapvideo.structs import FieldOrder, StreamInfo, VideoInfo
from fapvideo.video.color import read_hdr, read_tags
from fapvideo.video.opening import (
    alpha_decoder,
    codec_name,
    decoder_of,
    main_video_stream,
    open_input,
    reading,
)
from fapvideo.video.planar import planar_format
from fapvideo.video.promise import is_cut, promised_frames
from fapvideo.video.timeline import Timeline, demux, read_timeline, true_rate

log = logging.getLogger(__name__)

MAX_TRIED_PACKETS = 500
"""Packets that are decoded in search of a first good frame."""

_CONTAINER_TAGS = frozenset({"major_brand", "minor_version", "compatible_brands", "encoder"})
_FIELD_ORDERS: dict[int, FieldOrder] = {2: "tff", 3: "bff", 4: "bff", 5: "tff"}
"""`AVFieldOrder`, by the field that is shown first."""
_LOWER_FIRST_HEIGHTS = (480, 486)
"""Of 525-line video, whose DV shows the lower field first."""
_STEREO = {1: "left_right", 2: "top_bottom"}
"""`AVStereo3DType` of two pictures in one frame, as Matroska's `stereo_mode` names it."""


def probe(path: Path) -> VideoInfo:
    """Describe the best video stream of a file and everything beside it.

    Reads all packets of picture and sound once.

    Raises:
        VideoReadError: as `open_input`; or no video stream, no frame that decodes, or a pixel
            format that cannot be processed.
    """
    with reading(path):
        with open_input(path) as container:
            stamp = stamp_of(path)
            timeline = read_timeline(container, main_video_stream(container, path))
        with open_input(path) as container:  # afresh: not every format can seek back
            stream = main_video_stream(container, path)
            first = _first_frame(container, stream, path, timeline)
            return _describe(path, container, stream, first, timeline, stamp)


def stamp_of(path: Path) -> tuple[int, int]:
    """Return a file's size in bytes and the time of its last change in nanoseconds."""
    status = path.stat()
    return status.st_size, status.st_mtime_ns


# ------------------------------------------------------------------------------------ one frame


@dataclass(frozen=True, slots=True)
class _First:
    """The first frame that decodes."""

    frame: Any
    context: Any
    """Of the decoder."""
    decoder: str
    untimed: int
    """Frames up to the first one that has a time."""
    timed: int | None
    """That time, ticks."""


def _first_frame(container: Any, stream: Any, path: Path, timeline: Timeline) -> _First:
    """Decode until the first frame comes out, and the first one with a time."""
    stream.thread_type = "SLICE"  # no delay
    tried, reason, decoder, name, first = 0, "", None, "", None
    untimed = 0
    packets = itertools.islice(demux(container, stream), MAX_TRIED_PACKETS)
    for packet in itertools.chain(packets, [None]):  # None makes the decoder give what it holds
        tried += packet is not None
        if decoder is None:
            name = alpha_decoder(stream, packet)
            decoder = decoder_of(stream, name)
        try:
            frames = decoder.decode(packet)
        except (av.error.FFmpegError, ValueError) as error:
            frames, reason = [], getattr(error, "strerror", None) or str(error)
        for frame in frames:
            first = first or frame
            if frame.pts is not None or timeline.times != "some":
                context = decoder if name else stream.codec_context
                return _First(first, context, name, untimed, frame.pts)
            untimed += 1
    if first is not None:
        return _First(first, decoder if name else stream.codec_context, name, 0, None)
    if not tried:
        raise VideoReadError(f"{path} has a video stream but no frames in it (0 frames)")
    raise VideoReadError(
        f"{path}: none of the first {tried} video packets could be decoded"
        + (f" ({reason})" if reason else ""),
        hint="the file is damaged, or its codec is not supported",
    )


def _describe(
    path: Path,
    container: Any,
    stream: Any,
    first: _First,
    timeline: Timeline,
    stamp: tuple[int, int],
) -> VideoInfo:
    frame, context = first.frame, first.context
    time_base = stream.time_base or Fraction(1, 90_000)
    pixel_format = frame.format.name
    planar_format(pixel_format)  # raises for what cannot be processed
    rotation, mirrored, matrix = _orientation(frame)
    rate, warnings = _rate(stream, timeline)
    start = timeline.start
    if timeline.times == "some" and first.timed is not None:
        start = first.timed - first.untimed * max(1, round(1 / (rate * time_base)))
    metadata = {k: v for k, v in container.metadata.items() if k.lower() not in _CONTAINER_TAGS}
    return VideoInfo(
        path=path,
        container=container.format.name,
        width=frame.width,
        height=frame.height,
        rotation=rotation,
        sample_aspect_ratio=stream.sample_aspect_ratio or Fraction(1),
        frame_rate=rate,
        time_base=time_base,
        vfr=timeline.vfr,
        frames=timeline.frames,
        duration_s=_duration(container, stream, timeline, time_base),
        pixel_format=pixel_format,
        bit_depth=max(component.bits for component in frame.format.components),
        color=read_tags(context, pixel_format),
        hdr=read_hdr(frame),
        video_stream=stream.index,
        streams=tuple(_stream_info(s) for s in container.streams),
        codec=codec_name(stream),
        metadata=metadata,
        chapters=len(container.chapters()),
        display_matrix=matrix,
        start_pts=start,
        mirrored=mirrored,
        origin_s=timeline.origin_s + (start - timeline.start) * time_base,
        times=timeline.times,
        joints=timeline.joints,
        promised=promised_frames(container, stream, timeline),
        cut=is_cut(path, container.format.name),
        field_order=_field_order(frame, context),
        decoder=first.decoder,
        carried=tuple(sorted(data.type.name for data in frame.side_data if any(bytes(data)))),
        captions=timeline.captions,
        stereo=_stereo(frame),
        stamp=stamp,
        warnings=(*warnings, *timeline.warnings),
    )


def _rate(stream: Any, timeline: Timeline) -> tuple[Fraction, Sequence[str]]:
    """Return frames per second, and what to say where the container's rate is no rate."""
    claimed = stream.average_rate or stream.guessed_rate or stream.base_rate
    rate = true_rate(claimed, timeline.rate) or Fraction(25)
    if not claimed or rate == claimed:
        return rate, ()
    return rate, (
        f"the container says {float(claimed):g} frames per second; by the spacing of its packets "
        f"it is {float(rate):.4g}, which is used",
    )


def _field_order(frame: Any, context: Any) -> FieldOrder:
    """Return how the lines of a frame are to be shown."""
    order = _FIELD_ORDERS.get(context.field_order)
    if order is not None:
        return order
    if not frame.interlaced_frame:
        return "progressive"
    return "bff" if frame.height in _LOWER_FIRST_HEIGHTS else "tff"


def _stereo(frame: Any) -> str:
    """Return how two pictures lie in one frame, as Matroska names it; empty if there is one."""
    data = frame.side_data.get(SideDataType.STEREO3D)
    if data is None:
        return ""
    kind, inverted = struct.unpack_from("2i", bytes(data))  # `AVStereo3D`
    return "" if inverted else _STEREO.get(kind, "")


def _duration(container: Any, stream: Any, timeline: Timeline, time_base: Fraction) -> float:
    """Return seconds from the first frame to the end of the last one."""
    if timeline.end > timeline.start:
        return float((timeline.end - timeline.start) * time_base)
    if stream.duration:
        return float(stream.duration * time_base)
    if container.duration:
        return float(container.duration) / 1e6
    rate = stream.average_rate or stream.guessed_rate or 25  # a raw stream without any times
    return timeline.frames / float(rate)


def _orientation(frame: Any) -> tuple[Literal[0, 90, 180, 270], bool, tuple[int, ...]]:
    """Return how the frame is turned clockwise, then mirrored, for display, and its matrix.

    To the nearest quarter turn. The matrix maps (x, y) to (a x + c y, b x + d y) (FFmpeg,
    libavutil/display.h); a negative determinant mirrors.
    """
    data = frame.side_data.get(SideDataType.DISPLAYMATRIX)
    if data is None:
        return 0, False, ()
    matrix = struct.unpack("9i", bytes(data))
    a, b, _, c, d = matrix[:5]
    mirrored = a * d < b * c
    if mirrored:
        a, c = -a, -c
    # Both columns say it; together they do so for a matrix that is not quite a turn, too.
    clockwise = round(math.degrees(math.atan2(b - c, a + d)) / 90) % 4 * 90
    return cast(Literal[0, 90, 180, 270], clockwise), mirrored, matrix


def _stream_info(stream: Any) -> StreamInfo:
    known = ("video", "audio", "subtitle", "data", "attachment")
    return StreamInfo(
        index=stream.index,
        kind=stream.type if stream.type in known else "data",
        codec=codec_name(stream) or ("tmcd" if "timecode" in stream.metadata else "unknown"),
        language=stream.language or "",
        title=stream.metadata.get("title", ""),
        default=bool(stream.disposition & Disposition.default),
    )
