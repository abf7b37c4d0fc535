"""Many clips: models loaded once, what is done skipped, failures survived."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, as_completed, wait
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from fapvideo.config.schema import RunPreset
from fapvideo.errors import Cancelled, FapVideoError
from fapvideo.progress import OnProgress, ShouldStop
from fapvideo.run.batch_jobs import Job
from fapvideo.run.batch_summary import Diary, Outcome, Summary
from fapvideo.run.done import Report, made_from, report_of, tells_of
from fapvideo.run.networks import networks_key
from fapvideo.structs import RunReport

log = logging.getLogger(__name__)


class Swapper(Protocol):
    """What a batch needs of a `VideoSwapper`."""

    preset: RunPreset

    def with_preset(self, name_or_path: RunPreset, /) -> Self:
        """Return another one, on the same networks where it can."""

    def run(
        self,
        input: Path,
        output: Path,
        *,
        overwrite: bool,
        progress: OnProgress | None,
        cancel: ShouldStop | None,
    ) -> RunReport:
        """Swap a video."""

    def close(self) -> None:
        """Let the networks go."""


Watch = Callable[[int, Job], AbstractContextManager[OnProgress | None]]
"""Entered for every clip that is worked on: its number, from 0, and what it is."""


@dataclass(frozen=True, slots=True)
class Rules:
    """How a batch goes on."""

    keep_going: bool = True
    """Do the next clip after one that failed."""
    overwrite: bool = False
    """Replace outputs that no run has written, or that were changed since."""
    retry: bool = False
    """Do only what failed the last time."""


RULES = Rules()


class Family(AbstractContextManager["Family"]):
    """The swappers of a batch: one for the preset at hand, and one for each set of networks."""

    def __init__(self, load: Callable[[RunPreset], Swapper]) -> None:
        """Begin without any; `load` makes the first one."""
        self._load, self._lock = load, threading.Lock()
        self._homes: dict[Any, Swapper] = {}
        """What keeps networks loaded while other presets use them."""
        self._now: Swapper | None = None

    def of(self, preset: RunPreset) -> Swapper:
        """Return a swapper for a preset; the one before is closed unless it keeps networks."""
        with self._lock:
            return self._of(preset)

    def _of(self, preset: RunPreset) -> Swapper:
        if self._now is not None and self._now.preset == preset:
            return self._now
        kin = next(iter(self._homes.values()), None)
        fresh = self._load(preset) if kin is None else kin.with_preset(preset)
        self._end_last()
        self._homes.setdefault(networks_key(preset), fresh)
        self._now = fresh
        return fresh

    def _end_last(self) -> None:
        if self._now is not None and all(self._now is not home for home in self._homes.values()):
            self._now.close()
        self._now = None

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close all."""
        self._end_last()
        for swapper in self._homes.values():
            swapper.close()


def run_batch(
    jobs: Sequence[Job],
    load: Callable[[RunPreset], Swapper],
    folder: Path,
    *,
    rules: Rules = RULES,
    before: Summary | None = None,
    watch: Watch = lambda number, job: nullcontext(),
    told: Callable[[Outcome], None] = lambda outcome: None,
    cancel: ShouldStop | None = None,
    at_once: int = 1,
) -> Summary:
    """Do all jobs in order; return what became of each.

    What is done (`is_done`) is not done again. The summary in `folder` is written after every job,
    but for a small share of the time at most (`Diary`). At the first failure without
    `rules.keep_going`, and when asked to stop, the rest is `left`.

    Args:
        jobs: of `jobs_of` or `jobs_listed`.
        load: makes a swapper for a preset; called once, unless it fails.
        folder: exists; `summary.json` and `summary.csv` are written there.
        rules: how to go on.
        before: the last summary of these jobs.
        watch: around every job that is worked on; gives what is told of its progress.
        told: called with every outcome as soon as it is known.
        cancel: asked as in `VideoSwapper.run`.
        at_once: so many jobs are under way at a time; the swappers have to serve them (`Farm`).

    Raises:
        Cancelled, KeyboardInterrupt: asked to stop; the summary is written by then.
    """
    last = before or Summary()
    summary = Summary.of_jobs(jobs)
    if rules.retry:
        summary.keep(last)
        jobs = [job for job in jobs if summary.of(job).status == "failed"]
    diary, stop = Diary(summary, folder), threading.Event()

    def asked() -> bool:
        return stop.is_set() or (cancel is not None and cancel())

    try:
        with Family(load) as family:
            do = partial(_outcome, last=last, family=family, rules=rules, watch=watch, cancel=asked)
            with closing(_outcomes(jobs, do, at_once, stop)) as outcomes:
                for outcome in outcomes:
                    summary.add(outcome)
                    diary.write()
                    told(outcome)
                    if outcome.status == "failed" and not rules.keep_going:
                        break
    finally:
        summary.write(folder)
    return summary


def _outcomes(
    jobs: Sequence[Job],
    do: Callable[[int, Job], Outcome],
    at_once: int,
    stop: threading.Event,
) -> Generator[Outcome]:
    """Yield the outcomes of jobs as they come; `stop` is set where nobody asks for more."""
    if at_once == 1:
        yield from (do(number, job) for number, job in enumerate(jobs))
        return
    with ThreadPoolExecutor(at_once) as threads:
        try:
            running = set[Future[Outcome]]()
            for number, job in enumerate(jobs):
                running.add(threads.submit(do, number, job))
                if len(running) == at_once:
                    done, running = wait(running, return_when=FIRST_COMPLETED)
                    yield from (one.result() for one in done)
            yield from (one.result() for one in as_completed(running))
        finally:
            stop.set()


def _outcome(
    number: int,
    job: Job,
    last: Summary,
    family: Family,
    rules: Rules,
    watch: Watch,
    cancel: ShouldStop | None,
) -> Outcome:
    """Do one job unless it is done; whatever goes wrong in it is its outcome."""
    started = time.perf_counter()
    try:
        if cancel is not None and cancel():
            raise Cancelled("stopped on request")
        report = report_of(job.output)
        if report is not None and is_done(job, report, last.files(job)):
            return Outcome.of_report(job, "skipped", report)
        swapper = family.of(job.preset)
        job.output.parent.mkdir(parents=True, exist_ok=True)
        # What a run has written there, and nobody changed since, may be replaced.
        overwrite = rules.overwrite or report is not None
        with watch(number, job) as progress:
            done = swapper.run(
                job.input, job.output, overwrite=overwrite, progress=progress, cancel=cancel
            )
        return Outcome.of_report(job, "done", done.to_dict())
    except Cancelled:
        raise
    except Exception as error:  # whatever it is, the other clips are worth going on for
        if not isinstance(error, FapVideoError):
            log.debug("%s failed", job.input, exc_info=True)
        return Outcome.of_error(job, error, time.perf_counter() - started)


def is_done(job: Job, report: Report, files: Mapping[str, str]) -> bool:
    """Tell whether an output is of this very input, preset, references and version.

    Args:
        job: what is to be done.
        report: of its output, which is as it was written.
        files: path -> SHA-256 of what it was made with, as far as the last summary knows: also what
            no report tells of (photos of people, references that were left out, models).
    """
    same = tells_of(report, job.input, job.preset)
    return same and (not files or files == made_from(job.preset))
