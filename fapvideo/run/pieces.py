"""The steps of a run one by one, on one machine or several: plan, segments, join."""

from __future__ import annotations

from pathlib import Path

from fapvideo.config.schema import RunPreset
from fapvideo.errors import FapVideoError, PresetError, VideoWriteError
from fapvideo.progress import Stopwatch, Ticker
from fapvideo.run.direct import Casting
from fapvideo.run.engine import Engine
from fapvideo.run.job import Job, JobLock, differences
from fapvideo.run.joining import join
from fapvideo.run.seal import Seal
from fapvideo.run.segments import Segment
from fapvideo.run.sinks import default_output
from fapvideo.run.work import begin, first_pass, machine, resumable, second_pass
from fapvideo.structs import RunReport
from fapvideo.video.encoder import choose_encoding
from fapvideo.video.probe import probe
from fapvideo.video.reader import VideoReader
from fapvideo.video.writer import output_place


def plan_job(
    engine: Engine,
    source: VideoReader,
    casting: Casting,
    folder: Path,
    container: str,
    ticker: Ticker,
) -> tuple[Segment, ...]:
    """Do the first pass into a job's folder; return the segments that are to be done.

    Raises:
        FapVideoError: one of its kinds.
    """
    choose_encoding(source.info, engine.preset.video, container)
    watch = Stopwatch()
    with JobLock(folder, folder):
        ticker.begin("references", 0)
        with watch.measure("reference_s"):
            cast, said = casting()
        job = begin(engine, source, cast, folder, container, said)
        with resumable(job):
            first_pass(job, engine, source, cast, watch, ticker)
        return job.missing()


def paint_segment(
    engine: Engine, folder: Path, index: int, input: Path | None, ticker: Ticker
) -> bool:
    """Paint a segment of a job; return whether it was to do.

    Raises:
        FapVideoError: one of its kinds.
    """
    job = Job.read(folder)
    plan = job.plan()
    if plan is None or not 0 <= index < len(job.segments):
        there = f"segments 0 to {len(job.segments) - 1}" if job.segments else "no segments yet"
        raise PresetError(f"{folder} has no segment {index}", hint=f"it has {there}")
    if engine.preset.model_dump(mode="json") != job.of["preset"]:
        raise PresetError(f"{folder} was planned with another preset")
    check_machine(job, engine)
    segment = job.segments[index]
    if job.outcome(segment) is not None:
        return False
    second_pass(job, engine, input_of(job, input), plan, (segment,), ticker)
    return True


def join_job(
    folder: str | Path,
    output: str | Path | None = None,
    *,
    input: str | Path | None = None,
    overwrite: bool = False,
    keep_work: bool = False,
) -> RunReport:
    """Put a job's segments together into the output, and remove the folder. No network is loaded.

    Args:
        folder: of `VideoSwapper.plan`, with all segments done.
        output: what to write; by default `<stem>.swapped<suffix>` beside the input.
        input: the video, where it lies elsewhere than where it was planned.
        overwrite: replace an existing output.
        keep_work: leave the folder.

    Returns the report, which is also written beside the output.

    Raises:
        VideoReadError: segments are missing, or the input cannot be read.
        VideoWriteError: the output cannot be written.
    """
    job = Job.read(Path(folder))
    if job.layers != "none":
        raise VideoWriteError(
            f"{folder} is the work of a run with layers",
            hint="the `fapvideo run` command that began it goes on, and finishes it",
        )
    source = input_of(job, Path(input) if input else None)
    default = default_output(source.info.path).with_suffix(job.of["container"])
    path = default if output is None else Path(output)
    output_place(path, source.info, overwrite=overwrite)
    if path.suffix.lower() != job.of["container"]:
        raise VideoWriteError(
            f"{path}: the job in {folder} was planned for {job.of['container']}",
            hint=f"end the name in {job.of['container']}, or plan it again with another container",
        )
    with JobLock(job.folder, path):
        seal = Seal(RunPreset.model_validate(job.of["preset"]), source.info)
        report = join(job, source, path, seal, overwrite=overwrite)
        if not keep_work:
            job.remove()
    return report


def input_of(job: Job, input: Path | None = None) -> VideoReader:
    """Return a reader of a job's input; `input` where it lies elsewhere on this machine.

    Raises:
        VideoReadError: it cannot be read.
    """
    preset = RunPreset.model_validate(job.of["preset"])
    return VideoReader(probe(input or Path(job.facts["input"])), preset.video)


def check_machine(job: Job, engine: Engine) -> None:
    """See that this machine paints the pixels that the one which began the job would.

    Raises:
        FapVideoError: it would not.
    """
    here = machine(engine)
    other = differences({name: job.of.get(name) for name in here}, here)
    if other:
        raise FapVideoError(
            f"segments made here would not fit those of {job.folder}: {'; '.join(other)}",
            hint="use the version, extras and device that the job was planned with",
        )
