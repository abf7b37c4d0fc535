"""Puts the guide together: shape, warp, gaze, colour, membrane."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from fapvideo.config.schema import GuideConfig
from fapvideo.guide.colour import (
    SKIN_DARK_REFERENCE,
    SKIN_DARK_TARGET,
    match_light,
    match_ring,
    membrane,
    rim_membrane,
    skin_map,
)
from fapvideo.guide.eye_light import light_eyes, shaded
from fapvideo.guide.eyes import EyeView, PhotoEyes, add_glints, eye_views, lay_irises, photo_eyes
from fapvideo.guide.lips import draw_line
from fapvideo.guide.sharpness import match_sharpness
from fapvideo.guide.warp import sample, source_map, triangle_map, without_teeth
from fapvideo.ops import mesh
from fapvideo.ops.image import (
    as_rgb,
    blur,
    closed,
    reduced,
    reduction,
    signed_distance,
    smoothstep,
    soft_edge,
    window_of,
)
from fapvideo.structs import Floats, PartMasks

RIM = 0.1
"""Width of the band inside the hole's edge that lies outside the part proper."""
INNER_LIPS = 0.018
"""Softness of the lips' inner edge, inter-ocular distances."""
RING = 0.16
"""Width of the skin ring around the hole, inter-ocular distances."""
LIDS, BROWS = (0.02, 0.2), 0.06
"""How far about an eye its closed lids are the target's, and softness; and softness about brows,
which are new: inter-ocular distances."""
DARK_BESIDE, TEXTURE = 0.17, 0.92
"""Half the width of what is dark beside skin, inter-ocular distances, and what share of skin's
brightness is its texture yet."""
SURROUNDINGS, AMID = 0.12, (0.35, 0.6)
"""Blur that tells what is around a pixel, inter-ocular distances, and shares of skin there from
which on something dark may be of an old part, and surely is."""


@dataclass(frozen=True, slots=True)
class GuidePart:
    """One reference, warped: which parts it gives, its photo, and where its points belong."""

    parts: tuple[str, ...]
    image: Floats
    """[S', S', 3] reference crop, RGB in [0, 1]; of `lips.guide_photo`."""
    source: Floats
    """[478, 3] its landmarks, in its own pixels."""
    points: Floats
    """[478, 3] the guide landmarks, in the target crop's pixels."""
    eyes: PhotoEyes | None = None
    """Of `photo_eyes`, which takes a few milliseconds; made anew where it is not given."""
    iris: float | None = None
    """Radius of the target's irises, inter-ocular distances: with smaller ones it would stare.
    Where the photo's are larger, or none is given, theirs counts."""


@dataclass(frozen=True, slots=True)
class Guide:
    """The guide of one face in one frame."""

    picture: Floats
    """[S, S, 3] the target crop with its hole filled by the fitted references."""
    trust: Floats
    """[S, S] in [0, 1]: how far it may be shown. Low on the rim of a part where the reference or
    the target shows hair, glasses or background instead of skin."""


def build_guide(
    target: Floats,
    landmarks: Floats,
    pieces: Sequence[GuidePart],
    masks: PartMasks,
    config: GuideConfig,
    interocular: float,
    shut: Sequence[float] | Floats = (0.0, 0.0),
    *,
    moved_lips: bool = False,
    leftovers: Floats | None = None,
) -> Guide:
    """Fill the hole of the target crop with the fitted references.

    Args:
        target: [S, S, 3] target crop, RGB in [0, 1].
        landmarks: [478, 3] target landmarks in the crop.
        pieces: the references; together they give every part in `masks.parts`.
        masks: of this face, same size.
        config: `[guide]`.
        interocular: in crop pixels.
        shut: how far the target's right and left eye are closed, from `lids_shut`. A closed lid is
            the target's own: a photo of an open eye squeezed together is a dark bar.
        moved_lips: the guide's lips lie elsewhere than the target's; what is between these is
            brought along. The hole must then hold the inner mouth.
        leftovers: [S, S] in [0, 1] where what is no skin is of an old part, and goes with it.

    Why so: docs/method.md.
    """
    size = target.shape[0]
    oval = _oval(landmarks, size, interocular) * (masks.inner_mouth <= 0)
    skin = oval * skin_map(target, landmarks, SKIN_DARK_TARGET)
    own = [np.maximum.reduce([masks.parts[part] for part in piece.parts]) for piece in pieces]
    # A reference is needed a little beyond its part too: the membrane compares it there.
    reaches = [mask + 0.02 * blur(mask, RING * interocular) for mask in own]
    total = np.sum(reaches, axis=0)
    change = np.zeros((size, size, 3), np.float32)
    bare = np.zeros((size, size), np.float32)
    views: list[EyeView] = []
    for piece, mask, reach in zip(pieces, own, reaches, strict=True):
        fitted, shown, eyes = _fit_piece(
            target, landmarks, piece, mask, masks.core, oval, skin, config, interocular
        )
        views += eyes
        share = reach / np.maximum(total, 1e-4) * (total > 1e-4)
        fitted -= target
        fitted *= as_rgb(share)
        change += fitted
        bare += shown * share
    if config.membrane:
        _make_seamless(change, target, masks, oval, skin, bare, views, interocular)
    change *= as_rgb(masks.core)
    change += target
    picture = np.clip(change, 0.0, 1.0).astype(np.float32, copy=False)
    if moved_lips:
        _bring_inner_mouth(picture, target, landmarks, pieces, interocular)
    whole = np.maximum(masks.hole, masks.inner_mouth)  # the lips' inner edge is no rim
    _show_own(picture, target, masks, landmarks, pieces, shut, interocular)
    return Guide(picture, _trust(whole, bare, _clear(skin, leftovers, interocular), interocular))


