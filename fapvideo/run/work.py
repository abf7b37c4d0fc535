"""A run from file to file, in steps that leave what they did in a job's folder.

`begin`, `first_pass`, `second_pass` and `join` one after the other are a run; each on its own they
are `run/pieces.py`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, Protocol

from fapvideo.config.schema import RunPreset
from fapvideo.errors import (
    Cancelled,
    VideoReadError,
    VideoWriteError,
)
from fapvideo.ops.files import scratch_folder, sweep_partial
from fapvideo.plan.people import Cast
from fapvideo.plan.targets import Plan
from fapvideo.progress import Stopwatch, Ticker
from fapvideo.run.direct import Casting, check_face
from fapvideo.run.engine import Engine
from fapvideo.run.followed import followed
from fapvideo.run.job import Job, JobLock, differences
from fapvideo.run.joining import hand_over, join
from fapvideo.run.layering import layer_plan, result_hash
from fapvideo.run.permission import check_permission
from fapvideo.run.place import Place
from fapvideo.run.report import (
    describe_bundle,
    describe_references,
    versions,
)
from fapvideo.run.seal import Seal
from fapvideo.run.segments import Segment, divide, render
from fapvideo.structs import RunReport, VideoInfo
from fapvideo.video.encoder import choose_encoding
from fapvideo.video.reader import VideoReader
from fapvideo.video.writer import link_target

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Wishes:
    """How a run is to go about it."""

    overwrite: bool = False
    """Replace an existing output."""
    require_face: bool = False
    """Raise where there is no face to swap."""
    resume: bool = True
    """Go on with what an equal run has left that was stopped."""
    keep_work: bool = False
    """Leave the job's folder."""
    layers: Path | None = None
    """Write layers into this folder."""


class Steps(Protocol):
    """What of a run needs networks: done in this process, or by workers (`run/farm.py`)."""

    preset: RunPreset

    def begin(self, folder: Path, container: str, *, resume: bool, layers: str = "none") -> Job:
        """Return the job of this run in a folder: with `resume` the one that is there.

        `layers` is of `Job.layers`.
        """

    def follow(self, job: Job) -> Plan:
        """Return the plan of a job; do the first pass where that is not done."""

    def paint(self, job: Job, plan: Plan, segments: Sequence[Segment]) -> None:
        """Paint segments of a job into its folder."""


class StepsHere:
    """The steps of a run in this process."""

    def __init__(
        self,
        engine: Engine,
        source: VideoReader,
        casting: Casting,
        ticker: Ticker,
        plan: Plan | None = None,
        kept: str | Path | None = None,
    ) -> None:
        """Take what works; `plan` is that of an open clip, `kept` the folder of one."""
        self.preset, self._engine, self._source = engine.preset, engine, source
        self._casting, self._ticker, self._plan, self._kept = casting, ticker, plan, kept
        self._watch = Stopwatch()
        self._cast: Cast = ()

    def begin(self, folder: Path, container: str, *, resume: bool, layers: str = "none") -> Job:
        """Read the references; return the job."""
        self._ticker.begin("references", 0)
        with self._watch.measure("reference_s"):
            self._cast, said = self._casting()
        given = self._engine, self._source, self._cast, folder, container, said
        return begin(*given, resume=resume, layers=layers)

    def follow(self, job: Job) -> Plan:
        """Return the plan."""
        given = self._watch, self._ticker, self._plan, self._kept
        return first_pass(job, self._engine, self._source, self._cast, *given)

    def paint(self, job: Job, plan: Plan, segments: Sequence[Segment]) -> None:
        """Paint one segment after the other."""
        second_pass(job, self._engine, self._source, plan, segments, self._ticker)


def from_file_to_file(
    steps: Steps, source: VideoReader, output: Path | None, ticker: Ticker, wishes: Wishes
) -> RunReport:
    """Do all steps, those that are done already excepted; remove the folder.

    Args:
        steps: do what needs networks.
        source: the input.
        output: what to write; None for layers only.
        ticker: told of the rest.
        wishes: see there.

    Raises:
        FapVideoError: one of its kinds.
    """
    started = time.perf_counter()
    place = Place.of(output, wishes.layers)
    target, folder = place.target, place.work(source.info)
    seal = _checked(place, steps.preset, source.info, folder, wishes)
    with JobLock(folder, target):
        if wishes.layers is not None:
            sweep_partial(link_target(wishes.layers))
        job = steps.begin(folder, place.container, resume=wishes.resume, layers=place.layering)
        if job.finished and was_published(folder, target):
            report = hand_over(job, target)
            job.remove()
            return report
        place.check(steps.preset, source.info, overwrite=wishes.overwrite, of=job.name)
        with resumable(job):
            earlier_s = time.perf_counter() - started
            plan = steps.follow(job)
            if wishes.require_face and not plan.targets:
                job.remove()
                check_face(source, plan)
            steps.paint(job, plan, job.missing())
            report = join(
                job, source, target, seal, ticker,
                overwrite=wishes.overwrite, earlier_s=earlier_s, layers=wishes.layers,
            )  # fmt: skip
        if wishes.keep_work:
            job.save(finished={})  # what is to be told of it is told
        else:
            job.remove()
    return report


def _checked(
    place: Place, preset: RunPreset, info: VideoInfo, folder: Path, wishes: Wishes
) -> Seal:
    """Refuse what is bound to fail at the end before hours of work; return the output's seal."""
    if not (wishes.resume and was_published(folder, place.target)):
        of = _work_in(folder) if wishes.resume else ""
        place.check(preset, info, overwrite=wishes.overwrite, of=of)
    seal = Seal(preset, info)
    if place.output is not None:
        seal.opened(info, place.output, overwrite=True)
        choose_encoding(info, preset.video, place.container)
    return seal


