"""Eyes in layers: the white with the lids, the iris on it where the target looks, its glint on top.

A photo warped so that its irises lie elsewhere tears them where it shows no more of them: at the
lids, and where the target looks to the side. So a photo's irises are lifted off once, made whole,
and laid anew into every frame.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product

import cv2
import numpy as np
from numpy.typing import NDArray

from fapvideo.guide.colour import push_pull
from fapvideo.ops import mesh
from fapvideo.ops.image import as_rgb, blur, luma, signed_distance, smoothstep, soft_edge
from fapvideo.ops.pose import CROP_INTEROCULAR, head_pose
from fapvideo.structs import Floats

EYES = ((mesh.RIGHT_EYE_LIDS, mesh.RIGHT_IRIS), (mesh.LEFT_EYE_LIDS, mesh.LEFT_IRIS))
TEXTURE = 64
"""Side of an iris' texture, pixels; it reaches `BEYOND` radii from the centre."""
BEYOND = 1.25
RINGS = 12
"""Rings in which an iris is alike all around."""
RADII = (0.06, 0.12)
"""Bounds of an iris' radius, inter-ocular distances: 11.7 mm wide, eyes 63 mm apart make 0.093."""
LIFTED, LIFT_SOFT = 1.12, 0.3
"""Radius, in the iris' own, within which a photo's white is filled anew, and the soft rim of it."""
SURE = 0.86
"""Radii within which a photo shows iris and nothing else; farther out it is as it is there..."""
OFFSETS = tuple(tuple(step * np.arange(-3, 4)) for step in (0.1, 0.025))
"""Where the middle of an iris is looked for: radii from where the mesh has it, then from there."""
SPARSE = 3
"""For that every third place of its texture is enough, both ways."""
RIM_DARKER = 0.35
"""... and darker towards its rim, as irises are."""
LASHES = 0.012
"""Margin inside the lid line where a photo shows lashes and their shadow, inter-ocular."""
LIMBUS = (0.9, 0.18)
"""Where the iris' soft rim begins, and its width, in radii."""
LID_EDGE = 0.02
"""Softness with which lids cut the iris, inter-ocular distances."""
EYEBALL = 0.19
"""Radius of an eyeball, inter-ocular distances (12 mm)."""
BEHIND = 0.1
"""How far the eyeball's centre lies behind the middle of the lid corners, inter-ocular."""
FARTHEST = 0.8
"""Farthest an iris' centre goes from the middle of the corners, in halves of the eye's width."""
GLINT_OVER, GLINT_FULL = 0.1, 0.15
"""A glint is brighter by the first than the iris' median, and certain by the second more."""
GLINT_RANK = 85
"""It is brighter than so many per cent of the iris: what is larger is no glint."""
REFLECTED = 0.65
"""Radii from the centre within which a bright spot is a glint, and not the white."""
DARKEST = 0.35
"""Shade of lid and lashes on an iris is no darker than this."""
NARROW, WIDE, NARROW_SHADE = 0.04, 0.16, 0.5
"""Between these openings, in eye widths, lids that close throw their shade on the eye..."""
LASH_LINE, LASH_SHADE = 0.035, 0.35
"""... and their lashes lie over the slit: a line of this half width, inter-ocular distances."""


@dataclass(frozen=True, slots=True)
class PhotoEyes:
    """A reference's eyes, taken apart."""

    image: Floats
    """[S', S', 3] the photo with white where its irises were."""
    irises: tuple[Floats, Floats]
    """[TEXTURE, TEXTURE, 3] of the right and the left eye, whole, without glints."""
    radius: float
    """Of an iris, inter-ocular distances."""


def photo_eyes(image: Floats, landmarks: Floats) -> PhotoEyes:
    """Take the eyes of a reference's crop [S, S, 3], with its landmarks [478, 3], apart."""
    size = image.shape[0]
    unit = CROP_INTEROCULAR * size
    out, irises = image.copy(), []
    radius = iris_radius(landmarks, unit) * unit
    for lids, iris in EYES:
        inside = -signed_distance([landmarks[list(lids), :2]], size, 0.0) - LASHES * unit
        centre = _middle(image, inside, landmarks[iris[0], :2], radius)
        irises.append(_whole_iris(image, inside, centre, radius))
        _lift(out, inside, centre, radius, unit)
    return PhotoEyes(out, (irises[0], irises[1]), radius / unit)


