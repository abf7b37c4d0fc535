"""Tracks of a stream: a window that moves along, and what stays known of the frames before it.

What a whole clip tells at once (the neutral shape, the noise of the measurements, the face by which
motion is measured) is learned here bit by bit, and carried; only the frames of the window are
smoothed. So a window's border does not show: a frame has the same neighbours as in a whole clip, as
far as the window reaches.
"""

from __future__ import annotations

import numpy as np

from fapvideo.ops.pose import head_pose
from fapvideo.structs import Floats, Track
from fapvideo.track import smoother
from fapvideo.track.tracker import NEUTRAL_SAMPLES, Measured

SETTLE_S = 0.5
"""How long the neutral shape takes to follow what is learned of it, seconds."""


class MovingTrack:
    """One face of a stream; frames are counted from the stream's start."""

    def __init__(self, number: int, first_frame: int) -> None:
        """Begin at `first_frame`."""
        self.id, self.first_frame = number, first_frame
        self.base = first_frame
        """The first frame that is kept."""
        self.ended = False
        self._rows: list[Floats] = []
        self._presence: list[float] = []
        self._faults: list[str] = []
        self._settled = smoother.Settled()
        self._neutral = _Neutral()

    def append(self, measured: Measured) -> None:
        """Take the next frame."""
        self._rows.append(measured.landmarks)
        self._presence.append(measured.presence)
        self._faults.append(measured.fault)

    @property
    def last_frame(self) -> int:
        """The newest frame that is kept, inclusive."""
        return self.base + len(self._rows) - 1

    @property
    def seen(self) -> int:
        """How many of the kept frames there are up to the last one that was measured."""
        measured = np.flatnonzero(self._presence)
        return int(measured[-1]) + 1 if len(measured) else 0

    def forget(self, before: int) -> None:
        """Let go of the frames before that one."""
        count = min(max(0, before - self.base), len(self._rows))
        if count:
            del self._rows[:count], self._presence[:count], self._faults[:count]
            self._settled.forget(count)
            self.base += count

    def track(self, times_s: smoother.Times, half_s: float) -> Track | None:
        """Return the kept frames as a track, smoothed; None where nothing was measured in them.

        While it may still go on, frames at its end that were not measured belong to it.

        Args:
            times_s: presentation times of the kept frames.
            half_s: of the smoothing, see `TrackConfig.smooth_s`.
        """
        seen = self.seen
        if not seen:
            return None
        raw = np.stack(self._rows[:seen])
        presence = np.array(self._presence, np.float32)
        smoother.fill_gaps(raw, presence[:seen] > 0, times_s[:seen])
        landmarks = smoother.smooth(raw, times_s[:seen], half_s, self._settled)
        jump = smoother.jumps(raw)
        self._neutral.learn(self.base, landmarks, presence)
        missing = 0 if self.ended else len(self._rows) - seen
        if missing:
            landmarks = np.concatenate([landmarks, np.repeat(landmarks[-1:], missing, axis=0)])
            jump = np.concatenate([jump, np.zeros(missing, np.float32)])
        count = seen + missing
        faults, neutral = tuple(self._faults[:count]), self._neutral.goal()
        return Track(self.id, self.base, landmarks, presence[:count], jump, neutral, faults)

    def neutral(self, step_s: float) -> Floats:
        """Return the neutral shape of the next frame, `step_s` after the one before.

        It follows what is learned without haste, so that the face does not jump.
        """
        return self._neutral.ease(step_s)


class _Neutral:
    """The median shape in the head frame of all frames so far, from a sample of them."""

    def __init__(self) -> None:
        self._samples: list[Floats] = []
        self._every, self._next = 1, 0
        self._goal: Floats | None = None
        self._now: Floats | None = None

    def learn(self, base: int, landmarks: Floats, presence: Floats) -> None:
        """Take the smoothed frames from `base` on of which some may have been seen before."""
        for row in range(max(0, self._next - base), len(landmarks)):
            frame = base + row
            self._next = frame + 1
            if presence[row] <= 0 or frame % self._every:
                continue
            shape = landmarks[row]
            if np.isfinite(shape).all():
                self._samples.append(head_pose(shape).to_head(shape))
                self._goal = None
            if len(self._samples) == NEUTRAL_SAMPLES:
                self._samples, self._every = self._samples[::2], 2 * self._every

    def goal(self) -> Floats:
        """Return [478, 3] the median; not finite where no frame could be used."""
        if self._goal is None:
            shapes = self._samples or [np.full((478, 3), np.nan)]
            self._goal = np.median(shapes, axis=0).astype(np.float32)
        return self._goal

    def ease(self, step_s: float) -> Floats:
        """Return [478, 3] a shape on its way to the median."""
        goal = self.goal()
        if self._now is None or not np.isfinite(self._now).all():
            self._now = goal
        self._now = (self._now + (goal - self._now) * -np.expm1(-step_s / SETTLE_S)).astype(
            np.float32
        )
        return self._now
