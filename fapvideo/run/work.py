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
from typing import Any

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
from fapvideo.run.job import Job, JobLock, differences, job_folder
from fapvideo.run.joining import hand_over, join
from fapvideo.run.layering import check_layers, layer_plan, result_hash
from fapvideo.run.permission import check_permission
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
from fapvideo.video.writer import link_target, output_place

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


def from_file_to_file(
    engine: Engine,
    source: VideoReader,
    casting: Casting,
    output: Path | None,
    ticker: Ticker,
    wishes: Wishes,
    plan: Plan | None = None,
) -> RunReport:
    """Do all steps, those that are done already excepted; remove the folder.

    Args:
        engine: with preset and painter.
        source: the input.
        casting: gives who gets which references, and warnings about those.
        output: what to write; None for layers only.
        ticker: told of every batch.
        wishes: see there.
        plan: of an open clip.

    Raises:
        FapVideoError: one of its kinds.
    """
    started, watch = time.perf_counter(), Stopwatch()
    place = _Place.of(output, wishes.layers)
    target, folder = place.target, place.work(source.info)
    seal = _checked(place, engine, source.info, folder, wishes)
    with JobLock(folder, target):
        if wishes.layers is not None:
            sweep_partial(link_target(wishes.layers))
        ticker.begin("references", 0)
        with watch.measure("reference_s"):
            cast, said = casting()
        job = begin(
            engine, source, cast, folder, place.container, said,
            resume=wishes.resume, layers=place.layering,
        )  # fmt: skip
        if job.finished and was_published(folder, target):
            report = hand_over(job, target)
            job.remove()
            return report
        place.check(engine, source.info, overwrite=wishes.overwrite, of=job.name)
        with resumable(job):
            earlier_s = time.perf_counter() - started
            plan = first_pass(job, engine, source, cast, watch, ticker, plan)
            if wishes.require_face and not plan.targets:
                job.remove()
                check_face(source, plan)
            second_pass(job, engine, source, plan, job.missing(), ticker)
            report = join(
                job, source, target, seal, ticker,
                overwrite=wishes.overwrite, earlier_s=earlier_s, layers=wishes.layers,
            )  # fmt: skip
        if wishes.keep_work:
            job.save(finished={})  # what is to be told of it is told
        else:
            job.remove()
    return report


def _checked(place: _Place, engine: Engine, info: VideoInfo, folder: Path, wishes: Wishes) -> Seal:
    """Refuse what is bound to fail at the end before hours of work; return the output's seal."""
    if not (wishes.resume and was_published(folder, place.target)):
        of = _work_in(folder) if wishes.resume else ""
        place.check(engine, info, overwrite=wishes.overwrite, of=of)
    seal = Seal(engine.preset, info)
    if place.output is not None:
        seal.opened(info, place.output, overwrite=True)
        choose_encoding(info, engine.preset.video, place.container)
    return seal


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a run writes: a finished video, a folder of layers, or both."""

    output: Path | None
    layers: Path | None

    @classmethod
    def of(cls, output: Path | None, layers: Path | None) -> _Place:
        """Return the place; one of the two is given."""
        assert output is not None or layers is not None
        return cls(output, layers)

    @property
    def target(self) -> Path:
        """What report and work are named after."""
        target = self.output or self.layers
        assert target is not None
        return target

    @property
    def container(self) -> str:
        """Suffix of the finished video, or of the layers' movie."""
        return self.output.suffix.lower() if self.output is not None else ".mov"

    @property
    def layering(self) -> str:
        """See `Job.layers`."""
        if self.layers is None:
            return "none"
        return "only" if self.output is None else "beside"

    def work(self, info: VideoInfo) -> Path:
        """Return the job's folder.

        Raises:
            VideoWriteError: the output cannot be written there, or not under that name.
        """
        if self.output is not None:
            return job_folder(output_place(self.output, info, overwrite=True))
        return job_folder(link_target(self.target))

    def check(self, engine: Engine, info: VideoInfo, *, overwrite: bool, of: str) -> None:
        """Refuse what is bound to fail; `of` is the work that layers which are there may be of.

        Raises:
            VideoWriteError: it cannot be written.
        """
        if self.output is not None:
            output_place(self.output, info, overwrite=overwrite)
        if self.layers is not None:
            check_layers(self.layers, engine.preset, info, overwrite=overwrite, of=of)


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
    """
    known = job.plan()
    if known is not None:
        return known
    started = time.perf_counter()
    with scratch_folder() as scratch:
        if plan is None:
            plan = engine.plan(source, cast, scratch, watch, ticker)
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
