"""Everything that is printed: progress, tables, JSON lines and errors.

Results go to stdout, all else to stderr.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from fapvideo.progress import OnProgress, Progress


_UNSEEN = {
    code: f"\\x{code & 0xFF:02x}"
    for code in (*range(32), *range(127, 160), *range(0xDC80, 0xDD00))
    if code not in (9, 10)
} | {code: f"\\u{code:04x}" for code in (*range(0x202A, 0x202F), *range(0x2066, 0x206A))}
"""Control characters, which a terminal obeys; bytes of names that are no text; turned writing."""


class _Console(Console):
    """A console whose reader may go: what is printed is lost then, and the work goes on."""

    def on_broken_pipe(self) -> None:
        """Be quiet from now on."""
        self.quiet = True
        give_up(self.file)


def give_up(stream: IO[str]) -> None:
    """Let a stream that nobody reads, or that is full, lead nowhere."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def plain(text: str) -> str:
    """Return `text` as a terminal may be given it: names and titles of files may hold anything."""
    return text.translate(_UNSEEN)


def set_up_streams() -> None:
    """Make stdout and stderr take any text, and be there: a parent may have closed them."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def print_json(value: Any) -> None:
    """Write `value` to stdout as indented JSON."""
    sys.stdout.write(json.dumps(value, indent=2, default=str) + "\n")


def print_text(text: str) -> None:
    """Write `text` to stdout as it is."""
    text = plain(text)
    sys.stdout.write(text if text.endswith("\n") else text + "\n")


def print_table(title: str, columns: Iterable[str], rows: Iterable[Iterable[Any]]) -> None:
    """Write a table to stdout."""
    columns = tuple(columns)
    table = Table(*columns, title=title or None, title_justify="left", box=None, pad_edge=False)
    table.show_header = any(columns)
    for row in rows:
        table.add_row(*(escape(plain(str(cell))) for cell in row))
    _Console(soft_wrap=not sys.stdout.isatty()).print(table)


def print_event(event: str, **fields: Any) -> None:
    """Write one JSON line to stderr."""
    sys.stderr.write(json.dumps({"event": event, **fields}, default=str) + "\n")
    sys.stderr.flush()


def print_error(message: str, hint: str = "") -> None:
    """Write `error: ...` and `hint: ...` to stderr."""
    console = _Console(stderr=True, soft_wrap=True, highlight=False)
    console.print(f"[bold red]error:[/] {escape(plain(message))}")
    if hint:
        console.print(f"[bold]hint:[/] {escape(plain(hint))}")


def print_warning(message: str) -> None:
    """Write `warning: ...` to stderr."""
    console = _Console(stderr=True, soft_wrap=True, highlight=False)
    console.print(f"[bold yellow]warning:[/] {escape(plain(message))}")


def print_note(message: str) -> None:
    """Write a line to stderr: for programs whose stdout is not for people."""
    _Console(stderr=True, soft_wrap=True, highlight=False).print(escape(plain(message)))


class _Plain(logging.Formatter):
    """Log records as text that a terminal may be given."""

    def format(self, record: logging.LogRecord) -> str:
        return plain(super().format(record))


class _JsonLines(logging.Handler):
    """Log records as JSON lines, so that stderr stays readable for programs."""

    def emit(self, record: logging.LogRecord) -> None:
        print_event("log", level=record.levelname.lower(), message=record.getMessage())


def set_up_logging(*, as_json: bool, debug: bool) -> None:
    """Show the package's warnings (all its messages with `--debug`) on stderr."""
    handler: logging.Handler = _JsonLines() if as_json else logging.StreamHandler()
    # Without --debug only warnings and worse are shown, and where in the code is of no interest.
    detailed = "%(asctime)s %(levelname)s %(name)s: %(message)s"
    handler.setFormatter(_Plain(detailed if debug else "warning: %(message)s"))
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
    with rich.Progress(*columns, console=_Console(stderr=True), transient=of_bytes) as bars:
        tasks: dict[str, rich.TaskID] = {}

        def show(now: Progress) -> None:
            if now.stage not in tasks:
                tasks[now.stage] = bars.add_task(now.stage, note="")
            note = f"{now.fps:.1f} fps" if now.fps else escape(plain(now.note))
            bars.update(tasks[now.stage], completed=now.done, total=now.total or None, note=note)

        yield show


def _print_progress(now: Progress) -> None:
    fields = asdict(now)
    del fields["fps" if now.fps is None else "note"]
    print_event("progress", **fields)
