"""`fapvideo run`: the main job."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated, Literal

import typer

from fapvideo.cli import options, output, summary
from fapvideo.cli.swapping import open_engine, stop_on_signal
from fapvideo.errors import PresetError
from fapvideo.ops.files import fitting_name

log = logging.getLogger(__name__)

RequireFace = Annotated[
    bool, typer.Option("--require-face", help="Fail (exit code 5) where there is no face.")
]
Strict = Annotated[
    bool, typer.Option("--strict", help="Exit code 9 where a frame fell back; all is written.")
]
NoResume = Annotated[
    bool, typer.Option("--no-resume", help="Begin anew, whatever a stopped run has left.")
]
RequireLicence = Annotated[
    Literal["any", "commercial"] | None,
    typer.Option(help="Refuse (exit code 7) weights and references that may not be used so."),
]
Layers = Annotated[
    Path | None,
    typer.Option(
        "--layers", metavar="DIR", help="Write layers for a compositor; without -o nothing else."
    ),
]
Plan = Annotated[
    Path | None,
    typer.Option(
        "--plan", metavar="DIR", help="Of a `fapvideo plan` of IN: nobody is followed again."
    ),
]
Report = Annotated[
    bool, typer.Option("--report", help="Measure the result and write a page about it.")
]

ReportFolder = Annotated[
    Path | None, typer.Option(metavar="DIR", help="Where the page goes. Default: OUT.report.")
]


def run(
    input_path: options.Input,
    output_path: options.Output = None,
    preset: options.Preset = "brand_avatar",
    reference: options.References = [],  # noqa: B006  typer copies it
    person: options.People = [],  # noqa: B006
    settings: options.Settings = [],  # noqa: B006
    device: options.Device = "auto",
    engine: options.Engine = "local",
    start: Annotated[
        float | None,
        typer.Option(parser=options.parse_time, metavar="TIME", help="Begin here: 75 or 1:15."),
    ] = None,
    end: Annotated[
        float | None, typer.Option(parser=options.parse_time, metavar="TIME", help="Stop here.")
    ] = None,
    overwrite: options.Overwrite = False,
    require_face: RequireFace = False,
    no_resume: NoResume = False,
    keep_work: options.KeepWork = False,
    layers: Layers = None,
    plan: Plan = None,
    strict: Strict = False,
    require_licence: RequireLicence = None,
    report: Report = False,
    report_folder: ReportFolder = None,
    as_json: options.JsonLines = False,
) -> None:
    """Swap facial parts in a video; a run that was stopped goes on where it was.

    Example: fapvideo run talk.mp4 -o new.mp4 --preset brand_avatar --reference eyes=her.png
    """
    overrides = options.collect_overrides(settings, reference, start, end, person)
    overrides |= {"require_licence": require_licence} if require_licence else {}
    report = report or report_folder is not None
    _check_layers(layers, report=report, alone=output_path is None)
    with (
        # Loading is simply broken off by a signal; from here on it has to leave no half output.
        open_engine(engine, preset, device, overrides) as swapper,
        stop_on_signal() as cancel,
        output.show_progress(as_json=as_json) as progress,
    ):
        done = swapper.run(
            input_path,
            output_path,
            overwrite=overwrite,
            require_face=require_face,
            resume=not no_resume,
            keep_work=keep_work,
            layers=layers,
            plan=plan,
            progress=progress,
            cancel=cancel,
        )
    summary.tell(done, as_json=as_json)
    if report:
        _write_page(Path(str(done.output["path"])), report_folder, as_json=as_json)
    fault = summary.strict_error(done) if strict else None
    if fault is not None:
        raise fault


def _check_layers(layers: Path | None, *, report: bool, alone: bool) -> None:
    """Refuse what does not go with layers, before anything is loaded.

    Raises:
        PresetError: it does not.
    """
    if layers is not None and report and alone:
        raise PresetError(
            "--report is about a finished video, and --layers without -o makes none",
            hint="name one with -o",
        )


def _write_page(result: Path, folder: Path | None, *, as_json: bool) -> None:
    """Measure the result. It is written by now: why there is no page about it is a warning."""
    from fapvideo.cli.eval import report_run

    target = folder or result.with_name(fitting_name(result.name, ".report"))
    try:
        report_run(result, target, as_json=as_json)
    except Exception as error:  # whatever it is, the result is there
        log.debug("no page", exc_info=True)
        reason = str(error) or f"unexpected {type(error).__name__}"
        log.warning("%s is written, but no page about it: %s", result, reason)
    else:
        if not as_json:
            output.print_text(f"report: {target / 'index.html'}")
