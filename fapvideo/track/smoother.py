"""Steadying landmarks over time with look-ahead: no delay, no damped blinks.

Offline video is filtered from both sides. The rigid part of the motion (where the head is) is
averaged over the whole window; the rest (expression) goes through a Savitzky-Golay filter, which
keeps the height of short peaks such as a blink (Savitzky & Golay, Analytical Chemistry 1964).
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from fapvideo.ops import mesh
from fapvideo.ops.geometry import fit_similarity
from fapvideo.structs import Floats

CHUNK = 2048
"""Frames filtered at a time, so that memory does not grow with the length of a track."""


def fill_gaps(landmarks: Floats, valid: NDArray[np.bool_]) -> None:
    """Interpolate [T, N, 3] `landmarks` linearly, in place, where `valid` [T] is False."""
    known = np.nonzero(valid)[0]
    for first, last in pairwise(known):
        if last - first > 1:
            steps = np.arange(first + 1, last)
            share = ((steps - first) / (last - first)).astype(np.float32)[:, None, None]
            landmarks[steps] = (1 - share) * landmarks[first] + share * landmarks[last]


def smooth(landmarks: Floats, half_window: int) -> Floats:
    """Return zero-phase smoothed [T, N, 3] landmarks.

    Args:
        landmarks: [T, N, 3] with gaps already filled.
        half_window: frames on each side; 0 returns a copy.
    """
    from scipy.signal import savgol_filter  # where it is used, as all of scipy: start-up time

    count = len(landmarks)
    half = min(half_window, (count - 1) // 2)
    if half < 1:
        return np.array(landmarks, np.float32)
    stable = list(mesh.STABLE)
    anchor = landmarks[count // 2].astype(np.float64)
    anchor -= anchor[stable].mean(axis=0)
    poses = np.empty((count, 12))
    residual = np.empty(landmarks.shape, np.float64)
    for i in range(count):
        scale, rotation, shift = fit_similarity(anchor[stable], landmarks[i, stable])
        poses[i] = np.concatenate([(scale * rotation).ravel(), shift])
        residual[i] = (landmarks[i] - shift) @ rotation / scale
    # Linear extension at the ends keeps a steady motion steady there.
    poses = _gaussian(poses, half)
    window = 2 * min(half, 2) + 1
    residual = savgol_filter(residual, window, polyorder=2, axis=0, mode="interp")
    linear = poses[:, :9].reshape(-1, 3, 3)
    return (np.einsum("tij,tnj->tni", linear, residual) + poses[:, None, 9:]).astype(np.float32)


def _gaussian(values: NDArray[np.float64], half: int) -> NDArray[np.float64]:
    """Filter [T, K] along time with a Gaussian; ends are extended by point reflection."""
    from scipy.ndimage import correlate1d

    kernel = np.exp(-0.5 * (np.arange(-half, half + 1) / (half / 2)) ** 2)
    head = 2 * values[0] - values[1 : half + 1][::-1]
    tail = 2 * values[-1] - values[-half - 1 : -1][::-1]
    padded = np.concatenate([head, values, tail])
    return correlate1d(padded, kernel / kernel.sum(), axis=0)[half:-half]


def smooth_into(source: Floats, target: Floats, half_window: int) -> None:
    """Smooth [T, N, 3] `source` into `target` chunk by chunk with overlap."""
    margin = 4 * half_window
    for start in range(0, len(source), CHUNK):
        stop = min(start + CHUNK, len(source))
        low, high = max(0, start - margin), min(len(source), stop + margin)
        target[start:stop] = smooth(source[low:high], half_window)[start - low : stop - low]


def jumps(landmarks: Floats) -> Floats:
    """Return [T] how far each raw mesh lies from its neighbours' mean, in inter-ocular distances.

    A face that moves steadily has 0; a mesh that snaps to something else for a frame stands out.
    """
    out = np.zeros(len(landmarks), np.float32)
    points = list(mesh.STABLE + mesh.LIPS_OUTER + mesh.RIGHT_BROW + mesh.LEFT_BROW)
    for i in range(1, len(landmarks) - 1):
        middle = (landmarks[i - 1, points, :2] + landmarks[i + 1, points, :2]) / 2
        distance = np.linalg.norm(landmarks[i, points, :2] - middle, axis=-1)
        out[i] = np.median(distance) / max(mesh.interocular(landmarks[i]), 1e-3)
    return out
