"""`fapvideo plan`, `segment`, `join`: the steps of a run one by one, on one machine or several."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fapvideo.cli import options, output, summary
from fapvideo.cli.swapping import open_swapper, stop_on_signal
from fapvideo.errors import PresetError

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
    if as_json:
        output.print_json({"folder": str(folder), "missing": [one.index for one in missing]})
    elif missing:
        last = missing[-1].index
        output.print_text(
            f"{len(missing)} segments to do: `fapvideo segment {folder} --index I`, "
            f"I from {missing[0].index} to {last}; then `fapvideo join {folder}`"
        )
    else:
        output.print_text(f"all segments are done: `fapvideo join {folder}`")


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


def _swapper_of(folder: Path, device: str) -> VideoSwapper:
    """Return a swapper with the preset that a job was planned with."""
    from fapvideo.config.schema import RunPreset
    from fapvideo.run.job import Job

    preset = RunPreset.model_validate(Job.read(folder).of["preset"])
    from fapvideo.swapper import VideoSwapper

    return VideoSwapper(preset, device)
