"""The second pass where a preset has `[[spans]]`: each frame by the settings of its time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby

from fapvideo.pipeline import PaintedBatch, Pipeline, PreparedBatch, SwappedBatch
from fapvideo.plan.targets import Plan
from fapvideo.structs import FrameBatch


@dataclass(frozen=True, slots=True)
class Stretch:
    """What paints the frames shown from one time to another."""

    from_s: float
    to_s: float
    pipeline: Pipeline


Prepared = tuple[tuple[Pipeline, PreparedBatch], ...]
"""A batch after the first step, in the pieces that have settings of their own."""
Painted = tuple[tuple[Pipeline, PaintedBatch], ...]
Finish = Callable[[Painted, SwappedBatch], SwappedBatch]
"""What is done to a finished batch before anybody sees it."""


class Stretches:
    """Swaps batches like `Pipeline`, frame by frame with the one whose time it is."""

    def __init__(
        self, usual: Pipeline, others: Sequence[Stretch], finishes: Sequence[Finish] = ()
    ) -> None:
        """Use `usual` outside the `others`; `finishes` come last, in this order."""
        self._usual, self._others, self._finishes = usual, others, finishes

    def swap(self, batch: FrameBatch, plan: Plan) -> SwappedBatch:
        """Swap the parts of all targets in a batch of frames."""
        return self.composite(self.paint(self.prepare(batch, plan)))

    def prepare(self, batch: FrameBatch, plan: Plan) -> Prepared:
        """Do the first step of `Pipeline.swap`."""
        ready = []
        for pipeline, numbers in groupby(range(len(batch)), lambda i: self._at(batch, i)):
            run = list(numbers)
            part = slice(run[0], run[-1] + 1)
            frames = FrameBatch(batch.frames[part], batch.time_base, batch.views[part])
            ready.append((pipeline, pipeline.prepare(frames, plan)))
        return tuple(ready)

    def paint(self, prepared: Prepared) -> Painted:
        """Do the second step."""
        return tuple((pipeline, pipeline.paint(ready)) for pipeline, ready in prepared)

    def composite(self, painted: Painted) -> SwappedBatch:
        """Do the third step."""
        swapped = _joined([pipeline.composite(finished) for pipeline, finished in painted])
        for finish in self._finishes:
            swapped = finish(painted, swapped)
        return swapped

    def _at(self, batch: FrameBatch, index: int) -> Pipeline:
        time_s = batch.frames[index].time_s
        return next(
            (one.pipeline for one in self._others if one.from_s <= time_s < one.to_s), self._usual
        )


def _joined(done: Sequence[SwappedBatch]) -> SwappedBatch:
    """Return consecutive batches as one."""
    if len(done) == 1:
        return done[0]
    return SwappedBatch(
        tuple(frame for one in done for frame in one.frames),
        tuple(jobs for one in done for jobs in one.jobs),
        tuple(results for one in done for results in one.results),
        sum(one.outside_changed for one in done),
        {face: reason for one in done for face, reason in one.refused.items()},
        {face: share for one in done for face, share in one.cut_off.items()},
        strokes=tuple(strokes for one in done for strokes in one.strokes),
    )
