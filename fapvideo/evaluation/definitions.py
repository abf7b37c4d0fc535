"""What a metric is: name, unit, direction, source. Reports, docs and thresholds read these."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Better = Literal["higher", "lower", "one"]
"""`one`: relative to the source clip's own value, 1 is as good as the source."""
SHOWN, SHOWN_UNDER = "signal.", "signal_source."
"""How the keys of curves begin that judge nothing: what the result does, and the source's own curve
of the same name, which is drawn under it."""


@dataclass(frozen=True, slots=True)
class Definition:
    """One metric, as documentation and reports show it.

    `key` is dotted, the group first: `temporal.warp.mask`. A `*` stands for a part or a zone.
    """

    key: str
    title: str
    unit: str
    """Empty for plain numbers."""
    better: Better
    meaning: str
    """One or two sentences: how it is computed, what it catches."""
    source: str
    """Paper, or `own`."""
    headline: bool = False
    """Whether it is a column of the first table."""
    curve: bool = False
    """Whether there is a value per frame, too."""

    def fits(self, key: str) -> bool:
        """Tell whether `key` is this metric."""
        return fits(self.key, key)


def fits(pattern: str, key: str) -> bool:
    """Tell whether a key fits a pattern, `*` matching one dotted piece."""
    own, given = pattern.split("."), key.split(".")
    return len(own) == len(given) and all(a in ("*", b) for a, b in zip(own, given, strict=True))
