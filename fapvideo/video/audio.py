"""Copying everything beside the video - audio, subtitles, data, attachments - packet by packet."""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import av
import av.error
from av.stream import Discard

from fapvideo.structs import VideoInfo
from fapvideo.video.encoder import MUXERS
from fapvideo.video.opening import codec_name, open_input
from fapvideo.video.timeline import demux

log = logging.getLogger(__name__)

_REFUSED = (av.error.InvalidDataError, av.error.ArgumentError, av.error.PatchWelcomeError)
"""What a muxer says of a packet; anything else is about the file it writes."""
_MAX_REORDERED = 32
"""Packets that may wait for a time of decoding: more than any codec reorders."""
_STALE_TAGS = ("encoder", "duration", "bps", "number_of_frames", "number_of_bytes", "_statistics")
"""Stream tags (lower case, by beginning) that describe the old file rather than the content."""


class StreamCopier:
    """Demuxes the source a second time and hands packets over as the video advances."""

    def __init__(self, info: VideoInfo, suffix: str) -> None:
        """Open the source of `info`, if it has one; `suffix` names the output's container.

        Raises:
            VideoReadError: the source cannot be opened any more.
        """
        self._info = info
        self._suffix = suffix
        self._container: Any = open_input(info.path) if info.container else None
        self._outputs: dict[int, Any] = {}
        self._last: dict[int, tuple[int, int]] = {}
        """By stream: when the last packet was to be decoded, and when the next one is."""
        self._refused: dict[int, int] = {}
        """By stream: packets that the muxer did not take."""
        self._output: Any = None
        self._packets: Iterator[Any] | None = None
        self._pending: Any = None
        self._start: Fraction | None = None
        self._zero = Fraction(0)
        self._end: Fraction | None = None
        self.warnings: list[str] = []

    @property
    def streams(self) -> list[Any]:
        """Return all streams of the source in order, the video included."""
        return list(self._container.streams) if self._container else []

    def chapters(self) -> list[dict[str, Any]]:
        """Return the container's chapters as PyAV describes them."""
        return list(self._container.chapters()) if self._container else []

    def add(self, source: Any, output: Any) -> None:
        """Add a copy of one stream to `output`, or a warning that names it."""
        if self._is_remade(source):
            return
        reason = _refusal(source, MUXERS[self._suffix])
        if reason:
            self.warnings.append(
                f"{describe_stream(source)} is left out: {reason}{self._keeper(source)}"
            )
            return
        self._outputs[source.index] = _add_from(source, output)

    def start(
        self, output: Any, begin: Fraction | None, end: Fraction | None, zero: Fraction
    ) -> None:
        """Begin copying into `output`.

        All in seconds on the source's clock: `begin` cuts what comes earlier, `end` what comes at
        or after it, and `None` means no cut; `zero` becomes 0.
        """
        self._output, self._start, self._end, self._zero = output, begin, end, zero
        sources = [s for s in self.streams if s.index in self._outputs and s.type != "attachment"]
        packets = demux(self._container, *sources, joints=self._info.joints, stopped=self._stopped)
        self._packets = _ordered(packets) if sources else iter(())
        self._advance()

    def copy_until(self, time: Fraction | None) -> None:
        """Copy every packet up to `time` on the source's clock; all that is left if None."""
        while self._pending is not None:
            packet = self._pending
            if time is not None and packet.dts * packet.time_base > time:
                return
            self._copy(packet)
            self._advance()

    def refusals(self) -> list[str]:
        """Return a warning for every stream of which packets were not taken."""
        streams = {stream.index: stream for stream in self.streams}
        return [
            f"{count} damaged packets of {describe_stream(streams[index])} are left out"
            for index, count in self._refused.items()
        ]

    def close(self) -> None:
        """Close the source."""
        if self._container:
            self._container.close()

    # ------------------------------------------------------------------------ inside

    def _is_remade(self, stream: Any) -> bool:
        """Tell whether the muxer writes this stream anew, so that copying would double it.

        MP4 and MOV keep chapter names in a text track and the start timecode in a `tmcd` track;
        PyAV sees both as data. The one comes back from the chapters, the other from the video
        stream's `timecode` tag (copied as it is, it lacks a frame rate and fails in the trailer).
        """
        if stream.type != "data" or "mov" not in self._info.container:
            return False
        video = self._container.streams[self._info.video_stream]
        # FFmpeg hides the chapter track's packets; a camera's data track has some.
        is_chapters = bool(self._info.chapters) and stream.discard == Discard.all
        is_timecode = stream.name is None and "timecode" in stream.metadata
        return is_chapters or (is_timecode and "timecode" in video.metadata)

    def _keeper(self, source: Any) -> str:
        """Name the container that would keep a stream, if there is one."""
        for suffix, muxer in MUXERS.items():
            if suffix != self._suffix and not _refusal(source, muxer):
                return f"; {suffix} keeps it"
        return ""

    def _advance(self) -> None:
        """Look for the next packet to copy."""
        self._pending = None
        assert self._packets is not None
        for packet in self._packets:
            # Not what the muxer writes by itself.
            if not self._is_gap(packet) and self._place(packet):
                self._pending = packet
                return

    def _stopped(self, reason: str) -> None:
        self.warnings.append(f"copying audio and other streams stopped early: {reason}")

    def _is_gap(self, packet: Any) -> bool:
        """Tell whether this is MP4's empty subtitle, which FFmpeg's muxer puts into every gap."""
        return (
            self._suffix != ".mkv"
            and packet.size == 2
            and packet.stream.name == "mov_text"
            and bytes(packet) == b"\0\0"
        )

    def _place(self, packet: Any) -> bool:
        """Complete a packet's times; tell whether it lies inside the cut."""
        start = round((self._zero if self._start is None else self._start) / packet.time_base)
        if packet.pts is None:
            packet.pts = packet.dts
        if packet.pts is None:  # a cover picture, shown at no time in particular
            packet.pts = start
        if packet.dts is None:
            packet.dts = packet.pts
        time = packet.pts * packet.time_base
        if self._end is not None and time >= self._end:
            return False
        if self._start is None or time >= self._start:
            return True
        end = packet.pts + (packet.duration or 0)
        if packet.stream.type != "subtitle" or end <= start:
            return False
        # A line that is on screen at the cut stays for the rest of its time.
        packet.duration = end - start
        packet.pts = packet.dts = start
        return True

    def _copy(self, packet: Any) -> None:
        index = packet.stream.index
        shift = round(self._zero / packet.time_base)
        packet.dts -= shift
        packet.pts -= shift
        if packet.stream.type in ("subtitle", "data") and packet.dts < 0:
            packet.dts, packet.pts = 0, max(packet.pts, 0)
        last, due = self._last.get(index, (packet.dts - 1, packet.dts))
        if self._overlaps(packet, due):
            return
        if packet.dts <= last:  # the muxer would refuse it
            log.warning("%s: stream %d goes back in time", self._info.path, index)
            packet.dts = last + 1
            packet.pts = max(packet.pts, packet.dts)
        times = packet.dts, packet.dts + (packet.duration or 0)
        packet.stream = self._outputs[index]
        try:
            self._output.mux(packet)
        except _REFUSED as error:
            # Damage in one packet (an ADTS header that is none) is not the end of a long run.
            log.warning("%s: a packet of stream %d: %s", self._info.path, index, error.strerror)
            self._refused[index] = self._refused.get(index, 0) + 1
        else:
            self._last[index] = times

    def _overlaps(self, packet: Any, due: int) -> bool:
        """Tell whether sound begins, at a joint, while most of its time is taken already."""
        length = packet.duration or 0
        joined = self._info.joints and packet.stream.type == "audio" and length
        return bool(joined) and packet.dts + length // 2 < due


