"""Time of a file as its packets tell it: joints, the real frame rate, where 0 is to be.

A transport stream's clock starts anywhere and wraps, recordings are joined, browsers write 1000
frames per second into a header. All packets are read once, without decoding; every later pass over
the file (`demux`) gets the same packets on one clock that only goes forward.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Literal

import av.error
import numpy as np
from av.stream import Discard

from fapvideo.structs import Joint
from fapvideo.video.captions import captions_of

log = logging.getLogger(__name__)

BACK_S = 0.1
"""A clock that goes back by more starts anew; less is jitter."""
GAP_S = 10.0
"""A gap in all streams of a transport stream that is longer is no pause but another clock."""
LONG_PAUSE_S = 60.0
"""A pause that is worth a word."""
LEAD_S = Fraction(1, 10)
"""How much earlier than the picture an audio encoder's priming may begin."""

_SWITCH_AFTER = 8
"""Packets after which a stream follows the others over a joint that it does not show itself."""
_ROUNDED_S = Fraction(1, 1000)
"""Containers round times to this."""
_RETRIES = 32
"""Reads in a row that may fail."""
_PAUSE = 10
"""A distance of so many usual ones is a pause, which says nothing about the frame rate."""
_CLOCKED = ("mpegts", "mpeg", "flv", "live_flv")
"""Demuxers of formats whose clock may jump by itself."""
_RATES = tuple(
    Fraction(*pair)
    for pair in (
        (24000, 1001), (24, 1), (25, 1), (30000, 1001), (30, 1), (48, 1), (50, 1), (60000, 1001),
        (60, 1), (100, 1), (120000, 1001), (120, 1), (240, 1), (15, 1), (12, 1), (10, 1),
    )
)  # fmt: skip
_ABSURD = 1.5
"""A container's rate this much above or below that of the packets is not the film's."""


@dataclass(frozen=True, slots=True)
class Timeline:
    """What the packets of a file say, without decoding. Times are in ticks of the video stream."""

    start: int
    end: int
    frames: int
    """Packets of the video that are shown."""
    discarded: int
    """Packets that an edit list cuts off."""
    vfr: bool
    rate: Fraction | None
    """Frames per second by the spacing of the packets."""
    origin_s: Fraction
    times: Literal["shown", "decoded", "some"]
    """What packets tell: when they are shown, only when they are decoded (AVI), or not all do."""
    joints: tuple[Joint, ...]
    warnings: tuple[str, ...]
    captions: bool
    """Whether a packet of the video holds closed captions."""
    last_s: float
    """End of the last packet of any stream, seconds."""


@dataclass(slots=True)
class _Strand:
    """One stream while it is read."""

    index: int
    time_base: Fraction
    sparse: bool = False
    """Whether it only follows the others: subtitles and data say nothing for minutes."""
    counted: int = 0
    segment: int = 0
    last: float | None = None
    expected: float = 0.0
    lag: int = 0
    begins: dict[int, Fraction] = field(default_factory=dict)
    """By segment: the earliest presentation time, seconds on the raw clock."""
    ends: dict[int, Fraction] = field(default_factory=dict)
    turns: list[tuple[int, int]] = field(default_factory=list)
    """(packet, segment) where the stream changes into another segment."""


def demux(
    container: Any,
    *streams: Any,
    joints: Sequence[Joint] = (),
    stopped: Callable[[str], None] | None = None,
) -> Iterator[Any]:
    """Yield the packets of some streams on one clock; a read error ends them as the file's end.

    `joints` must be those of the whole file, and the reading start at its beginning. `stopped` is
    told of a read error; otherwise it is logged.
    """
    wanted = {stream.index for stream in streams}
    for other in container.streams:
        if other.index not in wanted and other.type != "attachment":
            other.discard = Discard.all
    turns: dict[int, list[Joint]] = {index: [] for index in wanted}
    for joint in joints:
        if joint.stream in turns:
            turns[joint.stream].append(joint)
    counted = dict.fromkeys(wanted, 0)
    shifts = dict.fromkeys(wanted, 0)
    for packet in _packets(container, streams, stopped):
        index = packet.stream_index
        if turns[index]:
            if turns[index][0].packet == counted[index]:
                shifts[index] = round(turns[index].pop(0).shift_s / packet.time_base)
            counted[index] += 1
        if shifts[index]:
            if packet.dts is not None:
                packet.dts += shifts[index]
            if packet.pts is not None:
                packet.pts += shifts[index]
        yield packet


def _packets(
    container: Any, streams: Sequence[Any], stopped: Callable[[str], None] | None
) -> Iterator[Any]:
    failures = 0
    packets = container.demux(*streams)
    while True:
        try:
            packet = next(packets)
        except StopIteration:
            return
        except (av.error.FFmpegError, ValueError, OverflowError) as error:
            failures += 1
            if failures <= _RETRIES:  # one packet that cannot be read is not the end
                packets = container.demux(*streams)
                continue
            reason = getattr(error, "strerror", None) or str(error)
            if stopped is not None:
                stopped(reason)
            else:
                log.warning("%s: reading stopped early: %s", container.name, reason)
            return
        if packet.size:
            failures = 0
            yield packet


