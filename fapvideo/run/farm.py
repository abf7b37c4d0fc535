"""Runs from file to file whose networks are elsewhere: by the workers of a pool.

The one who asks holds the lock of the job, hands out the plan and the segments, and joins. Workers
see the same files under the same names. What comes out is what one process makes.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Hashable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Self

from fapvideo.config.schema import RunPreset
from fapvideo.errors import FapVideoError, PresetError, VideoReadError
from fapvideo.plan.targets import Plan
from fapvideo.progress import OnProgress, ShouldStop, Ticker
from fapvideo.run.job import Job
from fapvideo.run.networks import Shelf, networks_key
from fapvideo.run.pieces import paint_segment
from fapvideo.run.pool import Pool
from fapvideo.run.segments import Segment
from fapvideo.run.sinks import default_output
from fapvideo.run.work import StepsHere, Wishes, from_file_to_file, resumable
from fapvideo.run.workbench import Workbench
from fapvideo.structs import RunReport
from fapvideo.video.probe import probe
from fapvideo.video.reader import VideoReader

POLL_S = 0.2
"""So often it is asked whether to stop."""
APPEAR_S = 90.0
"""So long a network file system may take until it shows here what was written elsewhere."""

SHARED = "workers need the same files under the same names: a shared file system"


class Hand:
    """What a worker does, with the networks it holds: plans and segments."""

    def __init__(self, device: str, folder: str) -> None:
        """Begin without networks; `folder` is where relative paths begin."""
        self._device, self._folder, self._shelf = device, folder, Shelf()
        self._benches: dict[Hashable, Workbench] = {}

    def plan(
        self,
        preset: RunPreset,
        source: Path,
        folder: Path,
        container: str,
        resume: bool,
        layers: str,
    ) -> None:
        """Do the first pass of a run into its job's folder, which is locked for it.

        `layers` is of `Job.layers`.

        Raises:
            FapVideoError: one of its kinds.
        """
        with self._bench(preset) as bench:
            reader = VideoReader(probe(source), preset.video)
            casting = partial(bench.cast, None, None)
            steps = StepsHere(bench.engine(), reader, casting, Ticker(None, None))
            job = steps.begin(folder, container, resume=resume, layers=layers)
            with resumable(job):
                steps.follow(job)

    def segment(self, preset: RunPreset, folder: Path, index: int, source: Path) -> bool:
        """Paint a segment; return whether it was to do.

        Raises:
            FapVideoError: one of its kinds.
        """
        with self._bench(preset) as bench:
            return paint_segment(bench.engine(), folder, index, source, Ticker(None, None))

    @contextmanager
    def _bench(self, preset: RunPreset) -> Iterator[Workbench]:
        """Hold what a preset needs; networks stay, and what goes wrong says where it did."""
        try:
            _enter(self._folder)
            key = networks_key(preset)
            bench = self._benches.get(key)
            if bench is None or bench.preset != preset:
                self._benches[key] = Workbench(preset, self._device, None, self._shelf)
                if bench is not None:
                    bench.close()
            with self._benches[key].in_use():
                yield self._benches[key]
        except FapVideoError as error:
            raise type(error)(f"{error} (on {platform.node()})", hint=error.hint) from None


def _enter(folder: str) -> None:
    try:
        os.chdir(folder)
    except OSError as error:
        raise VideoReadError(
            f"{folder} is not to be seen: {error.strerror or error}", hint=SHARED
        ) from None


class Farm(AbstractContextManager["Farm"]):
    """Like a `VideoSwapper`, for runs from file to file that a pool's workers do.

    Serves as many calls at once as one likes.
    """

    def __init__(self, preset: RunPreset, pool: Pool) -> None:
        """Take the preset and whose workers do it; the pool is closed by the one who made it."""
        self.preset, self._pool = preset, pool

    def with_preset(self, preset: RunPreset) -> Self:
        """Return a farm for another preset, with the same workers."""
        return type(self)(preset, self._pool)

    def __exit__(self, *_: object) -> None:
        """Close."""

    def close(self) -> None:
        """Do nothing: it holds nothing."""

    def run(
        self,
        input: str | Path,
        output: str | Path | None = None,
        *,
        overwrite: bool = False,
        require_face: bool = False,
        resume: bool = True,
        keep_work: bool = False,
        layers: str | Path | None = None,
        plan: str | Path | None = None,
        progress: OnProgress | None = None,
        cancel: ShouldStop | None = None,
    ) -> RunReport:
        """Swap a video, as `VideoSwapper.run` does; kept plans are refused.

        Raises:
            FapVideoError: one of its kinds.
        """
        if plan is not None:
            raise PresetError("a cluster follows faces itself", hint="leave out --plan")
        ticker = Ticker(progress, cancel)
        source = VideoReader(probe(Path(input)), self.preset.video)
        place = None if layers is None else Path(layers)
        path = None if output is None else Path(output)
        if path is None and place is None:
            path = default_output(source.info.path)
        wishes = Wishes(overwrite, require_face, resume, keep_work, place)
        steps = _Steps(self.preset, self._pool, source.info.path, ticker)
        return from_file_to_file(steps, source, path, ticker, wishes)


class _Steps:
    """The steps of a run, done by a pool's workers."""

    def __init__(self, preset: RunPreset, pool: Pool, source: Path, ticker: Ticker) -> None:
        self.preset, self._pool, self._source, self._ticker = preset, pool, source, ticker

    def begin(self, folder: Path, container: str, *, resume: bool, layers: str = "none") -> Job:
        """Have the whole first pass done; return the job."""
        self._ticker.begin("analyse", 0)
        asked = self._source, folder, container, resume, layers
        self._collect({self._pool.submit("plan", self.preset, *asked): 0})
        _appear(folder / "job.json")
        return Job.read(folder)

    def follow(self, job: Job) -> Plan:
        """Return the plan, which is done."""
        plan = job.plan()
        if plan is None:
            raise VideoReadError(f"{job.folder}: the first pass is not done")
        return plan

    def paint(self, job: Job, plan: Plan, segments: Sequence[Segment]) -> None:
        """Have segments painted, in any order."""
        self._ticker.begin("swap", plan.frames)
        self._ticker.advance(plan.frames - sum(segment.frames for segment in segments))
        self._collect(
            {
                self._pool.submit(
                    "segment", self.preset, job.folder, segment.index, self._source
                ): segment.frames
                for segment in segments
            }
        )
        for segment in segments:
            _appear(job.packets_path(segment).with_suffix(".json"))

    def _collect(self, tasks: Mapping[Future[Any], int]) -> None:
        """Wait for tasks, each of so many frames; drop the rest where one fails.

        Raises:
            Cancelled: asked to stop.
        """
        left = set(tasks)
        try:
            while left:
                done, left = wait(left, POLL_S, FIRST_COMPLETED)
                for future in done:
                    future.result()
                self._ticker.advance(sum(tasks[future] for future in done))
        finally:
            for future in left:
                future.cancel()


def _appear(path: Path) -> None:
    """Wait until a file is there that another machine has written.

    Raises:
        VideoReadError: it is not to be seen.
    """
    deadline = time.monotonic() + APPEAR_S
    while path.name not in os.listdir(path.parent):  # noqa: PTH208  asks a network file system anew
        if time.monotonic() > deadline:
            raise VideoReadError(
                f"{path}, which a worker has written, is not to be seen here",
                hint=SHARED,
            )
        time.sleep(POLL_S)
