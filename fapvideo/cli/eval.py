"""`fapvideo eval`: how good is a result, and which system is better."""

from __future__ import annotations

import shlex
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import platformdirs
import typer

import fapvideo
from fapvideo.cli import options, output
from fapvideo.cli.findings import Wanted, clock, conclude, make_record, write_report
from fapvideo.cli.swapping import stop_on_signal
from fapvideo.errors import PresetError
from fapvideo.progress import OnProgress, Progress, ShouldStop

if TYPE_CHECKING:
    from fapvideo.config.evaluation import EvalPreset, Threshold
    from fapvideo.config.schema import RunPreset
    from fapvideo.evaluation.report.record import Record
    from fapvideo.evaluation.suites.single import Made

THRESHOLDS = "standard"
"""Suite whose thresholds judge a single result."""

Result = Annotated[
    Path | None, typer.Argument(metavar="[OUT]", help="The result to measure.", show_default=False)
]
Source = Annotated[
    Path | None,
    typer.Option(metavar="IN", help="What it was made from. Default: what its report names."),
]
Preset = Annotated[
    str | None,
    typer.Option("--preset", "-p", metavar="NAME|FILE", help="How it was made, if no report says."),
]
Start = Annotated[
    float | None,
    typer.Option(parser=options.parse_time, metavar="TIME", help="Where in IN it begins."),
]
End = Annotated[
    float | None, typer.Option(parser=options.parse_time, metavar="TIME", help="Where it ends.")
]
Suite = Annotated[
    str | None,
    typer.Option(metavar="NAME|FILE", help="Compare systems instead: smoke, standard or a file."),
]
Systems = Annotated[
    str | None,
    typer.Option(
        metavar="A,B,..",
        help="embedded, guide, paste, poisson, noop, bundle=DIR, KEY=VALUE of the preset, or"
        " name=PATH: a video (or a folder of them) that another tool made. Default: the suite's.",
    ),
]
Report = Annotated[
    Path | None, typer.Option(metavar="DIR", help="Write index.html, report.json and report.md.")
]
Against = Annotated[
    Path | None, typer.Option(metavar="REPORT", help="Show differences to an earlier report.json.")
]
FailUnder = Annotated[
    bool, typer.Option("--fail-under", help="Exit code 9 where a threshold is missed.")
]
Thresholds = Annotated[
    str | None,
    typer.Option(metavar="NAME|FILE", help="Whose thresholds. Default: the suite's, or standard."),
]
Work = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="Where a suite keeps what it made. Default: a cache folder."),
]


def evaluate(
    result: Result = None,
    source: Source = None,
    preset: Preset = None,
    reference: options.References = [],  # noqa: B006  typer copies it
    settings: options.Settings = [],  # noqa: B006
    start: Start = None,
    end: End = None,
    suite: Suite = None,
    systems: Systems = None,
    report: Report = None,
    against: Against = None,
    fail_under: FailUnder = False,
    thresholds: Thresholds = None,
    work: Work = None,
    device: options.Device = "auto",
    as_json: options.Json = False,
) -> None:
    """Measure a result against its source, or systems side by side on a suite of clips.

    Example: fapvideo eval new.mp4 --source talk.mp4 --report page
    """
    overrides = options.collect_overrides(settings, reference, start, end)
    of_result = {"--source": source, "--preset": preset, "--reference": overrides}
    of_suite = {"--systems": systems, "--work": work}
    _check_choice(result, suite, of_result, of_suite)
    from fapvideo.evaluation.report.record import read_report

    # Read and checked now, because what follows takes long.
    earlier = None if against is None else read_report(against)
    limits = _limits(thresholds or suite or THRESHOLDS)
    wanted = Wanted(report, earlier, limits, fail_under, as_json)
    if suite is not None:
        from fapvideo.config.evaluation import load_eval_preset

        config = load_eval_preset(suite)
        names = systems.split(",") if systems else list(config.systems)
        _evaluate_suite(config, names, work, device, wanted)
    elif result is not None:
        record = _measured(result, _how_made(result, source, preset, overrides), wanted)
        conclude(record, record.systems, wanted, strict=False)


def _limits(name: str) -> Mapping[str, Threshold]:
    """Read thresholds, and see to it that there are such metrics."""
    from fapvideo.config.evaluation import load_eval_preset

    limits = load_eval_preset(name).thresholds
    from fapvideo.evaluation.metrics.groups import all_definitions
    from fapvideo.evaluation.report.judging import check_keys

    check_keys(limits, all_definitions())
    return limits