def _ordered(packets: Iterator[Any]) -> Iterator[Any]:
    """Give video packets a time of decoding that have none, before the first one that has.

    Matroska keeps none, and FFmpeg finds it out only after as many packets as B-frames reorder.
    """
    waiting: dict[int, list[Any]] = {}
    for packet in packets:
        held = waiting.get(packet.stream_index, [])
        if packet.dts is None and packet.pts is not None and len(held) < _MAX_REORDERED:
            if packet.stream.type == "video":
                waiting.setdefault(packet.stream_index, []).append(packet)
                continue
        elif held:
            yield from _dated(waiting.pop(packet.stream_index), packet.dts)
        yield packet
    for held in waiting.values():
        yield from _dated(held, None)


def _dated(held: list[Any], following: int | None) -> list[Any]:
    """Set the times of decoding of packets in a row that come before `following`."""
    step = max(1, held[0].duration or 0)
    if following is None:
        following = min(packet.pts for packet in held) + step
    for back, packet in enumerate(reversed(held), 1):
        packet.dts = min(packet.pts, following - back * step)
    return held


def describe_stream(stream: Any) -> str:
    """Name a stream for a message: `audio stream 2 (pcm_s16le, eng)`."""
    details = [codec_name(stream) or "unknown codec"]
    if stream.language:
        details.append(stream.language)
    return f"{stream.type} stream {stream.index} ({', '.join(details)})"


def stream_tags(metadata: dict[str, str]) -> dict[str, str]:
    """Return the tags of a stream that stay true in another file."""
    return {k: v for k, v in metadata.items() if not k.lower().startswith(_STALE_TAGS)}


def _add_from(source: Any, output: Any) -> Any:
    """Add a stream with the parameters, tags and disposition of `source`."""
    stream = output.add_stream_from_template(source, opaque=True)
    stream.metadata.update(stream_tags(source.metadata))
    stream.disposition = source.disposition
    return stream


def _refusal(source: Any, muxer: str) -> str:
    """Write a small file into memory; return why the container refuses the stream, or ""."""
    if source.codec_context is None and source.type not in ("data", "attachment"):
        return (
            "FFmpeg does not know its codec; to keep it, convert it first, or add it afterwards "
            "with ffmpeg -c copy -copy_unknown"
        )
    trial = av.open(io.BytesIO(), "w", format=muxer)
    try:
        stream = _add_from(source, trial)
        trial.start_encoding()
        if source.type == "data":  # the muxer knows little of these, and may fail in the trailer
            packet = av.Packet(bytes(8))
            packet.stream, packet.pts, packet.dts = stream, 0, 0
            trial.mux(packet)
            trial.close()
    except (av.error.FFmpegError, ValueError) as error:
        return f"{muxer} cannot hold it ({getattr(error, 'strerror', None) or error})"
    finally:
        with contextlib.suppress(av.error.FFmpegError, ValueError):
            trial.close()
    return ""
