"""Steadying landmarks over time with look-ahead: no delay, no lag, no damped blinks.

Offline video is filtered from both sides, and time is the frames' own: where they come irregularly
a window holds fewer or more of them. The rigid part of the motion (where the head is) follows a
straight line fitted about every frame; where the head moves faster than lines can follow, the
measurement itself counts. The rest (expression) goes through a local quadratic fit, which keeps
the height of short peaks such as a blink (Savitzky & Golay, Analytical Chemistry 1964; for
irregular samples: Cleveland, JASA 1979).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from fapvideo.ops import mesh
from fapvideo.ops.geometry import fit_similarity
from fapvideo.ops.memory import release
from fapvideo.structs import Floats

CHUNK = 2048
"""Frames filtered at a time, so that memory does not grow with the length of a track."""
BLOCK = 128
"""Frames of those whose expression is filtered at a time."""
SHAPE_S = 0.085
"""Largest half width of the window for expression, seconds: two frames at 24 to 30 a second."""
NOISE = 3.0
"""How many times the noise of a track a line may part from its measurements."""
FLOOR, CEILING = 0.006, 0.012
"""Bounds of that, inter-ocular distances: a real head's mesh trembles by 0.001 to 0.005..."""
SUDDEN = 0.015
"""Distance from the fit, inter-ocular distances, from which on expression is sudden, not noise."""
TREMBLE_PX = 0.5
"""... and of a small one by a quarter of a pixel: the upper bound is at least this."""

Times = NDArray[np.float64]
Doubles = NDArray[np.float64]


@dataclass(slots=True)
class Settled:
    """What smoothing learns from a track as a whole, kept for one that is smoothed bit by bit."""

    anchor: Doubles | None = None
    """[N, 3] the face by which the head's motion is measured."""
    noise: deque[float] = field(default_factory=lambda: deque(maxlen=CHUNK))
    """How far lines parted from measurements, frame by frame, before the newest bit."""
    parted: Doubles = field(default_factory=lambda: np.zeros(0))
    """The same of the newest bit."""

    def forget(self, frames: int) -> None:
        """Know that the first `frames` of the newest bit are not in the next one."""
        self.noise.extend(self.parted[:frames].tolist())
        self.parted = self.parted[frames:]


def fill_gaps(landmarks: Floats, valid: NDArray[np.bool_], times_s: Times) -> None:
    """Interpolate [T, N, 3] `landmarks` in time, in place, where `valid` [T] is False."""
    known = np.nonzero(valid)[0]
    for first, last in pairwise(known):
        if last - first > 1:
            steps = np.arange(first + 1, last)
            whole = max(times_s[last] - times_s[first], 1e-9)
            share = ((times_s[steps] - times_s[first]) / whole).astype(np.float32)[:, None, None]
            landmarks[steps] = (1 - share) * landmarks[first] + share * landmarks[last]


def smooth(
    landmarks: Floats, times_s: Times, half_s: float, settled: Settled | None = None
) -> Floats:
    """Return zero-phase smoothed [T, N, 3] landmarks.

    Args:
        landmarks: [T, N, 3] with gaps already filled.
        times_s: [T] increasing presentation times.
        half_s: half width of the window, seconds; 0 returns a copy.
        settled: what is known from earlier bits of the same track; learns from this one.
    """
    count = len(landmarks)
    if half_s <= 0 or count < 3:
        return np.array(landmarks, np.float32)
    stable = list(mesh.STABLE)
    settled = settled or Settled()
    if settled.anchor is None:
        settled.anchor = _middle(landmarks)
    anchor = settled.anchor
    motion = [fit_similarity(anchor[stable], shape[stable]) for shape in landmarks]
    poses = np.array([np.concatenate([(s * r).ravel(), shift]) for s, r, shift in motion])
    line = _local_fit(poses, times_s, half_s, half_s / 2, degree=1)
    unit = max(mesh.interocular(anchor), 1e-6)
    settled.parted = parted = _distance(poses - line, anchor[stable]) / unit
    typical = np.median(np.concatenate([settled.noise, parted]))
    limit = float(np.clip(NOISE * typical, FLOOR, max(CEILING, TREMBLE_PX / unit)))
    fast = np.clip(parted / limit - 1.0, 0.0, 1.0)
    fast = _local_fit(_widened(fast)[:, None], times_s, half_s / 2, half_s / 4, degree=0)
    poses = line + np.clip(fast, 0.0, 1.0) * (poses - line)
    linear, shifts = poses[:, :9].reshape(-1, 3, 3), poses[:, 9:]
    out = np.empty(landmarks.shape, np.float32)
    for rows, shapes in _shapes(landmarks, motion, times_s, min(half_s, SHAPE_S), unit):
        out[rows] = np.einsum("tij,tnj->tni", linear[rows], shapes) + shifts[rows, None]
    return out


def _steadied(shapes: Doubles, times_s: Times, half_s: float, unit: float) -> Doubles:
    """Return [T, N, 3] shapes without tremble.

    A blink of two frames is no tremble: where a point parts from the fit by more than noise ever
    does, and right before and after, the measurement itself counts.
    """
    fitted = _local_fit(shapes.reshape(len(shapes), -1), times_s, half_s, np.inf, degree=2)
    apart = shapes - fitted.reshape(shapes.shape)
    away = np.linalg.norm(apart[..., :2], axis=-1) / unit
    fast = np.clip(away / max(SUDDEN, TREMBLE_PX / unit) - 1.0, 0.0, 1.0)
    padded = np.pad(fast, ((1, 1), (0, 0)), mode="edge")
    fast = np.maximum(np.maximum(padded[:-2], padded[2:]), fast)
    return shapes - (1.0 - fast[..., None]) * apart


