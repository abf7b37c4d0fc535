"""Values of the result relative to the same of the source, gathered over a clip."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from fapvideo.structs import Floats


@dataclass
class Relative:
    """A fault of the result and the same of the source, point by point.

    Both get `floor` added, so that a source that stands still does not make the ratio explode:
    a fault below it cannot be told from rounding and the measuring itself.
    """

    floor: float
    power: int
    """1 averages values over time, 2 squares."""
    points: list[tuple[int, float, float]] = field(default_factory=list)
    """(frame, result, source)."""

    def value(self) -> float:
        """Return the ratio of the whole clip."""
        return self._ratio(self._typical(1), self._typical(2), self.floor)

    def ratios(self) -> dict[int, float]:
        """Return frame -> ratio, of the worst face."""
        return self._by_frame(self.floor)

    def curve(self) -> dict[int, float]:
        """Return the same for looking at.

        What is typical of the source is added to both: a moment in which the source happens to
        stand still is not conspicuous.
        """
        return self._by_frame(max(self.floor, self._typical(2)))

    def _by_frame(self, least: float) -> dict[int, float]:
        out: dict[int, float] = {}
        for frame, result, source in self.points:
            out[frame] = max(self._ratio(result, source, least), out.get(frame, 0.0))
        return out

    def _typical(self, column: int) -> float:
        values = np.array([point[column] for point in self.points])
        return float((values**self.power).mean() ** (1 / self.power))

    def _ratio(self, result: float, source: float, least: float) -> float:
        added = least**self.power
        ratio = (result**self.power + added) / (source**self.power + added)
        return float(ratio ** (1 / self.power))


@dataclass
class Spread:
    """Standard deviation of vectors of length 1, added one by one."""

    count: int = 0
    total: Floats | float = 0.0

    def add(self, vector: Floats) -> None:
        """Take one more."""
        self.count += 1
        self.total = self.total + np.asarray(vector, np.float64)

    def variance(self) -> float:
        """Return the mean squared distance from the mean."""
        return max(1.0 - float(np.square(self.total / self.count).sum()), 0.0)
