"""What makes a face hard to swap, as far as a quick look at it shows.

A `Spotter` takes part in following the faces of a clip and notes a few numbers of each; from them
and from what was decided about every frame come codes: those of `structs.REASONS` where a face
would not be swapped, those of `DIFFICULTIES` where it would and may come out badly.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from fapvideo.config.schema import MaskConfig
from fapvideo.ops import mesh
from fapvideo.ops.geometry import warp
from fapvideo.ops.pose import CROP_INTEROCULAR, crop_matrix, head_pose
from fapvideo.structs import Bytes, Face

DIFFICULTIES: Mapping[str, str] = {
    "fast": "moves fast",
    "unsure": "the mesh is hardly sure of the face",
    "near_profile": "turned nearly too far to the side",
    "small": "small",
    "dark": "dark",
    "bright": "overexposed",
    "eyes_covered": "the eyes look covered",
    "mouth_covered": "the mouth looks covered",
    "cut_off": "partly outside the picture",
}
"""Code -> what it says: why a face that is swapped may come out badly."""
LASTING = ("small", "dark", "bright")
"""Difficulties that are of the shot rather than of a moment."""

FAST, FAST_BLURRED = 4.0, 2.0
"""Speed of a face, inter-ocular distances per second: speakers 0.2, dancers 2 to 8. The second
counts where the face is also blurred: less sharp than BLURRED of its track's median."""
BLURRED = 0.7
UNSURE = 0.9
"""Presence of the mesh: 0.99 and more on faces that are plainly seen."""
NEAR_DEG = 10.0
"""Degrees before `mask.max_yaw_deg` from which on a turned head is difficult."""
SMALL_PX = 20.0
"""Inter-ocular distance: a smaller face has eyes of less than ten pixels."""
DARK, BRIGHT = 45.0, 240.0
"""Median luma of the face, 0..255."""
COVERED, FOREIGN = 0.25, 48
"""Share of a part whose luma or chroma is farther than FOREIGN (0..255) from its track's median:
blinks, speech and grimaces stay under 0.2, a disc before an eye gives 0.4."""
ALIKE_DEG = 12.0
"""Turn against the track's median up to which a part can be compared with it."""
CUT_OFF = 0.1
"""Share of the face's points outside the picture."""

GRID = 32
REGIONS: Mapping[str, tuple[slice, slice]] = {
    "eyes_covered": (slice(7, 14), slice(7, 25)),
    "mouth_covered": (slice(20, 29), slice(10, 22)),
}
"""Rows and columns of the aligned crop of GRID px where eyes and mouth of any expression lie."""
FACE = slice(8, 28), slice(8, 24)
SHARP_SIDES = 32, 128
"""Smallest and largest crop whose sharpness is measured, pixels."""


@dataclass(frozen=True, slots=True)
class Spot:
    """One face at one look."""

    centre: NDArray[np.float64]
    """[2] pixels."""
    interocular_px: float
    yaw_deg: float
    presence: float
    sharpness: float
    """Variance of the aligned face's Laplacian, 0..255 scale."""
    outside: float
    """Share of the face's points outside the picture."""
    crop: Bytes
    """[GRID, GRID, 3] the aligned face as luma and two chroma planes."""


class Spotter:
    """Notes what a face looks like at every look; about 3 kB each."""

    def __init__(self) -> None:
        """Begin before the first look."""
        self.looks = 0
        self.spots: dict[int, dict[int, Spot]] = {}
        """Track id -> look -> the face."""

    def __call__(self, picture: Bytes, faces: Sequence[tuple[int, Face]]) -> None:
        """Take the next look: uint8 [H, W, 3] and the measured faces by track id."""
        for track, face in faces:
            if np.isfinite(face.landmarks).all():
                self.spots.setdefault(track, {})[self.looks] = _spot(picture, face)
        self.looks += 1


def _spot(picture: Bytes, face: Face) -> Spot:
    pose = head_pose(face.landmarks)
    points = face.landmarks[:468, :2]
    seen = ((points >= 0) & (points <= np.array(picture.shape[1::-1]))).all(axis=1)
    side = int(np.clip(round(pose.scale / CROP_INTEROCULAR), *SHARP_SIDES))
    grey = cv2.cvtColor(_crop(picture, crop_matrix(pose, side), side), cv2.COLOR_RGB2GRAY)
    inner = grey[side // 4 : -side // 8, side // 4 : -side // 4].astype(np.float32)
    small = _crop(picture, crop_matrix(pose, GRID), GRID)
    return Spot(
        points.mean(axis=0, dtype=np.float64),
        mesh.interocular(face.landmarks),
        pose.yaw_deg,
        face.presence,
        float(cv2.Laplacian(inner, cv2.CV_32F).var()),
        float(1.0 - seen.mean()),
        np.asarray(cv2.cvtColor(small, cv2.COLOR_RGB2YCrCb), np.uint8),
    )


def _crop(picture: Bytes, matrix: NDArray[np.float64], side: int) -> Bytes:
    return np.asarray(warp(picture, matrix, (side, side), interpolation=cv2.INTER_AREA), np.uint8)


def difficulties(
    spots: Mapping[int, Spot], times_s: NDArray[np.float64], config: MaskConfig
) -> dict[int, set[str]]:
    """Return look -> the codes of `DIFFICULTIES` that are true of one track's face.

    Args:
        spots: look -> the face.
        times_s: [N] of all looks.
        config: its `max_yaw_deg` is the limit.
    """
    found = {look: _alone(spot, config) for look, spot in spots.items()}
    usual = float(np.median([spot.sharpness for spot in spots.values()] or [1.0]))
    for before, look in pairwise(spots):
        here = spots[look]
        seconds = max(float(times_s[look] - times_s[before]), 1e-6)
        way = float(np.linalg.norm(here.centre - spots[before].centre))
        speed = way / max(here.interocular_px, 1e-3) / seconds
        blurred = here.sharpness < BLURRED * usual
        if speed > (FAST_BLURRED if blurred else FAST):
            found[look].add("fast")
    for look, parts in _covered(spots).items():
        found[look] |= parts
    return found


def _alone(spot: Spot, config: MaskConfig) -> set[str]:
    """Return the codes for which one look is enough."""
    luma = float(np.median(spot.crop[(*FACE, 0)]))
    turned = config.max_yaw_deg - abs(spot.yaw_deg)
    true = {
        "unsure": spot.presence < UNSURE,
        "near_profile": 0.0 <= turned < NEAR_DEG,
        "small": spot.interocular_px < SMALL_PX,
        "dark": luma < DARK,
        "bright": luma > BRIGHT,
        "cut_off": spot.outside > CUT_OFF,
    }
    return {code for code, holds in true.items() if holds}


def _covered(spots: Mapping[int, Spot]) -> dict[int, set[str]]:
    """Return look -> which parts look as they mostly do not in this track.

    A face that turns or is lit otherwise is not covered: only those turned as usual are compared,
    and the face's own change of luma does not count.
    """
    if len(spots) < 3:
        return {}
    yaw = float(np.median([spot.yaw_deg for spot in spots.values()]))
    usual = np.median([spot.crop for spot in spots.values()], axis=0)
    covered: dict[int, set[str]] = {}
    for look, spot in spots.items():
        if abs(spot.yaw_deg - yaw) > ALIKE_DEG:
            continue
        change = spot.crop - usual
        change[..., 0] -= np.median(change[(*FACE, 0)])
        foreign = (np.abs(change) > FOREIGN).any(axis=-1)
        covered[look] = {code for code, place in REGIONS.items() if foreign[place].mean() > COVERED}
    return covered
