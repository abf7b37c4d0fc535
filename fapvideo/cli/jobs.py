"""`fapvideo plan`, `segment`, `jobs`, `join`: the steps of a run, on one machine or several."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fapvideo.cli import options, output, summary
from fapvideo.cli.swapping import open_swapper, stop_on_signal
from fapvideo.errors import PresetError, VideoReadError

if TYPE_CHECKING:
    from fapvideo.swapper import VideoSwapper

INDEX_VARIABLES = [
    "SLURM_ARRAY_TASK_ID",
    "JOB_COMPLETION_INDEX",
    "AWS_BATCH_JOB_ARRAY_INDEX",
]
"""Where the schedulers that run array jobs put the index."""

Folder = Annotated[Path, typer.Argument(metavar="JOB", help="Folder that `fapvideo plan` made.")]
InputHere = Annotated[
    Path | None,
    typer.Option(
        "--input", metavar="IN", help="The video, where it lies elsewhere on this machine."
    ),
]


def plan(
    input_path: options.Input,
    folder: Annotated[
        Path, typer.Option("--output", "-o", metavar="JOB", help="Folder for the job.")
    ],
    preset: options.Preset = "brand_avatar",
    reference: options.References = [],  # noqa: B006  typer copies it
    person: options.People = [],  # noqa: B006
    settings: options.Settings = [],  # noqa: B006
    device: options.Device = "auto",
    container: Annotated[
        str, typer.Option(metavar="SUFFIX", help="Of the video to be: .mp4, .mov or .mkv.")
    ] = "",
    as_json: options.JsonLines = False,
) -> None:
    """Follow the faces of a video once, and divide it into segments to be painted apart.

    Example: fapvideo plan talk.mp4 -o job && fapvideo segment job --index 0 && fapvideo join job
    """
    from fapvideo.video.encoder import MUXERS  # av: not before it is needed

    if container and container not in MUXERS:
        raise PresetError(f"--container {container}: it must be one of {', '.join(MUXERS)}")
    overrides = options.collect_overrides(settings, reference, people=person)
    with (
        open_swapper(preset, device, overrides) as swapper,
        stop_on_signal() as cancel,
        output.show_progress(as_json=as_json) as progress,
    ):
        missing = swapper.plan(
            input_path, folder, container=container, progress=progress, cancel=cancel
        )
    told = _told(folder)
    if as_json:
        output.print_json(told)
    elif missing:
        output.print_text(
            f"{len(missing)} of {told['segments']} segments to do: "
            f"`fapvideo segment {folder} --index I`, I {told['array']}; "
            f"then `fapvideo join {folder}`"
        )
    else:
        output.print_text(f"all {told['segments']} segments are done: `fapvideo join {folder}`")


def segment(
    folder: Folder,
    index: Annotated[
        int | None,
        typer.Option(
            min=0, envvar=INDEX_VARIABLES, help="Which one, from 0; an array job's own by default."
        ),
    ] = None,
    input_path: InputHere = None,
    device: options.Device = "auto",
    as_json: options.JsonLines = False,
) -> None:
    """Paint one segment of a job; one that is done is left as it is."""
    if index is None:
        raise PresetError(
            "which segment?", hint=f"--index I, or one of {', '.join(INDEX_VARIABLES)}"
        )
    with (
        _swapper_of(folder, device) as swapper,
        stop_on_signal() as cancel,
        output.show_progress(as_json=as_json) as progress,
    ):
        made = swapper.segment(folder, index, input=input_path, progress=progress, cancel=cancel)
    if as_json:
        output.print_json({"folder": str(folder), "index": index, "made": made})
    else:
        output.print_text(f"segment {index} {'is painted' if made else 'was done already'}")


def jobs(folder: Folder, as_json: options.Json = False) -> None:
    """Print which segments of a job are missing, as an array job takes them; nothing if none are.

    Example: sbatch $(fapvideo jobs job) segment.sh job
    """
    told = _told(folder)
    if as_json:
        output.print_json(told)
    elif told["missing"]:
        output.print_text(f"--array={told['array']}")


def join(
    folder: Folder,
    output_path: options.Output = None,
    input_path: InputHere = None,
    overwrite: options.Overwrite = False,
    keep_work: options.KeepWork = False,
    as_json: options.JsonLines = False,
) -> None:
    """Put the segments of a job together; needs no model."""
    from fapvideo.run.pieces import join_job

    done = join_job(folder, output_path, input=input_path, overwrite=overwrite, keep_work=keep_work)
    if as_json:
        output.print_json(done.to_dict())
    else:
        summary.print_summary(done)


def _told(folder: Path) -> dict[str, Any]:
    """Return what there is to do of a job.

    Raises:
        VideoReadError: there is none, or its first pass is not done.
    """
    from fapvideo.run.job import Job

    job = Job.read(folder)
    if not job.segments:
        raise VideoReadError(
            f"{folder}: the first pass is not done", hint="`fapvideo plan IN -o FOLDER` does it"
        )
    missing = [segment.index for segment in job.missing()]
    count = {"segments": len(job.segments), "missing": missing}
    return {"folder": str(folder), **count, "array": array_of(missing)}


def array_of(numbers: Sequence[int]) -> str:
    """Return ascending numbers as array jobs take them: `0-3,7`."""
    runs = [
        [number for _, number in run]
        for _, run in groupby(enumerate(numbers), lambda row: row[1] - row[0])
    ]
    return ",".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else f"{run[0]}" for run in runs)


def _swapper_of(folder: Path, device: str) -> VideoSwapper:
    """Return a swapper with the preset that a job was planned with."""
    from fapvideo.config.schema import RunPreset
    from fapvideo.run.job import Job

    preset = RunPreset.model_validate(Job.read(folder).of["preset"])
    from fapvideo.swapper import VideoSwapper

    return VideoSwapper(preset, device)
