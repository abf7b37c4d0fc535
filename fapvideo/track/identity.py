"""Which tracks are of one person: what a face looks like as numbers, compared track by track.

The image tower of the embedded bundle looks at the aligned face; its features of the middle of the
crop, from the forehead to the chin, are projected to where faces of one person lie close together
whatever the light, the sharpness and the expression (`scripts/learn_looks.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np

from fapvideo.ops.geometry import scale_of, transform, warp
from fapvideo.ops.packaged import read_packaged
from fapvideo.ops.pose import crop_matrix, head_pose
from fapvideo.structs import Bytes, Face, Floats, Track

if TYPE_CHECKING:
    from fapvideo.nets.mobilenet import MobileNetV2Tokens

SIZE, GRID = 192, 6
"""Side of the crop that is looked at, pixels, and of the grid its features are averaged to."""
ROWS, COLUMNS = slice(1, 6), slice(1, 5)
"""Cells of the grid that the face fills."""
BLOCKS = (6, 10)
"""Of the tower, whose outputs are looked at: 32 features at stride 8, and 64 at stride 16."""
SAMPLES = 4
"""Crops that are kept of a track; up to twice as many for a while."""
EVERY = 4
"""Frames of a track from one crop to the next, at first."""
WORSE = 0.8
"""Crops that are worth less than this share of the best one's are not looked at."""
SAME = 0.5
"""Tracks that are farther apart are of two people. Of the first and the last half second of eleven
clips two were farther apart; of strangers less than one pair in a hundred is nearer (figures in
docs/casting.md)."""
LIKE = 0.65
"""A photo may be farther from whom it shows: it was taken another day. Half of such pairs are
farther apart than 0.55, and so are all but 1 % of strangers."""
UNLIKE = 0.75, 0.7
"""Farther from every photo is a stranger's face at the first look, and after `SAMPLES` looks: one
by itself may be a tenth off."""


class Looks:
    """Faces in, a unit vector out: what they look like together."""

    def __init__(self) -> None:
        """Load the network (1 MB) and the projection."""
        from safetensors.numpy import load

        from fapvideo.weights.embedded import embedded_tower

        tables = load(read_packaged("track/models/looks.safetensors"))
        self._mean, self._project = (tables[n].astype(np.float32) for n in ("mean", "project"))
        self._tower = embedded_tower()

    def of_faces(self, faces: Sequence[tuple[Bytes, Floats]]) -> Floats:
        """Return [D] of one person's faces: pictures uint8 [H, W, 3], landmarks [478, 3] in them.

        The median over them, so that a bad one does not count.
        """
        crops = [aligned(rgb, landmarks) for rgb, landmarks in faces]
        return self.of_crops(crops)

    def of_crops(self, crops: Sequence[Bytes]) -> Floats:
        """Return [D] of one person's crops, as `aligned` makes them."""
        each = unit((features(self._tower, crops) - self._mean) @ self._project)
        return unit(np.median(each, axis=0)) if len(each) > 2 else unit(each.mean(axis=0))


def aligned(rgb: Bytes, landmarks: Floats) -> Bytes:
    """Return the aligned face [SIZE, SIZE, 3] of a picture."""
    matrix = crop_matrix(head_pose(landmarks), SIZE)
    shrinks = scale_of(matrix) < 1.0
    how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(warp(rgb, matrix, (SIZE, SIZE), interpolation=how), np.uint8)


def features(tower: MobileNetV2Tokens, crops: Sequence[Bytes]) -> Floats:
    """Return [N, F] square roots of features, each row of length 1, of uint8 [S, S, 3] crops."""
    from torch.nn.functional import adaptive_avg_pool2d

    rows = []
    for crop in crops:  # one by one: what a row is must not depend on the others
        seen: list[Floats] = []
        for x in tower.maps(crop, BLOCKS):
            cells = adaptive_avg_pool2d(x, GRID)[0, :, ROWS, COLUMNS].numpy().reshape(-1)
            seen.append(unit(np.sign(cells) * np.sqrt(np.abs(cells))))
        rows.append(np.concatenate(seen))
    return unit(np.stack(rows))


def unit(rows: Floats) -> Floats:
    """Return rows of length 1."""
    length = np.linalg.norm(rows, axis=-1, keepdims=True)
    return np.asarray(rows / np.maximum(length, 1e-8), np.float32)


def apart(one: Floats, other: Floats) -> float:
    """Return how far two faces are apart: 0 the same, about 1 for strangers, 2 at most."""
    return 1.0 - float(one @ other)


# ------------------------------------------------------------------------------- sampling


class Shot(NamedTuple):
    """One look at a face."""

    worth: float
    """How well it can be recognised, in [0, 1]."""
    crop: Bytes
    """[SIZE, SIZE, 3]."""
    points: Floats
    """[478, 3] landmarks in it."""


@dataclass(slots=True)
class _Kept:
    """The crops of one track, and how good each is."""

    every: int = EVERY
    age: int = 0
    crops: list[Shot] = field(default_factory=list)


