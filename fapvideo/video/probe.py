"""What is in a video file, or what is wrong with it: one frame decoded, the packets' times read."""

from __future__ import annotations

import itertools
import logging
import math
import stat
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal, cast

import av
import av.error
from av.sidedata.sidedata import Type as SideDataType
from av.stream import Discard, Disposition

from fapvideo.config.presets import ADDRESS
from fapvideo.errors import VideoReadError
from fapvideo.structs import StreamInfo, VideoInfo
from fapvideo.video.color import read_hdr, read_tags
from fapvideo.video.planar import planar_format

log = logging.getLogger(__name__)

MAX_SCANNED_PACKETS = 20_000
"""Packets whose times are looked at: 11 minutes at 30 frames per second."""
MAX_TRIED_PACKETS = 500
"""Packets that are decoded in search of a first good frame."""

_PICTURE_FORMATS = ("image2", "_pipe")
_TEXT_FORMATS = ("tty", "hls", "concat", "dash", "imf")
"""Demuxers that take plain text for a video, or that fetch other files."""
_CONTAINER_TAGS = frozenset({"major_brand", "minor_version", "compatible_brands", "encoder"})


def open_input(path: Path) -> Any:
    """Open a local file for demuxing (`av.InputContainer`).

    Raises:
        VideoReadError: missing, a folder, unreadable, empty, truncated, or not a media file.
    """
    _check_file(path)
    try:
        with path.open("rb") as file:
            head = file.read(16)
        # `file:` keeps a name such as `a:b.mp4` from being taken for a protocol.
        container = av.open(f"file:{path}", metadata_errors="replace") if head else None
    except (OSError, ValueError, av.error.FFmpegError) as error:
        raise _open_error(path, error) from error
    if container is None:
        raise VideoReadError(f"{path} is empty (0 bytes)", hint="the copy or download failed")
    name = container.format.name
    if name.endswith(_PICTURE_FORMATS) or name in _TEXT_FORMATS:
        container.close()
        raise VideoReadError(f"{path} is not a video (it looks like {name})")
    return container


def _check_file(path: Path) -> None:
    """Refuse what is no file: to open a pipe would wait for ever."""
    try:
        kind = path.stat().st_mode
    except FileNotFoundError:
        if ADDRESS.match(str(path)):
            raise VideoReadError(
                f"{path}: addresses are not read", hint="download the file first"
            ) from None
        raise VideoReadError(f"{path}: no such file", hint="check the path") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise VideoReadError(f"{path!s} cannot be read: {error}") from None
    if stat.S_ISDIR(kind):
        raise VideoReadError(f"{path} is a folder, not a video", hint="name a file inside it")
    if not stat.S_ISREG(kind):
        raise VideoReadError(
            f"{path} is a pipe or a device, and a video is read twice", hint="give a file"
        )


def probe(path: Path) -> VideoInfo:
    """Describe the best video stream of a file and everything beside it.

    Raises:
        VideoReadError: as `open_input`; or no video stream, no frame that decodes, or a pixel
            format that cannot be processed.
    """
    with open_input(path) as container:
        stream = main_video_stream(container, path)
        times = _scan_times(container, stream)
    with open_input(path) as container:  # afresh: not every format can seek back
        stream = main_video_stream(container, path)
        frame = _first_frame(container, stream, path)
        return _describe(path, container, stream, frame, times)


def main_video_stream(container: Any, path: Path) -> Any:
    """Return the stream to process: the default video stream that is not a cover picture.

    Raises:
        VideoReadError: there is none.
    """
    videos = [
        stream
        for stream in container.streams.video
        if not stream.disposition & (Disposition.attached_pic | Disposition.timed_thumbnails)
    ]
    if not videos:
        kinds = sorted({stream.type for stream in container.streams if stream.type != "video"})
        what = f"only {' and '.join(kinds)}" if kinds else "no streams at all"
        raise VideoReadError(f"{path} has no video stream ({what})", hint="give a video file")
    stream = next((s for s in videos if s.disposition & Disposition.default), videos[0])
    if stream.codec_context is None:
        raise VideoReadError(
            f"{path}: no decoder for video codec {stream.name or 'unknown'}",
            hint="convert the video to H.264 or H.265 first",
        )
    return stream


# ------------------------------------------------------------------------------------ packets


@dataclass(frozen=True, slots=True)
class _Times:
    """What the packets say, without decoding."""

    start: int
    end: int
    frames: int
    complete: bool
    vfr: bool


def _scan_times(container: Any, stream: Any) -> _Times:
    """Read the times of the first `MAX_SCANNED_PACKETS` packets."""
    pts: list[int] = []
    complete, count = True, 0
    last, last_duration = 0, 0
    for packet in demux(container, stream):
        if count == MAX_SCANNED_PACKETS:
            complete = False
            break
        if packet.is_discard:  # cut off by an edit list: decoded, never shown
            continue
        count += 1
        time = packet.pts if packet.pts is not None else packet.dts
        if time is not None:
            pts.append(time)
            if len(pts) == 1 or time > last:
                last, last_duration = time, packet.duration or 0
    pts.sort()
    if not last_duration and len(pts) > 1:
        last_duration = pts[-1] - pts[-2]
    return _Times(
        start=pts[0] if pts else 0,
        end=last + last_duration,
        frames=count,
        complete=complete,
        vfr=is_variable(pts),
    )


