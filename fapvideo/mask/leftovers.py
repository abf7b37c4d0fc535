"""Old parts that reach farther than the mesh says: brow tails, eyeliner, a moustache at the lip.

The mesh draws every brow alike. What of the target's own is left beside a new part - a tail, the
upper edge of a strong brow, the wing of an eyeliner - is found as what is dark, narrow and joined
to the outline, in many frames of a track, and belongs to the hole from then on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import cv2
import numpy as np

from fapvideo.ops import mesh
from fapvideo.ops.image import blur, luma
from fapvideo.ops.pose import CROP_INTEROCULAR
from fapvideo.structs import Bytes, Floats

SIZE = 256
"""Side of the crops that are looked at, pixels."""
MOST_LOOKS = 60
"""Frames of a track that are looked at, spread evenly: a median needs no more."""
SAMPLES = 48
"""Places on an outline."""
STEP, FAR = 0.01, 0.2
"""How finely and how far outlines are followed outwards, inter-ocular distances."""
BROADEST = 0.3
"""What is dark over more than this is shade or hair of the head, inter-ocular distances."""
DARKER = 0.16
"""Share of the surrounding brightness by which hair and paint are darker than skin."""
GAP = 0.03
"""What is farther away from the outline, or from what was found, is something else."""
BESIDE = 0.02
"""A thin line counts where a way outwards passes it at this distance, inter-ocular."""
MARGIN = 0.03
"""Soft surroundings of what was found."""
PARTS_WITH_ANY = ("brows", "eyes", "mouth")
"""Others have no hair or paint around them."""
BROW, UNDER_BROW, CORNER, OVER_LIP = 0.12, 0.06, 0.12, 0.1
"""How far brows reach at most, and downwards, where the eye's shade lies; outer corners of the
eyes; and what is over the upper lip: inter-ocular distances."""
SIDEWAYS = 0.5
"""Cosine of the angle to the side within which a way leads out of an eye's corner."""

_NEXT, _AFTER_NEXT, _BEFORE_LAST = ((np.arange(SAMPLES) + step) % SAMPLES for step in (1, 2, -2))
Growth = Mapping[str, Floats]
"""Part -> [outlines, SAMPLES] how far it reaches beyond them, inter-ocular distances."""


def outline_samples(ring: Floats) -> tuple[Floats, Floats]:
    """Return [SAMPLES, 2] places, evenly on a closed line [N, 2], and [SAMPLES, 2] ways outwards.

    At a corner the ways fan out.
    """
    closed = np.concatenate([ring, ring[:1]]).astype(np.float64)
    lengths = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(closed, axis=0), axis=1))])
    at = np.linspace(0.0, lengths[-1], SAMPLES, endpoint=False)
    places = np.stack([np.interp(at, lengths, closed[:, k]) for k in range(2)], axis=1)
    along = places[_AFTER_NEXT] - places[_BEFORE_LAST]
    ways = np.stack([along[:, 1], -along[:, 0]], axis=1)
    (x, y), (x_next, y_next) = places.T, places[_NEXT].T
    area = float(np.sum(x * y_next - x_next * y))
    ways *= np.sign(area) / np.maximum(np.linalg.norm(ways, axis=1, keepdims=True), 1e-6)
    return places, ways


def narrow_darkness(crop: Floats, interocular: float) -> Floats:
    """Return [S, S] how much darker than what surrounds it everything narrow is, as a share.

    A black top-hat: what is dark and narrower than its kernel.
    """
    grey = blur(luma(crop).astype(np.float32), 0.008 * interocular)
    side = int(BROADEST * interocular) | 1
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    hat = cv2.morphologyEx(grey, cv2.MORPH_BLACKHAT, kernel)
    share = hat / np.maximum(blur(grey, BROADEST * interocular), 0.08)
    wide = 2 * round(BESIDE * interocular) + 1
    return cv2.dilate(share, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (wide, wide)))


