"""The first pass: follow every face through the whole clip, and plan what happens to each frame."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from fapvideo.config.schema import MaskConfig, RunPreset
from fapvideo.guide.choose import choose_references
from fapvideo.mask.grounding import OpenSetDetector
from fapvideo.mask.open_set import (
    BoxSearch,
    TrackBoxes,
    load_detector,
    needs_detector,
    parts_to_find,
)
from fapvideo.mask.policy import TrackPlan, plan_track
from fapvideo.ops.geometry import transform, warp
from fapvideo.ops.pose import CROP_INTEROCULAR, crop_matrix, expression, head_pose
from fapvideo.paint.published import PUBLISHED_PARTS
from fapvideo.plan.references import LoadedReference, by_part
from fapvideo.progress import Ticker
from fapvideo.structs import Bytes, Floats, FrameBatch, Placement, Track
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
    boxes: TrackBoxes | None = None
    """What an open-set detector found; None where the masks are the mesh's alone."""


@dataclass(frozen=True, slots=True)
class Analysis:
    """What the first pass found."""

    frames: int
    cuts: tuple[int, ...]
    all_tracks: tuple[Track, ...]
    selected: tuple[TrackAnalysis, ...]
    warnings: tuple[str, ...] = ()

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


class BoxFinder:
    """Looks for boxes of parts, and of things to keep, where `[mask]` asks for them.

    Holds the detector, which is loaded when it is first needed.
    """

    def __init__(self, preset: RunPreset, device: torch.device | str) -> None:
        """Use `[mask]` and `[track]` of `preset`; run the detector on `device`."""
        self._preset, self._device = preset, device
        self._detector: OpenSetDetector | None = None

    def load(self, references: Sequence[LoadedReference]) -> OpenSetDetector | None:
        """Return the detector; None where the parts of these references do not need one.

        Raises:
            WeightsError: its files are missing or do not fit, or an extra is not installed.
        """
        config = self._preset.mask
        if config.detector is None or not needs_detector(config, self._parts(references)):
            return None
        if self._detector is None:
            backend = "grounding_dino" if config.backend == "landmarks" else config.backend
            self._detector = load_detector(backend, config.detector, self._device)
        return self._detector

    def _parts(self, references: Sequence[LoadedReference]) -> tuple[str, ...]:
        """Return the parts whose boxes the run needs."""
        if references and self._preset.denoise.mode == "published":
            return PUBLISHED_PARTS
        return tuple(by_part(references))

    def close(self) -> None:
        """Forget the detector."""
        self._detector = None

    def find(
        self,
        analysis: Analysis,
        batches: Iterable[FrameBatch],
        frame_rate: float,
        references: Sequence[LoadedReference],
        ticker: Ticker,
    ) -> Analysis:
        """Return the analysis with the boxes of its selected tracks, if any are asked for.

        A second look at the clip: only the whole first one tells how the crops move.

        Args:
            analysis: of the same clip.
            batches: the whole clip again.
            frame_rate: frames per second.
            references: they say which parts are swapped.
            ticker: told of every frame.
        """
        detector = self.load(references)
        if detector is None or not analysis.selected:
            return analysis
        config, parts = self._preset.mask, self._parts(references)
        ticker.begin("detect", analysis.frames)
        searches = [
            (
                item,
                _frames_to_search(item, config),
                BoxSearch(detector, config, parts, len(item.track)),
            )
            for item in analysis.selected
        ]
        for batch in batches:
            for frame, picture in zip(batch.frames, batch.rgb, strict=True):
                for item, wanted, search in searches:
                    index = frame.index - item.track.first_frame
                    if index in wanted:
                        search.look(index, *_cut(item, index, picture))
                ticker.advance(1)
        half_window, hold, fade = (
            round(seconds * frame_rate)
            for seconds in (self._preset.track.smooth_s, config.hold_s, config.fade_s)
        )
        hold = max(hold, config.detector_every)
        selected = tuple(
            replace(item, boxes=search.finish(half_window, hold, fade))
            for item, _, search in searches
        )
        return replace(analysis, selected=selected, warnings=_not_found(selected, config, parts))


def _frames_to_search(item: TrackAnalysis, config: MaskConfig) -> set[int]:
    """Return the track's frames whose geometry is used, as far as detection is due there."""
    used = np.unique(item.plan.source[item.plan.weight > 0])
    return {int(index) for index in used[:: config.detector_every]}


def _cut(item: TrackAnalysis, index: int, picture: Bytes) -> tuple[Bytes, Floats]:
    """Return the aligned crop of a track's frame, and the landmarks in it."""
    landmarks = np.asarray(item.track.landmarks[index], np.float32)
    matrix = crop_matrix(head_pose(landmarks), item.crop_size)
    return warp(picture, matrix, (item.crop_size,) * 2), transform(matrix, landmarks)


def _not_found(
    selected: Sequence[TrackAnalysis], config: MaskConfig, parts: Sequence[str]
) -> tuple[str, ...]:
    """Say which parts have no box in a track, and which things to keep were nowhere."""
    wanted = [part for part in parts_to_find(config, parts) if part in parts]
    seen = [item for item in selected if item.boxes is not None and (item.plan.weight > 0).any()]
    warnings = [
        f"track {item.track.id}: the detector found no {part}; the mesh's outline is used"
        for item in seen
        for part in wanted
        if item.boxes is not None and part not in item.boxes.parts
    ]
    kept = {label for item in seen if item.boxes is not None for label in item.boxes.keep_out}
    warnings += [
        f"mask.keep_out: {label!r} was not found in any frame"
        for label in config.keep_out
        if seen and label not in kept
    ]
    return tuple(warnings)


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
