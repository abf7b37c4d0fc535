"""What stands in front of a face and stays: glasses, hands, hair, microphones, cups, masks.

A small net (`nets.occlusion`) says it for the aligned crop of every frame, in the first pass. The
maps of one track are steadied in the face's own coordinates, packed, and kept in the plan; where a
face is painted its map is brought to the crop's size along the edges of the picture. So a frame's
result depends on the frame and the plan alone.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from fapvideo.config.schema import DenoiseConfig
from fapvideo.mask.covered import hidden_over_time, shown_over_time
from fapvideo.mask.lenses import Outlines, through_glasses, wears_glasses
from fapvideo.mask.open_set import moved, without
from fapvideo.nets.occlusion import SIZE, OccluderNet, OcclusionNet, folded, seen_by
from fapvideo.ops import mesh
from fapvideo.ops.geometry import Matrix, warp
from fapvideo.ops.image import luma, smoothstep
from fapvideo.ops.packaged import read_packaged
from fapvideo.ops.pose import CROP_INTEROCULAR
from fapvideo.parts import PARTS
from fapvideo.structs import Bytes, Floats, PartMasks

MODEL = "mask/models/occlusion.safetensors"
LEVELS = 15
"""Steps in which a packed map tells its chances."""
NOTHING = 0.12
"""Chances under this are packed as none."""
SURE, WORN_SURE = (0.5, 0.65), (0.3, 0.45)
"""An area counts by its surest pixel: none of it below the first, all of it above the second; the
net is less sure of frames, which are thin."""
ALONE = 0.04
"""Share of the crop up to which an area counts only if it reaches out of the face, as whatever is
held or hangs in front of one does: lips, lashes and folds are taken for things sometimes."""
NUDGE = 0.85
"""How far the frames around may move a frame's own chance, as a logit: between 0.3 and 0.7 they
decide (hysteresis), beyond that the frame itself does, so that a fast hand drags no shadow."""
WORN_S, WORN_NUDGE = 0.35, 1.5
"""The same for frames of glasses, which move with the head: how far around, and how much."""
SOFT = (0.25, 0.45)
"""Chances where something begins to be kept, and is kept whole."""
REACH, EDGE = 0.012, 0.02
"""Radius of the guided filter, inter-ocular distances, and its regularisation (of grey in 0..1)."""
MARGIN = 0.15
"""Beyond the face's outline by this, inter-ocular distances, nothing is looked at."""


@dataclass(frozen=True, slots=True)
class TrackOcclusion:
    """What stands in front of one track's face; rows are frames of the track."""

    packed: Bytes
    """[N] the maps, each compressed, one after the other."""
    ends: NDArray[np.int64]
    """[T] where each of them ends; one that was not looked at, or is empty, takes no bytes."""
    shown: Mapping[str, Floats]
    """Part -> [T, sides] in [0, 1]: 0 where so much of it is covered that it is left."""

    def at(self, index: int) -> Floats | None:
        """Return the map [SIZE, SIZE] in [0, 1] of a frame's aligned crop; None if empty."""
        start = int(self.ends[index - 1]) if index else 0
        data = self.packed[start : int(self.ends[index])].tobytes()
        if not data:
            return None
        levels = np.frombuffer(zlib.decompress(data), np.uint8).reshape(SIZE, SIZE)
        return levels.astype(np.float32) / LEVELS


class Occluders:
    """Sees what stands in front of a face."""

    def __init__(self, options: DenoiseConfig) -> None:
        """Load the nets; `options` say which library computes them.

        Raises:
            WeightsError: a file of the package is missing or damaged.
        """
        import torch
        from safetensors.torch import load

        from fapvideo.weights.embedded import embedded_tower
        from fapvideo.weights.runtimes import exported

        with torch.random.fork_rng(devices=[]):
            net = OcclusionNet()
        net.load_state_dict(load(read_packaged(MODEL)))
        whole = OccluderNet(folded(net.float().requires_grad_(False)), embedded_tower())
        self._net = exported(whole, "occluders", SIZE, options) or whole

    def __call__(self, crop: Bytes, landmarks: Floats) -> Floats:
        """Return chances [2, SIZE, SIZE]: something is in front; it is a frame of glasses.

        Args:
            crop: [SIZE, SIZE, 3] aligned face.
            landmarks: [478, 2 or 3] in it.
        """
        chances = seen_by(self._net, crop)
        inside = np.zeros((SIZE, SIZE), np.uint8)
        oval = np.round(landmarks[list(mesh.FACE_OVAL), :2]).astype(np.int32)
        cv2.fillPoly(inside, [oval], 1)
        grown = 2 * round(MARGIN * CROP_INTEROCULAR * SIZE) + 1
        return chances * cv2.dilate(inside, np.ones((grown, grown), np.uint8))