class LeftoverSearch:
    """Looks at crops of one track, and says how far its own parts reach."""

    def __init__(self, parts: Sequence[str]) -> None:
        """Look at those of `parts` that have surroundings of their kind."""
        self._parts = [part for part in parts if part in PARTS_WITH_ANY]
        self._seen: dict[str, list[Floats]] = {part: [] for part in self._parts}

    def look(self, index: int, crop: Bytes, landmarks: Floats) -> None:
        """Look at the crop [S, S, 3] of a frame, and its landmarks [478, 3]."""
        size = crop.shape[0]
        unit = CROP_INTEROCULAR * size
        dark = narrow_darkness(crop.astype(np.float32) / 255, unit)
        for part in self._parts:
            rows = []
            for side, ring in zip((-1, 1), mesh.outlines(part), strict=False):
                places, ways = outline_samples(landmarks[list(ring), :2])
                rows.append(np.minimum(_reach(dark, places, ways, unit), _most(part, ways, side)))
            self._seen[part].append(np.stack(rows))

    @property
    def looks(self) -> int:
        """How many frames were looked at, and are remembered."""
        return max(map(len, self._seen.values()), default=0)

    def thin(self) -> None:
        """Forget every second look."""
        for rows in self._seen.values():
            del rows[1::2]

    def finish(self) -> dict[str, Floats]:
        """Return how far the parts reach: the median over all looks."""
        return {
            part: _rounded(np.median(np.stack(rows), axis=0))
            for part, rows in self._seen.items()
            if rows
        }


def _rounded(far: Floats) -> Floats:
    """Return [outlines, SAMPLES] without corners from one place on an outline to the next."""
    around = np.maximum.reduce([np.roll(far, shift, axis=1) for shift in (-1, 0, 1)])
    soft = (np.roll(around, 1, axis=1) + around + np.roll(around, -1, axis=1)) / 3
    return np.maximum(far, soft).astype(np.float32)


def _reach(dark: Floats, places: Floats, ways: Floats, unit: float) -> Floats:
    """Return [SAMPLES] how far what is dark goes on outwards, inter-ocular distances."""
    steps = np.arange(0.0, FAR + STEP / 2, STEP)
    at = (places[:, None] + ways[:, None] * (steps * unit)[None, :, None] - 0.5).astype(np.float32)
    values = cv2.remap(dark, at, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    far = np.zeros(SAMPLES)
    for sample, row in enumerate(values > DARKER):
        for step in steps[row]:
            if step - far[sample] > GAP:
                break
            far[sample] = step
    # What does not end is hair of the head, or a shadow.
    return np.where(far > FAR - 2 * STEP, 0.0, np.maximum(far - BESIDE, 0.0))


def _most(part: str, ways: Floats, side: int) -> Floats:
    """Return [SAMPLES] how far a part may reach; the crop is upright, `side` -1 on its left."""
    if part == "mouth":  # below the lips lies their shade
        return np.where(ways[:, 1] < 0, OVER_LIP, 0.0)
    if part == "eyes":
        return np.where(side * ways[:, 0] > SIDEWAYS, CORNER, 0.0)
    return np.where(ways[:, 1] > SIDEWAYS, UNDER_BROW, BROW)


def grown(
    landmarks: Floats, growth: Growth, interocular: float, side: str = "both"
) -> dict[str, list[Floats]]:
    """Return part -> closed lines [SAMPLES, 2] around what it reaches, in a frame's crop.

    Args:
        landmarks: [478, >=2] in the crop.
        growth: of `LeftoverSearch`.
        interocular: pixels.
        side: of pairs, as in `mesh.outlines`.
    """
    lines: dict[str, list[Floats]] = {}
    for part, rows in growth.items():
        wanted = mesh.outlines(part, side)
        for ring, far in zip(mesh.outlines(part), rows, strict=True):
            if ring not in wanted or not far.any():
                continue
            places, ways = outline_samples(landmarks[list(ring), :2])
            reach = np.where(far > 0, far + MARGIN, 0.0) * interocular
            lines.setdefault(part, []).append(places + ways * reach[:, None])
    return lines