def read_timeline(container: Any, stream: Any) -> Timeline:
    """Read the times of all packets of the video `stream` and of the sound beside it."""
    clocked = container.format.name in _CLOCKED
    followers = ("subtitle", "data") if clocked else ()
    others = [
        one
        for one in container.streams
        if one.index == stream.index
        or (one.type == "audio" and one.codec_context is not None)
        or one.type in followers
    ]
    joiner = _Joiner({one.index: _strand(one) for one in others}, clocked)
    pictures = _Pictures()
    for packet in demux(container, *others):
        segment = joiner.place(packet)
        if packet.stream_index == stream.index:
            pictures.add(packet, segment)
    return _timeline(joiner, pictures, joiner.strands[stream.index], container.format.name)


def _strand(stream: Any) -> _Strand:
    sparse = stream.type not in ("video", "audio")
    return _Strand(stream.index, stream.time_base or Fraction(1, 90_000), sparse)


class _Joiner:
    """Cuts the packets of all streams into segments of one clock each."""

    def __init__(self, strands: dict[int, _Strand], clocked: bool) -> None:
        self.strands, self._clocked = strands, clocked
        self._segment, self._began, self._frontier = 0, 0.0, float("-inf")

    def place(self, packet: Any) -> int:
        """Take the next packet of the file; return its segment."""
        strand = self.strands[packet.stream_index]
        raw = packet.dts if packet.dts is not None else packet.pts
        if strand.sparse:
            if strand.segment < self._segment:
                strand.segment = self._segment
                strand.turns.append((strand.counted, self._segment))
        elif raw is not None:
            now = float(raw * strand.time_base)
            if packet.dts is not None:
                self._turn(strand, now)
                strand.last = now
                strand.expected = now + float((packet.duration or 0) * strand.time_base)
                self._frontier = max(self._frontier, strand.expected)
            self._stretch(strand, packet)
        strand.counted += 1
        return strand.segment

    def _turn(self, strand: _Strand, now: float) -> None:
        """Open a segment, or follow the others into theirs."""
        if strand.last is None:
            strand.segment = self._segment
            if self._segment:
                strand.turns.append((strand.counted, self._segment))
            return
        if strand.segment < self._segment:
            strand.lag += 1
            nearer = abs(now - self._began) < abs(now - strand.last)
            if not nearer and strand.lag <= _SWITCH_AFTER:
                return
        else:
            back = now < strand.last and now + BACK_S < max(strand.expected, strand.last)
            ahead = self._clocked and now > self._frontier + GAP_S
            if not back and not ahead:
                return
            self._segment += 1
            self._began, self._frontier = now, now
        strand.segment, strand.lag = self._segment, 0
        strand.turns.append((strand.counted, self._segment))

    @staticmethod
    def _stretch(strand: _Strand, packet: Any) -> None:
        if packet.is_discard:
            return
        ticks = packet.pts if packet.pts is not None else packet.dts
        begin = ticks * strand.time_base
        end = begin + (packet.duration or 0) * strand.time_base
        key = strand.segment
        strand.begins[key] = min(strand.begins.get(key, begin), begin)
        strand.ends[key] = max(strand.ends.get(key, end), end)

    def shifts(self, main: _Strand, step: Fraction) -> list[Fraction]:
        """Return what is added to each segment's times so that the picture goes on evenly.

        `step` is the time from one picture to the next where packets have no duration.
        """
        out = [Fraction(0)]
        for key in range(1, self._segment + 1):
            old = [s for s in self.strands.values() if key - 1 in s.ends]
            new = [s for s in self.strands.values() if key in s.begins]
            shift = Fraction(0)
            if main in old and main in new:
                shift = main.ends[key - 1] + step - main.begins[key]
            elif old and new:
                shift = max(s.ends[key - 1] for s in old) - min(s.begins[key] for s in new)
            for one in old:  # sound that went on much longer than its picture is not cut
                if one in new and one is not main:
                    shift = max(shift, one.ends[key - 1] - LEAD_S - one.begins[key])
            out.append(shift + out[-1])
        return out


class _Pictures:
    """The video's packets: their times and segments."""

    def __init__(self) -> None:
        self.shown: list[int | None] = []
        self.decoded: list[int | None] = []
        self.segments: list[int] = []
        self.durations: list[int] = []
        self.discarded = 0
        self.captions = False

    def add(self, packet: Any, segment: int) -> None:
        self.captions = self.captions or bool(captions_of(packet))
        if packet.is_discard:  # cut off by an edit list: decoded, never shown
            self.discarded += 1
            return
        self.shown.append(packet.pts)
        self.decoded.append(packet.dts)
        self.segments.append(segment)
        self.durations.append(packet.duration or 0)