class OcclusionSearch:
    """Collects the maps of one track, frame by frame."""

    def __init__(self, see: Occluders, length: int) -> None:
        """Look at a track of `length` frames."""
        self._see, self._length = see, length
        self._maps: dict[int, bytes] = {}
        self._worn: dict[int, bytes] = {}
        self._outlines: dict[int, Outlines] = {}
        self._places = np.zeros((length, len(mesh.STABLE), 2), np.float32)
        self._covered = {
            name: np.full((length, len(part.outline), 2), np.nan, np.float32)
            for name, part in PARTS.items()
        }
        """Part -> [T, sides, 2] covered share of it: as it is seen, and if glasses are worn."""
        self._hidden = {name: [False] * len(part.outline) for name, part in PARTS.items()}
        """Part -> for every side whether it was covered before the first frame."""

    def move(self, frames: int, length: int) -> None:
        """Forget the first `frames`, and be of `length` from now on: of a stream's next window."""
        for part, shares in self._covered.items():
            for side, before in enumerate(self._hidden[part]):
                hidden = hidden_over_time(shares[:frames, side, self._behind], before)
                self._hidden[part][side] = bool(hidden[-1]) if len(hidden) else before
            self._covered[part] = moved(shares, frames, length)
        self._places = np.nan_to_num(moved(self._places, frames, length))
        for kept in (self._maps, self._worn, self._outlines):
            rest = {i - frames: kept[i] for i in kept if i >= frames}
            kept.clear()
            kept.update(rest)  # type: ignore[arg-type]
        self._length = length

    def looked_at(self, index: int) -> bool:
        """Tell whether a frame was looked at."""
        return index in self._maps

    def look(self, index: int, crop: Bytes, landmarks: Floats, seen: Floats | None = None) -> None:
        """Look at the track's frame `index`: its aligned crop [SIZE, SIZE, 3], and landmarks.

        `seen` [SIZE, SIZE] is 0 where the crop leaves the picture: what is there is in front of
        nothing.
        """
        chance, worn = self._see(crop, landmarks)
        if seen is not None:
            chance, worn = chance * seen, worn * seen
        self._places[index] = landmarks[list(mesh.STABLE), :2]
        self._maps[index], self._worn[index] = _pack(chance), _pack(worn)
        self._outlines[index] = Outlines.of(landmarks, worn)
        through, _ = through_glasses(chance, worn, self._outlines[index])
        for part, shares in self._covered.items():
            for side, ring in enumerate(PARTS[part].outline):
                inside = np.zeros((SIZE, SIZE), np.uint8)
                cv2.fillPoly(inside, [np.round(landmarks[list(ring), :2]).astype(np.int32)], 1)
                for k, seen_so in enumerate((chance, through)):
                    hit = (seen_so > 0.5) & (inside > 0)
                    shares[index, side, k] = hit.sum() / max(int(inside.sum()), 1)

    @property
    def _behind(self) -> int:
        """1 for a face behind glasses, else 0."""
        return int(wears_glasses(self._outlines.values()))

    def finish(
        self, times_s: NDArray[np.float64], half_window_s: float, rows: range | None = None
    ) -> TrackOcclusion:
        """Steady the maps over time, decide which parts are left where.

        Args:
            times_s: [T] presentation times of the track's frames.
            half_window_s: how far the frames around count.
            rows: frames whose maps are wanted; by default all.
        """
        steady: list[bytes] = []
        known = np.array(sorted(self._maps), np.int64)
        worn_s, behind = WORN_S if half_window_s > 0 else 0.0, self._behind
        for index in range(self._length):
            if index not in self._maps or (rows is not None and index not in rows):
                steady.append(b"")
                continue
            chance = self._steadied(self._maps, index, known, times_s, half_window_s, NUDGE)
            worn = self._steadied(self._worn, index, known, times_s, worn_s, WORN_NUDGE)
            outlines, nothing = self._outlines[index], np.zeros((SIZE, SIZE), np.float32)
            if behind and (chance is not None or worn is not None):
                first = nothing if chance is None else chance
                second = nothing if worn is None else worn
                chance, worn = through_glasses(first, second, outlines)
            both = []
            if chance is not None:
                both.append(from_outside(sure_areas(chance, SURE), outlines.face))
            if worn is not None:
                both.append(sure_areas(worn, WORN_SURE))
            steady.append(_pack(np.maximum.reduce(both)) if both else b"")
        shown = {
            part: np.stack(
                [shown_over_time(shares[:, side, behind], times_s, was=was)
                 for side, was in enumerate(self._hidden[part])], axis=1)
            for part, shares in self._covered.items()
        }  # fmt: skip
        packed = np.frombuffer(b"".join(steady), np.uint8)
        return TrackOcclusion(packed, np.cumsum([len(data) for data in steady]), shown)

    def _steadied(
        self,
        maps: Mapping[int, bytes],
        index: int,
        known: NDArray[np.int64],
        times_s: NDArray[np.float64],
        reach_s: float,
        nudge: float,
    ) -> Floats | None:
        """Return the map of one frame after the frames around it were heard; None if empty."""
        near = known[np.abs(times_s[known] - times_s[index]) <= reach_s + 1e-6]
        if not any(maps[int(i)] for i in near):
            return None
        own: Floats = _unpack(maps[index])
        total: Floats = np.zeros((SIZE, SIZE), np.float32)
        weight = 0.0
        for other in (int(i) for i in near if i != index):
            share = float(np.exp(-2 * ((times_s[other] - times_s[index]) / reach_s) ** 2))
            weight += share
            if maps[other]:
                moved = affine(self._places[other], self._places[index])
                total += share * warp(_unpack(maps[other]), moved, (SIZE, SIZE))
        if weight > 0:
            own = _sigmoid(_logit(own) + np.clip(_logit(total / weight), -nudge, nudge))
        return own


