"""What became of every face in every frame: summed up, as spans, and a line per frame."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TextIO

import numpy as np

from fapvideo.ops.pose import head_pose
from fapvideo.pipeline import SwappedBatch
from fapvideo.plan.targets import Plan, Target
from fapvideo.structs import STATES, FrameBatch, FrameState, Track, VideoInfo

NUM_MESH = 468
"""Landmarks of the face itself, without the irises."""


@dataclass(frozen=True, slots=True)
class Fate:
    """What became of one face in one frame."""

    track: Track
    target: Target | None
    """None where nobody asked for this face."""
    index: int
    """Of the frame in its track."""
    state: FrameState
    reason: str
    """A code of `structs.REASONS`; empty only where it was swapped."""

    @property
    def weight(self) -> float:
        """Opacity of the swap."""
        if self.target is None or self.state == "left":
            return 0.0
        return self.target.strength * float(self.target.frames.weight[self.index])


class Runs:
    """Stretches of consecutive frames with the same content, for each of some keys."""

    def __init__(self) -> None:
        """Begin without any."""
        self._done: list[tuple[Any, int, int, Any]] = []
        self._open: dict[Hashable, tuple[int, int, Any]] = {}

    def add(self, key: Hashable, frame: int, content: Any) -> None:
        """Take a frame; those of one key come in order."""
        first, last, same = self._open.get(key, (frame, frame, content))
        if content != same or frame > last + 1:
            self._done.append((key, first, last, same))
            first, same = frame, content
        self._open[key] = first, frame, same

    def __iter__(self) -> Iterator[tuple[Any, int, int, Any]]:
        """Yield (key, first, last, content), key by key, in order."""
        rest = ((key, *stretch) for key, stretch in self._open.items())
        return iter(sorted([*self._done, *rest], key=lambda run: run[:2]))


class Books:
    """Takes the frames of a run in order; memory grows with what changes, not with the frames."""

    def __init__(self, plan: Plan, info: VideoInfo, spool: Path | None = None) -> None:
        """Keep the books of a run; with `spool`, a file to be made, a line per frame goes there."""
        self.plan = plan
        self.frames: dict[str, int] = dict.fromkeys(("total", *STATES), 0)
        """By their most intact face's state; a frame without a face is `left`."""
        self.faces: dict[str, int] = dict.fromkeys(("total", *STATES), 0)
        self.reasons: Counter[str] = Counter()
        self.tracks: dict[int, Counter[str]] = {track.id: Counter() for track in plan.tracks}
        """Track -> its faces by state, and how many were `cut_off` by the picture's edge."""
        self.outside = 0
        """Samples that changed outside every mask."""
        self._targets = {target.track.id: target for target in plan.targets}
        self._waiting = sorted(plan.tracks, key=lambda track: track.first_frame, reverse=True)
        self._here: list[Track] = []
        self._spans, self._served, self._blurred = Runs(), Runs(), Runs()
        self._apart: list[float] = []
        self._pixel_shape = info.pixel_shape
        self._frame_s = float(1 / info.frame_rate)
        self._spool = spool
        self._lines: TextIO | None = None if spool is None else spool.open("w", encoding="utf-8")

    def __enter__(self) -> Self:
        """Return the books."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Finish the lines."""
        if self._lines is not None:
            self._lines.close()

    def add(self, batch: FrameBatch, swapped: SwappedBatch) -> None:
        """Take a batch that was painted."""
        self.outside += swapped.outside_changed
        self.compare(swapped.apart)
        for frame in batch.frames:
            self.enter(frame.index, frame.time_s, swapped.refused, swapped.cut_off)

    def compare(self, apart: Mapping[tuple[int, int], tuple[float, bool]]) -> None:
        """Take how far faces are from those that were filmed; see `SwappedBatch.apart`."""
        for (number, track), (distance, blurred) in apart.items():
            self._apart.append(distance)
            if blurred:
                self._blurred.add(track, number, "")

    def enter(
        self,
        frame: int,
        time_s: float,
        refused: Mapping[tuple[int, int], str],
        cut_off: Mapping[tuple[int, int], float],
    ) -> None:
        """Take one frame, in order, and write its line; see `SwappedBatch` for the last two."""
        fates = self.note(frame, refused, cut_off)
        if self._lines is None:
            return
        shares = (cut_off.get((frame, fate.track.id), 0.0) for fate in fates)
        faces = [
            describe_face(*face, self._pixel_shape) for face in zip(fates, shares, strict=True)
        ]
        row = {"frame": frame, "time_s": round(time_s, 6), "faces": faces}
        self._lines.write(json.dumps(row, allow_nan=False, separators=(",", ":")) + "\n")

    def note(
        self,
        frame: int,
        refused: Mapping[tuple[int, int], str] = {},
        cut_off: Mapping[tuple[int, int], float] = {},
    ) -> list[Fate]:
        """Take one frame, in order; return what became of its faces.

        Args:
            frame: its index.
            refused: of `SwappedBatch`.
            cut_off: of `SwappedBatch`.
        """
        fates = [self._fate(track, frame, refused) for track in self._tracks_in(frame)]
        self.frames["total"] += 1
        states = {fate.state for fate in fates}
        self.frames[next((state for state in STATES if state in states), "left")] += 1
        for fate in fates:
            self.faces["total"] += 1
            self.faces[fate.state] += 1
            self.tracks[fate.track.id][fate.state] += 1
            self.tracks[fate.track.id]["cut_off"] += (frame, fate.track.id) in cut_off
            if fate.state != "swapped":
                self.reasons[fate.reason] += 1
                self._spans.add(fate.track.id, frame, (fate.state, fate.reason))
            if fate.state != "left" and fate.target is not None:
                for part, chosen in fate.target.chosen.items():
                    self._served.add((fate.track.id, part), frame, int(chosen[fate.index]))
        return fates

    def spans(self) -> list[dict[str, Any]]:
        """Return stretches in which a face was not plainly swapped, track by track, in order."""
        return [
            {
                "first": first,
                "last": last,
                "start_s": self._begins(first),
                "end_s": self._begins(last + 1),
                "track": track,
                "state": state,
                "reason": reason,
            }
            for track, first, last, (state, reason) in self._spans
        ]

    def anonymity(self) -> dict[str, Any]:
        """Return what `[anonymize]` found; empty where it was not asked for."""
        if not self._apart:
            return {}
        known = [distance for distance in self._apart if np.isfinite(distance)]
        spans = [
            {"track": track, "first": first, "last": last, "start_s": self._begins(first)}
            for track, first, last, _ in self._blurred
        ]
        return {
            "faces": len(self._apart),
            "nearest": round(min(known, default=0.0), 4),
            "blurred": sum(span["last"] - span["first"] + 1 for span in spans),
            "unmeasured": len(self._apart) - len(known),
            "spans": spans,
        }

    def served(self) -> dict[int, dict[str, list[dict[str, Any]]]]:
        """Return track -> part -> the references that were shown there, and in which frames."""
        stretches: dict[tuple[int, str, int], list[list[int]]] = {}
        for (track, part), first, last, chosen in self._served:
            stretches.setdefault((track, part, chosen), []).append([first, last])
        out: dict[int, dict[str, list[dict[str, Any]]]] = {track: {} for track in self.tracks}
        for (track, part, chosen), spans in stretches.items():
            reference = self._targets[track].references[part][chosen]
            frames = sum(last - first + 1 for first, last in spans)
            row = {"path": reference.path, "sha256": reference.sha256}
            out[track].setdefault(part, []).append({**row, "frames": frames, "spans": spans})
        return out

    def _tracks_in(self, frame: int) -> list[Track]:
        """Return the tracks that a frame belongs to; asked frame by frame."""
        while self._waiting and self._waiting[-1].first_frame <= frame:
            self._here.append(self._waiting.pop())
        self._here = [track for track in self._here if track.last_frame >= frame]
        return sorted(self._here, key=lambda track: track.id)

    def _fate(self, track: Track, frame: int, refused: Mapping[tuple[int, int], str]) -> Fate:
        target, index = self._targets.get(track.id), frame - track.first_frame
        if target is None:
            reason = "protected" if track.id in self.plan.protected else "not_cast"
            return Fate(track, None, index, "left", reason)
        if (frame, track.id) in refused:
            return Fate(track, target, index, "left", refused[frame, track.id])
        return Fate(track, target, index, target.frames.state[index], target.frames.reason[index])

    def _begins(self, frame: int) -> float:
        """Return when a frame comes; after the last one, when it would."""
        times = self.plan.times_s
        if frame < len(times):
            return round(float(times[frame]), 6)
        return round(float(times[-1]) + self._frame_s, 6)


