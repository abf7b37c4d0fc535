"""Which frames a report shows: suspects, the worst of every curve, and an even film strip."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import zip_longest

import numpy as np

from fapvideo.evaluation.definitions import SHOWN, SHOWN_UNDER, Better
from fapvideo.evaluation.measure import Measurement, Suspect
from fapvideo.evaluation.report.record import Record

FILM = 10
"""Pictures in a film strip."""
WORST = 3
"""Worst frames marked per curve and system."""
APART = 4
"""Worst frames of one curve are at least so many frames apart."""

Curve = Sequence[float | None]


def worst(curve: Curve, better: Better, count: int = WORST, apart: int = APART) -> list[int]:
    """Return the positions of a curve's worst points, the worst first.

    Points no worse than the curve's median are never among them. Of a curve relative to the source
    (`one`) the highest are the worst: frames that change more than the source does.
    """
    points = [(value, i) for i, value in enumerate(curve) if value is not None]
    if not points:
        return []
    sign = -1.0 if better == "higher" else 1.0
    median = float(np.median([value for value, _ in points]))
    found: list[int] = []
    for value, position in sorted(points, key=lambda point: -sign * point[0]):
        if len(found) == count or sign * (value - median) <= 0:
            break
        if all(abs(position - other) >= apart for other in found):
            found.append(position)
    return found


def film_positions(frames: int, count: int = FILM) -> list[int]:
    """Return positions spread evenly over a clip, its ends left out."""
    if frames <= count:
        return list(range(frames))
    return [int((i + 0.5) * frames / count) for i in range(count)]


def position_of(suspect: Suspect, times_s: Sequence[float]) -> int:
    """Return a suspect frame's position in the curves."""
    return int(np.argmin(np.abs(np.asarray(times_s) - suspect.time_s)))


def choose(record: Record, clip: str, count: int) -> list[int]:
    """Return at most `count` positions of a clip worth a picture, the most important first.

    Suspects come first, then the worst frames of the systems in their order, curve by curve, and
    the film strip's frames last.
    """
    return list(dict.fromkeys(_candidates(record, clip)))[:count]


def curve_keys(record: Record, clip: str) -> list[str]:
    """Return the clip's curves that have a definition or a point, headline metrics first.

    A source's own curves are no curves of their own.
    """
    keys = record.ordered(
        [
            key
            for item in record.of_clip(clip)
            for key in item.curves
            if not key.startswith(SHOWN_UNDER)
        ]
    )
    headline = {key for key in keys if (found := record.definition(key)) and found.headline}
    return sorted(keys, key=lambda key: key not in headline)


def _candidates(record: Record, clip: str) -> Iterator[int]:
    """Yield positions, the most important first; the same one may come again."""
    items = record.of_clip(clip)
    for row in zip_longest(*(item.suspects for item in items)):
        for item, suspect in zip(items, row, strict=True):
            if suspect is not None and item.times_s:
                yield position_of(suspect, item.times_s)
    keys = [key for key in curve_keys(record, clip) if not key.startswith(SHOWN)]
    for rank in range(WORST):
        for item in items:
            yield from (_ranked(record, item, key, rank) for key in keys)
    yield from film_positions(max((item.frames for item in items), default=0))


def _ranked(record: Record, item: Measurement, key: str, rank: int) -> int:
    """Return the position of one of the worst points of a curve; the first frame for want of it."""
    definition = record.definition(key)
    found = worst(item.curves.get(key, ()), definition.better if definition else "lower")
    return found[rank] if rank < len(found) else found[-1] if found else 0
