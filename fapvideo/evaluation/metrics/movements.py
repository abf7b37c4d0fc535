"""Movements of a face over time and how two series of them compare: the arithmetic alone."""

from __future__ import annotations

import numpy as np

from fapvideo.ops.pose import head_pose
from fapvideo.structs import Floats
from fapvideo.track import coefficients

EXTRA = ("mouthSmile", "gazeX", "rightOpen", "leftOpen", "rightX", "rightY", "leftX", "leftY")
NAMES = (*coefficients.NAMES, *EXTRA)
"""The columns of a reading: the net's coefficients; the mean smile; where both irises lie
sideways; each lid's opening and each iris' place between its eye's corners, in eye widths."""
GROUPS = {
    "eyes": ("eyeBlink", "eyeSquint", "eyeWide"),
    "gaze": ("eyeLook",),
    "brows": ("brow",),
    "mouth": ("mouth", "jaw", "cheekPuff"),
}
"""Group -> how the names of its coefficients begin."""
MOVING = 0.05
"""Standard deviation in the source from which on a coefficient counts."""
NEARLY_SHUT = 0.6
"""Share of its 90th percentile under which an eye's opening hides its iris."""
CLOSED, OPEN = 0.5, 0.35
"""An eye closes where its blink coefficient passes the first, and has opened under the second."""
TOGETHER = 2
"""Frames by which the same closing may differ."""
FARTHEST = 4
"""Largest lag that is looked for, frames."""
EYES = ((33, 133, 159, 145, 468), (263, 362, 386, 374, 473))
"""Outer and inner corner, middle of the upper and lower lid, iris: of the right and left eye."""
COUNT = len(coefficients.NAMES)


def reading(landmarks: Floats, found: Floats) -> Floats:
    """Return [K] the movements of one face, of its landmarks [478, 3] and coefficients [52]."""
    p = head_pose(landmarks).to_head(landmarks).astype(np.float64)[:, :2]
    opens, places = [], []
    for outer, inner, upper, lower, iris in EYES:
        left, right = (outer, inner) if p[outer, 0] < p[inner, 0] else (inner, outer)
        axis = p[right] - p[left]
        width = max(float(np.linalg.norm(axis)), 1e-6)
        axis /= width
        offset = (p[iris] - (p[left] + p[right]) / 2) / width
        opens.append(float(np.linalg.norm(p[upper] - p[lower])) / width)
        places += [float(offset @ axis), float(offset @ (-axis[1], axis[0]))]
    smile = found[[coefficients.NAMES.index(f"mouthSmile{side}") for side in ("Left", "Right")]]
    sideways = (places[0] + places[2]) / 2
    return np.array([*found, smile.mean(), sideways, *opens, *places])


def centred(rows: Floats) -> Floats:
    """Return series [T, ..., K] about their means over time."""
    return rows - rows.mean(axis=0)


def fit(result: Floats, source: Floats) -> dict[str, tuple[float, float]]:
    """Return (correlation, slope) of every coefficient that moves, of their groups, of `all`.

    Args:
        result: [T, K] about its mean.
        source: [T, K] likewise.
    """
    out = {}
    for i, name in enumerate(coefficients.NAMES):
        if name == "neutral" or source[:, i].std() < MOVING:
            continue
        a, b = result[:, i], source[:, i]
        power = float(b @ b)
        size = float(np.sqrt(float(a @ a) * power))
        out[name] = (float(a @ b) / size if size > 1e-9 else 0.0, float(a @ b) / power)
    groups = {"all": ("",), **GROUPS}
    means = {}
    for group, starts in groups.items():
        rows = [pair for name, pair in out.items() if name.startswith(starts)]
        if rows:
            r, slope = np.mean(rows, axis=0)
            means[group] = (float(r), float(slope))
    return {**means, **out}


def gaze_errors(result: Floats, source: Floats) -> Floats:
    """Return [N] distances of irises in eye widths, of each eye where the source's is open.

    Args:
        result: [T, K] movements.
        source: [T, K] movements.
    """
    out = []
    for side in ("right", "left"):
        opening = source[:, NAMES.index(f"{side}Open")]
        seen = opening > NEARLY_SHUT * np.percentile(opening, 90)
        columns = [NAMES.index(f"{side}{axis}") for axis in "XY"]
        apart = (result - source)[seen][:, columns]
        if len(apart):
            out.append(np.linalg.norm(apart - np.median(apart, axis=0), axis=1))
    return np.concatenate(out) if out else np.zeros(0)


def blink_events(values: Floats) -> list[tuple[int, int]]:
    """Return (first, last) frame of every closing in a series [T] of a blink coefficient."""
    out: list[tuple[int, int]] = []
    begin: int | None = None
    for i, value in enumerate(values):
        if begin is None and value >= CLOSED:
            begin = i
        elif begin is not None and value < OPEN:
            out.append((begin, i - 1))
            begin = None
    if begin is not None:
        out.append((begin, len(values) - 1))
    return out


def matched(events: list[tuple[int, int]], others: list[tuple[int, int]]) -> int:
    """Return how many of `events` overlap one of `others`, give or take `TOGETHER` frames."""
    return sum(
        any(first - TOGETHER <= b and a <= last + TOGETHER for a, b in others)
        for first, last in events
    )


def lag(result: Floats, source: Floats) -> float | None:
    """Return how many frames the result [T, K] comes after the source; None where nothing moves.

    Where the mean correlation of what moves is highest, between frames by a parabola.
    """
    moving = [i for i in range(1, COUNT) if source[:, i].std() >= MOVING]
    if not moving or len(source) < 4 * FARTHEST:
        return None
    steps = list(range(-FARTHEST, FARTHEST + 1))
    likeness = []
    for step in steps:
        a = result[max(step, 0) : len(result) + min(step, 0), moving]
        b = source[max(-step, 0) : len(source) + min(-step, 0), moving]
        a, b = centred(a), centred(b)
        size = np.sqrt((a**2).sum(axis=0) * (b**2).sum(axis=0))
        likeness.append(float(np.mean((a * b).sum(axis=0) / np.maximum(size, 1e-9))))
    best = int(np.argmax(likeness))
    if not 0 < best < len(steps) - 1:
        return float(steps[best])
    before, here, after = likeness[best - 1 : best + 2]
    bend = before - 2 * here + after
    return float(steps[best] + (0.5 * (before - after) / bend if bend < -1e-9 else 0.0))
