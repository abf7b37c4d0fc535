"""Stretches of a clip that are painted and encoded on their own, all from one plan.

A run goes through them one after the other, and one that was stopped goes on behind the last whole
one. Nothing in a segment depends on the others: frames are functions of themselves and the plan,
and every segment has an encoder of its own, whatever process makes it.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from fapvideo.errors import VideoReadError
from fapvideo.layers.spool import LayerOutcome, LayerPlan, LayerSpool
from fapvideo.pipeline import SwappedBatch
from fapvideo.plan.targets import Plan
from fapvideo.progress import Stopwatch, Ticker
from fapvideo.run.engine import Engine
from fapvideo.run.sources import Source
from fapvideo.structs import REASONS, FrameBatch, VideoFrame, VideoInfo
from fapvideo.video.coding import PictureEncoder
from fapvideo.video.encoder import Encoding
from fapvideo.video.packets import PacketFile, PacketTable
from fapvideo.video.writer import explained

log = logging.getLogger(__name__)

MOST = 3
"""Times `video.segment_s`: a segment that has met no key frame and no cut by then ends anyway."""


@dataclass(frozen=True, slots=True)
class Segment:
    """Some consecutive frames of a clip."""

    index: int
    first: int
    frames: int

    @property
    def end(self) -> int:
        """The frame behind the last one."""
        return self.first + self.frames


def divide(plan: Plan, least_s: float) -> tuple[Segment, ...]:
    """Return the segments of a clip, each at least `least_s` long unless the clip is shorter.

    They begin where the input can be read from, or where a shot begins.
    """
    times, cuts, slack = plan.times_s, set(plan.cuts), 1e-6
    starts, end_s = [0], 2 * times[-1] - times[max(0, plan.frames - 2)]
    for frame in range(1, plan.frames):
        length, rest = times[frame] - times[starts[-1]], end_s - times[frame]
        if length < least_s - slack or rest < least_s - slack:
            continue
        if plan.keys[frame] or frame in cuts or length >= MOST * least_s:
            starts.append(frame)
    ends = [*starts[1:], plan.frames]
    return tuple(
        Segment(index, first, end - first)
        for index, (first, end) in enumerate(zip(starts, ends, strict=True))
    )


@dataclass(slots=True)
class Outcome:
    """What became of a segment."""

    packets: PacketTable
    refused: list[tuple[int, int, str]] = field(default_factory=list)
    """(frame, track, reason) of faces that were not painted after all."""
    cut_off: list[tuple[int, int, float]] = field(default_factory=list)
    """(frame, track, share) of holes that the picture's edge cuts."""
    apart: list[tuple[int, int, float | None, bool]] = field(default_factory=list)
    """(frame, track, distance, blurred) of faces that must not be recognised; None: unmeasured."""
    outside: int = 0
    """Samples that changed outside every mask."""
    seconds: dict[str, float] = field(default_factory=dict)
    """Spent on each stage."""
    warnings: list[str] = field(default_factory=list)
    layers: LayerOutcome | None = None
    """What there is of layers; None where none were asked for."""

    def add(self, swapped: SwappedBatch) -> None:
        """Take a batch that was painted."""
        self.outside += swapped.outside_changed
        self.refused += [(*face, reason) for face, reason in swapped.refused.items()]
        self.cut_off += [(*face, share) for face, share in swapped.cut_off.items()]
        self.apart += [
            (*face, distance if math.isfinite(distance) else None, blurred)
            for face, (distance, blurred) in swapped.apart.items()
        ]

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain JSON types."""
        return {
            "packets": self.packets.to_dict(),
            "refused": self.refused,
            "cut_off": self.cut_off,
            "apart": self.apart,
            "outside": self.outside,
            "seconds": self.seconds,
            "warnings": self.warnings,
            **({"layers": self.layers.to_dict()} if self.layers is not None else {}),
        }

    @classmethod
    def from_dict(cls, values: Any) -> Self:
        """Return the outcome that `to_dict` wrote.

        Raises:
            KeyError, TypeError, ValueError: it is none.
        """
        refused = [(int(f), int(t), str(why)) for f, t, why in values["refused"]]
        if any(why not in REASONS for _, _, why in refused):
            raise ValueError("it has an unknown reason")
        return cls(
            PacketTable.from_dict(values["packets"]),
            refused,
            [(int(f), int(t), float(share)) for f, t, share in values["cut_off"]],
            [
                (int(f), int(t), None if distance is None else float(distance), bool(blurred))
                for f, t, distance, blurred in values["apart"]
            ],
            int(values["outside"]),
            {str(name): float(spent) for name, spent in values["seconds"].items()},
            [str(text) for text in values["warnings"]],
            LayerOutcome.from_dict(values["layers"]) if "layers" in values else None,
        )


def render(
    engine: Engine,
    source: Source,
    plan: Plan,
    segments: Sequence[Segment],
    encoding: Encoding | None,
    partial: Callable[[Segment], Path],
    watch: Stopwatch,
    ticker: Ticker,
    layers: LayerPlan | None = None,
) -> Iterator[tuple[Segment, Path, Outcome]]:
    """Paint and encode consecutive segments; yield each with its file of packets.

    Args:
        engine: with the preset and painters of the run.
        source: the clip.
        plan: of the clip.
        segments: of `divide`.
        encoding: of `choose_encoding`; None where there is to be no finished video.
        partial: gives the name of a new file for the packets of a segment.
        watch: takes the seconds of each stage.
        ticker: told of every batch.
        layers: what is to be written of layers, into a folder beside the packets.

    Raises:
        VideoReadError: the input is not what it was in the first pass.
        VideoWriteError: the encoder fails, or the disk is full.
    """
    record = layers is not None
    batches = frames_of(source, plan, segments, engine.batch(source.info))
    with closing(engine.swap(source, plan, watch, batches, record=record)) as work:
        for segment in segments:
            before, started = dict(watch.seconds), time.perf_counter()
            path = partial(segment)
            try:
                with _spool(layers, path) as spool:
                    to = _Encoded(source.info, encoding, path, segment.index)
                    outcome = _paint(work, segment, to, spool, watch, ticker)
            except BaseException:
                path.unlink(missing_ok=True)
                raise
            spent = {name: s - before.get(name, 0.0) for name, s in watch.seconds.items()}
            outcome.warnings += engine.told()
            outcome.seconds = {**spent, "wall_s": time.perf_counter() - started}
            yield segment, path, outcome


def layers_beside(packets: Path) -> Path:
    """Return where the layers of a segment lie whose packets are in a file."""
    return packets.with_suffix(".layers")


def _spool(layers: LayerPlan | None, packets: Path) -> AbstractContextManager[LayerSpool | None]:
    return nullcontext() if layers is None else LayerSpool(layers, layers_beside(packets))


class _Encoded:
    """The finished pictures of one segment, encoded into a file."""

    def __init__(
        self, info: VideoInfo, encoding: Encoding | None, path: Path, segment: int
    ) -> None:
        """Make the file; without an encoding it stays empty."""
        self.warnings: list[str] = []
        self._encoding = encoding
        self._what = f"{path}: writing segment {segment} failed"
        self._encoder = (
            None if encoding is None else PictureEncoder(info, encoding, self.warnings.append)
        )
        with self._explained():
            self.file = PacketFile(path)

    def write(self, frames: Sequence[VideoFrame]) -> None:
        """Encode frames.

        Raises:
            VideoWriteError: the encoder fails, or the disk is full.
        """
        if self._encoder is not None:
            with self._explained():
                for frame in frames:
                    self.file.write(self._encoder.encode(frame))

    def finish(self) -> None:
        """Write what is left.

        Raises:
            VideoWriteError: the encoder fails, or the disk is full.
        """
        with self._explained():
            if self._encoder is not None:
                self.file.write(self._encoder.finish())
                self.file.table.extradata = self._encoder.extradata.hex()
            self.file.close()

    def _explained(self) -> AbstractContextManager[None]:
        return explained(self._what, self._encoding)


def _paint(
    work: Iterator[tuple[FrameBatch, SwappedBatch]],
    segment: Segment,
    to: _Encoded,
    spool: LayerSpool | None,
    watch: Stopwatch,
    ticker: Ticker,
) -> Outcome:
    """Take the frames of one segment from `work`; write them, and their layers."""
    with to.file:
        outcome, done = Outcome(to.file.table, warnings=to.warnings), 0
        while done < segment.frames:
            batch, swapped = next(work)
            outcome.add(swapped)
            with watch.measure("encode_s"):
                to.write(swapped.frames)
                if spool is not None:
                    spool.write(batch, swapped)
            done += len(batch)
            ticker.advance(len(batch))
        with watch.measure("encode_s"):
            to.finish()
            if spool is not None:
                outcome.layers = spool.finish()
                outcome.warnings += spool.warnings
    return outcome


def frames_of(
    source: Source, plan: Plan, segments: Sequence[Segment], size: int
) -> Iterator[FrameBatch]:
    """Yield the frames of consecutive segments in batches that end where a segment does.

    Raises:
        VideoReadError: the input is not what it was in the first pass.
    """
    ends = iter(segment.end for segment in segments)
    end, held = next(ends), []
    first, last = segments[0].first, segments[-1].end
    for single in _checked(source, plan, first, last):
        held.append(single)
        number = single.frames[0].index + 1
        if len(held) == size or number == end:
            yield FrameBatch(
                tuple(one.frames[0] for one in held),
                single.time_base,
                tuple(one.views[0] for one in held),
            )
            held.clear()
            end = next(ends, end) if number == end else end
        if number == last:
            return


def _checked(source: Source, plan: Plan, first: int, end: int) -> Iterator[FrameBatch]:
    """Yield the frames from `first` to before `end`, one by one, as they were in the first pass.

    Where jumping to `first` gives other pictures - a stream whose frames need more than the key
    frame before them - all is decoded from the beginning.
    """
    following = first
    if first > 0:
        stretch = source.cut(float(plan.times_s[first]), _end_time(plan, end))
        with closing(stretch.batches(1)) as frames:
            for frame in frames:
                frame = _numbered(frame, frame.frames[0].index + first)
                if following == end or _differs(frame, plan, following):
                    break
                yield frame
                following += 1
        if following == end:
            return
        log.debug("frame %d of %s needs what comes before it", following, source.info.path)
    with closing(source.batches(1)) as frames:
        for frame in frames:
            number = frame.frames[0].index
            if number < following or number >= end:
                continue
            if _differs(frame, plan, number) and not plan.damaged:
                raise VideoReadError(
                    f"{source.info.path}: frame {number} is not the picture that it was in the "
                    "first pass",
                    hint="see that nothing writes to the file, and start again with --no-resume",
                )
            yield frame
            following = number + 1
            if following == end:
                return
    raise VideoReadError(
        f"{source.info.path} ends after {following} frames; it had {plan.frames} in the first pass",
        hint="see that nothing writes to the file, and start again with --no-resume",
    )


def _numbered(batch: FrameBatch, number: int) -> FrameBatch:
    return replace(batch, frames=(replace(batch.frames[0], index=number),))


def _differs(batch: FrameBatch, plan: Plan, number: int) -> bool:
    """Tell whether a frame is another one than the first pass saw there."""
    frame = batch.frames[0]
    late = abs(frame.time_s - float(plan.times_s[number])) > 1e-6
    return late or frame.fingerprint() != int(plan.fingerprints[number])


def _end_time(plan: Plan, end: int) -> float | None:
    return float(plan.times_s[end]) if end < plan.frames else None
