"""Counts of what became of the faces of a stream; memory does not grow with it."""

from __future__ import annotations

from collections import Counter
from typing import Any

from fapvideo.pipeline import SwappedBatch
from fapvideo.plan.targets import Plan
from fapvideo.structs import STATES, FrameBatch


class Tally:
    """What `run.books` sums up of a clip, without the stretches."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._frames = dict.fromkeys(("total", *STATES), 0)
        self._faces = dict.fromkeys(("total", *STATES), 0)
        self._reasons: Counter[str] = Counter()
        self._outside = self._blurred = 0
        self._protected: set[str] = set()

    def add(self, batch: FrameBatch, swapped: SwappedBatch, plan: Plan) -> None:
        """Take a batch that was painted by a plan of a stream."""
        self._outside += swapped.outside_changed
        self._blurred += sum(blurred for _, blurred in swapped.apart.values())
        self._protected |= set(plan.protected.values())
        targets = {target.track.id: target for target in plan.targets}
        for frame in batch.frames:
            states = []
            for track in plan.tracks:
                row = frame.index - track.first_frame
                if not 0 <= row < len(track):
                    continue
                target = targets.get(track.id)
                if target is None:
                    reason = "protected" if track.id in plan.protected else "not_cast"
                    states.append(("left", reason))
                elif (frame.index, track.id) in swapped.refused:
                    states.append(("left", swapped.refused[frame.index, track.id]))
                else:
                    states.append((target.frames.state[row], target.frames.reason[row]))
            self._note(states)

    def _note(self, faces: list[tuple[str, str]]) -> None:
        """Take the faces of one frame, each its state and reason."""
        found = {state for state, _ in faces}
        self._frames["total"] += 1
        self._frames[next((state for state in STATES if state in found), "left")] += 1
        for state, reason in faces:
            self._faces["total"] += 1
            self._faces[state] += 1
            if state != "swapped":
                self._reasons[reason] += 1

    def describe(self) -> dict[str, Any]:
        """Return the counts as plain JSON types."""
        return {
            "frames": dict(self._frames),
            "faces": dict(self._faces),
            "reasons": dict(self._reasons),
            "outside_changed_samples": self._outside,
            "blurred": self._blurred,
            "protected": sorted(self._protected),
        }
