"""The two passes over one clip, with decoding ahead of the work and painting ahead of its user."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property, partial
from pathlib import Path

from fapvideo.composite.planes import displayed
from fapvideo.config.schema import RunPreset
from fapvideo.ops.prefetch import prefetch
from fapvideo.paint.check import PaintCheck
from fapvideo.paint.painter import Painter
from fapvideo.pipeline import Pipeline, SwappedBatch, shown_as_it_is
from fapvideo.plan.decide import decide
from fapvideo.plan.follow import follow
from fapvideo.plan.people import Cast, parts_of
from fapvideo.plan.search import BoxFinder
from fapvideo.plan.targets import Plan
from fapvideo.progress import Stopwatch, Ticker
from fapvideo.run.books import Books
from fapvideo.run.sinks import Sink
from fapvideo.run.sources import Source
from fapvideo.run.stretches import Stretch, Stretches
from fapvideo.structs import FrameBatch, VideoFrame, VideoInfo


class Engine:
    """Plans and swaps clips by one preset."""

    def __init__(
        self,
        preset: RunPreset,
        painter: Painter,
        boxes: BoxFinder,
        spans: Sequence[Painter] = (),
    ) -> None:
        """Paint with `painter`, or with that of a span where there is one in `spans`.

        Args:
            preset: of the run.
            painter: paints.
            boxes: finds what a detector has to find.
            spans: one for each of the preset's; by default `painter` paints those, too.
        """
        self.preset, self.painter, self.boxes = preset, painter, boxes
        self._spans = tuple(spans) or (painter,) * len(preset.spans)

    @cached_property
    def _check(self) -> PaintCheck:
        """What looks at finished crops; loaded when something is painted."""
        return PaintCheck()

    def plan(
        self,
        source: Source,
        cast: Cast,
        scratch: Path,
        watch: Stopwatch | None = None,
        ticker: Ticker | None = None,
    ) -> Plan:
        """Run the first pass.

        Args:
            source: the clip.
            cast: who gets which references.
            scratch: an existing folder, needed as long as the plan is used.
            watch: takes the seconds of decoding and tracking.
            ticker: told of every batch.
        """
        watch, ticker = watch or Stopwatch(), ticker or Ticker(None, None)
        self.boxes.load(
            self.painter.searched(parts_of(cast))
        )  # a long pass must not end in an error
        ticker.begin("analyse", source.expected)
        with watch.measure("track_s"):
            batches = self._decoded(source, watch, looked_at=True)
            plan = follow(batches, source.info, self.preset.track, scratch, ticker.advance)
            return self.decide(plan, source, cast, watch, ticker)

    def decide(
        self,
        plan: Plan,
        source: Source,
        cast: Cast,
        watch: Stopwatch | None = None,
        ticker: Ticker | None = None,
    ) -> Plan:
        """Choose the targets of a plan anew; look for boxes where the preset asks for some."""
        watch, ticker = watch or Stopwatch(), ticker or Ticker(None, None)
        plan = decide(plan, self.preset, cast, self.painter.resolution)
        batches = self._decoded(source, watch, looked_at=True)
        return self.boxes.find(plan, batches, source.info, self.painter.searched, ticker)

    def pipeline(self, info: VideoInfo, watch: Stopwatch | None = None) -> Stretches:
        """Return the second pass over a clip."""

        def by(preset: RunPreset, painter: Painter) -> Pipeline:
            check = self._check if preset.composite.check else shown_as_it_is
            keep = preset.mask.occluders == "keep"
            return Pipeline(info, painter, preset.composite.opacity, watch, check, keep)

        others = [
            Stretch(span.from_s, span.to_s, by(self.preset.within(span), painter))
            for span, painter in zip(self.preset.spans, self._spans, strict=True)
        ]
        return Stretches(by(self.preset, self.painter), others)

    def swap(
        self, source: Source, plan: Plan, watch: Stopwatch | None = None
    ) -> Iterator[tuple[FrameBatch, SwappedBatch]]:
        """Run the second pass, ahead in a thread, so that what is done with it overlaps."""
        watch = watch or Stopwatch()
        pipeline = self.pipeline(source.info, watch)
        batches = self._decoded(source, watch)
        return prefetch(((batch, pipeline.swap(batch, plan)) for batch in batches), 1)

    def write(
        self,
        source: Source,
        plan: Plan,
        sink: Sink,
        watch: Stopwatch,
        ticker: Ticker,
        spool: Path | None = None,
    ) -> Books:
        """Run the second pass into a sink; return what became of the frames.

        With `spool`, a file to be made, a line about every frame goes there.
        """
        ticker.begin("swap", plan.frames)
        with Books(plan, source.info, spool) as books:
            for batch, swapped in self.swap(source, plan, watch):
                books.add(batch, swapped)
                with watch.measure("encode_s"):
                    sink.write(finished(source, batch, swapped.frames))
                ticker.advance(len(batch))
        ticker.begin("finish", 0)
        return books

    def _decoded(
        self, source: Source, watch: Stopwatch, *, looked_at: bool = False
    ) -> Iterator[FrameBatch]:
        """Decode ahead in a thread; time spent waiting for it counts as decoding.

        `looked_at` says that the pictures are needed: then the thread makes them, too.
        """
        batches = source.batches(self.preset.denoise.batch_size)
        ahead = prefetch(
            _seen(batches) if looked_at else batches, self.preset.video.prefetch_batches
        )
        while True:
            with watch.measure("decode_s"):
                batch = next(ahead, None)
            if batch is None:
                return
            yield batch


def _seen(batches: Iterator[FrameBatch]) -> Iterator[FrameBatch]:
    """Make the pictures of every batch before it is handed on."""
    for batch in batches:
        _ = batch.rgb
        yield batch


def finished(source: Source, batch: FrameBatch, frames: Sequence[VideoFrame]) -> FrameBatch:
    """Return the swapped frames of a batch, to be looked at when they are."""
    views = tuple(partial(displayed, frame, source.info) for frame in frames)
    return FrameBatch(tuple(frames), batch.time_base, views)