class FaceSampler:
    """Keeps a few good crops of every track, spread over its length, while a clip is followed."""

    def __init__(self) -> None:
        """Begin with no track."""
        self._tracks: dict[int, _Kept] = {}

    def look(self, rgb: Bytes, faces: Iterable[tuple[int, Face]]) -> None:
        """Take a frame uint8 [H, W, 3] with its measured faces by track id."""
        for number, face in faces:
            kept = self._tracks.setdefault(number, _Kept())
            if kept.age % kept.every == 0 and np.isfinite(face.landmarks).all():
                points = transform(crop_matrix(head_pose(face.landmarks), SIZE), face.landmarks)
                worth, crop = _worth(face.landmarks, rgb), aligned(rgb, face.landmarks)
                kept.crops.append(Shot(worth, crop, points))
                if len(kept.crops) == 2 * SAMPLES:  # of two neighbours the better one stays
                    pairs = zip(kept.crops[::2], kept.crops[1::2], strict=True)
                    kept.crops = [max(pair, key=lambda shot: shot.worth) for pair in pairs]
                    kept.every *= 2
            kept.age += 1

    def looks(self, tracks: Iterable[Track]) -> dict[int, Floats]:
        """Return track id -> what its face looks like, of all tracks that were seen."""
        seen = [track.id for track in tracks if self._tracks.get(track.id, _Kept()).crops]
        if not seen:
            return {}
        looks = Looks()
        return {
            number: looks.of_crops([shot.crop for shot in self.best(number)]) for number in seen
        }

    def look_of(self, number: int, looks: Looks) -> Floats | None:
        """Return what one track's face looks like by now; None if it was not seen."""
        shots = self.best(number)
        return looks.of_crops([shot.crop for shot in shots]) if shots else None

    def forget(self, number: int) -> None:
        """Let go of a track's crops."""
        self._tracks.pop(number, None)

    def best(self, number: int) -> list[Shot]:
        """Return up to SAMPLES looks at a track: the best, and what is not much worse."""
        kept = self._tracks.get(number, _Kept()).crops
        shots = sorted(kept, key=lambda shot: -shot.worth)[:SAMPLES]
        return [shot for shot in shots if shot.worth >= WORSE * shots[0].worth]


def _worth(landmarks: Floats, rgb: Bytes) -> float:
    """Return how well a face can be recognised, in [0, 1]: from the front, large, all in sight."""
    pose = head_pose(landmarks)
    turned = np.cos(np.radians(pose.yaw_deg)) * np.cos(np.radians(pose.pitch_deg))
    size = np.array(rgb.shape[1::-1])
    seen = ((landmarks[:468, :2] >= 0) & (landmarks[:468, :2] <= size)).all(axis=1).mean()
    return float(max(0.0, turned) * min(1.0, pose.scale / 32.0) * seen**2)


# -------------------------------------------------------------------------------- linking


def together(some: Iterable[Track], others: Sequence[Track]) -> bool:
    """Tell whether two groups of tracks are ever seen at the same time."""
    return any(
        one.first_frame <= other.last_frame and other.first_frame <= one.last_frame
        for one in some
        for other in others
    )


def link(tracks: Sequence[Track], looks: Mapping[int, Floats]) -> dict[int, int]:
    """Return track id -> person's id, the lowest of their tracks'.

    Groups of tracks are joined, the most alike first, while they are on average no farther apart
    than `SAME`. Two faces that are seen at the same time are two people.
    """
    groups = {track.id: [track] for track in tracks}
    gaps = {
        (a.id, b.id): apart(looks[a.id], looks[b.id])
        for a, b in combinations(tracks, 2)
        if a.id in looks and b.id in looks and not together([a], [b])
    }
    while gaps:
        (one, other), gap = min(gaps.items(), key=lambda item: (item[1], item[0]))
        if gap > SAME:
            break
        sizes = len(groups[one]), len(groups[other])
        groups[one] += groups.pop(other)
        gaps = _joined(gaps, one, other, sizes)
    people = {min(t.id for t in group): group for group in groups.values()}
    return {track.id: person for person, group in people.items() for track in group}


def _joined(
    gaps: Mapping[tuple[int, int], float], one: int, other: int, sizes: tuple[int, int]
) -> dict[tuple[int, int], float]:
    """Return the mean gaps after `other` has gone into `one`; one that is missing forbids."""
    left = {pair: gap for pair, gap in gaps.items() if not {one, other} & set(pair)}
    for third in {number for pair in gaps for number in pair} - {one, other}:
        with_one = gaps.get((min(one, third), max(one, third)))
        with_other = gaps.get((min(other, third), max(other, third)))
        if with_one is not None and with_other is not None:
            mean = (sizes[0] * with_one + sizes[1] * with_other) / sum(sizes)
            left[min(one, third), max(one, third)] = mean
    return left
