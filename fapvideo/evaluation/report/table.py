"""Tables of a report: systems against metrics, with the best, the misses, and what changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from fapvideo.config.evaluation import Threshold
from fapvideo.evaluation.definitions import Better, Definition
from fapvideo.evaluation.report.record import Record, passes

AVERAGE = "Average"
SIGNS: dict[Better, str] = {"higher": "↑", "lower": "↓", "one": "→ 1"}
MINUS = "−"
FLOOR = "edit."
"""Metrics of how much was changed: doing nothing is perfect by most others, and never the best."""


@dataclass(frozen=True, slots=True)
class Column:
    """One metric."""

    key: str
    title: str
    """With the piece that a `*` of the definition stands for."""
    unit: str
    better: Better
    limits: str
    """In words; empty if there are none."""
    decimals: int
    headline: bool
    definition: Definition | None

    @property
    def sign(self) -> str:
        """Which way is better, as a sign."""
        return SIGNS[self.better]


@dataclass(frozen=True, slots=True)
class Cell:
    """One value."""

    value: float
    text: str
    best: bool = False
    missed: bool = False
    """Whether it lies outside its limits."""
    change: str = ""
    """Difference to the earlier report, with its sign."""
    verdict: str = ""
    """Of the change: better, worse, or empty."""


@dataclass(frozen=True, slots=True)
class Row:
    """One system."""

    system: str
    cells: tuple[Cell | None, ...]
    note: str = ""
    """Over how many clips an average was taken, if not over all."""


@dataclass(frozen=True, slots=True)
class Table:
    """One clip, or the average of all."""

    name: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    idle: tuple[str, ...] = ()
    """Systems that change too little, by a threshold: out of competition."""


def headline_tables(record: Record, against: Mapping[str, Any] | None = None) -> list[Table]:
    """Return the tables of headline metrics: the average if there are several clips, then each."""
    columns = [column for column in columns_of(record) if column.headline]
    names = [AVERAGE, *record.clips] if len(record.clips) > 1 else record.clips
    return [_table(record, name, columns, against) for name in names]


def clip_table(record: Record, clip: str, against: Mapping[str, Any] | None = None) -> Table:
    """Return the table of every metric that has a value in one clip."""
    keys = {key for item in record.of_clip(clip) for key in item.values}
    return _table(record, clip, [c for c in columns_of(record) if c.key in keys], against)


def columns_of(record: Record) -> list[Column]:
    """Return a column for every key with a value, in the order of the definitions."""
    keys = record.ordered([key for item in record.measurements for key in item.values])
    return [_column(record, key) for key in keys]


def _column(record: Record, key: str) -> Column:
    """Return the column of one key."""
    definition = record.definition(key)
    return Column(
        key=key,
        title=title_of(definition, key),
        unit=definition.unit if definition else "",
        better=definition.better if definition else "lower",
        limits=limits_text(record.limits(key)),
        decimals=_decimals([m.values[key] for m in record.measurements if key in m.values]),
        headline=definition is not None and definition.headline,
        definition=definition,
    )


def title_of(definition: Definition | None, key: str) -> str:
    """Return a metric's title with the part or zone that a `*` of its key stands for."""
    if definition is None:
        return key
    pairs = zip(definition.key.split("."), key.split("."), strict=True)
    pieces = [given.replace("_", " ") for own, given in pairs if own == "*"]
    title = definition.title.removesuffix(", part").removesuffix(", zone") if pieces else ""
    return ", ".join([title or definition.title, *pieces])


def limits_text(limits: Threshold | None) -> str:
    """Say what a value must not leave."""
    if limits is None:
        return ""
    low, high = limits.min, limits.max
    words = [f"at least {low:g}"] if low is not None else []
    words += [f"at most {high:g}"] if high is not None else []
    return " and ".join(words)


def number(value: float, decimals: int) -> str:
    """Return a number with thin spaces between thousands and a real minus sign."""
    text = f"{value:,.{decimals}f}".replace(",", "\u202f").replace("-", MINUS)
    return text.removeprefix(MINUS) if not text.strip(f"{MINUS}0.") else text


