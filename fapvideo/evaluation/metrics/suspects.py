"""Frames that a person should look at, with the reason in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fapvideo.evaluation.definitions import Definition
from fapvideo.evaluation.measure import Suspect
from fapvideo.progress import clock
from fapvideo.structs import Floats

MOST = 20
"""A person looks at so many frames, not more."""
OUTLIER = 6.0
"""Robust standard deviations from the clip's median that make a frame conspicuous."""
TOGETHER_S = 0.25
"""What happens within this time is one event."""
SPREAD = 1.4826
"""Median absolute deviation -> standard deviation, for a normal distribution."""


@dataclass(frozen=True, slots=True)
class Rule:
    """When a curve's value is worth a look, besides being unlike the rest of the clip."""

    name: str
    """What is wrong, in a word or two."""
    least: float
    """A value that is better than this is never reported, however unusual."""
    limit: float
    """One that is worse always is."""


RULES: Mapping[str, Rule] = {
    "temporal.warp.mask": Rule("flicker", 1.6, 4.0),
    "temporal.warp.ring": Rule("trembling seam", 1.6, 4.0),
    "temporal.warp.outside": Rule("flicker outside the part", 1.6, 4.0),
    "temporal.luma.mask": Rule("brightness flicker", 2.5, 6.0),
    "temporal.luma.ring": Rule("brightness flicker at the seam", 2.5, 6.0),
    "temporal.chroma.mask": Rule("colour flicker", 2.5, 6.0),
    "temporal.chroma.ring": Rule("colour flicker at the seam", 2.5, 6.0),
    "temporal.pixels.mask": Rule("sparkle", 2.0, 5.0),
    "temporal.landmarks": Rule("trembling shape", 2.5, 6.0),
    "seam.colour": Rule("visible seam", 1.5, 5.0),
    "seam.gradient": Rule("hard edge at the seam", 1.0, 4.0),
    "outside.changed": Rule("changed samples outside the part", 0.5, 0.5),
    "outside.psnr": Rule("loss outside the part", 45.0, 32.0),
    "expression.mouth_open.error": Rule("mouth does not follow", 0.04, 0.1),
    "expression.eye_open.error": Rule("eyes do not follow", 0.04, 0.1),
    "expression.pose": Rule("head turns otherwise", 2.0, 6.0),
}
"""By key; curves of other keys are reported where they are outliers."""


@dataclass(frozen=True, slots=True)
class _Event:
    """A stretch of frames in which one curve is conspicuous."""

    key: str
    name: str
    worst: int
    first_s: float
    worst_s: float
    last_s: float
    severity: float
    """For ranking: 0 is just worth a look, 1 is at the absolute limit."""
    number: str
    """The value, in words."""


def find_suspects(
    times_s: Sequence[float],
    curves: Mapping[str, Sequence[float | None]],
    definitions: Sequence[Definition],
) -> list[Suspect]:
    """Return at most `MOST` frames, the most conspicuous first.

    A frame is conspicuous where a curve is an outlier of its own clip (`OUTLIER` robust standard
    deviations) or beyond an absolute limit. What begins, or is worst, within `TOGETHER_S` is one
    suspect. A curve has a value per frame, None where there is none; the definitions say direction
    and unit.
    """
    events: list[_Event] = []
    for key, curve in curves.items():
        definition = next((one for one in definitions if one.fits(key)), None)
        if definition is not None:
            events += _events(key, curve, times_s, definition)
    events.sort(key=lambda event: -event.severity)
    groups: list[list[_Event]] = []
    for event in events:
        near = [group for group in groups if _together(group[0], event)]
        if near:
            near[0].append(event)
        else:
            groups.append([event])
    return [_suspect(group) for group in groups[:MOST]]


def _together(one: _Event, other: _Event) -> bool:
    """Tell whether two events are one: of a plateau, which frame is the worst is chance."""
    apart = (one.worst_s - other.worst_s, one.first_s - other.first_s)
    return min(map(abs, apart)) <= TOGETHER_S


def _events(
    key: str, curve: Sequence[float | None], times_s: Sequence[float], definition: Definition
) -> list[_Event]:
    """Return the stretches in which one curve is conspicuous."""
    values = np.array([np.nan if value is None else value for value in curve], float)
    severity = _severity(values, definition, RULES.get(key))
    bad = np.flatnonzero(~np.isnan(severity))
    if not len(bad):
        return []
    times, out = np.asarray(times_s, float), []
    for stretch in np.split(bad, np.flatnonzero(np.diff(times[bad]) > TOGETHER_S) + 1):
        worst = int(stretch[np.argmax(severity[stretch])])  # the first of equals
        out.append(
            _Event(
                key=key,
                name=RULES[key].name if key in RULES else definition.title.lower(),
                worst=worst,
                first_s=float(times[stretch[0]]),
                worst_s=float(times[worst]),
                last_s=float(times[stretch[-1]]),
                severity=float(severity[worst]),
                number=_number(values, worst, definition),
            )
        )
    return out


def _severity(values: Floats, definition: Definition, rule: Rule | None) -> Floats:
    """Return how bad each conspicuous value is (see `_Event`); nan where nothing is conspicuous."""
    if not np.isfinite(values).any():
        return np.full(len(values), np.nan)
    worse = _worse(values, definition)
    middle = np.nanmedian(worse)
    spread = SPREAD * np.nanmedian(np.abs(worse - middle))
    smallest = 0.02 * max(abs(float(middle)), 1e-3)  # a curve that hardly varies has no outliers
    unusual = (worse - middle) / (OUTLIER * max(spread, smallest))
    if rule is None:
        return np.where(unusual >= 1, np.minimum(unusual / 10, 1.0), np.nan)
    least, limit = (float(_worse(one, definition)) for one in (rule.least, rule.limit))
    conspicuous = ((unusual >= 1) & (worse >= least)) | (worse >= limit)
    return np.where(conspicuous, (worse - least) / max(limit - least, 0.5), np.nan)


def _worse(values: Floats | float, definition: Definition) -> Floats:
    """Turn values so that more is worse. Ratios count by their logarithm."""
    if definition.better == "one":
        return np.log(np.maximum(values, 1e-3))
    return np.asarray(values) * (-1.0 if definition.better == "higher" else 1.0)


def _number(values: Floats, worst: int, definition: Definition) -> str:
    value, median = float(values[worst]), float(np.nanmedian(values))
    if definition.better == "one":
        return f"{value:.1f} times the source's"
    unit = f" {definition.unit}" if definition.unit else ""
    if definition.better == "lower" and median > 0 and value >= 1.5 * median:
        return f"{value:.3g}{unit}, {value / median:.1f} times the clip's median,"
    return f"{value:.3g}{unit}"


def _suspect(group: Sequence[_Event]) -> Suspect:
    """Put the events of one moment into one sentence, the most conspicuous first."""
    first = group[0]
    reason = f"{first.name}: {first.number} at {clock(first.worst_s)}{_span(first)}"
    others = {event.name: event for event in reversed(group) if event.name != first.name}
    if others:
        reason += "; also " + ", ".join(
            f"{name}{_span(event) if event.last_s - event.first_s > TOGETHER_S else ''}"
            for name, event in reversed(others.items())
        )
    return Suspect(first.worst, first.worst_s, reason, first.key)


def _span(event: _Event) -> str:
    span = f" (from {clock(event.first_s)} to {clock(event.last_s)})"
    return span if event.last_s > event.first_s else ""
