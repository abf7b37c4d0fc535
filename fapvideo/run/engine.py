"""The two passes over one clip, with decoding ahead of the work and painting ahead of its user."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from fapvideo.composite.planes import displayed
from fapvideo.config.schema import RunPreset
from fapvideo.errors import FapVideoError
from fapvideo.layers.spool import LayerSpool
from fapvideo.ops.files import sha256_file
from fapvideo.ops.memory import release
from fapvideo.ops.portions import full_error
from fapvideo.ops.prefetch import prefetch
from fapvideo.ops.scratch import check_room
from fapvideo.paint.check import PaintCheck
from fapvideo.paint.painter import Painter
from fapvideo.pipeline import Pipeline, SwappedBatch, shown_as_it_is
from fapvideo.plan.casting import assign
from fapvideo.plan.decide import Memory, decide
from fapvideo.plan.follow import Recognise, follow
from fapvideo.plan.people import Cast, all_looks, described, parts_of
from fapvideo.plan.search import BoxFinder
from fapvideo.plan.targets import Plan
from fapvideo.progress import Stopwatch, Ticker, clock
from fapvideo.run.anonymity import Anonymous
from fapvideo.run.books import Books
from fapvideo.run.labelled import Labelled
from fapvideo.run.permission import check_permission
from fapvideo.run.sinks import Sink
from fapvideo.run.sources import Source
from fapvideo.run.stretches import Finish, Painted, Prepared, Stretch, Stretches
from fapvideo.structs import Floats, FrameBatch, VideoFrame, VideoInfo
from fapvideo.track.tracker import scratch_bytes
from fapvideo.trust.label import draw_label
from fapvideo.trust.protected import is_recognised, protected_version
from fapvideo.trust.recognition import IdentityEmbedding

log = logging.getLogger(__name__)

CPU_BATCH = 4
"""Larger batches make a CPU no faster, and several are under way at once."""
CPU_PIXELS = 1 << 21
"""Of a batch on a CPU: some ten are under way at once. A frame of 1080p is one."""
LET_GO = 32
"""Batches after which the landmarks that were looked at go out of memory; they lie in files."""


class Engine:
    """Plans and swaps clips by one preset."""

    def __init__(
        self,
        preset: RunPreset,
        painter: Painter,
        boxes: BoxFinder,
        spans: Sequence[Painter] = (),
        check: Callable[[], PaintCheck] = PaintCheck,
    ) -> None:
        """Paint with `painter`, or with that of a span where there is one in `spans`.

        Args:
            preset: of the run.
            painter: paints.
            boxes: finds what a detector has to find.
            spans: one for each of the preset's; by default `painter` paints those, too.
            check: gives what looks at finished crops, when something is painted.
        """
        self.preset, self.painter, self.boxes, self._new_check = preset, painter, boxes, check
        self._spans = tuple(spans) or (painter,) * len(preset.spans)

    def batch(self, info: VideoInfo) -> int:
        """Return how many frames of a video are in a batch: `denoise.batch_size`.

        On a CPU at most `CPU_BATCH`, and no more than have `CPU_PIXELS` together.
        """
        size, bundle = self.preset.denoise.batch_size, self.painter.bundle
        if bundle is not None and bundle.device.type != "cpu":
            return size
        return min(size, CPU_BATCH, max(1, CPU_PIXELS // (info.width * info.height)))

    @cached_property
    def _check(self) -> PaintCheck:
        """What looks at finished crops; loaded when something is painted."""
        return self._new_check()

    @cached_property
    def _recognition(self) -> IdentityEmbedding:
        """What tells whether somebody can still be recognised."""
        return IdentityEmbedding()

    def check(self, cast: Cast, info: VideoInfo) -> None:
        """See to it that a long pass does not end in an error that can be told now.

        Raises:
            ConsentError, WeightsError: something forbids it, or an extra is missing.
        """
        check_permission(self.preset, self.painter.bundle, cast, info)
        if self.preset.anonymize.distance > 0:
            _ = self._recognition
        self.boxes.load(self.painter.searched(parts_of(cast)))

    def recognise(self) -> Recognise | None:
        """Return the second opinion about who somebody is, where somebody is protected."""
        return self._recognition if is_recognised() else None

    def plan(
        self,
        source: Source,
        cast: Cast,
        scratch: Path,
        watch: Stopwatch | None = None,
        ticker: Ticker | None = None,
        known: Plan | None = None,
        *,
        any_cast: bool = False,
    ) -> Plan:
        """Run the first pass.

        Args:
            source: the clip.
            cast: who gets which references.
            scratch: an existing folder, needed as long as the plan is used.
            watch: takes the seconds of decoding and tracking.
            ticker: told of every batch.
            known: a plan of the same clip (`run.followed`): nobody is followed again.
            any_cast: other casts are to come: everybody is measured in every frame.

        Raises:
            ConsentError, WeightsError: something forbids it.
        """
        watch, ticker = watch or Stopwatch(), ticker or Ticker(None, None)
        self.check(cast, source.info)
        with watch.measure("track_s"):
            if known is not None and not self._rests(known, cast):
                return self._decided(known, source, cast, watch, ticker, exactly=True)
            photos = () if any_cast else all_looks(cast)
            plan = self._followed(source, scratch, watch, ticker, photos)
            if self._rests(plan, cast):
                log.info("somebody who is cast was taken for a stranger: followed again")
                again = scratch / "again"
                again.mkdir()
                plan = self._followed(source, again, watch, ticker, ())
            return self._decided(plan, source, cast, watch, ticker)

    def _followed(
        self,
        source: Source,
        scratch: Path,
        watch: Stopwatch,
        ticker: Ticker,
        photos: Sequence[Floats],
    ) -> Plan:
        """Return who is where; with `photos` strangers rest."""
        check_room(scratch, scratch_bytes(source.expected))
        ticker.begin("analyse", source.expected)
        plan = follow(
            self._decoded(source, watch, looked_at=True),
            source.info,
            self.preset.track,
            scratch,
            ticker.advance,
            recognise=self.recognise(),
            photos=photos,
        )
        return replace(plan, damaged=source.damaged)

    def _rests(self, plan: Plan, cast: Cast) -> bool:
        """Tell whether somebody is to be swapped who was not measured in every frame."""
        roles = assign(plan, cast, self.preset.track.faces).roles if plan.rested else {}
        return any(track in plan.rested and not cast[role].keep for track, role in roles.items())

    def decided_by(self, source: Source, cast: Cast) -> dict[str, Any]:
        """Return what decides the plan of a file's clip, as plain JSON types."""
        return {
            "input": sha256_file(source.info.path),
            "preset": self.preset.model_dump(mode="json"),
            "cast": described(cast),
            "protected": protected_version(),
        }

    def decide(self, plan: Plan, source: Source, cast: Cast, memory: Memory | None = None) -> Plan:
        """Choose the targets of a plan anew; look for boxes where the preset asks for some.

        `memory` is of this plan's tracks.

        Raises:
            ConsentError, WeightsError: something forbids it.
        """
        check_permission(self.preset, self.painter.bundle, cast, source.info)
        return self._decided(plan, source, cast, Stopwatch(), Ticker(None, None), memory=memory)

    def _decided(
        self,
        plan: Plan,
        source: Source,
        cast: Cast,
        watch: Stopwatch,
        ticker: Ticker,
        *,
        exactly: bool = False,
        memory: Memory | None = None,
    ) -> Plan:
        size = self.painter.resolution
        plan = decide(plan, self.preset, cast, size, exactly=exactly, memory=memory)
        batches = self._decoded(source, watch, looked_at=True)
        return self.boxes.find(plan, batches, source.info, self.painter.searched, ticker)

    def pipeline(
        self, info: VideoInfo, watch: Stopwatch | None = None, *, record: bool = False
    ) -> Stretches:
        """Return the second pass over a clip; `record` keeps what it paints, for layers."""

        def by(preset: RunPreset, painter: Painter) -> Pipeline:
            check = self._check if preset.composite.check else shown_as_it_is
            keep = preset.mask.occluders == "keep"
            opacity = preset.composite.opacity
            return Pipeline(info, painter, opacity, watch, check, keep, record)

        others = [
            Stretch(span.from_s, span.to_s, by(self.preset.within(span), painter))
            for span, painter in zip(self.preset.spans, self._spans, strict=True)
        ]
        usual, distance = by(self.preset, self.painter), self.preset.anonymize.distance
        finishes: list[Finish] = []
        if distance > 0:
            finishes.append(Anonymous(info, distance, self._recognition))
        said = self.preset.provenance
        label = draw_label(said.label, said.label_corner, info)
        if label is not None:
            finishes.append(Labelled(label, info, record=record))
        return Stretches(usual, others, finishes)

    def swap(
        self,
        source: Source,
        plan: Plan,
        watch: Stopwatch | None = None,
        frames: Iterable[FrameBatch] | None = None,
        *,
        record: bool = False,
    ) -> Generator[tuple[FrameBatch, SwappedBatch]]:
        """Run the second pass ahead, so that what is done with it overlaps.

        Its three steps have a thread each, with a batch of its own: the guide of one batch is
        built while the networks paint the batch before it, and the one before that is composited.

        Args:
            source: the clip.
            plan: of the clip.
            watch: takes the seconds of each stage.
            frames: some of its frames; by default all.
            record: keep what is painted (`SwappedBatch.strokes`).
        """
        watch = watch or Stopwatch()
        pipeline = self.pipeline(source.info, watch, record=record)
        batches = self._decoded(source, watch, frames=frames)

        def prepared() -> Iterator[tuple[FrameBatch, Prepared]]:
            for batch in batches:
                with _located(source, batch):
                    ready = pipeline.prepare(batch, plan)
                yield batch, ready

        def painted() -> Iterator[tuple[FrameBatch, Painted]]:
            for batch, ready in prefetch(prepared(), 1):
                with _located(source, batch):
                    finished = pipeline.paint(ready)
                del ready
                yield batch, finished

        def swapped() -> Iterator[tuple[FrameBatch, SwappedBatch]]:
            for number, (batch, finished) in enumerate(prefetch(painted(), 1)):
                with _located(source, batch):
                    done = pipeline.composite(finished)
                del finished
                # Large, and of no use any more; layers are made of the jobs.
                yield batch, replace(done, jobs=done.jobs if record else (), results=())
                if number % LET_GO == 0:
                    for track in plan.tracks:
                        release(track.landmarks)

        return prefetch(swapped(), max(1, self.preset.video.prefetch_batches // 2))

    def write(
        self,
        source: Source,
        plan: Plan,
        sink: Sink,
        watch: Stopwatch,
        ticker: Ticker,
        spool: Path | None = None,
        layers: LayerSpool | None = None,
    ) -> Books:
        """Run the second pass into a sink; return what became of the frames.

        With `spool`, a file to be made, a line about every frame goes there. With `layers` what is
        painted goes there, too.
        """
        ticker.begin("swap", plan.frames)
        with Books(plan, source.info, spool) as books:
            for batch, swapped in self.swap(source, plan, watch, record=layers is not None):
                books.add(batch, swapped)
                with watch.measure("encode_s"):
                    sink.write(finished(source, batch, swapped.frames))
                    if layers is not None:
                        layers.write(batch, swapped)
                ticker.advance(len(batch))
        ticker.begin("finish", 0)
        return books

    def told(self) -> list[str]:
        """Return warnings of the painters that came since they were asked last."""
        told: list[str] = []
        for painter in {id(one): one for one in (self.painter, *self._spans)}.values():
            told += painter.warnings
            painter.warnings.clear()
        return told

    def _decoded(
        self,
        source: Source,
        watch: Stopwatch,
        *,
        frames: Iterable[FrameBatch] | None = None,
        looked_at: bool = False,
    ) -> Iterator[FrameBatch]:
        """Decode ahead in a thread; time spent waiting for it counts as decoding.

        `looked_at` says that the pictures are needed: then the thread makes them, too.
        """
        batches = source.batches(self.batch(source.info)) if frames is None else frames
        ahead = prefetch(
            _seen(batches) if looked_at else batches, self.preset.video.prefetch_batches
        )
        while True:
            with watch.measure("decode_s"):
                batch = next(ahead, None)
            if batch is None:
                return
            yield batch


@contextmanager
def _located(source: Source, batch: FrameBatch) -> Iterator[None]:
    """Say in which frames something went wrong that nobody thought of.

    Raises:
        FapVideoError: in place of such an error; errors of ours, of memory and of disks stay.
    """
    try:
        yield
    except (FapVideoError, MemoryError, OSError):
        raise
    except Exception as error:
        if full_error(error, "cpu") is not None:
            raise
        first, last = batch.frames[0], batch.frames[-1]
        raise FapVideoError(
            f"{source.info.path}: frames {first.index} to {last.index} (from"
            f" {clock(first.time_s)}): unexpected {type(error).__name__}: {error}",
            hint="this is a bug; run the same command with --debug to see where",
        ) from error


def _seen(batches: Iterable[FrameBatch]) -> Iterator[FrameBatch]:
    """Make the pictures of every batch before it is handed on."""
    for batch in batches:
        _ = batch.rgb
        yield batch


def finished(source: Source, batch: FrameBatch, frames: Sequence[VideoFrame]) -> FrameBatch:
    """Return the swapped frames of a batch, to be looked at when they are."""
    views = tuple(partial(displayed, frame, source.info) for frame in frames)
    return FrameBatch(tuple(frames), batch.time_base, views)
