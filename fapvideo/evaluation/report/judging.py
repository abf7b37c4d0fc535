"""Judging measurements: by thresholds, and against an earlier report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fapvideo.config.evaluation import Threshold
from fapvideo.errors import PresetError
from fapvideo.evaluation.definitions import Definition, fits
from fapvideo.evaluation.measure import Measurement
from fapvideo.evaluation.report.record import Record, passes
from fapvideo.evaluation.report.table import clip_table, limits_text


@dataclass(frozen=True, slots=True)
class Change:
    """One value, then and now."""

    system: str
    clip: str
    key: str
    before: float
    now: float
    verdict: str
    """better or worse."""


def check_keys(thresholds: Mapping[str, Threshold], definitions: Sequence[Definition]) -> None:
    """Refuse a threshold that no metric has.

    Raises:
        PresetError: naming it.
    """
    for key in thresholds:
        if not any(fits(key, d.key) or d.fits(key) for d in definitions):
            raise PresetError(
                f"thresholds.{key}: no metric is called that",
                hint="docs/evaluation.md lists all of them",
            )


def missed(
    measurements: Sequence[Measurement],
    thresholds: Mapping[str, Threshold],
    systems: Sequence[str],
    *,
    strict: bool = True,
) -> list[str]:
    """Return in words which thresholds the `systems` miss; a `*` in a key stands for one piece.

    With `strict` one that nothing was measured for is missed as well: in a suite, which has clips
    for every metric, one that fails must not pass.
    """
    lines = []
    for wanted, limits in thresholds.items():
        for system in systems:
            seen = [
                (found.clip, key, value)
                for found in measurements
                if found.system == system
                for key, value in found.values.items()
                if fits(wanted, key)
            ]
            lines += [
                f"{system}, {clip}: {key} is {value:.4g}, wanted {limits_text(limits)}"
                for clip, key, value in seen
                if not passes(value, limits)
            ]
            if strict and not seen:
                lines.append(f"{system}: {wanted} was not measured")
    return lines


def changes(record: Record, against: Mapping[str, Any]) -> list[Change]:
    """Return the values that two reports share and that differ visibly, and which way."""
    rows = {(row["clip"], row["system"]): row["values"] for row in against["measurements"]}
    found = []
    for clip in record.clips:
        table = clip_table(record, clip, against)
        for row in table.rows:
            for column, cell in zip(table.columns, row.cells, strict=True):
                if cell is not None and cell.verdict:
                    before = float(rows[clip, row.system][column.key])
                    change = (column.key, before, cell.value, cell.verdict)
                    found.append(Change(row.system, clip, *change))
    return found
