"""`log.csv`: one line per evaluation of a training run."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fapvideo.ops.files import write_atomically

Row = dict[str, str]


def read_log(path: Path) -> list[Row]:
    """Return the rows of a log; none where there is no file yet."""
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def append_log(path: Path, row: Mapping[str, Any]) -> None:
    """Add a row; a column that is new is empty in the rows before."""
    shown = {k: f"{v:.5g}" if isinstance(v, float) else str(v) for k, v in row.items()}
    write_log(path, [*read_log(path), shown])


def cut_log(path: Path, step: int) -> None:
    """Forget the rows after `step`: a run that goes on from there writes them again."""
    rows = read_log(path)
    kept = [row for row in rows if int(row["step"]) <= step]
    if len(kept) < len(rows):
        write_log(path, kept)


def write_log(path: Path, rows: Sequence[Row]) -> None:
    """Write all rows, in one step."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    with write_atomically(path) as fresh, fresh.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, restval="")
        writer.writeheader()
        writer.writerows(rows)