def _check_choice(
    result: Path | None,
    suite: str | None,
    of_result: Mapping[str, Any],
    of_suite: Mapping[str, Any],
) -> None:
    """Refuse options that do not belong together."""
    if (result is None) == (suite is None):
        raise PresetError(
            "give either a result or --suite",
            hint="fapvideo eval OUT --source IN, or fapvideo eval --suite standard",
        )
    foreign = of_suite if suite is None else of_result
    for name, value in foreign.items():
        if value:
            other = "a result" if suite is None else "--suite"
            raise PresetError(f"{name} does not go with {other}")


# --------------------------------------------------------------------------------- one result


def _how_made(
    result: Path, source: Path | None, preset: str | None, overrides: Mapping[str, Any]
) -> Made:
    """Put together how a result was made: what is said here precedes what its report says."""
    from fapvideo.evaluation.suites.single import Made, read_made

    known = read_made(result) if preset is None else None
    chosen = source or (known.source if known else None)
    if chosen is None:
        raise PresetError(
            f"{result}: what was it made from?", hint="say so: --source IN --preset NAME"
        )
    base: str | RunPreset = preset or (known.preset if known else fapvideo.RunPreset())
    # A report's references may be gone by now; they need not be there for everything.
    found = fapvideo.load_preset(base, overrides) if known is None or overrides else known.preset
    if not found.references:
        raise PresetError(
            f"{result}: which parts were swapped?",
            hint="there is no report beside it: give --preset, or --reference eyes=her.png",
        )
    return Made(chosen, found, known.extra if known else {})


def report_run(result: Path, folder: Path, *, as_json: bool) -> None:
    """Write the page of a run that is done, from the report beside its output.

    Raises:
        NoFaceFound: there was nothing to swap, so there is nothing to measure.
    """
    from fapvideo.evaluation.suites.single import read_made

    made = read_made(result)
    assert made is not None  # a run writes it
    _measured(result, made, Wanted(folder, None, _limits(THRESHOLDS), False, as_json))


def _measured(result: Path, made: Made, wanted: Wanted) -> Record:
    """Measure one result, and write its page if one is wanted."""
    from fapvideo.evaluation.suites.licences import licences_of
    from fapvideo.evaluation.suites.single import measure_result

    command = f"fapvideo eval {shlex.quote(str(result))} --source {shlex.quote(str(made.source))}"
    title = f"{result.name} against {made.source.name}"
    licences = licences_of([made.preset.bundle])
    with _working(wanted) as (scratch, show, stop):
        started = clock()
        show(Progress("follow", 0, 0, note=made.source.name))
        found, clip = measure_result(result, made, scratch, progress=show, cancel=stop)
        record = make_record(title, [found], wanted, command, licences=licences)
        if wanted.report is not None:
            show(Progress("report", 0, 0, note=str(wanted.report)))
            write_report(wanted.report, record, {found.clip: clip}, wanted, started)
    return record


@contextmanager
def _working(wanted: Wanted) -> Iterator[tuple[Path, OnProgress, ShouldStop]]:
    """Yield a folder for a while, a callback that shows progress, and one that stops."""
    with (
        tempfile.TemporaryDirectory(prefix="fapvideo-") as scratch,
        stop_on_signal() as stop,
        output.show_progress(as_json=wanted.as_json) as show,
    ):
        yield Path(scratch), show, stop


# -------------------------------------------------------------------------------------- suite


def _evaluate_suite(
    config: EvalPreset, names: Sequence[str], work: Path | None, device: str, wanted: Wanted
) -> None:
    """Compare systems, and do what is wanted with the measurements."""
    from fapvideo.evaluation.suites.licences import licences_of
    from fapvideo.evaluation.suites.suite import Hooks, run_suite
    from fapvideo.evaluation.suites.systems import judged, make_systems

    systems = make_systems(names, device)
    kept = work or Path(platformdirs.user_cache_dir("fapvideo")) / "eval" / config.name
    command = f"fapvideo eval --suite {config.name} --systems {shlex.quote(','.join(names))}"
    with _working(wanted) as (scratch, show, stop):
        started = clock()
        found = run_suite(config, systems, kept, scratch, Hooks(show, stop))
        title = f"Suite {config.name}"
        used = [*config.fetch, *(clip.set for clip in config.clips)]
        used += [config.pairs.set] if config.pairs.count and not config.pairs.folder else []
        licences = licences_of((clip.preset.bundle for clip in found.clips), used)
        record = make_record(
            title, found.measurements, wanted, command, notes=found.notes, licences=licences
        )
        if wanted.report is not None:
            show(Progress("report", 0, 0, note=str(wanted.report)))
            write_report(wanted.report, record, found.materials(), wanted, started)
    conclude(record, judged([system.name for system in systems]), wanted, strict=True)
