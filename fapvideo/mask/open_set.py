"""Masks from detected boxes along one track: what is looked for, steadied boxes, masks.

The face mesh stays the base: it places the crop, shapes the guide and gives the inner mouth. An
open-set detector (`grounding`) only says where the parts' boxes lie, and where there is something
that has to stay. Boxes live in the crop that follows the smoothed face, so that a box that stands
still moves with the face.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from fapvideo.config.schema import MaskConfig
from fapvideo.mask import parts as outlines
from fapvideo.mask.boxes import (
    CHAIN,
    Detection,
    PartBox,
    box_masks,
    box_part_masks,
    chain_boxes,
    detected_parts,
    label_boxes,
    smooth_boxes,
)
from fapvideo.mask.grounding import GroundingDinoDetector, OpenSetDetector
from fapvideo.mask.grounding_py import GroundingDinoPyDetector
from fapvideo.ops import mesh
from fapvideo.ops.image import signed_distance, soft_edge
from fapvideo.parts import PARTS
from fapvideo.structs import Bytes, Floats, PartMasks

Backend = Literal["grounding_dino", "grounding_dino_py"]

BOXED = tuple(name for name, part in PARTS.items() if not part.whole)
"""Parts that can have boxes."""


@dataclass(frozen=True, slots=True)
class FaceBoxes:
    """What was found in one crop."""

    parts: Mapping[str, PartBox]
    """Part -> its box; other parts have none."""
    keep_out: tuple[tuple[PartBox, float], ...]
    """Boxes of things that stay, and how strongly, in [0, 1]."""

    def covering(self, old: Floats, new: Mapping[str, Floats], size: int) -> FaceBoxes:
        """Grow every box by as much as its new part reaches beyond the old one, edge by edge.

        Args:
            old: [478, 2 or 3] the target's landmarks in the crop, pixels.
            new: part -> landmarks [478, 2 or 3] of the guide that replaces it.
            size: side of the crop, pixels.
        """
        grown = dict(self.parts)
        for part in self.parts.keys() & new.keys():
            before, after = (outlines.part_boxes(s, [part], size)[0] for s in (old, new[part]))
            further = [float(edge) for edge in after - before]
            y0, x0, y1, x1 = grown[part]
            low = y0 + min(further[0], 0.0), x0 + min(further[1], 0.0)
            grown[part] = (*low, y1 + max(further[2], 0.0), x1 + max(further[3], 0.0))
        return replace(self, parts=grown)


@dataclass(frozen=True, slots=True)
class TrackBoxes:
    """The steadied boxes of one track; rows are frames of the track."""

    parts: Mapping[str, Floats]
    """Swapped part -> [T, 4] y0, x0, y1, x1 as shares of the crop; one never found is absent."""
    keep_out: Mapping[str, Floats]
    """Prompt -> [T, 4]; one never found is absent."""
    strength: Mapping[str, Floats]
    """Prompt -> [T] in [0, 1]: how surely the thing is there."""

    def at(self, index: int) -> FaceBoxes:
        """Return the boxes of the track's frame `index`."""
        parts = {part: _box(rows[index]) for part, rows in self.parts.items()}
        kept = tuple(
            (_box(rows[index]), float(self.strength[label][index]))
            for label, rows in self.keep_out.items()
            if self.strength[label][index] > 0
        )
        return FaceBoxes(parts, kept)


def _box(row: Floats) -> PartBox:
    y0, x0, y1, x1 = (float(edge) for edge in row)
    return y0, x0, y1, x1


# ------------------------------------------------------------------------------- searching


def load_detector(
    backend: Backend, folder: Path, device: torch.device | str = "cpu"
) -> OpenSetDetector:
    """Build the detector `backend` from a local folder (docs/grounding-dino.md lists its files).

    Raises:
        WeightsError: files are missing or do not fit, or an extra is not installed.
    """
    if backend == "grounding_dino_py":
        return GroundingDinoPyDetector.from_folder(folder, device)
    return GroundingDinoDetector.from_folder(folder, device)


def parts_to_find(config: MaskConfig, parts: Collection[str]) -> tuple[str, ...]:
    """Return the parts whose boxes a run needs that swaps `parts`.

    Neighbours in the chain are looked for even if they are not swapped: they bound the swapped
    ones, so that a part's box does not depend on what else is swapped.
    """
    if config.backend == "landmarks" or not set(parts) & set(BOXED):
        return ()
    return tuple(part for part in BOXED if part in parts or part in CHAIN)


def needs_detector(config: MaskConfig, parts: Collection[str]) -> bool:
    """Whether a run that swaps `parts` has anything to detect."""
    return bool(parts) and bool(config.keep_out or parts_to_find(config, parts))


