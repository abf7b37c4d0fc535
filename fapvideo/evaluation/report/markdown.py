"""`report.md`: the headline tables, suspects and notes as text."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from fapvideo.evaluation.report.contents import clip_contents
from fapvideo.evaluation.report.pictures import ClipPictures
from fapvideo.evaluation.report.record import Record
from fapvideo.evaluation.report.table import Cell, Table, headline_tables

_SPECIAL = re.compile(r"([\\`*_\[\]<>|#~])")


def markdown(record: Record, against: Mapping[str, Any] | None = None) -> str:
    """Return the report as Markdown with tables; everything that was measured is escaped."""
    lines = [f"# {escaped(record.title)}", "", f"{record.created} · fapvideo evaluation", ""]
    tables = headline_tables(record, against)
    for table in tables:
        if len(tables) > 1:
            lines += [f"## {escaped(table.name)}", ""]
        lines += [*_rows(table), ""]
    lines += [
        "**Bold**: best of the systems. (!): misses its threshold. "
        "↑ higher, ↓ lower is better; → 1: relative to the source clip, which has 1.",
        "",
    ]
    for name in record.clips:
        lines += _clip(record, name)
    if record.notes:
        lines += ["## Notes", "", *(f"- {escaped(note)}" for note in record.notes), ""]
    if record.command:
        lines += ["## How to make it again", "", f"    {' '.join(record.command.split())}", ""]
    return "\n".join(lines)


def escaped(text: str) -> str:
    """Return text that Markdown shows as it is, on one line."""
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))


def _rows(table: Table) -> list[str]:
    """Return one table."""
    heads = [
        escaped(f"{column.title} {column.sign}" + (f" ({column.unit})" if column.unit else ""))
        for column in table.columns
    ]
    rows = [f"| system | {' | '.join(heads)} |", "|---|" + "---:|" * len(heads)]
    for row in table.rows:
        name = escaped(row.system) + (f" ({row.note})" if row.note else "")
        rows.append(f"| {' | '.join([name, *map(_cell, row.cells)])} |")
    return rows


def _cell(cell: Cell | None) -> str:
    """Return one value."""
    if cell is None:
        return "–"
    text = f"**{cell.text}**" if cell.best else cell.text
    text += " (!)" if cell.missed else ""
    return f"{text} ({cell.change})" if cell.change else text


def _clip(record: Record, name: str) -> list[str]:
    """Return the suspects and notes of one clip."""
    clip = clip_contents(record, name, ClipPictures(), None)
    if not clip.suspects and not clip.notes:
        return []
    lines = [f"## {escaped(name)}: frames to look at, and notes", ""]
    for item in clip.suspects:
        lines.append(f"- {item.label}, {escaped(item.system)}: {escaped(item.reason)}")
    for system, note in clip.notes:
        lines.append(f"- note{f', {escaped(system)}' if system else ''}: {escaped(note)}")
    return [*lines, ""]
