"""What becomes of measurements: tables on stdout, pages and files, thresholds."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fapvideo.cli import output
from fapvideo.errors import QualityError
from fapvideo.ops.files import write_text

if TYPE_CHECKING:
    from fapvideo.config.evaluation import Threshold
    from fapvideo.evaluation.measure import Measurement
    from fapvideo.evaluation.report.record import Record
    from fapvideo.evaluation.report.table import Cell
    from fapvideo.evaluation.views import Material


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be done with measurements."""

    report: Path | None
    against: Mapping[str, Any] | None
    thresholds: Mapping[str, Threshold]
    fail_under: bool
    as_json: bool


def make_record(
    title: str,
    measurements: Sequence[Measurement],
    wanted: Wanted,
    command: str,
    *,
    notes: Sequence[str] = (),
    licences: Mapping[str, str],
) -> Record:
    """Put a report together."""
    from fapvideo.evaluation.metrics.groups import all_definitions
    from fapvideo.evaluation.report.record import Record
    from fapvideo.evaluation.suites.suite import PAIRS

    photos = [PAIRS] if any(found.clip == PAIRS for found in measurements) else []
    return Record(
        title=title,
        measurements=measurements,
        definitions=all_definitions(),
        thresholds=wanted.thresholds,
        photos=photos,
        notes=notes,
        command=command,
        licences=licences,
    )


def write_report(
    folder: Path,
    record: Record,
    materials: Mapping[str, Material],
    wanted: Wanted,
    started: tuple[float, float],
) -> None:
    """Write the page, and the benchmark file beside it."""
    from fapvideo.evaluation.report.benchmark import JSON_NAME, as_benchmark
    from fapvideo.evaluation.report.page import write_page

    write_page(folder, record, materials, wanted.against)
    cpu_s, wall_s = (now - then for now, then in zip(clock(), started, strict=True))
    small = as_benchmark(record, cpu_s, wall_s)
    write_text(folder / JSON_NAME, json.dumps(small, indent=1) + "\n")


def conclude(record: Record, systems: Sequence[str], wanted: Wanted, *, strict: bool) -> None:
    """Print what was found; `systems` are judged by thresholds, as `judging.missed` does.

    Raises:
        QualityError: a threshold is missed, and that is to be an error.
    """
    from fapvideo.evaluation.report.judging import changes, missed

    misses = missed(record.measurements, wanted.thresholds, systems, strict=strict)
    if wanted.as_json:
        differences = [] if wanted.against is None else changes(record, wanted.against)
        found = {"missed": misses, "changes": [asdict(change) for change in differences]}
        output.print_json({**record.to_dict(), **found})
    else:
        _print_tables(record, wanted.against)
        for line in misses:
            output.print_text(f"missed: {line}")
        if wanted.report is not None:
            output.print_text(f"\nReport: {wanted.report / 'index.html'}")
    if misses and wanted.fail_under:
        raise QualityError(
            f"{len(misses)} thresholds are missed: {'; '.join(misses)}",
            hint="the report (--report DIR) shows where; presets/eval has the thresholds",
        )


def _print_tables(record: Record, against: Mapping[str, Any] | None) -> None:
    """Write headline metrics as rows, systems as columns; all metrics where there is one system."""
    from fapvideo.evaluation.report.table import clip_table, headline_tables

    tables = headline_tables(record, against)
    if len(record.systems) == 1 and len(record.clips) == 1:
        tables = [clip_table(record, record.clips[0], against)]
    for table in tables[:1] if len(tables) > 1 else tables:
        rows = []
        for index, column in enumerate(table.columns):
            cells = [_cell_text(row.cells[index]) for row in table.rows]
            rows.append((column.key, f"{column.title} {column.sign}", column.unit, *cells))
        heads = ("metric", table.name.lower(), "unit", *(row.system for row in table.rows))
        output.print_table("", heads, rows)
    where: dict[str, list[str]] = {note: [] for note in record.notes}
    for found in record.measurements:
        for note in found.notes:
            where.setdefault(note, []).append(f"{found.system}, {found.clip}")
    for note, places in where.items():
        only = f"{places[0]}: " if len(places) == 1 < len(record.measurements) else ""
        output.print_text(f"note: {only}{note}")


def _cell_text(cell: Cell | None) -> str:
    """Return a value with marks: * the best, ! outside its limits, and what changed."""
    if cell is None:
        return "-"
    marks = ("*" if cell.best else "") + ("!" if cell.missed else "")
    change = f" ({cell.change} {cell.verdict})" if cell.verdict else ""
    return f"{cell.text}{marks}{change}"


def clock() -> tuple[float, float]:
    """Return CPU and wall seconds."""
    return time.process_time(), time.perf_counter()
