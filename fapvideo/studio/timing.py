"""How long a render still takes: from what its steps took so far, and what they usually take."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Steps = Mapping[str, Mapping[str, float]]
"""Stage -> `began` and `seen`, seconds of a clock; `first`, `done` and `total`, frames."""

USUAL: Mapping[str, tuple[float, float]] = {
    "": (6.0, 0.0),
    "references": (1.0, 0.0),
    "analyse": (0.0, 0.05),
    "detect": (0.0, 0.05),
    "swap": (0.0, 0.2),
    "finish": (1.0, 0.0),
    "follow": (5.0, 0.1),
    "measure": (0.0, 0.15),
    "report": (5.0, 0.0),
}
"""Stage -> seconds, and seconds a frame: of the example on two cores. Only what they are to each
other counts, as soon as one is done. In the order of a render."""
AHEAD = ("analyse", "detect")
"""Stages that are left out where the studio's plan is gone on from."""
SURE = 0.1
"""Share of a step from which on its own pace counts."""


def noted(steps: Steps, now: Mapping[str, Any], time_s: float) -> dict[str, dict[str, float]]:
    """Return what is known of the steps after a look at how far the render is."""
    stage, done = str(now["stage"] or ""), float(now["done"] or 0)
    row = dict(steps.get(stage, {"began": time_s, "first": done}))
    row |= {"seen": time_s, "done": done, "total": float(now["total"] or 0)}
    return {**{name: dict(one) for name, one in steps.items()}, stage: row}


def seconds_of(steps: Steps) -> dict[str, float]:
    """Return stage -> seconds of a render that is done, for the next one."""
    begins = [row["began"] for row in steps.values()]
    ends = [*begins[1:], *(row["seen"] for row in list(steps.values())[-1:])]
    return {stage: end - begin for stage, begin, end in zip(steps, begins, ends, strict=True)}


def seconds_left(
    steps: Steps, time_s: float, earlier: Mapping[str, float], *, planned: bool
) -> float | None:
    """Return about how long a render still takes, seconds; None where nothing is known of it.

    Args:
        steps: of the render, in order.
        time_s: now.
        earlier: what the stages of an earlier render of the clip took; may be empty.
        planned: whether faces are not followed again.
    """
    frames = max((row["total"] for row in steps.values()), default=0.0)
    if not frames and not earlier:
        return None
    usual = {stage: fixed + each * frames for stage, (fixed, each) in USUAL.items()} | {
        stage: seconds for stage, seconds in earlier.items() if stage in USUAL
    }
    *past, at = steps
    order = list(USUAL)
    ahead = [
        stage
        for stage in order[order.index(at) + 1 if at in order else 0 :]
        if not (planned and stage in AHEAD and stage not in earlier)
    ]
    row, to_do = steps[at], usual.get(at, 0.0)
    spent = max(time_s - row["began"], 1e-3)
    if row["total"]:
        count = max(1.0, row["total"] - row["first"])
        share = (row["done"] - row["first"]) / count
        to_do *= count / row["total"]
    else:
        share = min(0.9, spent / max(to_do, 1e-3))
    took = sum(seconds_of({stage: steps[stage] for stage in (*past, at)}).values())
    meant = sum(usual.get(stage, 0.0) for stage in past) + to_do * share
    pace = took / meant if meant > 0 and took > 0 else 1.0
    here = spent * (1 - share) / share if share >= SURE else max(0.0, pace * to_do * (1 - share))
    return here + pace * sum(usual[stage] for stage in ahead)