def closed_eyes(
    landmarks: Floats,
    shut: Sequence[float] | Floats,
    size: int,
    iod: float,
    brows: Floats | None = None,
) -> Floats:
    """Return [size, size] how much of the target's own closed lids is to be seen.

    With the points `brows` [478, >=2] of new ones, no more than up to these and the old ones.
    """
    out = np.zeros((size, size), np.float32)
    for ring, amount in zip((mesh.RIGHT_EYE_RING, mesh.LEFT_EYE_RING), shut, strict=True):
        if amount > 0.0:
            distance = signed_distance([landmarks[list(ring), :2]], size, sum(LIDS) * iod)
            out = np.maximum(out, amount * soft_edge(distance, LIDS[0] * iod, LIDS[1] * iod))
    if brows is None or not out.any():
        return out
    rings = [shape[list(r), :2] for shape in (landmarks, brows) for r in mesh.outlines("brows")]
    distance = signed_distance(rings, size, BROWS * iod)
    return out * (1.0 - soft_edge(distance, 0.0, BROWS * iod))


def _make_seamless(
    change: Floats,
    target: Floats,
    masks: PartMasks,
    oval: Floats,
    skin: Floats,
    bare: Floats,
    eyes: Sequence[EyeView],
    interocular: float,
) -> None:
    """Correct, in place, the guide's difference [S, S, 3] from the target until no rim is seen."""
    rim = (blur(masks.core, RING * interocular / 3) > 0.04) & (masks.core < 0.5)
    weights = rim * skin * bare + 1e-4 * (rim * oval)
    difference = -change
    correction = membrane(difference, weights, interocular)
    opened = np.maximum(masks.core, masks.inner_mouth)
    window = window_of(opened, RING * interocular)
    near, share = rim_membrane(difference[window], opened[window], oval[window], interocular)
    near -= correction[window]
    near *= as_rgb(share)
    correction[window] += near
    correction *= _lit_share(target + change, interocular)
    for eye in eyes:
        under = correction[eye.window]
        shade = shaded(target[eye.window] + change[eye.window], under)
        under += as_rgb(eye.inside) * (shade - under)
    change += correction