class BoxSearch:
    """Collects the detections of one track, frame by frame."""

    def __init__(
        self, detector: OpenSetDetector, config: MaskConfig, parts: Collection[str], length: int
    ) -> None:
        """Search a track of `length` frames for the needs of a run that swaps `parts`."""
        self._detector, self._config = detector, config
        self._swapped = frozenset(parts)
        self._parts = parts_to_find(config, parts)
        self._prompts = [*(PARTS[part].prompt for part in self._parts), *config.keep_out]
        self._found = {part: _nothing(length) for part in self._parts}
        self._kept = {label: _nothing(length) for label in config.keep_out}
        self._looked: set[int] = set()

    def look(self, index: int, crop: Bytes, landmarks: Floats) -> None:
        """Detect in the track's frame `index`.

        Args:
            index: 0 is the track's first frame.
            crop: [S, S, 3] aligned face.
            landmarks: [478, 2 or 3] in the crop's pixels.
        """
        self._looked.add(index)
        size = crop.shape[0]
        detections = self._detector.detect(crop, self._prompts, self._config.detector_score)
        own = own_detections(detections, landmarks, size)
        found = detected_parts(own, (size, size))
        for part in self._parts:
            self._found[part][index] = found.get(part, np.nan)
        for label, box in label_boxes(own, self._config.keep_out, (size, size)).items():
            self._kept[label][index] = box

    def move(self, frames: int, length: int) -> None:
        """Forget the first `frames`, and be of `length` from now on: of a stream's next window.

        A part's last box stays known, as the first one of the window.
        """
        for part, rows in self._found.items():
            gone = rows[:frames][np.isfinite(rows[:frames, 0])]
            self._found[part] = moved(rows, frames, length)
            if len(gone) and not np.isfinite(self._found[part][0, 0]):
                self._found[part][0] = gone[-1]
        self._kept = {label: moved(rows, frames, length) for label, rows in self._kept.items()}
        self._looked = {index - frames for index in self._looked if index >= frames}

    def looked_at(self, index: int) -> bool:
        """Tell whether a frame was looked at."""
        return index in self._looked

    def finish(self, half_window: int, hold: int, fade: int) -> TrackBoxes:
        """Steady, fill and chain what was found.

        A part that is missing in some frames is interpolated from its neighbours. A thing to keep
        counts as there for `hold` frames around each detection, and fades over `fade` more.

        Args:
            half_window: of the smoothing, frames; see `smooth_boxes`.
            hold: frames, at least 0.
            fade: frames, at least 0.
        """
        found = {
            part: _filled(rows, half_window) for part, rows in self._found.items() if _any(rows)
        }
        kept = {name: _filled(rows, half_window) for name, rows in self._kept.items() if _any(rows)}
        strength = {name: _presence(self._kept[name], hold, fade) for name in kept}
        swapped = {part: rows for part, rows in _chained(found).items() if part in self._swapped}
        return TrackBoxes(swapped, kept, strength)


def own_detections(
    detections: Sequence[Detection], landmarks: Floats, size: int
) -> list[Detection]:
    """Leave out what belongs to a neighbour's face or is none of this one's.

    A part has to overlap its outline on the mesh, anything else the face's.

    Args:
        detections: in a crop, pixels.
        landmarks: [478, 2 or 3] of its face, pixels.
        size: side of the crop, pixels.
    """
    names = (*BOXED, "face")
    areas = dict(zip(names, outlines.part_boxes(landmarks, names, size) * size, strict=True))
    by_prompt = {PARTS[part].prompt: areas[part] for part in BOXED}
    return [d for d in detections if _overlaps(d, by_prompt.get(d.label, areas["face"]))]


def _overlaps(detection: Detection, area: Floats) -> bool:
    """Whether a detection and an area (y0, x0, y1, x1), both in pixels, share some surface."""
    x0, y0, x1, y1 = detection.box
    return bool(x0 < area[3] and x1 > area[1] and y0 < area[2] and y1 > area[0])


def _nothing(length: int) -> Floats:
    return np.full((length, 4), np.nan, np.float32)


def moved(rows: Floats, frames: int, length: int) -> Floats:
    """Return [length, ...]: the rows [T, ...] after the first `frames`; unknown ones are NaN."""
    out = np.full((length, *rows.shape[1:]), np.nan, np.float32)
    kept = rows[frames : frames + length]
    out[: len(kept)] = kept
    return out


def _any(rows: Floats) -> bool:
    return bool(np.isfinite(rows).any())


def _filled(rows: Floats, half_window: int) -> Floats:
    """Smooth [T, 4] boxes; draw straight lines over gaps and repeat the ends."""
    steady = smooth_boxes(rows, half_window)
    known = np.nonzero(np.isfinite(steady).all(axis=1))[0]
    frames = np.arange(len(rows))
    lines = [np.interp(frames, known, steady[known, edge]) for edge in range(4)]
    return np.clip(np.stack(lines, axis=1), 0.0, 1.0).astype(np.float32)