def sure_areas(chance: Floats, sure: tuple[float, float]) -> Floats:
    """Return a map [SIZE, SIZE] without the areas of which no pixel is sure."""
    count, areas = cv2.connectedComponents((chance >= NOTHING).astype(np.uint8))
    peaks = np.zeros(count, np.float32)
    np.maximum.at(peaks, areas.ravel(), chance.ravel().astype(np.float32))
    peaks[0] = 0.0
    strength = smoothstep((peaks - sure[0]) / (sure[1] - sure[0]))
    return np.asarray(chance * strength[areas], np.float32)


def from_outside(chance: Floats, face: NDArray[np.int32]) -> Floats:
    """Return a map [SIZE, SIZE] without small areas that lie wholly within a face's outline.

    Args:
        chance: the map.
        face: [N, 2] the outline, pixels.
    """
    count, areas, measures, _ = cv2.connectedComponentsWithStats(
        (chance >= NOTHING).astype(np.uint8)
    )
    if count == 1:
        return chance
    beyond = np.ones((SIZE, SIZE), np.uint8)
    cv2.fillPoly(beyond, [face], 0)
    kept = measures[:, cv2.CC_STAT_AREA] > ALONE * SIZE * SIZE
    kept[np.unique(areas[beyond > 0])] = True
    return np.asarray(chance * kept[areas], np.float32)


def _pack(chance: Floats) -> bytes:
    """Return a compressed map; nothing of an empty one."""
    chance = np.where(chance < NOTHING, 0.0, chance)
    if chance.max() < SOFT[0]:
        return b""
    return zlib.compress(np.rint(chance * LEVELS).astype(np.uint8).tobytes(), 6)


def _unpack(data: bytes) -> Floats:
    if not data:
        return np.zeros((SIZE, SIZE), np.float32)
    levels = np.frombuffer(zlib.decompress(data), np.uint8).reshape(SIZE, SIZE)
    return levels.astype(np.float32) / LEVELS


def _logit(chance: Floats) -> Floats:
    p = np.clip(chance, 0.02, 0.98)
    return np.log(p / (1 - p))


def _sigmoid(logit: Floats) -> Floats:
    return np.asarray(1 / (1 + np.exp(-logit)), np.float32)


def affine(source: Floats, target: Floats) -> Matrix:
    """Return the [2, 3] affine transform that maps `source` [N, 2] onto `target` best."""
    known = np.column_stack([source, np.ones(len(source))]).astype(np.float64)
    fit: Matrix = np.linalg.lstsq(known, target.astype(np.float64))[0].T.astype(np.float64)
    return fit


