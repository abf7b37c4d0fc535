"""The same metrics by difficulty: means per bin of head turn and of occlusion."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import numpy as np

from fapvideo.evaluation.definitions import Definition
from fapvideo.evaluation.measure import Measurement
from fapvideo.evaluation.views import FramePair

YAW, PRESENCE = "pose.yaw", "presence"
YAW_EDGES = (0.0, 10.0, 20.0, 35.0, math.inf)
"""Degrees to either side."""
OCCLUSION_EDGES = (0.0, 0.1, 0.5, math.inf)
"""Of 1 - presence."""
OCCLUSIONS = ("free", "doubtful", "covered")


class Conditions:
    """How hard each frame is: curves that others are binned by."""

    definitions: ClassVar[tuple[Definition, ...]] = (
        Definition(
            YAW, "Turn of the head", "degrees", "lower",
            "Yaw of the source's head, positive to the viewer's right; the largest of several "
            "faces. A condition, not a merit.", "own", curve=True,
        ),
        Definition(
            PRESENCE, "Face presence", "", "higher",
            "Probability in the source that there is a whole face (MediaPipe's mesh), the least of "
            "several: low where it is covered. A condition, not a merit.", "own", curve=True,
        ),
    )  # fmt: skip

    def update(self, pair: FramePair) -> Mapping[str, float]:
        """Return the two points of a frame with faces."""
        if not pair.faces:
            return {}
        yaw = max((view.yaw_deg for view in pair.faces), key=abs)
        return {YAW: yaw, PRESENCE: min(view.presence for view in pair.faces)}

    def summary(self) -> Mapping[str, float]:
        """Return nothing: a clip's mean says little."""
        return {}


@dataclass(frozen=True, slots=True)
class Bin:
    """What was measured in the frames of one bin."""

    condition: str
    """`pose.yaw` or `presence`."""
    label: str
    """`10-20°`."""
    frames: int
    means: Mapping[str, float]
    """Curve's key -> its mean over the bin's frames; curves without a point there are left out."""


def by_condition(measurements: Sequence[Measurement]) -> tuple[Bin, ...]:
    """Return the means of every curve by head turn, then by occlusion, over all frames given.

    The measurements are of one system, their curves hold those of `Conditions`. Bins without frames
    are left out.
    """
    bins = [
        _bin(measurements, YAW, f"{a:g}-{b:g}°" if math.isfinite(b) else f"{a:g}° and more", a, b)
        for a, b in pairwise(YAW_EDGES)
    ]
    for name, edges in zip(OCCLUSIONS, pairwise(OCCLUSION_EDGES), strict=True):
        bins.append(_bin(measurements, PRESENCE, name, *edges))
    return tuple(one for one in bins if one.frames)


def _bin(
    measurements: Sequence[Measurement], condition: str, label: str, low: float, high: float
) -> Bin:
    """Collect the frames whose condition lies in [low, high)."""
    points: dict[str, list[float]] = {}
    frames = 0
    for measurement in measurements:
        given = measurement.curves.get(condition, ())
        chosen = [k for k, value in enumerate(given) if low <= _hardness(condition, value) < high]
        frames += len(chosen)
        for key, curve in measurement.curves.items():
            if key not in (YAW, PRESENCE):
                values = [value for k in chosen if (value := curve[k]) is not None]
                points.setdefault(key, []).extend(values)
    means = {key: float(np.mean(values)) for key, values in points.items() if values}
    return Bin(condition, label, frames, means)


def _hardness(condition: str, value: float | None) -> float:
    """Return what the edges are about; NaN, which lies in no bin, where there is no face."""
    if value is None:
        return math.nan
    return abs(value) if condition == YAW else max(1.0 - value, 0.0)
