"""`fapvideo filter`: a stream in, the same stream with swapped parts out."""

from __future__ import annotations

import sys
from collections import deque
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO

import typer

from fapvideo.cli import options, output
from fapvideo.cli.run import RequireFace, RequireLicence
from fapvideo.cli.swapping import open_swapper, stop_on_signal
from fapvideo.errors import Cancelled, NoFaceFound, VideoReadError

if TYPE_CHECKING:
    from fapvideo.progress import ShouldStop
    from fapvideo.run.session import Session
    from fapvideo.structs import VideoFrame
    from fapvideo.video.pipes import Stream


def filter_stream(
    preset: options.Preset = "brand_avatar",
    reference: options.References = [],  # noqa: B006  typer copies it
    person: options.People = [],  # noqa: B006
    settings: options.Settings = [],  # noqa: B006
    device: options.Device = "auto",
    lookahead: Annotated[
        float, typer.Option(help="Seconds that a frame waits for those after it.")
    ] = 0.5,
    size: Annotated[
        str | None, typer.Option(metavar="WxH", help="Frames are raw, of this size: 1280x720.")
    ] = None,
    pix_fmt: Annotated[
        str | None, typer.Option(help="Of raw frames, as FFmpeg says it. Default: yuv420p.")
    ] = None,
    rate: Annotated[
        str | None, typer.Option(help="Of raw frames: 25 or 30000/1001. Default: 25.")
    ] = None,
    require_face: RequireFace = False,
    require_licence: RequireLicence = None,
    as_json: Annotated[bool, typer.Option("--json", help="Messages as JSON lines.")] = False,
) -> None:
    """Swap facial parts in a stream: YUV4MPEG2 or raw frames on stdin, the same on stdout.

    Example: ffmpeg -i in.mp4 -f yuv4mpegpipe - | fapvideo filter | ffmpeg -i - out.mp4
    """
    pipes = sys.stdin.buffer, sys.stdout.buffer
    if any(pipe.isatty() for pipe in pipes):
        raise VideoReadError(
            "a stream goes through pipes, not through a terminal", hint="see --help for an example"
        )
    overrides = options.collect_overrides(settings, reference, people=person)
    if require_licence is not None:
        overrides["require_licence"] = require_licence
    from fapvideo.video.pipes import raw_stream, read_header

    if size is None and (pix_fmt or rate):
        raise VideoReadError(
            "--pix-fmt and --rate are of raw frames, whose size is to be said, too",
            hint="give --size, or leave them out: a YUV4MPEG2 header says them",
        )
    raw = pix_fmt or "yuv420p", rate or "25"
    stream = raw_stream(size, *raw) if size else read_header(pipes[0])
    with open_swapper(preset, device, overrides) as swapper, stop_on_signal() as cancel:
        session = swapper.session(stream.info, lookahead)
        told = [*session.warnings]
        if stream.info.field_order != "progressive":
            told.append("frames are interlaced and are taken as whole pictures: put bwdif before")
        for text in told:
            output.print_event("warning", message=text) if as_json else output.print_warning(text)
        _through(pipes, stream, session, cancel)
        _tell(session.report(), told, as_json=as_json, require_face=require_face)


def _through(
    pipes: tuple[BinaryIO, BinaryIO], stream: Stream, session: Session, cancel: ShouldStop
) -> None:
    """Bring all frames from one pipe through the session to the other."""
    from fapvideo.video.pipes import read_frames, write_frame

    lines: deque[bytes] = deque()

    def write(frames: list[VideoFrame]) -> None:
        for frame in frames:
            write_frame(pipes[1], stream, lines.popleft(), frame)
        pipes[1].flush()

    pipes[1].write(stream.header)
    try:
        for line, frame in read_frames(pipes[0], stream):
            if cancel():
                raise Cancelled("stopped on request; the stream ends here")
            lines.append(line)
            write(session.push(frame))
    except VideoReadError:  # what came whole goes out, however the stream ended
        write(session.flush())
        raise
    write(session.flush())


def _tell(report: dict[str, Any], told: list[str], *, as_json: bool, require_face: bool) -> None:
    """Say on stderr what became of the stream."""
    frames, faces = report["frames"], report["faces"]
    if as_json:
        output.print_event("report", **report)
    else:
        for text in report["warnings"]:
            if text not in told:
                output.print_warning(text)
        reasons = ", ".join(f"{code} {count}" for code, count in report["reasons"].items())
        why = f" ({reasons})" if reasons else ""
        swapped = frames["total"] - frames["left"]
        output.print_note(f"{frames['total']} frames, {swapped} of them swapped{why}")
    if require_face and not faces["total"]:
        raise NoFaceFound(
            f"no face in {frames['total']} frames",
            hint="lower track.detect_score, or leave out --require-face",
        )