def _work_in(folder: Path) -> str:
    """Return the name of the work in a job's folder; empty where there is none."""
    try:
        return Job.read(folder).name
    except VideoReadError:
        return ""


def machine(engine: Engine) -> dict[str, Any]:
    """Return what decides which pixels a machine paints, beside the preset."""
    bundle = engine.painter.bundle
    assert bundle is not None
    return {
        "versions": versions(),
        "bundle": describe_bundle(bundle),
        "device": bundle.device.type,
        "precision": str(bundle.dtype).removeprefix("torch."),
    }


def was_published(folder: Path, output: Path) -> bool:
    """Tell whether a run was killed between giving the output its name and removing its folder."""
    try:
        finished = Job.read(folder).finished
        return bool(finished) and result_hash(output) == finished["output"]["sha256"]
    except (OSError, VideoReadError):
        return False


def begin(
    engine: Engine,
    source: VideoReader,
    cast: Cast,
    folder: Path,
    container: str,
    said: Sequence[str] = (),
    *,
    resume: bool = True,
    layers: str = "none",
) -> Job:
    """Return the job in a folder if it is of just this; else a new one there.

    Args:
        engine: with preset and painter.
        source: the input.
        cast: who gets which references.
        folder: exists.
        container: suffix of the output.
        said: warnings so far, for the report.
        resume: whether to go on with what is there.
        layers: of `Job.layers`.

    Raises:
        VideoWriteError: the folder cannot be written to.
    """
    consent = check_permission(engine.preset, engine.painter.bundle, cast, source.info)
    of = {**engine.decided_by(source, cast), "container": container, **machine(engine)}
    of |= {"layers": layers} if layers != "none" else {}
    if resume and (folder / "job.json").exists():
        known = _known(folder, of)
        if known is not None:
            return known
    facts = {
        "input": str(source.info.path.absolute()),
        "references": describe_references(cast),
        "warnings": list(said),
        "consent": consent,
    }
    try:
        job = Job.create(folder, of, facts)
        job.say(f"began: {source.info.path}, preset {engine.preset.name}")
    except OSError as error:
        raise VideoWriteError(
            f"{folder} cannot be written to ({error.strerror or error})",
            hint="choose another folder, or make it writable",
        ) from error
    return job


def _known(folder: Path, of: dict[str, Any]) -> Job | None:
    """Return the job in a folder, if one can go on with it; say why one cannot."""
    try:
        job = Job.read(folder)
        other = differences(job.of, of)
        if other:
            log.warning(
                "what is done in %s is of something else, and is begun again: %s",
                folder,
                "; ".join(other),
            )
            return None
        job.plan()
    except VideoReadError as error:
        log.warning("what is done in %s is of no use: %s", folder, error)
        return None
    job.sweep()
    if job.segments:
        job.say("resumed")
        log.info("going on in %s", folder)
    return job


@contextmanager
def resumable(job: Job) -> Iterator[None]:
    """Keep what is done where the block ends with an exception, and say so; nothing else stays."""
    try:
        yield
    except BaseException as error:
        if not job.segments:
            job.remove()
        else:
            job.say(f"stopped: {error or type(error).__name__}")
            if isinstance(error, Cancelled):
                done = len(job.segments) - len(job.missing())
                error.hint = (
                    f"the same command goes on: the faces are followed, and {done} of "
                    f"{len(job.segments)} segments are painted ({job.folder})"
                )
        raise


def first_pass(
    job: Job,
    engine: Engine,
    source: VideoReader,
    cast: Cast,
    watch: Stopwatch,
    ticker: Ticker,
    plan: Plan | None = None,
    kept: str | Path | None = None,
) -> Plan:
    """Return the plan of a job; follow the faces where that is not done.

    Args:
        job: of `begin`.
        engine: with preset and painter.
        source: the input.
        cast: who gets which references.
        watch: takes the seconds.
        ticker: told of every batch.
        plan: what an open clip knows already.
        kept: the folder of a plan to go on from, where it is of the same clip.
    """
    known = job.plan()
    if known is not None:
        return known
    started = time.perf_counter()
    with scratch_folder() as scratch:
        if plan is None:
            there = None if kept is None else followed(Path(kept), job.of)
            plan = engine.plan(source, cast, scratch, watch, ticker, there)
        seconds = {**watch.seconds, "wall_s": time.perf_counter() - started}
        return job.keep_plan(plan, divide(plan, engine.preset.video.segment_s), seconds)


def second_pass(
    job: Job,
    engine: Engine,
    source: VideoReader,
    plan: Plan,
    segments: Sequence[Segment],
    ticker: Ticker,
) -> None:
    """Paint segments of a job into its folder.

    Raises:
        VideoReadError: the input is not what it was in the first pass.
        VideoWriteError: the encoder fails, or the disk is full.
    """
    config, info = engine.preset.video, source.info
    only = job.layers == "only"
    encoding = None if only else choose_encoding(info, config, job.of["container"])
    layers = None if job.layers == "none" else layer_plan(engine.preset, info, plan)
    ticker.begin("swap", plan.frames)
    ticker.advance(plan.frames - sum(segment.frames for segment in segments))
    for _, group in groupby(enumerate(segments), lambda row: row[1].index - row[0]):
        run = [segment for _, segment in group]
        given = encoding, job.partial, Stopwatch(), ticker, layers
        done = render(engine, source, plan, run, *given)
        for segment, packets, outcome in done:
            job.keep(segment, packets, outcome)
