"""The last step of a run: segments, everything beside the pictures and a seal make the output."""

from __future__ import annotations

import json
import math
import shutil
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from fapvideo.config.schema import RunPreset
from fapvideo.errors import VideoReadError, VideoWriteError
from fapvideo.ops.files import remove, write_atomically
from fapvideo.ops.memory import release
from fapvideo.plan.targets import Plan
from fapvideo.progress import Ticker
from fapvideo.run.books import Books
from fapvideo.run.job import Job
from fapvideo.run.layering import layer_plan, publish_layers, result_hash, staged_layers
from fapvideo.run.report import clip_warnings, make_report, published, report_of, write_report
from fapvideo.run.seal import Seal
from fapvideo.run.segments import Outcome, layers_beside
from fapvideo.structs import RunReport, VideoInfo
from fapvideo.trust.credentials import sidecar_path
from fapvideo.video.packets import joined_times, read_packets
from fapvideo.video.reader import VideoReader
from fapvideo.video.writer import VideoWriter, publish

LET_GO = 500
"""Frames after which landmarks that were looked at go out of memory; they lie in files."""


def join(
    job: Job,
    source: VideoReader,
    output: Path,
    seal: Seal,
    ticker: Ticker | None = None,
    *,
    overwrite: bool,
    earlier_s: float = 0.0,
    layers: Path | None = None,
) -> RunReport:
    """Put the segments together; write the output, its report and the lines about every face.

    Args:
        job: with all segments done.
        source: the input, from which everything beside the pictures is copied.
        output: what to write; the folder of the layers, where there is to be nothing else.
        seal: tags and signs it.
        ticker: told.
        overwrite: replace an existing output.
        earlier_s: of the run, outside first and second pass.
        layers: their folder, where they were painted.

    Raises:
        VideoReadError: segments are missing.
        VideoWriteError: the output cannot be written.
    """
    started, (plan, done) = time.perf_counter(), _all_done(job)
    preset = RunPreset.model_validate(job.of["preset"])
    (ticker or Ticker(None, None)).begin("finish", 0)
    with Books(plan, source.info, job.lines) as books:
        _replay(books, done)
    made_with = job.of["bundle"], job.facts["references"]
    seal.claim(*made_with, job.facts["consent"], books)
    warnings = list(job.facts["warnings"])
    if job.layers != "only":
        warnings += _assemble(job, source.info, output, done, seal, overwrite=overwrite)
    with _layered(job, source, plan, done, seal, layers) as staged:
        warnings += seal.warnings
        warnings += dict.fromkeys(text for outcome in done for text in outcome.warnings)
        warnings += clip_warnings(source.info, plan, preset.video)
        result = staged if staged is not None and job.layers == "only" else job.joined
        hashes = job.of["input"], result_hash(result)
        seconds = _summed([job.facts["seconds"], *(outcome.seconds for outcome in done)])
        seconds["wall_s"] += earlier_s + time.perf_counter() - started
        told = books, seconds, warnings, hashes, seal.describe()
        report = make_report(source.info, output, preset, made_with, plan, *told)
        try:
            job.save(finished=json.loads(json.dumps(report.to_dict(), default=str)))
        except OSError as error:
            raise _not_written(job, error) from error
        if staged is not None and layers is not None:
            publish_layers(staged, layers, source.info, job.name, overwrite=overwrite)
    if job.layers != "only":
        publish(job.joined, output, overwrite=overwrite)
    return hand_over(job, output)


def _all_done(job: Job) -> tuple[Plan, list[Outcome]]:
    """Return the plan, and what became of every segment.

    Raises:
        VideoReadError: something is not done.
    """
    plan, outcomes = job.plan(), [job.outcome(segment) for segment in job.segments]
    missing = [str(number) for number, outcome in enumerate(outcomes) if outcome is None]
    if plan is None or missing:
        what = f"segments {', '.join(missing)} are" if plan else "the first pass is"
        raise VideoReadError(f"{job.folder}: {what} not done", hint="`fapvideo segment` does them")
    return plan, [outcome for outcome in outcomes if outcome is not None]


def _assemble(
    job: Job,
    info: VideoInfo,
    output: Path,
    outcomes: Sequence[Outcome],
    seal: Seal,
    *,
    overwrite: bool,
) -> list[str]:
    """Put packets and everything beside the pictures into one signed file; return its warnings."""
    tagged = seal.opened(info, output, overwrite=overwrite)
    _check_encoders(job, outcomes)
    remove(job.joined)  # of a run that was killed here
    config = RunPreset.model_validate(job.of["preset"]).video
    # Whether the name is free is asked when it is given.
    with VideoWriter(output, tagged, config, overwrite=True, kept=job.joined) as writer:
        first = min(outcomes[0].packets.pts)
        times = joined_times(outcome.packets for outcome in outcomes)
        for segment, outcome, dts in zip(job.segments, outcomes, times, strict=True):
            outcome.packets.dts = dts
            path, time_base = job.packets_path(segment), info.time_base
            writer.write_packets(read_packets(path, outcome.packets, time_base), first)
    try:
        remove(job.credentials)
        seal(job.joined, output, job.credentials)
    except OSError as error:
        raise _not_written(job, error) from error
    return writer.warnings


def _layered(
    job: Job,
    source: VideoReader,
    plan: Plan,
    outcomes: Sequence[Outcome],
    seal: Seal,
    folder: Path | None,
) -> AbstractContextManager[Path | None]:
    """Put the layers together, if there are some; yield where they lie until they are published."""
    if folder is None:
        return nullcontext()
    preset = RunPreset.model_validate(job.of["preset"])
    own = seal if job.layers == "only" else seal.again()
    parts = [
        (layers_beside(job.packets_path(segment)), outcome.layers)
        for segment, outcome in zip(job.segments, outcomes, strict=True)
        if outcome.layers is not None
    ]
    layers = layer_plan(preset, source.info, plan)
    return staged_layers(folder, layers, plan, parts, job.lines, own, job.name)


def hand_over(job: Job, output: Path) -> RunReport:
    """Write the report and the lines beside an output that has its name; return the report."""
    with published(output):
        report = report_of(job.finished)
        if job.credentials.exists():
            try:
                with write_atomically(sidecar_path(output)) as fresh:
                    shutil.copyfile(job.credentials, fresh)
            except OSError as error:
                raise VideoWriteError(
                    f"{output} is written, but not its credentials: {error.strerror or error}",
                    hint="free space on the disk; the same command goes on",
                ) from error
        return write_report(report, job.lines, output)


def _replay(books: Books, outcomes: Sequence[Outcome]) -> None:
    """Enter every frame of the clip into the books, as it was painted."""
    refused = {(frame, track): why for one in outcomes for frame, track, why in one.refused}
    cut_off = {(frame, track): share for one in outcomes for frame, track, share in one.cut_off}
    books.outside = sum(outcome.outside for outcome in outcomes)
    for outcome in outcomes:
        books.compare(
            {
                (frame, track): (math.inf if distance is None else distance, blurred)
                for frame, track, distance, blurred in outcome.apart
            }
        )
    for frame, time_s in enumerate(books.plan.times_s):
        books.enter(frame, float(time_s), refused, cut_off)
        if frame % LET_GO == 0:
            for track in books.plan.tracks:
                release(track.landmarks)


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


def _not_written(job: Job, error: OSError) -> VideoWriteError:
    return VideoWriteError(
        f"{job.folder} cannot be written to: {error.strerror or error}",
        hint="free space on the disk; the same command goes on",
    )