def _lit_share(picture: Floats, interocular: float) -> Floats:
    """Return [S, S, 3] in [0, 1] what share of skin's correction a pixel takes: light multiplies.

    What is dark beside skin, such as a brow's edge, would turn orange, blue or grey with all of it.
    Over the guides of 48 held-out portraits, against their truth, with the line of `lips`: 24.87 to
    25.1 dB (a trial whose script is not kept).
    """
    factor = reduction(DARK_BESIDE * interocular, picture.shape)
    radius = max(1, round(DARK_BESIDE * interocular / factor))
    level = closed(reduced(picture, factor), radius)
    level = cv2.resize(level, picture.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    return np.clip(picture / np.maximum(TEXTURE * level, 0.05), 0.0, 1.0)


def _bring_inner_mouth(
    picture: Floats, target: Floats, landmarks: Floats, pieces: Sequence[GuidePart], iod: float
) -> None:
    """Put what the target shows between its lips, in place, between the guide's [S, S, 3]."""
    size = picture.shape[0]
    points = next((piece.points for piece in pieces if "mouth" in piece.parts), None)
    if points is None:
        return
    distance = signed_distance([points[list(mesh.LIPS_INNER), :2]], size, 0.0)
    inside = soft_edge(distance, -INNER_LIPS * iod, INNER_LIPS * iod)
    where = source_map(points, landmarks, triangle_map(points, size))
    picture += (sample(target, where) - picture) * as_rgb(inside)


def _show_own(
    picture: Floats,
    target: Floats,
    masks: PartMasks,
    landmarks: Floats,
    pieces: Sequence[GuidePart],
    shut: Sequence[float] | Floats,
    iod: float,
) -> None:
    """Put the target's line between lips and its closed lids into the guide [S, S, 3], in place.

    A photo of an open eye squeezed together is a dark bar, and its shade says nothing of lids.
    """
    if "mouth" in masks.parts:
        draw_line(picture, target, landmarks, masks.core, iod)
    brows = next((piece.points for piece in pieces if "brows" in piece.parts), None)
    lids = closed_eyes(landmarks, shut, len(picture), iod, brows) * masks.core
    if lids.any():
        picture += (target - picture) * as_rgb(lids)


def _clear(skin: Floats, leftovers: Floats | None, interocular: float) -> Floats:
    """Return [S, S] what may be covered: skin, and on skin what is left of an old part.

    What is dark beside skin is hair.
    """
    if leftovers is None:
        return skin
    near = blur(skin, SURROUNDINGS * interocular)
    return np.maximum(skin, leftovers * smoothstep((near - AMID[0]) / (AMID[1] - AMID[0])))


def _trust(hole: Floats, bare: Floats, skin: Floats, interocular: float) -> Floats:
    """Return 1 minus how much the rim of the hole is something else than skin on either side."""
    radius = max(1, round(RIM * interocular))
    trust = np.ones_like(hole)  # outside the hole it does not matter
    window = window_of(hole, 2 * radius)
    hole, bare, skin = hole[window], bare[window], skin[window]
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    # 8 bits are enough for what is blurred next, and several times as fast.
    inside = cv2.erode(np.rint(hole * 255).astype(np.uint8), kernel).astype(np.float32)
    inside = blur(inside, radius / 2) / 255
    clear = smoothstep(1.5 * blur(np.minimum(bare, skin), 0.03 * interocular))
    trust[window] -= (1.0 - inside) * (1.0 - clear)
    return trust


def _fit_piece(
    target: Floats,
    landmarks: Floats,
    piece: GuidePart,
    mask: Floats,
    core: Floats,
    oval: Floats,
    skin: Floats,
    config: GuideConfig,
    interocular: float,
) -> tuple[Floats, Floats, Sequence[EyeView]]:
    """Return one reference [S, S, 3], warped, under the target's colour and light, and its skin.

    The second value [S, S] says where the reference shows skin; the third, where its eyes are, if
    it gives any.
    """
    ids = triangle_map(piece.points, target.shape[0])
    source = without_teeth(piece.source) if "mouth" in piece.parts else piece.source
    where = source_map(piece.points, source, ids)
    views: Sequence[EyeView] = ()
    if "eyes" in piece.parts:
        eyes = piece.eyes or photo_eyes(piece.image, source)
        looking = landmarks if config.gaze == "target" else source
        radius = max(piece.iris or 0.0, eyes.radius)
        views = eye_views(piece.points, looking, radius, len(target), interocular)
        warped = lay_irises(sample(eyes.image, where), piece.points, eyes, views, interocular)
    else:
        warped = sample(piece.image, where)
    if config.sharpness:
        warped = match_sharpness(warped, target, mask, config.sharpness, interocular)
    face = oval * (ids >= 0)
    bare = face * skin_map(warped, piece.points, SKIN_DARK_REFERENCE)
    near = (blur((mask > 0).astype(np.float32), RING * interocular / 2) > 0.04) & (core < 0.5)
    contrast = (config.contrast_min, config.contrast_max)
    matched = match_ring(warped, target, near * skin * bare, config.colour, contrast)
    lit = match_light(matched, target, face, config.light, interocular)
    if views:
        if config.colour:
            light_eyes(lit, warped, target, landmarks, piece.points, views, interocular)
        add_glints(lit, target, landmarks, views)
    return cv2.copyTo(target, (ids < 0).astype(np.uint8), lit), bare, views


def _oval(landmarks: Floats, size: int, interocular: float) -> Floats:
    """Return [size, size] 1 well inside the face: skin that may be compared."""
    distance = signed_distance([landmarks[list(mesh.FACE_OVAL), :2]], size, 0.0)
    return soft_edge(distance, -0.12 * interocular, 0.06 * interocular)


def pieces_by_reference(chosen: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """Group `part -> reference id` so that a photo used for several parts is warped once."""
    groups: dict[str, tuple[str, ...]] = {}
    for part, reference in chosen.items():
        groups[reference] = (*groups.get(reference, ()), part)
    return groups