def describe_face(
    fate: Fate, cut_off: float, pixel_shape: tuple[float, float] = (1.0, 1.0)
) -> dict[str, Any]:
    """Return what a line of `tracks.jsonl` says of one face; plain JSON types, all finite.

    Args:
        fate: what became of it.
        cut_off: share of its parts outside the picture.
        pixel_shape: of `VideoInfo`: boxes are in the picture's own pixels.
    """
    row: dict[str, Any] = {
        "track": fate.track.id,
        "state": fate.state,
        "reason": fate.reason,
        "weight": round(fate.weight, 4),
        "cut_off": round(cut_off, 4),
    }
    figures = (fate.track.presence[fate.index], fate.track.jump[fate.index])
    presence, jump = (round(float(x), 4) if np.isfinite(x) else None for x in figures)
    shape = np.asarray(fate.track.landmarks[fate.index], np.float64)
    row |= dict.fromkeys(("box", "interocular_px", "yaw_deg", "pitch_deg", "roll_deg"))
    if np.isfinite(shape).all():
        pose, face = head_pose(shape), shape[:NUM_MESH, :2] / pixel_shape
        row["box"] = [round(float(x), 1) for x in (*face.min(axis=0), *face.max(axis=0))]
        row["interocular_px"] = round(pose.scale, 2)
        row["yaw_deg"], row["pitch_deg"] = round(pose.yaw_deg, 1), round(pose.pitch_deg, 1)
        row["roll_deg"] = round(float(np.degrees(pose.roll)), 1)
    return {**row, "presence": presence, "jump": jump}


def spans_of(plan: Plan, info: VideoInfo) -> list[dict[str, Any]]:
    """Return where a face would not be plainly swapped, as far as the plan says."""
    books = Books(plan, info)
    for frame in range(plan.frames):
        books.note(frame)
    return books.spans()
