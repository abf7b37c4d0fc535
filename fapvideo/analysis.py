"""The first pass: follow every face through the whole clip, and plan what happens to each frame."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fapvideo.config.schema import RunPreset
from fapvideo.guide.choose import choose_references
from fapvideo.library import LoadedReference, by_part
from fapvideo.mask.policy import TrackPlan, plan_track
from fapvideo.ops.pose import CROP_INTEROCULAR, expression, head_pose
from fapvideo.structs import FrameBatch, Placement, Track
from fapvideo.track.tracker import FaceTracker, select

SIZE_STEP = 64
"""Full-resolution crops are multiples of this, so that few sizes occur."""


@dataclass(frozen=True, slots=True)
class TrackAnalysis:
    """A selected track, what is done with each of its frames, and its crop size."""

    track: Track
    plan: TrackPlan
    crop_size: int
    chosen: Mapping[str, Sequence[int]]
    """Part -> index of the reference to use, per frame of the track."""


@dataclass(frozen=True, slots=True)
class Analysis:
    """What the first pass found."""

    frames: int
    cuts: tuple[int, ...]
    all_tracks: tuple[Track, ...]
    selected: tuple[TrackAnalysis, ...]

    def placements(self, frame: int) -> list[tuple[TrackAnalysis, Placement]]:
        """Return the faces to be swapped in one frame."""
        out = []
        for item in self.selected:
            i = frame - item.track.first_frame
            if 0 <= i < len(item.track) and item.plan.weight[i] > 0:
                landmarks = np.asarray(item.track.landmarks[item.plan.source[i]], np.float32)
                weight, state = float(item.plan.weight[i]), item.plan.state[i]
                out.append((item, Placement(item.track.id, landmarks, weight, state)))
        return out


def analyse(
    batches: Iterable[FrameBatch],
    frame_rate: float,
    preset: RunPreset,
    references: Sequence[LoadedReference],
    resolution: int,
    scratch: Path,
    advance: Callable[[int], None] = lambda frames: None,
) -> Analysis:
    """Follow the faces through all frames and plan the swap.

    Args:
        batches: the whole clip.
        frame_rate: frames per second.
        preset: `[track]`, `[mask]`, `[guide]` and `[composite]` are used.
        references: for the choice by expression; may be empty.
        resolution: of the model; crops are at least this large.
        scratch: an existing folder for the landmarks; needed as long as the result is used.
        advance: called with the number of frames done.
    """
    tracker = FaceTracker(preset.track, scratch)
    frames = 0
    for batch in batches:
        for picture in batch.rgb:
            tracker.update(picture)
        frames += len(batch)
        advance(len(batch))
    tracks = tracker.tracks(frame_rate)
    shot_starts, shot_ends = {0, *tracker.cuts}, {frames - 1, *(cut - 1 for cut in tracker.cuts)}
    selected = []
    for track in select(tracks, preset.track.faces):
        plan = plan_track(
            track,
            preset.mask,
            frame_rate,
            fade_in=track.first_frame not in shot_starts,
            fade_out=track.last_frame not in shot_ends,
        )
        selected.append(
            TrackAnalysis(
                track,
                plan,
                _crop_size(track, resolution, preset.composite.max_size),
                _choose(track, references, preset.guide.hysteresis),
            )
        )
    return Analysis(frames, tuple(tracker.cuts), tracks, tuple(selected))


def _crop_size(track: Track, smallest: int, largest: int) -> int:
    """Return one crop size for the whole track: about one crop pixel per frame pixel."""
    step = max(1, len(track) // 50)
    scale = float(np.percentile([head_pose(shape).scale for shape in track.landmarks[::step]], 90))
    size = int(np.ceil(scale / CROP_INTEROCULAR / SIZE_STEP)) * SIZE_STEP
    return max(smallest, min(size, largest))


def _choose(
    track: Track, references: Sequence[LoadedReference], hysteresis: float
) -> dict[str, Sequence[int]]:
    """Choose for every part and frame among its references."""
    chosen: dict[str, Sequence[int]] = {}
    frames: list[dict[str, float]] | None = None
    for part, group in by_part(references).items():
        if len(group) == 1:
            chosen[part] = [0] * len(track)
            continue
        if frames is None:
            frames = [expression(shape) for shape in track.landmarks]
        given = [reference.face.expression for reference in group]
        chosen[part] = [int(i) for i in choose_references(part, frames, given, hysteresis)]
    return chosen