def iris_radius(shape: Floats, interocular: float = 1.0) -> float:
    """Return the radius of a face's irises, inter-ocular distances.

    Args:
        shape: [478, >=2] points, from the front.
        interocular: in their unit; 1 in the head frame.
    """
    away = [shape[list(iris[1:]), :2] - shape[iris[0], :2] for _, iris in EYES]
    return float(np.clip(np.linalg.norm(away, axis=-1).mean() / interocular, *RADII))


@cache
def _grid() -> tuple[Floats, Floats]:
    """Return [TEXTURE, TEXTURE, 2] places in radii, and their distances from the centre."""
    axis = ((np.arange(TEXTURE, dtype=np.float32) + 0.5) / TEXTURE * 2 - 1) * BEYOND
    places = np.stack(np.meshgrid(axis, axis), axis=-1)
    return places, np.linalg.norm(places, axis=-1)


def _middle(image: Floats, inside: Floats, centre: Floats, radius: float) -> Floats:
    """Return the middle [2] of an iris of a photo, to a fortieth of its radius.

    The mesh says where it is to a tenth or two: enough for gaze, too little for a pupil, which
    would be no disc. It is where rings about it are most alike all around.
    """
    grey = luma(image)
    for offsets in OFFSETS:
        tried = [centre + radius * np.array(offset) for offset in product(offsets, offsets)]
        unlike = [_unlike(grey, inside, about, radius) for about in tried]
        centre = tried[int(np.argmin(unlike))]
    return centre


@cache
def _sparse_rings() -> tuple[Floats, NDArray[np.int64]]:
    """Return [S, S, 2] every SPARSE-th place of a texture, in radii, and [S, S] its ring."""
    places, away = (grid[::SPARSE, ::SPARSE] for grid in _grid())
    return places, np.minimum((away / SURE * RINGS).astype(np.int64), RINGS)


