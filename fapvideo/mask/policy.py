"""What happens to frames whose mesh cannot be trusted: faded, held or left, never fatal."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from fapvideo.config.schema import MaskConfig
from fapvideo.ops.pose import head_pose
from fapvideo.ops.scratch import in_passing
from fapvideo.structs import REASONS, Floats, FrameState, Track

HIDDEN = ("not_measured", "disagrees")
SURE = 0.98
"""Presence from which a face beside frames that could not be measured is a whole one again."""


@dataclass(frozen=True, slots=True)
class TrackPlan:
    """How one track is treated frame by frame; index 0 is the track's first frame."""

    weight: Floats
    """[T] opacity of the swap."""
    source: NDArray[np.int64]
    """[T] which of the track's frames gives the geometry (another one only where held)."""
    state: tuple[FrameState, ...]
    reason: tuple[str, ...]
    """Why a frame is not plainly swapped, a code of `structs.REASONS`; empty where it is."""

    def painted(self) -> NDArray[np.int64]:
        """Return the indices of the frames that are painted at all."""
        return np.flatnonzero(self.weight > 0)

    def __post_init__(self) -> None:
        """Check that every reason is a code."""
        unknown = set(self.reason) - REASONS.keys() - {""}
        if unknown:
            raise ValueError(f"TrackPlan.reason: {sorted(unknown)} are no codes of REASONS")


def plan_track(
    track: Track,
    config: MaskConfig,
    times_s: NDArray[np.float64],
    *,
    fade_in: bool,
    fade_out: bool,
) -> TrackPlan:
    """Judge every frame of a track and decide.

    A frame is poor if its mesh was not measured, is not finite, is turned too far, or disagrees
    with its neighbours. `keep` shows the source there; `fade` also lowers the opacity smoothly on
    both sides, ahead of the poor frames too; `hold` bridges short gaps with the last good geometry
    and fades around longer ones.

    Args:
        track: the smoothed track.
        config: limits and policy.
        times_s: [T] presentation time of each of its frames.
        fade_in: whether the face appears in mid-shot, so that its start is faded.
        fade_out: the same for its end.
    """
    count = len(track)
    step = float(np.median(np.diff(times_s))) if count > 1 else 1.0
    reason = _reasons(track, config)
    good = np.array([not code for code in reason])
    source = np.arange(count)
    held = np.zeros(count, bool)
    if config.policy == "hold":
        held = _short_gaps(good, times_s, config.hold_s)
        last_good = np.maximum.accumulate(np.where(good, source, -1))
        source = np.where(held & (last_good >= 0), last_good, source)
        good = good | held
    weight = good.astype(np.float32)
    if config.policy != "keep":
        ends = (times_s[0] - step, fade_in), (times_s[-1] + step, fade_out)
        poor_s = np.array([*times_s[~good], *(time for time, fades in ends if fades)])
        away = _distance(times_s, np.sort(poor_s))
        weight *= np.clip(away / (max(step, config.fade_s) + step), 0.0, 1.0)
    state = tuple(_state(float(w), bool(h)) for w, h in zip(weight, held, strict=True))
    reason = tuple(
        code or ("" if s == "swapped" else "beside") for code, s in zip(reason, state, strict=True)
    )
    return TrackPlan(weight.astype(np.float32), source, state, reason)


def _state(weight: float, held: bool) -> FrameState:
    if weight <= 0.0:
        return "left"
    if held:
        return "held"
    return "swapped" if weight >= 1.0 else "faded"


def _reasons(track: Track, config: MaskConfig) -> tuple[str, ...]:
    """Return for every frame why it is poor, a code, or nothing."""
    if not np.isfinite(track.neutral).all():  # every frame's guide is made with it
        return ("numeric",) * len(track)
    faults = track.faults or ("",) * len(track)
    rows = zip(in_passing(track.landmarks), track.presence, track.jump, faults, strict=True)
    found = [_reason(*row, config) for row in rows]
    # What hides a face comes and goes over some frames: those at the edge of a stretch that could
    # not be measured, and of which the mesh is not sure, belong to it.
    for order in (range(1, len(found)), range(len(found) - 2, -1, -1)):
        for i in order:
            before = found[i - order.step]
            if not found[i] and before in HIDDEN and track.presence[i] < SURE:
                found[i] = before
    return tuple(found)


def _reason(landmarks: Floats, presence: float, jump: float, fault: str, config: MaskConfig) -> str:
    if not (np.isfinite(landmarks).all() and np.isfinite((presence, jump)).all()):
        return "numeric"
    if presence <= 0.0:
        return fault or "not_measured"
    if abs(head_pose(landmarks).yaw_deg) > config.max_yaw_deg:
        return "profile"
    return "jumps" if jump > config.max_jump else ""


def _distance(times_s: NDArray[np.float64], poor_s: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return [T] seconds to the nearest of the sorted times `poor_s`; infinite without any."""
    padded = np.concatenate([[-np.inf], poor_s, [np.inf]])
    after = np.searchsorted(padded, times_s)
    return np.minimum(padded[after] - times_s, times_s - padded[after - 1])


def _short_gaps(
    good: NDArray[np.bool_], times_s: NDArray[np.float64], longest_s: float
) -> NDArray[np.bool_]:
    """Return which frames lie in gaps of at most that length with good ones on both sides."""
    out = np.zeros(len(good), bool)
    known = np.nonzero(good)[0]
    for first, last in pairwise(known):
        half_frame_s = (times_s[first + 1] - times_s[first]) / 2
        gap_s = times_s[last] - times_s[first + 1]
        if last - first > 1 and gap_s <= longest_s + half_frame_s:
            out[first + 1 : last] = True
    return out
