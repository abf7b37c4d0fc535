"""Seams: steps across the mask's border that the source does not have there.

A seam is a step that runs along the border. So each picture is read along the normals of the
border, the steps of neighbouring points are averaged as vectors (texture cancels, a seam adds up),
and only what the source's own step at the same place does not explain counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import cv2
import numpy as np
from scipy.ndimage import uniform_filter1d

from fapvideo.evaluation.definitions import Definition
from fapvideo.evaluation.views import RING, FaceView, FramePair
from fapvideo.structs import Bytes, Floats

NEAR, FAR = 1, 4
"""A colour step compares the means of the pixels NEAR to FAR on either side."""
ALONG = 49
"""Steps are averaged over so many neighbouring points of the border, half an eye distance."""
INSIDE = 3
"""Steps are looked for from so many pixels inside the border, where a feathered seam still shows
and the new part hardly does, to `RING` outside, where a part larger than the old one may end."""
SHORTEST = 40
"""Borders with fewer points are left out: the rest of an opening between two parts, a crumb."""
SMOOTH = 2.0
"""The border's direction is taken from a distance blurred with this sigma, pixels."""

_REACH = np.arange(-INSIDE - FAR, RING + FAR + 1, dtype=np.float32)
"""Offsets along the normal at which pictures are read; negative is inside."""


Border = tuple[Floats, Floats]
"""One closed border: its points and outward normals, [N, 2] each, pixels of the crop."""


class Seam:
    """Colour and gradient step across the border: group `seam.*`."""

    definitions: ClassVar[tuple[Definition, ...]] = (
        Definition(
            "seam.colour", "Colour step at the seam", "dE", "lower",
            "CIE76 difference between the pixels inside and outside the mask's border (4 px each), "
            "as far as the source's at the same place does not explain it; mean over the border, "
            "at the worst distance from 3 px inside it to 8 px outside. 2.3 is just noticeable.",
            "own; CIE76 and its threshold: Sharma, Digital Color Imaging Handbook, 2003",
            headline=True, curve=True,
        ),
        Definition(
            "seam.gradient", "Edge at the seam", "levels/px", "lower",
            "Steepness of lightness across the mask's border, as far as the source's at the same "
            "place does not explain it; mean over the border, at the worst distance from 3 px "
            "inside it to 8 px outside: a hard edge, even a faint one.", "own", curve=True,
        ),
    )  # fmt: skip

    def __init__(self) -> None:
        """Prepare for one clip."""
        self._seen: dict[str, list[float]] = {}

    def update(self, pair: FramePair) -> Mapping[str, float]:
        """Measure every face of one frame; the curves are the worst face's."""
        out: dict[str, float] = {}
        for view in pair.faces:
            for key, value in seams(view).items():
                self._seen.setdefault(key, []).append(value)
                out[key] = max(value, out.get(key, 0.0))
        return out

    def summary(self) -> Mapping[str, float]:
        """Return the means over all frames and faces."""
        return {key: float(np.mean(values)) for key, values in self._seen.items()}


def seams(view: FaceView) -> dict[str, float]:
    """Return `seam.colour` and `seam.gradient` of one face; empty where it has no border."""
    found = []
    pictures = [_lab(view.result), _lab(view.source)]
    for border in _borders(view):
        profiles = [_profiles(picture, border) for picture in pictures]
        colour = _excess([_colour_steps(profile) for profile in profiles])
        slopes = [np.diff(profile[:, FAR:-FAR, :1], axis=1) for profile in profiles]
        gradient = _excess(slopes) * 255 / 100  # L is 0..100
        found.append((len(border[0]), colour, gradient))
    if not found:
        return {}
    lengths, colours, gradients = np.array(found).T
    return {
        "seam.colour": float(np.average(colours, weights=lengths)),
        "seam.gradient": float(np.average(gradients, weights=lengths)),
    }


def _excess(steps: list[Floats]) -> float:
    """Return the steps that the result has and the source does not, at the worst distance.

    A step counts by its distance from the source's own, or from any weaker one like it: less
    contrast than the source has is no seam. `steps` are the result's and the source's, [points,
    distances, channels] each.
    """
    result, source = (uniform_filter1d(step, ALONG, axis=0, mode="wrap") for step in steps)
    likeness = (result * source).sum(axis=2) / np.maximum((source**2).sum(axis=2), 1e-9)
    new = result - np.clip(likeness, 0, 1)[..., None] * source
    return float(np.linalg.norm(new, axis=2).mean(axis=0).max())


def _colour_steps(profile: Floats) -> Floats:
    """Return [points, distances, 3]: outer minus inner mean colour at each distance."""
    sums = np.cumsum(np.pad(profile, ((0, 0), (1, 0), (0, 0))), axis=1)
    width = FAR - NEAR + 1
    means = (sums[:, width:] - sums[:, :-width]) / width  # [i] is of offsets i .. i + width - 1
    return means[:, width + 2 * NEAR - 1 :] - means[:, : -(width + 2 * NEAR - 1)]


def _profiles(picture: Floats, border: Border) -> Floats:
    """Return [points, offsets, 3]: the picture read along the normals."""
    points, normals = border
    places = points[:, None] + _REACH[None, :, None] * normals[:, None]
    x, y = (np.ascontiguousarray(places[..., axis]) for axis in (0, 1))
    return cv2.remap(picture, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def _borders(view: FaceView) -> list[Border]:
    """Return the borders of the mask, as far as they lie well inside the frame."""
    mask = view.mask.astype(np.uint8)
    distance = cv2.distanceTransform(1 - mask, cv2.DIST_L2, 5)
    distance -= cv2.distanceTransform(mask, cv2.DIST_L2, 5)
    distance = cv2.GaussianBlur(distance, (0, 0), SMOOTH)
    slope_y, slope_x = np.gradient(distance)
    reach = int(_REACH[-1])
    kernel = np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)
    usable = cv2.erode(view.inside_frame.astype(np.uint8), kernel, borderValue=0) > 0
    out = []
    for contour in cv2.findContours(mask, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)[0]:
        x, y = contour[:, 0].T
        keep = usable[y, x]
        if keep.sum() < SHORTEST:
            continue
        normals = np.stack([slope_x[y, x], slope_y[y, x]], axis=-1)
        normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-6)
        points = np.stack([x, y], axis=-1).astype(np.float32)
        out.append((points[keep], normals[keep].astype(np.float32)))
    return out


def _lab(rgb: Bytes) -> Floats:
    """Return CIE L*a*b* of sRGB, L in 0..100."""
    return cv2.cvtColor(rgb.astype(np.float32) / 255, cv2.COLOR_RGB2Lab)
