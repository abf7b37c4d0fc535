"""Looking at the clip again, along the targets: boxes that `[mask]` asks for, and occluders."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

import numpy as np

from fapvideo.composite.paste import shown_of
from fapvideo.config.schema import MaskConfig, RunPreset
from fapvideo.mask.grounding import OpenSetDetector
from fapvideo.mask.leftovers import MOST_LOOKS, LeftoverSearch
from fapvideo.mask.leftovers import SIZE as LEFTOVER_SIZE
from fapvideo.mask.occlusion import Occluders, OcclusionSearch, TrackOcclusion
from fapvideo.mask.open_set import (
    BoxSearch,
    TrackBoxes,
    load_detector,
    needs_detector,
    parts_to_find,
)
from fapvideo.mask.policy import TrackPlan
from fapvideo.nets.occlusion import SIZE
from fapvideo.ops.display import square_pixels
from fapvideo.ops.geometry import Matrix, transform, warp
from fapvideo.ops.pose import crop_matrix, head_pose
from fapvideo.plan.decide import fate_of
from fapvideo.plan.targets import Plan, Target
from fapvideo.progress import Ticker
from fapvideo.structs import Bytes, Floats, FrameBatch, VideoInfo

if TYPE_CHECKING:
    import torch


AT_ONCE = 2
"""Frames that small nets look at at once."""


class Search(Protocol):
    """Takes the aligned crops of one track; of several frames at once, but for a detector."""

    def look(self, index: int, crop: Bytes, landmarks: Floats) -> None:
        """Look at the crop [S, S, 3] of the track's frame `index`, and its landmarks [478, 3]."""


@dataclass(frozen=True, slots=True)
class _Work:
    """What one search is to be shown."""

    target: Target
    geometry: Mapping[int, int]
    """Frame of the track -> the one whose landmarks place the crop."""
    size: int
    search: Search

    def look(self, index: int, picture: Bytes) -> None:
        """Show the search the track's frame `index`, of a picture with square pixels."""
        if index not in self.geometry:
            return
        shape = self.target.track.landmarks[self.geometry[index]]
        crop, landmarks, matrix = cut_face(shape, picture, self.size)
        if isinstance(self.search, OcclusionSearch):
            seen = shown_of(matrix, picture.shape[1::-1], self.size)
            self.search.look(index, crop, landmarks, seen)
        else:
            self.search.look(index, crop, landmarks)


