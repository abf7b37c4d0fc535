"""Tables and chosen frames of a report, worked out by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fapvideo.config.evaluation import Threshold
from fapvideo.evaluation.definitions import Definition
from fapvideo.evaluation.measure import Measurement, Suspect
from fapvideo.evaluation.report.picks import choose, film_positions, worst
from fapvideo.evaluation.report.record import Record, passes
from fapvideo.evaluation.report.table import Cell, headline_tables, number, title_of

UP = Definition("a.up", "Up", "%", "higher", "", "own", headline=True, curve=True)
DOWN = Definition("a.down.*", "Down", "dE", "lower", "", "own", headline=True, curve=True)
ONE = Definition("a.one", "One", "", "one", "", "own", headline=True)
HIDDEN = Definition("a.hidden", "Hidden", "", "lower", "", "own")
DEFINITIONS = (UP, DOWN, ONE, HIDDEN)


def measured(
    system: str,
    clip: str = "c",
    curves: dict[str, list[float | None]] | None = None,
    suspects: tuple[Suspect, ...] = (),
    frames: int = 10,
    **values: float,
) -> Measurement:
    """Return a measurement; `up=1` is the value of `a.up`, `down_nose=2` of `a.down.nose`."""
    return Measurement(
        system=system, clip=clip, source="s", result="r", parts=(), frames=frames,
        face_frames=frames, values={f"a.{k.replace('_', '.')}": v for k, v in values.items()},
        times_s=[i / 25 for i in range(frames)], curves=curves or {}, suspects=suspects,
    )  # fmt: skip


def record(*items: Measurement, **fields: object) -> Record:
    return Record(title="t", measurements=items, definitions=DEFINITIONS, **fields)  # type: ignore[arg-type]


def cells(made: Record, key: str, table: int = 0, **options: object) -> list[Cell | None]:
    """Return one column of a headline table."""
    chosen = headline_tables(made, **options)[table]  # type: ignore[arg-type]
    place = [column.key for column in chosen.columns].index(key)
    return [row.cells[place] for row in chosen.rows]


@pytest.mark.parametrize(
    ("values", "best"),
    [
        ({"up": (0.2, 0.9, 0.5)}, 1),
        ({"down_nose": (0.2, 0.9, 0.5)}, 0),
        ({"one": (0.2, 1.3, 0.9)}, 2),
        ({"one": (0.8, 1.1, 1.3)}, 1),
        ({"up": (0.5, 0.5, 0.5)}, None),
    ],
)
def test_the_best_is_what_the_direction_says(
    values: dict[str, tuple[float, ...]], best: int | None
) -> None:
    ((name, column),) = values.items()
    made = record(*(measured(f"s{i}", **{name: value}) for i, value in enumerate(column)))
    marked = [cell.best for cell in cells(made, f"a.{name.replace('_', '.')}") if cell]
    assert [i for i, flag in enumerate(marked) if flag] == ([] if best is None else [best])


def test_one_system_alone_is_not_the_best() -> None:
    (cell,) = cells(record(measured("only", up=1.0)), "a.up")
    assert cell is not None
    assert not cell.best


def test_doing_nothing_is_never_the_best() -> None:
    idle = measured("idle", down_nose=0.0)
    idle = replace(idle, values={**idle.values, "edit.strength": 0.01})
    made = record(idle, measured("a", down_nose=1.0), measured("b", down_nose=2.0))
    assert [cell.best for cell in cells(made, "a.down.nose") if cell] == [True, False, False]
    floor = {"edit.strength": Threshold(min=0.2)}
    strict = record(*made.measurements, thresholds=floor)
    assert [cell.best for cell in cells(strict, "a.down.nose") if cell] == [False, True, False]
    assert headline_tables(strict)[0].idle == ("idle",)


def test_the_piece_a_star_stands_for_is_in_the_title() -> None:
    part = Definition("edit.*", "Edit strength, part", "", "higher", "", "own")
    assert title_of(part, "edit.left_eye") == "Edit strength, left eye"
    assert title_of(DOWN, "a.down.nose") == "Down, nose"
    assert title_of(UP, "a.up") == "Up"
    assert title_of(None, "who.knows") == "who.knows"


def test_columns_are_the_headline_metrics_in_the_order_of_their_definitions() -> None:
    made = record(measured("s", one=1, hidden=2, down_nose=3, down_eye=4, up=5, unknown=6))
    (table,) = headline_tables(made)
    assert [column.title for column in table.columns] == ["Up", "Down, nose", "Down, eye", "One"]


def test_several_clips_are_averaged_over_those_that_have_the_value() -> None:
    made = record(
        measured("a", "one", up=10.0), measured("a", "two", up=20.0), measured("b", "one", up=40.0)
    )
    average, one, two = headline_tables(made)
    assert [average.name, one.name, two.name] == ["Average", "one", "two"]
    assert [cell.value for cell in cells(made, "a.up") if cell] == [15.0, 40.0]
    assert [row.note for row in average.rows] == ["", "1 of 2 clips"]
    assert [row.system for row in two.rows] == ["a"]


def test_misses_are_what_the_thresholds_say() -> None:
    near = Threshold(min=0.8, max=1.2)
    limits = {"a.down.*": Threshold(max=2.0), "a.down.eye": Threshold(max=9.0), "a.one": near}
    made = record(measured("s", down_nose=3, down_eye=3, one=0.7, up=1), thresholds=limits)
    missed = {key: cells(made, key)[0] for key in ("a.down.nose", "a.down.eye", "a.one", "a.up")}
    assert {key for key, cell in missed.items() if cell and cell.missed} == {"a.down.nose", "a.one"}
    assert passes(1.2, near)
    assert not passes(1.21, near)


@pytest.mark.parametrize(
    ("name", "now", "before", "change", "verdict"),
    [
        ("up", 12.0, 10.0, "+2.0", "better"),
        ("down_nose", 12.0, 10.0, "+2.0", "worse"),
        ("one", 1.1, 1.3, "−0.20", "better"),
        ("one", 0.8, 1.1, "−0.300", "worse"),
        ("up", 10.5001, 10.5, "±0", ""),
    ],
)
def test_changes_say_better_or_worse(
    name: str, now: float, before: float, change: str, verdict: str
) -> None:
    key = f"a.{name.replace('_', '.')}"
    other = measured("else", **{name: now + 0.01})  # decimals are the column's
    earlier = {"measurements": [{"system": "s", "clip": "c", "values": {key: before}}]}
    cell, untold = cells(record(measured("s", **{name: now}), other), key, against=earlier)
    assert cell is not None
    assert untold is not None
    assert (cell.change, cell.verdict) == (change, verdict)
    assert untold.change == "", "the earlier report did not have this system"


def test_an_average_is_not_compared_with_one_of_other_clips() -> None:
    made = record(measured("s", "one", up=1.5), measured("s", "two", up=3.5))
    row = {"system": "s", "values": {"a.up": 1.25}}
    earlier = {"measurements": [{**row, "clip": "one"}]}
    (average,) = cells(made, "a.up", against=earlier)
    (alone,) = cells(made, "a.up", 1, against=earlier)
    assert average is not None
    assert alone is not None
    assert (average.change, alone.change) == ("", "+0.25")


def test_numbers_have_a_real_minus_thin_spaces_and_no_negative_zero() -> None:
    assert number(-1234.5, 1) == "−1\u202f234.5"
    assert number(-0.0004, 2) == "0.00"


# ---------------------------------------------------------------------------- frames chosen


def test_the_worst_points_are_apart_and_worse_than_the_middle() -> None:
    curve = [1.0, 1, 1, 8, 9, 7, 1, 1, 1, 3, 1, None]
    assert worst(curve, "lower") == [4, 9]
    assert worst(curve, "one") == [4, 9]
    assert worst([-(v or 0) for v in curve], "higher")[:2] == [4, 9]
    assert worst(curve, "lower", apart=1) == [4, 3, 5]
    assert worst([2.0, 2, 2], "lower") == []
    assert worst([None, None], "lower") == []
    assert worst([], "lower") == []


def test_suspects_come_first_then_the_worst_of_the_first_system() -> None:
    ramp: list[float | None] = [float(i == 7) for i in range(10)]
    dip: list[float | None] = [float(i == 2) for i in range(10)]
    suspect = Suspect(4, 4 / 25, "odd", "a.up")
    made = record(
        measured("a", curves={"a.down.nose": ramp}),
        measured("b", curves={"a.down.nose": dip}, suspects=(suspect,)),
    )
    assert choose(made, "c", 3) == [4, 7, 2]
    assert set(choose(made, "c", 99)) == set(range(10)), "the film strip's frames fill up"


def test_the_film_strip_is_even() -> None:
    assert film_positions(100) == [5, 15, 25, 35, 45, 55, 65, 75, 85, 95]
    assert film_positions(3) == [0, 1, 2]
    assert film_positions(0) == []