def demux(container: Any, stream: Any) -> Iterator[Any]:
    """Yield the packets of one stream; a read error ends them as the end of the file does."""
    for other in container.streams:
        if other.index != stream.index and other.type != "attachment":
            other.discard = Discard.all
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets)
        except StopIteration:
            return
        except av.error.FFmpegError as error:
            log.warning("%s: reading stopped early: %s", container.name, error.strerror)
            return
        if packet.size:
            yield packet


def is_variable(pts: Sequence[int]) -> bool:
    """Tell whether sorted presentation times are unevenly spaced.

    A constant rate that the time base cannot express (29.97 in milliseconds) gives two spacings
    that differ by one tick, which is not variable; nor is the last frame's missing duration.
    """
    gaps = [b - a for a, b in itertools.pairwise(pts)]
    if len(gaps) < 2:
        return False
    middle = sorted(gaps)[len(gaps) // 2]
    slack = 0 if middle < 3 else 1 if middle < 16 else 2
    return max(gaps) - min(gaps) > slack


# ------------------------------------------------------------------------------------ one frame


def _first_frame(container: Any, stream: Any, path: Path) -> Any:
    """Decode until the first frame comes out."""
    stream.thread_type = "SLICE"  # no delay
    tried, reason = 0, ""
    packets = itertools.islice(demux(container, stream), MAX_TRIED_PACKETS)
    for packet in itertools.chain(packets, [None]):  # None makes the decoder give what it holds
        tried += packet is not None
        try:
            frames = stream.decode(packet)
        except av.error.FFmpegError as error:
            frames, reason = [], error.strerror or str(error)
        if frames:
            return frames[0]
    if not tried:
        raise VideoReadError(f"{path} has a video stream but no frames in it (0 frames)")
    raise VideoReadError(
        f"{path}: none of the first {tried} video packets could be decoded"
        + (f" ({reason})" if reason else ""),
        hint="the file is damaged, or its codec is not supported",
    )


def _describe(path: Path, container: Any, stream: Any, frame: Any, times: _Times) -> VideoInfo:
    context = stream.codec_context
    time_base = stream.time_base or Fraction(1, 90_000)
    pixel_format = frame.format.name
    planar_format(pixel_format)  # raises for what cannot be processed
    rotation, mirrored, matrix = _orientation(frame)
    promised = int(stream.frames or 0)
    rate = stream.average_rate or stream.guessed_rate or stream.base_rate
    return VideoInfo(
        path=path,
        container=container.format.name,
        width=frame.width,
        height=frame.height,
        rotation=rotation,
        sample_aspect_ratio=stream.sample_aspect_ratio or Fraction(1),
        frame_rate=Fraction(rate) if rate else Fraction(25),
        time_base=time_base,
        vfr=times.vfr,
        frames=times.frames if times.complete else promised,
        duration_s=_duration(container, stream, times, time_base),
        pixel_format=pixel_format,
        bit_depth=max(component.bits for component in frame.format.components),
        color=read_tags(context, pixel_format),
        hdr=read_hdr(frame),
        video_stream=stream.index,
        streams=tuple(_stream_info(s) for s in container.streams),
        codec=stream.name or "",
        metadata={k: v for k, v in container.metadata.items() if k.lower() not in _CONTAINER_TAGS},
        chapters=len(container.chapters()),
        display_matrix=matrix,
        start_pts=times.start,
        mirrored=mirrored,
    )


def _duration(container: Any, stream: Any, times: _Times, time_base: Fraction) -> float:
    """Return seconds from the first frame to the end of the last one."""
    if times.complete and times.end > times.start:
        return float((times.end - times.start) * time_base)
    if stream.duration:
        return float(stream.duration * time_base)
    if container.duration:
        return float(container.duration) / 1e6
    rate = stream.average_rate or stream.guessed_rate or 25  # a raw stream without any times
    return times.frames / float(rate) if times.complete else 0.0


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
        codec=stream.name or ("tmcd" if "timecode" in stream.metadata else "unknown"),
        language=stream.language or "",
        title=stream.metadata.get("title", ""),
        default=bool(stream.disposition & Disposition.default),
    )


def _open_error(path: Path, error: Exception) -> VideoReadError:
    """Say why a file could not be opened."""
    reason = getattr(error, "strerror", None) or str(error)
    if isinstance(error, PermissionError):
        return VideoReadError(f"{path}: permission denied", hint="make the file readable")
    if isinstance(error, OSError) and not isinstance(error, av.error.FFmpegError):
        return VideoReadError(f"{path} cannot be read: {reason}")
    if isinstance(error, EOFError):
        return VideoReadError(
            f"{path} ends right after its header: 0 frames", hint="copy or download it again"
        )
    try:
        with path.open("rb") as file:
            head = file.read(12)
    except OSError as problem:
        return VideoReadError(f"{path} cannot be read: {problem.strerror}")
    if head[4:8] in (b"ftyp", b"mdat", b"wide", b"free", b"skip"):
        return VideoReadError(
            f"{path} is truncated: an MP4/MOV file whose index (the moov atom) is missing or cut",
            hint="copy or download it again; an unfinished recording needs a repair tool",
        )
    return VideoReadError(
        f"{path} is not a video, or its header is damaged ({reason})",
        hint="give a file that a media player can play",
    )