class BoxFinder:
    """Holds the detector and the nets that see occluders, loaded when they are first needed."""

    def __init__(self, preset: RunPreset, device: torch.device | str) -> None:
        """Use `[mask]` and `[track]` of `preset`; run the detector on `device`."""
        self._preset, self._device = preset, device
        self._detector: OpenSetDetector | None = None

    def load(self, parts: Sequence[str]) -> OpenSetDetector | None:
        """Return the detector; None where these parts do not need one.

        Raises:
            WeightsError: its files are missing or do not fit, or an extra is not installed.
        """
        config = self._preset.mask
        if config.detector is None or not needs_detector(config, parts):
            return None
        if self._detector is None:
            backend = "grounding_dino" if config.backend == "landmarks" else config.backend
            self._detector = load_detector(backend, config.detector, self._device)
        return self._detector

    @cached_property
    def occluders(self) -> Occluders:
        """What sees things in front of a face."""
        return Occluders(self._preset.denoise)

    def close(self) -> None:
        """Forget the detector."""
        self._detector = None

    def find(
        self,
        plan: Plan,
        batches: Iterable[FrameBatch],
        info: VideoInfo,
        searched: Callable[[Sequence[str]], Sequence[str]],
        ticker: Ticker,
    ) -> Plan:
        """Return the plan with what its targets lack: boxes, and what stands in front of them.

        A second look at the clip: only the whole first one tells how the crops move.

        Args:
            plan: of the same clip.
            batches: the whole clip again.
            info: of the clip.
            searched: from the swapped parts of a target to those whose boxes the painter needs.
            ticker: told of every frame.
        """
        boxes = self._box_searches(plan, searched)
        occluders, leftovers = self._occluder_searches(plan), self._leftover_searches(plan)
        if not boxes and not occluders and not leftovers:
            return plan
        self._look((*boxes, *occluders, *leftovers), batches, info, plan.frames, ticker)
        found = self._boxes_of(boxes, info)
        seen = self._occlusion_of(occluders, plan)
        reached = {
            work.target.track.id: work.search.finish()
            for work in leftovers
            if isinstance(work.search, LeftoverSearch)
        }
        targets = tuple(
            replace(
                one,
                boxes=found.get(one.track.id),
                occlusion=seen.get(one.track.id, one.occlusion),
                growth=reached.get(one.track.id, one.growth),
            )
            for one in plan.targets
        )
        warnings = (*plan.warnings, *_not_found(targets, self._preset.mask, searched))
        return replace(plan, targets=targets, warnings=warnings)

    def _box_searches(
        self, plan: Plan, searched: Callable[[Sequence[str]], Sequence[str]]
    ) -> list[_Work]:
        config, work = self._preset.mask, []
        for target in plan.targets:
            parts = searched(target.parts)
            detector = self.load(parts)
            if detector is not None:
                search = BoxSearch(detector, config, parts, len(target.track))
                frames = {index: index for index in _frames_to_search(target, config)}
                work.append(_Work(target, frames, target.crop_size, search))
        return work

    def _occluder_searches(self, plan: Plan) -> list[_Work]:
        if all(config.occluders == "off" for config in self._settings()):
            return []
        work = []
        for target in plan.targets:
            if target.occlusion is None and len(target.frames.painted()):
                both = self._without_spans(target, plan), target.frames
                frames = {int(i): int(fate.source[i]) for fate in both for i in fate.painted()}
                search = OcclusionSearch(self.occluders, len(target.track))
                work.append(_Work(target, frames, SIZE, search))
        return work

    def _without_spans(self, target: Target, plan: Plan) -> TrackPlan:
        """Return the frames' fate without `[[spans]]`: one that leaves a face out for a while
        changes nothing of what is seen before and after.
        """
        if not self._preset.spans:
            return target.frames
        usual = self._preset.model_copy(update={"spans": ()})
        return fate_of(target.track, plan, usual)

    def _settings(self) -> list[MaskConfig]:
        """Return `[mask]` of the preset and of all its spans."""
        preset = self._preset
        return [preset.mask, *(preset.within(span).mask for span in preset.spans)]

    def _leftover_searches(self, plan: Plan) -> list[_Work]:
        work: list[_Work] = []
        if not any(config.leftovers for config in self._settings()):
            return work
        for target in plan.targets:
            usual = self._without_spans(target, plan)
            fate = usual if len(usual.painted()) else target.frames
            used = np.unique(fate.source[fate.painted()])
            if target.growth is None and len(target.frames.painted()):
                few = used[np.linspace(0, len(used) - 1, min(len(used), MOST_LOOKS)).astype(int)]
                frames = {int(index): int(index) for index in few}
                search = LeftoverSearch(target.parts)
                work.append(_Work(target, frames, LEFTOVER_SIZE, search))
        return work

    @staticmethod
    def _look(
        works: Sequence[_Work],
        batches: Iterable[FrameBatch],
        info: VideoInfo,
        frames: int,
        ticker: Ticker,
    ) -> None:
        """Go through the whole clip once for all searches."""
        ticker.begin("detect", frames)
        # A large detector takes the device or all cores by itself; small nets leave some idle.
        alone = [work for work in works if isinstance(work.search, BoxSearch)]
        beside = [work for work in works if not isinstance(work.search, BoxSearch)]

        def look(number: int, picture: Bytes, some: Sequence[_Work]) -> None:
            square = square_pixels(picture, info)
            for work in some:
                work.look(number - work.target.track.first_frame, square)

        with ThreadPoolExecutor(AT_ONCE) as pool:
            for batch in batches:
                numbers = [frame.index for frame in batch.frames]
                looks = [
                    pool.submit(look, number, picture, beside)
                    for number, picture in zip(numbers, batch.rgb, strict=True)
                ]
                for number, picture, other in zip(numbers, batch.rgb, looks, strict=True):
                    look(number, picture, alone)
                    other.result()
                    ticker.advance(1)

    def _boxes_of(self, works: Sequence[_Work], info: VideoInfo) -> dict[int, TrackBoxes]:
        config = self._preset.mask
        frames = box_frames(config, self._preset.track.smooth_s, info)
        return {
            work.target.track.id: work.search.finish(*frames)
            for work in works
            if isinstance(work.search, BoxSearch)
        }

    def _occlusion_of(self, works: Sequence[_Work], plan: Plan) -> dict[int, TrackOcclusion]:
        smooth_s = self._preset.track.smooth_s
        found = {}
        for work in works:
            if isinstance(work.search, OcclusionSearch):
                track = work.target.track
                times_s = plan.times_s[track.first_frame : track.last_frame + 1]
                found[track.id] = work.search.finish(times_s, smooth_s)
        return found


def box_frames(config: MaskConfig, smooth_s: float, info: VideoInfo) -> tuple[int, int, int]:
    """Return what `BoxSearch.finish` is given: half a window, to hold, to fade, in frames."""
    half_window, hold, fade = (
        round(seconds * float(info.frame_rate))
        for seconds in (smooth_s, config.hold_s, config.fade_s)
    )
    return half_window, max(hold, config.detector_every), fade


def _frames_to_search(target: Target, config: MaskConfig) -> set[int]:
    """Return the track's frames whose geometry is used, as far as detection is due there."""
    used = np.unique(target.frames.source[target.frames.weight > 0])
    return {int(index) for index in used[:: config.detector_every]}


def cut_face(shape: Floats, picture: Bytes, size: int) -> tuple[Bytes, Floats, Matrix]:
    """Return the aligned crop of a face of `shape` [478, 3], the landmarks in it, and the way."""
    landmarks = np.asarray(shape, np.float32)
    matrix = crop_matrix(head_pose(landmarks), size)
    return warp(picture, matrix, (size, size)), transform(matrix, landmarks), matrix


def _not_found(
    targets: Sequence[Target],
    config: MaskConfig,
    searched: Callable[[Sequence[str]], Sequence[str]],
) -> tuple[str, ...]:
    """Say which parts have no box in a track, and which things to keep were nowhere."""
    seen = [
        (target.track.id, searched(target.parts), target.boxes)
        for target in targets
        if target.boxes is not None and (target.frames.weight > 0).any()
    ]
    warnings = [
        f"track {track}: the detector found no {part}; the mesh's outline is used"
        for track, parts, boxes in seen
        for part in parts_to_find(config, parts)
        if part in parts and part not in boxes.parts
    ]
    kept = {label for _, _, boxes in seen for label in boxes.keep_out}
    warnings += [
        f"mask.keep_out: {label!r} was not found in any frame"
        for label in config.keep_out
        if seen and label not in kept
    ]
    return tuple(warnings)