def _presence(rows: Floats, hold: int, fade: int) -> Floats:
    """Return [T] in [0, 1]: 1 within `hold` frames of a detection, falling to 0 after `fade`."""
    from scipy.ndimage import distance_transform_edt

    away = distance_transform_edt(np.isnan(rows[:, 0]))
    return np.clip(1.0 - (away - hold) / (fade + 1.0), 0.0, 1.0).astype(np.float32)


def _chained(rows: Mapping[str, Floats]) -> dict[str, Floats]:
    """Make neighbouring boxes touch in every frame of a track."""
    out = {part: values.copy() for part, values in rows.items()}
    for index in range(len(next(iter(rows.values()), ()))):
        boxes = {part: _box(values[index]) for part, values in rows.items()}
        for part, box in chain_boxes(below_brows(boxes)).items():
            out[part][index] = box
    return out


def below_brows(boxes: Mapping[str, PartBox]) -> dict[str, PartBox]:
    """Let the eyes begin where the brows end, where both have a box.

    The published eye boxes mostly take in the brows. Where the brows are a part of their own the
    box is split there: at the brows' lower edge, but not below the middle of the eyes' box.
    """
    split = dict(boxes)
    if "brows" in boxes and "eyes" in boxes:
        brows, eyes = boxes["brows"], boxes["eyes"]
        seam = min(brows[2], (eyes[0] + eyes[2]) / 2)
        if brows[0] < seam:
            split["brows"] = (brows[0], brows[1], seam, brows[3])
            split["eyes"] = (seam, eyes[1], eyes[2], eyes[3])
    return split


# ----------------------------------------------------------------------------------- masks


def open_set_masks(
    found: FaceBoxes,
    shapes: Sequence[Floats],
    parts: Sequence[str],
    config: MaskConfig,
    size: int,
    interocular: float,
    *,
    inside_face: bool = True,
) -> PartMasks:
    """Return the masks of one face: boxes where there are, outlines on the mesh elsewhere.

    Args:
        found: the boxes of this frame; their edges are not dilated, only feathered.
        shapes: landmark sets [478, 2 or 3] in crop pixels, the target's own first; see
            `fapvideo.mask.parts.part_masks`.
        parts: which parts are swapped.
        config: growth, feather, eye side, inner mouth.
        size: side of the crop, pixels.
        interocular: inter-ocular distance in the crop, pixels.
        inside_face: end boxes at the face's outline, as the mesh's parts do. The published method
            does not; but the guide knows nothing of hair and background.
    """
    feather = config.feather * interocular
    middle = float(mesh.eye_centres(shapes[0])[:, 0].mean()) / size
    boxes = {part: _one_side(part, found.parts[part], config.eye_side, middle)
             for part in parts if part in found.parts}  # fmt: skip
    boxes = {part: box for part, box in boxes.items() if box[3] > box[1]}
    rest = [part for part in parts if part not in boxes]
    drawn = outlines.part_masks(shapes, rest, config, size, interocular)
    inner = drawn.inner_mouth
    boxed = box_part_masks(boxes, size, feather, (), inner if config.keep_inner_mouth else None)
    merged = PartMasks(
        {part: (boxed if part in boxes else drawn).parts[part] for part in parts},
        np.maximum(boxed.hole, drawn.hole),
        np.maximum(boxed.core, drawn.core),
        inner,
    )
    kept = np.zeros_like(inner)
    if inside_face:
        oval = signed_distance([shapes[0][list(mesh.FACE_OVAL), :2]], size)
        kept = 1.0 - soft_edge(oval + outlines.OVAL_MARGIN * interocular + feather, 0.0, feather)
    for box, strength in found.keep_out:
        kept = np.maximum(kept, strength * box_masks({"": box}, size, feather)[""])
    return without(merged, kept)


def _one_side(part: str, box: PartBox, side: str, middle: float) -> PartBox:
    """Cut a box over both eyes at the `middle` (a share of the crop) between them.

    The person's left is on the right of the crop. A box wholly on the other side comes out empty.
    """
    y0, x0, y1, x1 = box
    if not PARTS[part].paired or side == "both":
        return box
    return (y0, max(x0, middle), y1, x1) if side == "left" else (y0, x0, y1, min(x1, middle))


def without(masks: PartMasks, kept: Floats) -> PartMasks:
    """Take what stays, [S, S] in [0, 1], out of all masks."""
    return PartMasks(
        {part: np.minimum(mask, 1.0 - kept) for part, mask in masks.parts.items()},
        np.minimum(masks.hole, 1.0 - kept),
        masks.core * (kept < 1.0),
        masks.inner_mouth,
    )
