"""A run from file to file, in steps that leave what they did in a job's folder.

`begin`, `first_pass`, `second_pass` and `join` one after the other are a run; each on its own they
are `run/pieces.py`.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from fapvideo.config.schema import RunPreset
from fapvideo.errors import (
    Cancelled,
    VideoReadError,
    VideoWriteError,
)
from fapvideo.ops.files import remove, sha256_file
from fapvideo.plan.people import Cast, described
from fapvideo.plan.targets import Plan
from fapvideo.progress import Stopwatch, Ticker
from fapvideo.run.books import Books
from fapvideo.run.direct import Casting, check_face
from fapvideo.run.engine import Engine
from fapvideo.run.job import Job, JobLock, differences, job_folder
from fapvideo.run.report import (
    clip_warnings,
    describe_bundle,
    describe_references,
    make_report,
    published,
    versions,
    write_report,
)
from fapvideo.run.segments import Outcome, Segment, divide, render
from fapvideo.structs import RunReport
from fapvideo.video.encoder import choose_encoding
from fapvideo.video.packets import joined_times, read_packets
from fapvideo.video.reader import VideoReader
from fapvideo.video.writer import VideoWriter, output_place, publish

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


def from_file_to_file(
    engine: Engine,
    source: VideoReader,
    casting: Casting,
    output: Path,
    ticker: Ticker,
    wishes: Wishes,
    plan: Plan | None = None,
) -> RunReport:
    """Do all steps, those that are done already excepted; remove the folder.

    Args:
        engine: with preset and painter.
        source: the input.
        casting: gives who gets which references, and warnings about those.
        output: what to write.
        ticker: told of every batch.
        wishes: see there.
        plan: of an open clip.

    Raises:
        FapVideoError: one of its kinds.
    """
    started, watch = time.perf_counter(), Stopwatch()
    folder = job_folder(output_place(output, source.info, overwrite=True))
    if not (wishes.overwrite or (wishes.resume and was_published(folder, output))):
        output_place(output, source.info, overwrite=False)
    # What is bound to fail at the end fails before hours of work.
    choose_encoding(source.info, engine.preset.video, output.suffix.lower())
    with JobLock(folder, output):
        ticker.begin("references", 0)
        with watch.measure("reference_s"):
            cast, said = casting()
        container = output.suffix.lower()
        job = begin(engine, source, cast, folder, container, said, resume=wishes.resume)
        if job.finished and was_published(folder, output):
            report = hand_over(job, output)
            job.remove()
            return report
        output_place(output, source.info, overwrite=wishes.overwrite)
        with resumable(job):
            earlier_s = time.perf_counter() - started
            plan = first_pass(job, engine, source, cast, watch, ticker, plan)
            if wishes.require_face and not plan.targets:
                job.remove()
                check_face(source, plan)
            second_pass(job, engine, source, plan, job.missing(), ticker)
            report = join(
                job, source, output, overwrite=wishes.overwrite, earlier_s=earlier_s, ticker=ticker
            )
        if wishes.keep_work:
            job.save(finished={})  # what is to be told of it is told
        else:
            job.remove()
    return report


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
        return bool(finished) and sha256_file(output) == finished["output"]["sha256"]
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

    Raises:
        VideoWriteError: the folder cannot be written to.
    """
    of = {
        "input": sha256_file(source.info.path),
        "preset": engine.preset.model_dump(mode="json"),
        "cast": described(cast),
        "container": container,
        **machine(engine),
    }
    if resume and (folder / "job.json").exists():
        known = _known(folder, of)
        if known is not None:
            return known
    facts = {
        "input": str(source.info.path.absolute()),
        "references": describe_references(cast),
        "warnings": list(said),
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
        log.info("going on in %s: %d segments are missing", folder, len(job.missing()))
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
    started, scratch = time.perf_counter(), job.folder / "scratch"
    try:
        if plan is None:
            remove(scratch)
            scratch.mkdir()
            plan = engine.plan(source, cast, scratch, watch, ticker)
        seconds = {**watch.seconds, "wall_s": time.perf_counter() - started}
        return job.keep_plan(plan, divide(plan, engine.preset.video.segment_s), seconds)
    finally:
        remove(scratch)


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
    encoding = choose_encoding(source.info, engine.preset.video, job.of["container"])
    ticker.begin("swap", plan.frames)
    ticker.advance(plan.frames - sum(segment.frames for segment in segments))
    for _, group in groupby(enumerate(segments), lambda row: row[1].index - row[0]):
        run = [segment for _, segment in group]
        done = render(engine, source, plan, run, encoding, job.partial, Stopwatch(), ticker)
        for segment, packets, outcome in done:
            job.keep(segment, packets, outcome)


def join(
    job: Job,
    source: VideoReader,
    output: Path,
    *,
    overwrite: bool,
    earlier_s: float = 0.0,
    ticker: Ticker | None = None,
) -> RunReport:
    """Put the segments together; write the output, its report and the lines about every face.

    Args:
        job: with all segments done.
        source: the input, from which everything beside the pictures is copied.
        output: what to write.
        overwrite: replace an existing output.
        earlier_s: of the run, outside first and second pass.
        ticker: told.

    Raises:
        VideoReadError: segments are missing.
        VideoWriteError: the output cannot be written.
    """
    started, plan = time.perf_counter(), job.plan()
    outcomes = [job.outcome(segment) for segment in job.segments]
    missing = [str(number) for number, outcome in enumerate(outcomes) if outcome is None]
    if plan is None or missing:
        what = f"segments {', '.join(missing)} are" if plan else "the first pass is"
        raise VideoReadError(f"{job.folder}: {what} not done", hint="`fapvideo segment` does them")
    done = [outcome for outcome in outcomes if outcome is not None]
    preset = RunPreset.model_validate(job.of["preset"])
    (ticker or Ticker(None, None)).begin("finish", 0)
    with Books(plan, source.info, job.lines) as books:
        _replay(books, done)
    warnings = [*job.facts["warnings"], *_assemble(job, source, output, done, overwrite=overwrite)]
    warnings += dict.fromkeys(text for outcome in done for text in outcome.warnings)
    warnings += clip_warnings(source.info, plan, preset.video)
    hashes = job.of["input"], sha256_file(job.joined)
    seconds = _summed([job.facts["seconds"], *(outcome.seconds for outcome in done)])
    seconds["wall_s"] += earlier_s + time.perf_counter() - started
    made_with = job.of["bundle"], job.facts["references"]
    told = books, seconds, warnings, hashes
    report = make_report(source.info, output, preset, made_with, plan, *told)
    try:
        job.save(finished=json.loads(json.dumps(report.to_dict(), default=str)))
    except OSError as error:
        raise VideoWriteError(
            f"{job.folder} cannot be written to: {error.strerror or error}",
            hint="free space on the disk; the same command goes on",
        ) from error
    publish(job.joined, output, overwrite=overwrite)
    return hand_over(job, output)


def _assemble(
    job: Job, source: VideoReader, output: Path, outcomes: Sequence[Outcome], *, overwrite: bool
) -> list[str]:
    """Put packets and everything beside the pictures into one file; return its warnings."""
    _check_encoders(job, outcomes)
    remove(job.joined)  # of a run that was killed here
    config = RunPreset.model_validate(job.of["preset"]).video
    with VideoWriter(output, source.info, config, overwrite=overwrite, kept=job.joined) as writer:
        first = min(outcomes[0].packets.pts)
        times = joined_times(outcome.packets for outcome in outcomes)
        for segment, outcome, dts in zip(job.segments, outcomes, times, strict=True):
            outcome.packets.dts = dts
            path, time_base = job.packets_path(segment), source.info.time_base
            writer.write_packets(read_packets(path, outcome.packets, time_base), first)
    return writer.warnings


def hand_over(job: Job, output: Path) -> RunReport:
    """Write the report and the lines beside an output that has its name; return the report."""
    with published(output):
        return write_report(RunReport.from_dict(job.finished), job.lines, output)


def _replay(books: Books, outcomes: Sequence[Outcome]) -> None:
    """Enter every frame of the clip into the books, as it was painted."""
    refused = {(frame, track): why for one in outcomes for frame, track, why in one.refused}
    cut_off = {(frame, track): share for one in outcomes for frame, track, share in one.cut_off}
    books.outside = sum(outcome.outside for outcome in outcomes)
    for frame, time_s in enumerate(books.plan.times_s):
        books.enter(frame, float(time_s), refused, cut_off)


def _check_encoders(job: Job, outcomes: Sequence[Outcome]) -> None:
    """See that one description of the stream is true of all segments."""
    for number, outcome in enumerate(outcomes):
        if outcome.packets.extradata != outcomes[0].packets.extradata:
            raise VideoWriteError(
                f"{job.folder}: segment {number} was encoded by another build of FFmpeg than "
                "segment 0",
                hint=f"remove {job.packets_path(job.segments[number])}, and make it again here",
            )


def _summed(rows: Sequence[dict[str, float]]) -> dict[str, float]:
    total = {"wall_s": 0.0}
    for row in rows:
        for name, seconds in row.items():
            total[name] = total.get(name, 0.0) + seconds
    return total