def _timeline(joiner: _Joiner, pictures: _Pictures, main: _Strand, container: str) -> Timeline:
    """Put together what was read."""
    missing = sum(pts is None for pts in pictures.shown)
    times: Literal["shown", "decoded", "some"] = "some" if missing else "shown"
    # AVI stores no time at all: FFmpeg counts packets, and derives wrong times with B-frames.
    if container == "avi" or (missing and missing == len(pictures.shown)):
        times = "decoded"
    chosen = pictures.decoded if times == "decoded" else pictures.shown
    known = [
        (time, segment, duration)
        for time, segment, duration in zip(
            chosen, pictures.segments, pictures.durations, strict=True
        )
        if time is not None
    ]
    step = Fraction(0)
    if not any(pictures.durations):
        step = _typical([time for time, segment, _ in known if not segment]) * main.time_base
    shifts = joiner.shifts(main, step)
    ticks = [round(shift / main.time_base) for shift in shifts]
    shown = sorted((time + ticks[segment], duration) for time, segment, duration in known)
    pts = [time for time, _ in shown]
    duration = (shown[-1][1] if shown else 0) or (pts[-1] - pts[-2] if len(pts) > 1 else 0)
    start = pts[0] if pts else 0
    ends = [end + shifts[k] for one in joiner.strands.values() for k, end in one.ends.items()]
    return Timeline(
        start=start,
        end=pts[-1] + duration if pts else 0,
        frames=len(pictures.shown),
        discarded=pictures.discarded,
        vfr=is_variable(pts),
        rate=_spacing_rate(pts, main.time_base),
        origin_s=_origin(start * main.time_base, joiner, main),
        times=times,
        joints=tuple(
            Joint(one.index, packet, shifts[segment])
            for one in joiner.strands.values()
            for packet, segment in one.turns
        ),
        captions=pictures.captions,
        warnings=_said(pts, main.time_base, shifts),
        last_s=float(max(ends, default=Fraction(0))),
    )


def _said(pts: list[int], time_base: Fraction, shifts: list[Fraction]) -> tuple[str, ...]:
    """Return what should be known about the clock."""
    out = []
    if len(shifts) > 1:
        jumps = ", ".join(f"{float(a - b):+.3f} s" for a, b in itertools.pairwise(shifts[:4]))
        out.append(
            f"the input's clock jumps in {len(shifts) - 1} places (by {jumps}): times go on evenly "
            "in the output; of sound that overlaps there, the later one is left out"
        )
    gaps = np.diff(np.array(pts, np.int64)) if len(pts) > 1 else np.zeros(0, np.int64)
    longest = float(gaps.max() * time_base) if len(gaps) else 0.0
    if longest > LONG_PAUSE_S:
        at = float((pts[int(gaps.argmax())] - pts[0]) * time_base)
        out.append(f"the input has a pause of {longest:.0f} s at {at:.3f} s, which is kept")
    return tuple(out)


def _origin(start_s: Fraction, joiner: _Joiner, main: _Strand) -> Fraction:
    """Return the time that becomes 0: that of the first picture, or of sound long before it."""
    sounds = [one.begins[0] for one in joiner.strands.values() if one is not main and one.begins]
    earliest = min([start_s, *sounds])
    if earliest == start_s or not -LEAD_S <= earliest <= _ROUNDED_S:
        return start_s if start_s - earliest <= LEAD_S else earliest
    return Fraction(0)  # it starts at 0 already, sound first


def _typical(pts: list[int]) -> int:
    """Return the median distance between times, ticks."""
    gaps = np.diff(np.unique(np.array(pts, np.int64))) if len(pts) > 1 else np.zeros(0)
    return int(np.median(gaps)) if len(gaps) else 0


def _spacing_rate(pts: list[int], time_base: Fraction) -> Fraction | None:
    """Return the mean rate of sorted times without pauses, as a usual one if it is one."""
    gaps = np.diff(np.unique(np.array(pts, np.int64)))
    if not len(gaps):
        return None
    gaps = gaps[gaps <= _PAUSE * np.median(gaps)]
    rate = Fraction(len(gaps)) / (int(gaps.sum()) * time_base)
    near = min(_RATES, key=lambda usual: abs(usual - rate))
    exact = abs(near - rate) * 200 < near
    return near if exact else rate.limit_denominator(1001)


def true_rate(claimed: Fraction | None, measured: Fraction | None) -> Fraction | None:
    """Return the container's rate unless the packets' spacing shows that it is no frame rate."""
    if not claimed or claimed <= 0:
        return measured
    if measured is None or measured <= 0 or 1 / _ABSURD < claimed / measured < _ABSURD:
        return claimed
    return measured


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