def _decimals(values: Sequence[float]) -> int:
    """Return how many decimals show three digits of the column's larger values."""
    sizes = [abs(value) for value in values]
    if all(size == round(size) for size in sizes):
        return 0
    largest = max(sizes)
    return next((d for d, least in ((0, 100.0), (1, 10.0), (2, 1.0)) if largest >= least), 3)


def _table(
    record: Record, name: str, columns: Sequence[Column], against: Mapping[str, Any] | None
) -> Table:
    """Fill one table; its name is a clip's or `AVERAGE`."""
    earlier = _values(against["measurements"]) if against is not None else {}
    now = _values([asdict(item) for item in record.measurements])
    average = name == AVERAGE and len(record.clips) > 1
    clips = record.clips if average else [name]
    there = {item.system for item in record.measurements if item.clip in clips}
    systems = [system for system in record.systems if system in there]
    floors = {key for _, _, key in now if key.startswith(FLOOR)}
    values = {
        (system, column.key): _mean(now, clips, system, column.key)
        for system in systems
        for column in columns
    }
    idle = [s for s in systems if _idle(record, {k: _mean(now, clips, s, k) for k in floors})]
    rows = []
    for system in systems:
        cells = []
        for column in columns:
            value = values[system, column.key]
            rivals = [values[other, column.key] for other in systems if other not in idle]
            then, have = (_having(v, clips, system, column.key) for v in (earlier, now))
            before = _mean(earlier, clips, system, column.key) if then == have else None
            cells.append(_cell(record, column, value, [] if system in idle else rivals, before))
        measured = {item.clip for item in record.measurements if item.system == system}
        missing = average and len(measured) < len(clips)
        note = f"{len(measured)} of {len(clips)} clips" if missing else ""
        rows.append(Row(system, tuple(cells), note))
    return Table(name, tuple(columns), tuple(rows), tuple(idle))


def _idle(record: Record, values: Mapping[str, float | None]) -> bool:
    """Tell whether one of the values misses its threshold."""
    known = {key: value for key, value in values.items() if value is not None}
    return not all(passes(value, record.limits(key)) for key, value in known.items())


def _cell(
    record: Record,
    column: Column,
    value: float | None,
    rivals: Sequence[float | None],
    before: float | None,
) -> Cell | None:
    """Judge one value among those of all systems that compete, and against an earlier one."""
    if value is None:
        return None
    known = [_badness(other, column.better) for other in rivals if other is not None]
    badness = _badness(value, column.better)
    best = len(known) > 1 and badness == min(known) < max(known)
    change, verdict = "", ""
    if before is not None:
        change = number(value - before, column.decimals)
        if not change.strip("0."):
            change = "±0"
        else:
            change = change if change.startswith(MINUS) else f"+{change}"
            verdict = "better" if badness < _badness(before, column.better) else "worse"
    missed = not passes(value, record.limits(column.key))
    return Cell(value, number(value, column.decimals), best, missed, change, verdict)


def _badness(value: float, better: Better) -> float:
    """Return a number that is the lower the better."""
    return {"higher": -value, "lower": value, "one": abs(value - 1)}[better]


def _values(measurements: Sequence[Mapping[str, Any]]) -> dict[tuple[str, str, str], float]:
    """Return (clip, system, key) -> value."""
    return {
        (str(item["clip"]), str(item["system"]), key): float(value)
        for item in measurements
        for key, value in item["values"].items()
    }


def _mean(
    values: Mapping[tuple[str, str, str], float], clips: Sequence[str], system: str, key: str
) -> float | None:
    """Return the mean over the clips that have the value."""
    found = [values[clip, system, key] for clip in _having(values, clips, system, key)]
    return sum(found) / len(found) if found else None


def _having(
    values: Mapping[tuple[str, str, str], float], clips: Sequence[str], system: str, key: str
) -> list[str]:
    """Return the clips that have the value."""
    return [clip for clip in clips if (clip, system, key) in values]
