"""Opening a file: what is wrong with it in words, its streams by name, the decoder for it."""

from __future__ import annotations

import contextlib
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import av.error
from av.stream import Disposition

from fapvideo.config.presets import ADDRESS
from fapvideo.errors import VideoReadError

_PICTURE_FORMATS = ("image2", "_pipe")
_TEXT_FORMATS = ("tty", "hls", "concat", "dash", "imf")
"""Demuxers that take plain text for a video, or that fetch other files."""
_ALPHA_DECODERS = {"vp8": "libvpx", "vp9": "libvpx-vp9"}
"""FFmpeg's own decoders of these drop the transparency that WebM keeps beside each packet."""


@contextlib.contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn what a damaged file makes FFmpeg or PyAV raise into `VideoReadError`.

    PyAV lets some of it through as Python's own errors: a name that is no UTF-8, a number that
    does not fit, a stream without a codec.
    """
    try:
        yield
    except (
        av.error.FFmpegError,
        ValueError,
        ArithmeticError,
        LookupError,
        AttributeError,
    ) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise VideoReadError(
            f"{path} cannot be read: {reason}", hint="the file is damaged; convert or copy it again"
        ) from error


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
            f"{path}: no decoder for video codec {codec_name(stream) or 'unknown'}",
            hint="convert the video to H.264 or H.265 first",
        )
    return stream


def codec_name(stream: Any) -> str:
    """Return FFmpeg's name of a stream's codec; empty where it knows none."""
    # Without a codec context PyAV's audio and video streams have no such attribute.
    return getattr(stream, "name", None) or ""


def alpha_decoder(stream: Any, packet: Any) -> str:
    """Return the decoder that keeps the transparency of a VP8 or VP9 stream; empty otherwise."""
    name = _ALPHA_DECODERS.get(codec_name(stream), "")
    has_alpha = stream.metadata.get("alpha_mode") == "1" or (
        packet is not None and packet.has_sidedata("matroska_block_additional")
    )
    return name if has_alpha and name in av.codecs_available else ""


def decoder_of(stream: Any, name: str) -> Any:
    """Return what decodes the packets of a stream: the stream, or the decoder called `name`."""
    return av.CodecContext.create(name, "r") if name else stream


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
