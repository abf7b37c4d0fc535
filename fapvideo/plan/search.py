"""Looking for boxes of parts, and of things to keep, where `[mask]` asks for them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from fapvideo.config.schema import MaskConfig, RunPreset
from fapvideo.mask.grounding import OpenSetDetector
from fapvideo.mask.open_set import BoxSearch, load_detector, needs_detector, parts_to_find
from fapvideo.ops.geometry import transform, warp
from fapvideo.ops.pose import crop_matrix, head_pose
from fapvideo.plan.targets import Plan, Target
from fapvideo.progress import Ticker
from fapvideo.structs import Bytes, Floats, FrameBatch

if TYPE_CHECKING:
    import torch


class BoxFinder:
    """Holds the detector, which is loaded when it is first needed."""

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

    def close(self) -> None:
        """Forget the detector."""
        self._detector = None

    def find(
        self,
        plan: Plan,
        batches: Iterable[FrameBatch],
        frame_rate: float,
        searched: Callable[[Sequence[str]], Sequence[str]],
        ticker: Ticker,
    ) -> Plan:
        """Return the plan with the boxes of its targets, if any are asked for.

        A second look at the clip: only the whole first one tells how the crops move.

        Args:
            plan: of the same clip.
            batches: the whole clip again.
            frame_rate: frames per second.
            searched: from the swapped parts of a target to those whose boxes the painter needs.
            ticker: told of every frame.
        """
        config = self._preset.mask
        searches = []
        for target in plan.targets:
            parts = searched(target.parts)
            detector = self.load(parts)
            if detector is not None:
                search = BoxSearch(detector, config, parts, len(target.track))
                searches.append((target, _frames_to_search(target, config), search))
        if not searches:
            return plan
        ticker.begin("detect", plan.frames)
        for batch in batches:
            for frame, picture in zip(batch.frames, batch.rgb, strict=True):
                for target, wanted, search in searches:
                    index = frame.index - target.track.first_frame
                    if index in wanted:
                        search.look(index, *_cut(target, index, picture))
                ticker.advance(1)
        half_window, hold, fade = (
            round(seconds * frame_rate)
            for seconds in (self._preset.track.smooth_s, config.hold_s, config.fade_s)
        )
        hold = max(hold, config.detector_every)
        boxes = {
            target.track.id: search.finish(half_window, hold, fade)
            for target, _, search in searches
        }
        targets = tuple(replace(one, boxes=boxes.get(one.track.id)) for one in plan.targets)
        warnings = (*plan.warnings, *_not_found(targets, config, searched))
        return replace(plan, targets=targets, warnings=warnings)


def _frames_to_search(target: Target, config: MaskConfig) -> set[int]:
    """Return the track's frames whose geometry is used, as far as detection is due there."""
    used = np.unique(target.frames.source[target.frames.weight > 0])
    return {int(index) for index in used[:: config.detector_every]}


def _cut(target: Target, index: int, picture: Bytes) -> tuple[Bytes, Floats]:
    """Return the aligned crop of a track's frame, and the landmarks in it."""
    landmarks = np.asarray(target.track.landmarks[index], np.float32)
    matrix = crop_matrix(head_pose(landmarks), target.crop_size)
    return warp(picture, matrix, (target.crop_size,) * 2), transform(matrix, landmarks)


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
