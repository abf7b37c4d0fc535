"""Measuring one result against its source: frames in, numbers and curves out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol

from fapvideo.errors import Cancelled
from fapvideo.evaluation.definitions import Definition
from fapvideo.evaluation.views import FramePair, Material
from fapvideo.progress import OnProgress, Progress, ShouldStop


class Metric(Protocol):
    """One group of metrics over one clip, made anew for each measurement.

    A metric may have two more methods: `curves() -> Mapping[key, Mapping[frame, value]]` for points
    that are known only after later frames, and `notes() -> Sequence[str]` on what could not be
    measured. Both are asked once, after the last frame.
    """

    definitions: ClassVar[tuple[Definition, ...]]

    def update(self, pair: FramePair) -> Mapping[str, float]:
        """Take the next frame; return its points of the curves (keys of `definitions`)."""

    def summary(self) -> Mapping[str, float]:
        """Return the values of the whole clip; what could not be measured is left out."""


@dataclass(frozen=True, slots=True)
class Suspect:
    """A frame that a person should look at."""

    index: int
    time_s: float
    reason: str
    """In words, with the number that is conspicuous."""
    metric: str
    """Key of the curve."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """A stretch of time in which a face was not plainly swapped, by the run's own report."""

    start_s: float
    end_s: float
    words: str
    """When, who, and why."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """One system's result on one clip, measured; plain JSON types through `asdict`."""

    system: str
    clip: str
    source: str
    """Path of the source video."""
    result: str
    """Path of the result."""
    parts: tuple[str, ...]
    frames: int
    face_frames: int
    """Frames with a face that is to be swapped."""
    values: Mapping[str, float]
    times_s: Sequence[float]
    curves: Mapping[str, Sequence[float | None]]
    """Key -> a value per frame, None where there is none."""
    suspects: Sequence[Suspect] = ()
    notes: Sequence[str] = ()
    """What could not be measured, and why."""
    extra: Mapping[str, Any] = field(default_factory=dict)
    """Speed and the like, from the run's own report."""
    stretches: Sequence[Stretch] = ()
    """What the page shades in its curves."""


def measure(
    clip: Material,
    result: Path,
    metrics: Sequence[Metric],
    *,
    system: str = "result",
    name: str = "",
    progress: OnProgress = lambda now: None,
    cancel: ShouldStop = lambda: False,
) -> Measurement:
    """Compare `result` with its source frame by frame.

    Args:
        clip: the source, followed.
        result: the video to judge (or the folder of pictures).
        metrics: fresh ones.
        system: who made the result.
        name: of the clip; by default its file's stem.
        progress: told of every frame.
        cancel: asked after every frame.

    Raises:
        VideoReadError: one of the two cannot be read.
        Cancelled: `cancel` said so.
    """
    times: list[float] = []
    rows: list[dict[str, float]] = []
    face_frames, late = 0, 0
    half_frame_s = 0.5 / clip.frame_rate
    for pair in clip.pairs(result):
        row: dict[str, float] = {}
        for metric in metrics:
            row |= metric.update(pair)
        times.append(pair.time_s)
        rows.append(row)
        face_frames += bool(pair.faces)
        late += pair.time_error_s > half_frame_s
        progress(Progress("measure", len(rows), clip.frames, note=result.name))
        if cancel():
            raise Cancelled("stopped while measuring; nothing was written")
    values, notes = _conclusions(metrics, rows)
    if late:
        notes.append(f"{late} of {len(rows)} frames have no frame of the same time in the result")
    return Measurement(
        system=system,
        clip=name or clip.path.stem,
        source=str(clip.path),
        result=str(result),
        parts=clip.parts,
        frames=len(rows),
        face_frames=face_frames,
        values=values,
        times_s=times,
        curves=_columns(rows),
        notes=notes,
    )


def _conclusions(
    metrics: Sequence[Metric], rows: list[dict[str, float]]
) -> tuple[dict[str, float], list[str]]:
    """Return the values and notes of all metrics; their late points go into `rows`."""
    values: dict[str, float] = {}
    notes: list[str] = []
    for metric in metrics:
        values |= {k: float(v) for k, v in metric.summary().items() if math.isfinite(v)}
        notes += getattr(metric, "notes", list)()
        for key, points in getattr(metric, "curves", dict)().items():
            for frame, value in points.items():
                rows[frame][key] = value
    return values, notes


def _columns(rows: Sequence[Mapping[str, float]]) -> dict[str, list[float | None]]:
    """Turn rows into one list per key."""
    return {
        key: [float(row[key]) if math.isfinite(row.get(key, math.nan)) else None for row in rows]
        for key in dict.fromkeys(key for row in rows for key in row)
    }
