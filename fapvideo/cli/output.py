"""Everything that is printed: progress, tables, JSON lines and errors.

Results go to stdout, all else to stderr.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from fapvideo.structs import Progress, RunReport


def print_json(value: Any) -> None:
    """Write `value` to stdout as indented JSON."""
    sys.stdout.write(json.dumps(value, indent=2, default=str) + "\n")


def print_text(text: str) -> None:
    """Write `text` to stdout as it is."""
    sys.stdout.write(text if text.endswith("\n") else text + "\n")


def print_table(title: str, columns: Iterable[str], rows: Iterable[Iterable[Any]]) -> None:
    """Write a table to stdout."""
    columns = tuple(columns)
    table = Table(*columns, title=title or None, title_justify="left", box=None, pad_edge=False)
    table.show_header = any(columns)
    for row in rows:
        table.add_row(*(escape(str(cell)) for cell in row))
    Console(soft_wrap=not sys.stdout.isatty()).print(table)


def print_event(event: str, **fields: Any) -> None:
    """Write one JSON line to stderr."""
    line = json.dumps({"event": event, **fields}, default=str)
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


def print_error(message: str, hint: str = "") -> None:
    """Write `error: ...` and `hint: ...` to stderr."""
    console = Console(stderr=True, soft_wrap=True, highlight=False)
    console.print(f"[bold red]error:[/] {escape(message)}")
    if hint:
        console.print(f"[bold]hint:[/] {escape(hint)}")


class _JsonLines(logging.Handler):
    """Log records as JSON lines, so that stderr stays readable for programs."""

    def emit(self, record: logging.LogRecord) -> None:
        print_event("log", level=record.levelname.lower(), message=record.getMessage())


def set_up_logging(*, as_json: bool, debug: bool) -> None:
    """Show the package's warnings (all its messages with `--debug`) on stderr."""
    handler: logging.Handler = _JsonLines() if as_json else logging.StreamHandler()
    # Without --debug only warnings and worse are shown, and where in the code is of no interest.
    detailed = "%(asctime)s %(levelname)s %(name)s: %(message)s"
    handler.setFormatter(logging.Formatter(detailed if debug else "warning: %(message)s"))
    logger = logging.getLogger("fapvideo")
    logger.handlers[:] = [handler]
    logger.setLevel(logging.DEBUG if debug else logging.WARNING)
    logger.propagate = False


@contextmanager
def progress_lines() -> Iterator[Callable[[Progress], None]]:
    """Yield a callback that writes every progress report as a JSON line."""
    yield lambda progress: print_event("progress", **asdict(progress))


@contextmanager
def progress_bar() -> Iterator[Callable[[Progress], None]]:
    """Yield a callback that draws one bar per stage: name, bar, count, fps, time left."""
    from rich.progress import BarColumn, TaskID, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    columns = (
        TextColumn("{task.description:<10}"),
        BarColumn(),
        TextColumn("{task.fields[count]:>12}"),
        TextColumn("{task.fields[speed]:>10}"),
        TimeRemainingColumn(),
    )
    with Bars(*columns, console=Console(stderr=True)) as bars:
        tasks: dict[str, TaskID] = {}

        def show(progress: Progress) -> None:
            if progress.stage not in tasks:
                tasks[progress.stage] = bars.add_task(progress.stage, count="", speed="")
            bars.update(
                tasks[progress.stage],
                completed=progress.done,
                total=progress.total or None,
                count=f"{progress.done}/{progress.total or '?'}",
                speed=f"{progress.fps:.1f} fps" if progress.fps else "",
            )

        yield show


Show = Callable[[str, int, int, str], None]
"""(stage, done, total or 0, note)."""


def noted_progress(*, as_json: bool) -> AbstractContextManager[Show]:
    """Return how the progress of work in stages is shown: as bars, or as JSON lines."""
    return _noted_lines() if as_json else _noted_bars()


@contextmanager
def _noted_lines() -> Iterator[Show]:
    def show(stage: str, done: int, total: int, note: str) -> None:
        print_event("progress", stage=stage, done=done, total=total, note=note)

    yield show


@contextmanager
def _noted_bars() -> Iterator[Show]:
    """Yield a callback that draws one bar per stage: name, bar, count, time left, note."""
    from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    columns = (
        TextColumn("{task.description:<9}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Bars(*columns, console=Console(stderr=True)) as bars:
        tasks: dict[str, TaskID] = {}

        def show(stage: str, done: int, total: int, note: str) -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(stage, note="")
            bars.update(tasks[stage], completed=done, total=total or None, note=escape(note))

        yield show


@contextmanager
def transfer_bar() -> Iterator[Callable[[str, int, int], None]]:
    """Yield a callback (what, bytes done, bytes in all) that draws one bar per file."""
    from rich.progress import BarColumn, DownloadColumn, TaskID, TextColumn, TransferSpeedColumn
    from rich.progress import Progress as Bars

    text = TextColumn("{task.description}")
    columns = (text, BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Bars(*columns, console=Console(stderr=True), transient=True) as bars:
        tasks: dict[str, TaskID] = {}

        def show(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what)
            bars.update(tasks[what], completed=done, total=total or None)

        yield show


def print_summary(report: RunReport) -> None:
    """Write what a run did as a table, then its warnings."""
    frames, timings = report.frames, report.timings
    states = ("swapped", "kept", "held", "faded")
    cached = sum(bool(reference.get("cached")) for reference in report.references)
    rows = [
        ("output", report.output.get("path", "")),
        ("frames", f"{frames.get('total', 0)}: " + _listed(frames, states)),
        ("tracks", len(report.tracks)),
        ("references", f"{len(report.references)} ({cached} from the cache)"),
        ("bundle", report.bundle.get("name", "")),
        ("speed", f"{timings.get('fps', 0.0):.2f} fps, {timings.get('wall_s', 0.0):.1f} s in all"),
        ("peak memory", f"{report.peak_rss_bytes / 2**20:.0f} MiB"),
        ("changed outside the parts", f"{report.outside_changed_samples} samples"),
    ]
    print_table("", ("", ""), rows)
    console = Console(stderr=True, soft_wrap=True, highlight=False)
    for warning in report.warnings:
        console.print(f"[bold yellow]warning:[/] {escape(warning)}")


def _listed(counts: Any, names: Iterable[str]) -> str:
    return ", ".join(f"{counts.get(name, 0)} {name}" for name in names)