def _unlike(grey: Floats, inside: Floats, centre: Floats, radius: float) -> float:
    """Return the variance of an iris' brightness along rings about a place."""
    places, rings = _sparse_rings()
    at = (places * radius + centre - 0.5).astype(np.float32)
    seen, clear = (
        cv2.remap(one, at, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        for one in (grey, inside)
    )
    shown = (clear > 0.12 * radius) & (rings < RINGS)
    if not shown.any():
        return 0.0
    shown &= seen <= np.percentile(seen[shown], GLINT_RANK)  # a glint is not alike
    of, seen = rings[shown], seen[shown]
    count, total, squares = (np.bincount(of, w, RINGS) for w in (None, seen, seen**2))
    return float((squares - total**2 / np.maximum(count, 1)).sum() / len(seen))


def _whole_iris(image: Floats, inside: Floats, centre: Floats, radius: float) -> Floats:
    """Return an iris [TEXTURE, TEXTURE, 3]: as it is seen, and what is hidden like its ring.

    Irises look alike all around, so behind a lid or under a glint there is what lies at the same
    distance from the pupil elsewhere.
    """
    places, away = _grid()
    at = (places * radius + centre - 0.5).astype(np.float32)
    seen = cv2.remap(image, at, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    clear = cv2.remap(inside, at, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    shown = smoothstep(clear / (0.12 * radius)) * smoothstep((SURE - away) / 0.08)
    grey = luma(seen)
    rings = np.minimum((away / SURE * RINGS).astype(int), RINGS)
    profile = np.zeros((RINGS, 3), np.float32)
    for ring in range(RINGS):
        of = (rings == ring) & (shown > 0.5)
        of = of if of.sum() >= 4 else shown > 0.5
        profile[ring] = np.median(seen[of], axis=0) if of.any() else seen[away < 0.8].mean(axis=0)
    where = away / SURE * RINGS - 0.5
    even = np.stack([np.interp(where, np.arange(RINGS), one) for one in profile.T], axis=-1)
    even *= 1.0 - RIM_DARKER * smoothstep((away - 0.8) / 0.2)[..., None]
    glint = smoothstep((grey - luma(even) - 0.08) / 0.1) * (away < 0.9)
    glint = cv2.dilate(glint.astype(np.float32), np.ones((5, 5), np.uint8))
    share = shown * (1.0 - np.clip(blur(glint, 1.5) * 2, 0, 1))
    return (even + (seen - even) * share[..., None]).astype(np.float32)


def _lift(image: Floats, inside: Floats, centre: Floats, radius: float, unit: float) -> None:
    """Fill, in place, the iris of a photo [S, S, 3] with the white on its sides."""
    size = image.shape[0]
    reach = int(4 * radius)
    rows, columns = (
        slice(max(0, int(middle) - reach), min(size, int(middle) + reach))
        for middle in (centre[1], centre[0])
    )
    y, x = np.mgrid[rows, columns].astype(np.float32) + 0.5
    away = np.hypot(x - centre[0], y - centre[1]) / radius
    clear, window = inside[rows, columns], image[rows, columns]
    known = ((clear > 0) & (away > LIFTED)).astype(np.float32)
    clear = clear + np.where(y > centre[1], 2 * LASHES * unit, 0.0)  # the lower lid has no lashes
    if known.sum() < 4:
        return
    # In the shadow of lashes, too, white is white: what is darker than most of it is no part of it.
    grey = luma(window)
    known *= grey >= np.median(grey[known > 0])
    white = push_pull(window, known)
    fill = smoothstep((LIFTED + LIFT_SOFT - away) / LIFT_SOFT)
    fill = fill * smoothstep(clear / (0.015 * unit) + 0.5)
    window += (white - window) * as_rgb(fill.astype(np.float32))


@dataclass(frozen=True, slots=True)
class EyeView:
    """One of the guide's eyes in the target's crop, in a window around it."""

    window: tuple[slice, slice]
    """Rows and columns of the crop."""
    distance: Floats
    """[H, W] pixels to the line of the lids, negative between them."""
    inside: Floats
    """[H, W] in [0, 1] how far they lie between the lids."""
    centre: Floats
    """[2] of the iris, pixels of the crop."""
    places: Floats
    """[H, W, 2] offsets from it in radii, the eyeball's curvature counted."""


def eye_views(
    points: Floats, own: Floats, radius: float, size: int, interocular: float
) -> tuple[EyeView, EyeView]:
    """Return both eyes, with their irises where they belong, each on its own.

    Args:
        points: [478, 3] the guide's landmarks.
        own: [478, >=2] landmarks of the face that says where the eyes look.
        radius: of an iris, inter-ocular distances.
        size: side of the crop.
        interocular: in pixels.
    """
    pose = head_pose(points)
    behind = pose.turn(np.array([[0.0, 0.0, BEHIND]]))[0, :2]
    found = []
    for lids, iris in EYES:
        start, end = (points[lids[k], :2].astype(np.float64) for k in (0, 8))
        theirs, they_end = (own[lids[k], :2].astype(np.float64) for k in (0, 8))
        onto = _frame(start, end) @ np.linalg.pinv(_frame(theirs, they_end))
        middle = (start + end) / 2
        offset = onto @ (own[iris[0], :2] - (theirs + they_end) / 2)
        half = float(np.linalg.norm(end - start)) / 2
        offset *= min(1.0, FARTHEST * half / max(float(np.linalg.norm(offset)), 1e-6))
        centre = middle + offset
        # The iris is a disc on a ball: seen from the side it is narrower.
        lean = (centre - middle - behind) / (EYEBALL * interocular)
        sine = min(float(np.linalg.norm(lean)), 0.85)
        axis = lean / max(float(np.linalg.norm(lean)), 1e-6)
        narrow = np.sqrt(1.0 - sine**2)
        into = np.eye(2) + (1.0 / narrow - 1.0) * np.outer(axis, axis)
        into /= radius * interocular
        found.append(_view(points[list(lids), :2], centre, into, size, interocular))
    return found[0], found[1]


def _view(ring: Floats, centre: Floats, into: Floats, size: int, interocular: float) -> EyeView:
    """Return the eye with these lids [16, 2]; `into` [2, 2] leads from pixels to radii."""
    low, high = ring.min(axis=0) - 0.1 * interocular, ring.max(axis=0) + 0.1 * interocular
    low, high = (np.clip(corner, 0, size).astype(int) for corner in (low, high))
    window = (slice(low[1], max(high[1], low[1] + 1)), slice(low[0], max(high[0], low[0] + 1)))
    distance = signed_distance([ring], size, 2 * LASH_LINE * interocular, window)
    y, x = np.mgrid[window].astype(np.float64) + 0.5
    places = (np.stack([x, y], axis=-1) - centre) @ into.T
    return EyeView(window, distance, _open(distance, interocular), centre, places)


def _frame(start: Floats, end: Floats) -> Floats:
    """Return [2, 2]: an eye's axis from corner to corner, and what is square to it."""
    axis = end - start
    return np.array([[axis[0], -axis[1]], [axis[1], axis[0]]])


def lay_irises(
    picture: Floats,
    points: Floats,
    eyes: PhotoEyes,
    views: Sequence[EyeView],
    interocular: float,
) -> Floats:
    """Return `picture` [S, S, 3], the warped photo without irises, with them where they belong."""
    out = picture.copy()
    for (lids, _), texture, view in zip(EYES, eyes.irises, views, strict=True):
        ring = points[list(lids), :2]
        opening = np.linalg.norm(ring[1:8] - ring[15:8:-1], axis=1).mean()
        opening /= max(float(np.linalg.norm(ring[0] - ring[8])), 1e-6)
        narrow = 1.0 - float(smoothstep(np.array((opening - NARROW) / (WIDE - NARROW))))
        places, open_ = view.places, view.inside
        away = np.linalg.norm(places, axis=-1)
        alpha = open_ * smoothstep((LIMBUS[0] + LIMBUS[1] - away) / LIMBUS[1])
        at = ((places / BEYOND + 1) / 2 * TEXTURE - 0.5).astype(np.float32)
        iris = cv2.remap(texture, at, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        under = out[view.window]
        grey = blur(luma(under), 0.02 * interocular)
        seen = grey[open_ > 0.5]
        light = float(np.percentile(seen, 75)) if seen.size else float(grey.max())
        shade = np.clip(grey / max(light, 1e-3), DARKEST, 1.0)
        under += (iris * as_rgb(shade) - under) * as_rgb(alpha.astype(np.float32))
        lashes = soft_edge(np.abs(view.distance), 0.0, LASH_LINE * interocular)
        dark = narrow * np.maximum(NARROW_SHADE * open_, narrow**2 * LASH_SHADE * lashes)
        under *= as_rgb((1.0 - dark).astype(np.float32))
    return out


def openings(points: Floats, size: int, interocular: float) -> Floats:
    """Return [size, size] what lies between the lids of both eyes of `points` [478, >=2]."""
    rings = [points[list(lids), :2] for lids, _ in EYES]
    return _open(signed_distance(rings, size, LID_EDGE * interocular), interocular)


def add_glints(
    picture: Floats,
    target: Floats,
    landmarks: Floats,
    views: Sequence[EyeView],
) -> None:
    """Put, in place, the glints of the target's eyes on the irises of `picture` [S, S, 3].

    Args:
        picture: the guide in the target's colours.
        target: [S, S, 3] the target crop.
        landmarks: [478, >=2] of the target in it.
        views: the guide's eyes.
    """
    for (_, iris), view in zip(EYES, views, strict=True):
        disc = view.inside * (np.linalg.norm(view.places, axis=-1) < REFLECTED)
        if (disc > 0.5).sum() < 4:
            continue
        y, x = np.mgrid[view.window].astype(np.float32) + 0.5
        moved = (landmarks[iris[0], :2] - view.centre).astype(np.float32) - 0.5
        at = np.stack([x, y], axis=-1) + moved
        own = cv2.remap(target, at, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        grey = luma(own)
        least, most = np.percentile(grey[disc > 0.5], (50, GLINT_RANK))
        over = grey - max(float(least) + GLINT_OVER, float(most))
        glint = smoothstep(over / GLINT_FULL) * disc
        under = picture[view.window]
        under += (np.maximum(own, under) - under) * as_rgb(glint.astype(np.float32))


def _open(distance: Floats, interocular: float) -> Floats:
    """Return how far pixels lie between the lids, of their distances from that."""
    return soft_edge(distance, -LID_EDGE * interocular, LID_EDGE * interocular)