_Motion = Sequence[tuple[float, Doubles, Doubles]]
"""Per frame: the scale, rotation [3, 3] and shift [3] that carry the anchor there."""


def _middle(landmarks: Floats) -> Doubles:
    """Return the face [N, 3] in mid-track about the middle of its stable points."""
    count = len(landmarks)
    anchor = landmarks[[(count - 1) // 2, count // 2]].mean(axis=0, dtype=np.float64)
    return anchor - anchor[list(mesh.STABLE)].mean(axis=0)


def _shapes(
    landmarks: Floats, motion: _Motion, times_s: Times, half_s: float, unit: float
) -> Iterator[tuple[slice, Doubles]]:
    """Yield what remains of the faces in the anchor's place, smoothed: rows and [t, N, 3].

    A few frames at a time: all of a track in double precision would need a lot of memory.
    """
    for start in range(0, len(landmarks), BLOCK):
        stop = min(start + BLOCK, len(landmarks))
        # A frame more on either side: whether a neighbour parts suddenly counts, too.
        first, last = max(0, start - 1), min(len(landmarks), stop + 1)
        low = int(np.searchsorted(times_s, times_s[first] - 2 * half_s))
        high = int(np.searchsorted(times_s, times_s[last - 1] + 2 * half_s, side="right"))
        flat = np.empty((high - low, landmarks[0].size))
        for row, (shape, (scale, rotation, shift)) in enumerate(
            zip(landmarks[low:high], motion[low:high], strict=True)
        ):
            flat[row] = ((shape - shift) @ rotation / scale).ravel()
        shapes = flat.reshape(-1, *landmarks.shape[1:])
        steady = _steadied(shapes, times_s[low:high], half_s, unit)
        yield slice(start, stop), steady[start - low : stop - low]


def _distance(change: Doubles, points: Doubles) -> Doubles:
    """Return [T] how far (root mean square) changes of the pose [T, 12] move `points`, pixels."""
    linear, shift = change[:, :9].reshape(-1, 3, 3), change[:, 9:]
    moved = (np.einsum("tij,nj->tni", linear, points) + shift[:, None])[..., :2]
    return np.sqrt((moved**2).sum(axis=-1).mean(axis=-1))


def _widened(values: Doubles) -> Doubles:
    """Return [T] the largest of every value and its two neighbours."""
    padded = np.pad(values, 1, mode="edge")
    return np.maximum(np.maximum(padded[:-2], padded[2:]), values)


def _local_fit(
    values: Doubles, times_s: Times, half_s: float, sigma_s: float, *, degree: int
) -> Doubles:
    """Fit a polynomial in time about every frame; return its values [T, K] there.

    Frames up to `half_s` away count, with Gaussian weights of `sigma_s`. At the ends, and where
    frames are missing, the window is one-sided, and lower degrees are used where there are no more
    frames than coefficients.
    """
    out = np.empty_like(values)
    first = np.searchsorted(times_s, times_s - half_s * (1 + 1e-6) - 1e-9)
    last = np.searchsorted(times_s, times_s + half_s * (1 + 1e-6) + 1e-9)
    for i, (low, high) in enumerate(zip(first, last, strict=True)):
        x = (times_s[low:high] - times_s[i]) / half_s
        used = min(degree, (high - low) - 1)
        basis = np.vander(x, used + 1, increasing=True)
        weight = np.exp(-0.25 * (x * half_s / sigma_s) ** 2)
        # The constant's row of the weighted least-squares solution: one share for every frame.
        out[i] = (np.linalg.pinv(basis * weight[:, None])[0] * weight) @ values[low:high]
    return out


def smooth_into(source: Floats, target: Floats, times_s: Times, half_s: float) -> None:
    """Smooth [T, N, 3] `source` into `target` chunk by chunk with overlap."""
    for start in range(0, len(source), CHUNK):
        stop = min(start + CHUNK, len(source))
        low = int(np.searchsorted(times_s, times_s[start] - 4 * half_s))
        high = int(np.searchsorted(times_s, times_s[stop - 1] + 4 * half_s, side="right"))
        part = smooth(source[low:high], times_s[low:high], half_s)
        target[start:stop] = part[start - low : stop - low]
        del part  # or two of them would be there at once
        release(source)
        release(target)


def jumps(landmarks: Floats) -> Floats:
    """Return [T] how far each raw face lies from its neighbours' mean, in inter-ocular distances.

    The head's own motion does not count, however fast: only how the points lie to each other. A
    face that moves has 0; a mesh that snaps to something else for a frame stands out.
    """
    out = np.zeros(len(landmarks), np.float32)
    points = list(mesh.STABLE + mesh.LIPS_OUTER + mesh.RIGHT_BROW + mesh.LEFT_BROW)
    for i in range(1, len(landmarks) - 1):
        here = landmarks[i, points]
        before, after = (_onto(landmarks[j, points], here) for j in (i - 1, i + 1))
        distance = np.linalg.norm(here - (before + after) / 2, axis=-1)
        out[i] = np.median(distance) / max(mesh.interocular(landmarks[i]), 1e-3)
        if i % CHUNK == 0:
            release(landmarks)
    return out


def _onto(points: Floats, target: Floats) -> Doubles:
    """Return [N, 3] points moved, turned and scaled so that they lie on `target` as they can."""
    scale, rotation, shift = fit_similarity(points, target)
    return scale * points.astype(np.float64) @ rotation.T + shift
