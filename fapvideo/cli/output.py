"""Everything that is printed: progress, tables, JSON lines and errors.

Results go to stdout, all else to stderr.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from fapvideo.progress import OnProgress, Progress


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
    sys.stderr.write(json.dumps({"event": event, **fields}, default=str) + "\n")
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
def show_progress(*, as_json: bool = False, of_bytes: bool = False) -> Iterator[OnProgress]:
    """Yield a callback that shows progress: as JSON lines, or as one bar per stage.

    A line has the speed where frames are counted, elsewhere the note; so has the end of a bar.
    """
    if as_json:
        yield _print_progress
        return
    from rich import progress as rich

    columns = (
        rich.TextColumn("{task.description:<10}"),
        rich.BarColumn(bar_width=24),
        rich.DownloadColumn() if of_bytes else rich.MofNCompleteColumn(),
        rich.TransferSpeedColumn() if of_bytes else rich.TimeRemainingColumn(),
        rich.TextColumn("{task.fields[note]}"),
    )
    with rich.Progress(*columns, console=Console(stderr=True), transient=of_bytes) as bars:
        tasks: dict[str, rich.TaskID] = {}

        def show(now: Progress) -> None:
            if now.stage not in tasks:
                tasks[now.stage] = bars.add_task(now.stage, note="")
            note = f"{now.fps:.1f} fps" if now.fps else escape(now.note)
            bars.update(tasks[now.stage], completed=now.done, total=now.total or None, note=note)

        yield show


def _print_progress(now: Progress) -> None:
    fields = asdict(now)
    del fields["fps" if now.fps is None else "note"]
    print_event("progress", **fields)
