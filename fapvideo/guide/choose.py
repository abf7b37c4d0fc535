"""Choosing among several references of one part the one whose expression fits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from fapvideo.parts import PARTS


def choose_references(
    part: str,
    frames: Sequence[Mapping[str, float]],
    references: Sequence[Mapping[str, float]],
    hysteresis: float,
    current: int | None = None,
) -> NDArray[np.int64]:
    """Return [T] the index of the reference to use in every frame.

    Another reference is taken only where its expression is nearer by more than `hysteresis` (in
    inter-ocular distances), so that the choice does not flap. `current` is the one in use before
    the first frame, if there was one.
    """
    if len(references) == 1:
        return np.zeros(len(frames), np.int64)
    keys = PARTS[part].expression
    wanted = np.array([[frame[key] for key in keys] for frame in frames])
    given = np.array([[reference[key] for key in keys] for reference in references])
    distance = np.linalg.norm(wanted[:, None] - given[None], axis=-1)
    chosen = np.empty(len(frames), np.int64)
    current = int(distance[0].argmin()) if current is None else current
    for i, row in enumerate(distance):
        best = int(row.argmin())
        if row[best] + hysteresis < row[current]:
            current = best
        chosen[i] = current
    return chosen