# ----------------------------------------------------------------------------------- masks


def keep_in_front(
    masks: PartMasks,
    occlusion: TrackOcclusion,
    index: int,
    picture: Floats,
    landmarks: Floats,
    into: Matrix,
) -> PartMasks:
    """Take what stands in front of a face out of its masks, and parts that are mostly covered.

    Args:
        masks: of its crop.
        occlusion: of its track.
        index: of the frame in the track.
        picture: [S, S, 3] the crop, RGB in [0, 1].
        landmarks: [478, 2 or 3] in it.
        into: from the aligned crop of `SIZE` px to this one.
    """
    shown = {part: strengths[index] for part, strengths in occlusion.shown.items()}
    if any((strength < 1).any() for strength in shown.values()):
        masks = _left(masks, shown, landmarks)
    chance = occlusion.at(index)
    if chance is None or not masks.hole.any():
        return masks
    return without(masks, kept_at_size(chance, picture, into))


def kept_at_size(chance: Floats, picture: Floats, into: Matrix) -> Floats:
    """Return [S, S] in [0, 1] what stays, along the edges of `picture` [S, S, 3].

    Args:
        chance: [SIZE, SIZE].
        picture: RGB in [0, 1].
        into: from the map's pixels to the picture's.
    """
    size = len(picture)
    large = warp(chance, into, (size, size), border=cv2.BORDER_CONSTANT)
    if not (large > 0).any():
        return np.zeros((size, size), np.float32)
    radius = max(1, round(REACH * CROP_INTEROCULAR * size))
    x, y, width, height = cv2.boundingRect((large > 0).astype(np.uint8))
    pad = 2 * radius
    window = (
        slice(max(0, y - pad), min(size, y + height + pad)),
        slice(max(0, x - pad), min(size, x + width + pad)),
    )
    fitted = guided_filter(luma(picture[window]), large[window], radius, EDGE**2)
    out = np.zeros((size, size), np.float32)
    out[window] = smoothstep((fitted - SOFT[0]) / (SOFT[1] - SOFT[0]))
    return out


def guided_filter(guide: Floats, values: Floats, radius: int, eps: float) -> Floats:
    """Return `values` [H, W] as a local linear function of `guide` [H, W].

    Source: He, Sun and Tang, "Guided image filtering", TPAMI 2013.
    """

    def mean(x: Floats) -> Floats:
        side = 2 * radius + 1
        return cv2.boxFilter(x, -1, (side, side), borderType=cv2.BORDER_REFLECT)

    guide, values = guide.astype(np.float32), values.astype(np.float32)
    middle, level = mean(guide), mean(values)
    slope = (mean(guide * values) - middle * level) / (mean(guide * guide) - middle**2 + eps)
    return mean(slope) * guide + mean(level - slope * middle)


def _left(masks: PartMasks, shown: Mapping[str, Floats], landmarks: Floats) -> PartMasks:
    """Weaken each side of each part; the hole is what its parts leave of it."""
    size = len(masks.hole)
    right, left = mesh.eye_centres(landmarks[:, :2])
    axis = (left - right) / max(float(np.linalg.norm(left - right)), 1e-6)
    at = np.arange(size, dtype=np.float32) + 0.5
    middle = (left + right) / 2
    across = (at[None, :] - middle[0]) * axis[0] + (at[:, None] - middle[1]) * axis[1]
    share = smoothstep(across / max(1.0, 0.05 * CROP_INTEROCULAR * size) + 0.5)

    def strength(part: str) -> Floats | float:
        sides = shown.get(part, np.ones(1, np.float32))
        return float(sides[0]) if len(sides) == 1 else sides[0] + share * (sides[1] - sides[0])

    parts = {part: mask * strength(part) for part, mask in masks.parts.items()}
    whole = np.maximum.reduce([*masks.parts.values(), np.full((size, size), 1e-6, np.float32)])
    rest = np.maximum.reduce([*parts.values(), np.zeros((size, size), np.float32)])
    ratio = np.where(whole > 1e-6, rest / whole, 1.0 if not parts else _outer(shown))
    hole = (masks.hole * ratio).astype(np.float32)
    return PartMasks(parts, hole, masks.core * (ratio > 0), masks.inner_mouth)


def _outer(shown: Mapping[str, Floats]) -> float:
    """Return how strongly the hole is shown where no part reaches."""
    return float(max((float(sides.max()) for sides in shown.values()), default=1.0))
