"""`fapvideo batch`: many clips, models loaded once, a summary of all."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import fapvideo
from fapvideo.cli import options, output
from fapvideo.cli.swapping import open_pool, stop_on_signal
from fapvideo.errors import BatchError, Cancelled, PresetError, VideoWriteError

if TYPE_CHECKING:
    from fapvideo.config.schema import RunPreset
    from fapvideo.progress import OnProgress
    from fapvideo.run.batch import Swapper
    from fapvideo.run.batch_jobs import Job
    from fapvideo.run.batch_summary import Outcome, Summary

Inputs = Annotated[
    list[str],
    typer.Argument(
        metavar="IN...",
        help="Videos, folders, quoted patterns ('clips/*.mp4'); or one job list (jobs.toml).",
        show_default=False,
    ),
]
Folder = Annotated[
    Path | None,
    typer.Option(
        "--output", "-o", metavar="DIR", help="Output folder; of a job list by default its own."
    ),
]
KeepGoing = Annotated[
    bool, typer.Option("--keep-going/--fail-fast", help="After a clip that failed: go on, or stop.")
]
Retry = Annotated[bool, typer.Option("--retry", help="Do only what failed the last time.")]


def batch(
    inputs: Inputs,
    folder: Folder = None,
    preset: options.Preset = "brand_avatar",
    reference: options.References = [],  # noqa: B006  typer copies it
    person: options.People = [],  # noqa: B006
    settings: options.Settings = [],  # noqa: B006
    device: options.Device = "auto",
    engine: options.Engine = "local",
    keep_going: KeepGoing = True,
    retry: Retry = False,
    overwrite: options.Overwrite = False,
    as_json: options.JsonLines = False,
) -> None:
    """Swap many clips; what is done already is skipped. Exit code 10 if any failed.

    Example: fapvideo batch 'clips/*.mp4' --preset brand_avatar -o swapped/
    """
    overrides = options.collect_overrides(settings, reference, people=person)
    jobs, target = _jobs(inputs, folder, preset, overrides)
    from fapvideo.run.batch import Rules, run_batch
    from fapvideo.run.batch_summary import read_summary

    before = read_summary(target)
    if retry and before is None:
        raise PresetError(
            f"{target}: no summary of an earlier batch", hint="leave out --retry the first time"
        )
    _make(target)

    @contextmanager
    def watch(number: int, job: Job) -> Iterator[OnProgress | None]:
        _say(as_json, "start", number=number, input=str(job.input), output=str(job.output))
        if engine != "local":  # several clips at once: no place for a bar of each
            yield None
            return
        with output.show_progress(as_json=as_json) as progress:
            yield progress

    with _stopped(target), _loading(engine, device) as (load, at_once), stop_on_signal() as cancel:
        summary = run_batch(
            jobs,
            load,
            target,
            at_once=at_once,
            rules=Rules(keep_going, overwrite, retry),
            before=before,
            watch=watch,
            told=lambda outcome: _tell(outcome, as_json=as_json),
            cancel=cancel,
        )
    _print(summary, target, as_json=as_json)
    failed = summary.counts["failed"]
    if failed:
        raise BatchError(
            f"{failed} of {summary.counts['total']} clips failed",
            hint=f"{target / 'summary.json'} says why; --retry does only these again",
        )


@contextmanager
def _loading(engine: str, device: str) -> Iterator[tuple[Callable[[RunPreset], Swapper], int]]:
    """Yield what makes a swapper for a preset, and for how many clips at once."""
    if engine == "local":
        from fapvideo.swapper import VideoSwapper  # torch: only once everything else is right

        yield lambda wanted: VideoSwapper.from_preset(wanted, device=device), 1
        return
    with open_pool(device) as pool:
        from fapvideo.run.farm import Farm

        # Twice as many: while one clip is put together, the workers have another.
        yield lambda wanted: Farm(wanted, pool), 2 * max(1, pool.room())


@contextmanager
def _stopped(folder: Path) -> Iterator[None]:
    """Say after Ctrl-C what there is."""
    try:
        yield
    except (Cancelled, KeyboardInterrupt):
        raise Cancelled(
            f"stopped; {folder / 'summary.json'} says what is done",
            hint="the same command goes on with the rest",
        ) from None


def _jobs(
    inputs: Sequence[str], folder: Path | None, preset: str, overrides: dict[str, Any]
) -> tuple[Sequence[Job], Path]:
    """Return what is to be done, and the output folder; nothing is written yet."""
    from fapvideo.config.jobs import load_jobs
    from fapvideo.run.batch_jobs import find_inputs, jobs_listed, jobs_of

    lists = [text for text in inputs if text.endswith(".toml")]
    if lists and len(inputs) > 1:
        raise PresetError(
            f"{lists[0]} is a job list, and there are other inputs", hint="give one job list alone"
        )
    if lists:
        path = Path(lists[0])
        target = folder or path.resolve().parent
        return jobs_listed(load_jobs(path, preset, overrides), target), target
    if folder is None:
        raise PresetError("a batch needs an output folder", hint="-o swapped/")
    return jobs_of(find_inputs(inputs), fapvideo.load_preset(preset, overrides), folder), folder


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise VideoWriteError(
            f"{folder}: no output folder can be made there ({error.strerror or error})",
            hint="choose another with -o",
        ) from None


def _say(as_json: bool, event: str, **fields: Any) -> None:
    if as_json:
        output.print_event(event, **fields)
    elif event == "start":
        output.print_text(f"{fields['input']} -> {fields['output']}")


def _tell(outcome: Outcome, *, as_json: bool) -> None:
    """Say what became of a clip."""
    if as_json:
        output.print_event("clip", **outcome.model_dump(mode="json", exclude={"files"}))
    elif outcome.error is not None:
        message = outcome.error.message
        named = message if outcome.input in message else f"{outcome.input}: {message}"
        output.print_error(named, outcome.error.hint)


def _print(summary: Summary, folder: Path, *, as_json: bool) -> None:
    """Write the table, or with `--json` everything."""
    rows = summary.worst_first
    if as_json:
        told = [one.model_dump(mode="json", exclude={"files"}) for one in rows]
        output.print_json({"counts": summary.counts, "clips": told})
        return
    columns = ("clip", "", "frames", "swapped", "fell back", "warnings", "why")
    table = [
        (Path(one.output).name, one.status, one.frames, one.swapped, one.fell_back,
         len(one.warnings), _why(one))
        for one in rows
    ]  # fmt: skip
    output.print_table("", columns, table)
    counts = ", ".join(f"{n} {name}" for name, n in summary.counts.items() if n and name != "total")
    output.print_text(f"{counts or 'nothing to do'}; {folder / 'summary.json'}")


def _why(outcome: Outcome) -> str:
    if outcome.error is not None:
        return outcome.error.message.splitlines()[0]
    return ", ".join(f"{code} {count}" for code, count in list(outcome.reasons.items())[:3])
