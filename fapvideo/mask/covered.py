"""When a part that something covers is left, and when it comes back."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fapvideo.structs import Floats

COVERED = (0.65, 0.45)
"""Covered share of a part from which it is left, and under which it is painted again."""
FADE_S = 0.2
"""How long such a part takes to go and to come back, seconds."""


def shown_over_time(
    covered: Floats,
    times_s: NDArray[np.float64],
    fade_s: float = FADE_S,
    *,
    was: bool = False,
) -> NDArray[np.float32]:
    """Return [T] how strongly a part is shown whose covered share [T] is known (NaN: not looked).

    It goes ahead of where it is covered and comes back after, each over `fade_s`; `was` says
    whether it was covered up to here.
    """
    hidden = hidden_over_time(covered, was)
    if not hidden.any():
        return np.ones(len(covered), np.float32)
    at = times_s[hidden]
    after = np.clip(np.searchsorted(at, times_s), 0, len(at) - 1)
    before = np.clip(after - 1, 0, None)
    away = np.minimum(np.abs(at[after] - times_s), np.abs(times_s - at[before]))
    step = float(np.median(np.diff(times_s))) if len(times_s) > 1 else 1.0
    return np.clip(away / (max(step, fade_s) + step), 0.0, 1.0).astype(np.float32)


def hidden_over_time(covered: Floats, state: bool) -> NDArray[np.bool_]:
    """Return [T] whether a part is covered too much, with hysteresis; see `shown_over_time`."""
    hidden = np.zeros(len(covered), bool)
    for i, share in enumerate(covered):
        if np.isfinite(share):
            state = bool(share > COVERED[1 if state else 0])
        hidden[i] = state
    return hidden
