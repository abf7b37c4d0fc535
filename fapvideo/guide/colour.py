"""Fitting the warped reference to the target's light: ring statistics and a membrane."""

from __future__ import annotations

import cv2
import numpy as np

from fapvideo.ops.image import blur, luma
from fapvideo.structs import Floats

CHEEKS = (50, 280, 205, 425, 101, 330, 118, 347, 187, 411, 117, 346, 36, 266, 6, 197, 195, 9)
"""Mesh points that are bare skin on nearly every face: cheeks, nose ridge, glabella."""
LIGHT_REACH = 0.28
"""Blur of the brightness difference that counts as light, inter-ocular distances."""
LIGHT_LIMIT = 0.3
TINT_LIMIT = 0.12
MEMBRANE_LIMIT, MEMBRANE_LOCAL, MEMBRANE_TINT = 0.25, 0.08, 0.02
"""Largest correction on the rim, and largest departure from its surroundings' correction, in
brightness and in colour."""
SKIN_DARK_REFERENCE, SKIN_DARK_TARGET = 0.2, 0.4
"""A beard of the target may count, hair of the reference over a brow may not."""


def skin_map(image: Floats, landmarks: Floats, darkest: float) -> Floats:
    """Return [S, S] in [0, 1]: how much each pixel looks like this face's own skin.

    The model is the median colour of the cheeks. Brightness may vary more than colour, since
    shading is skin; what is darker by more than `darkest` is hair, glasses or background.

    Args:
        image: [S, S, 3] RGB in [0, 1].
        landmarks: [478, >=2] of the face in it.
        darkest: largest luma (0..1) by which skin may fall below the cheeks.
    """
    size = image.shape[0]
    at = np.clip(landmarks[list(CHEEKS), :2].astype(np.int64), 0, size - 1)
    cheeks = blur(image, size / 64)[at[:, 1], at[:, 0]]
    middle = np.median(cheeks, axis=0)
    grey, grey_middle = luma(image), float(luma(middle))
    tint = np.abs((image - grey[..., None]) - (middle - grey_middle)).max(axis=-1)
    darker = (grey_middle - grey) / darkest
    return np.clip(2.0 - np.maximum(tint / TINT_LIMIT, darker) * 1.5, 0.0, 1.0).astype(np.float32)


def match_ring(
    guide: Floats, target: Floats, weights: Floats, amount: float, contrast: tuple[float, float]
) -> Floats:
    """Return `guide` with the mean and contrast that the target has on the ring around the hole.

    Args:
        guide: [S, S, 3] warped reference, RGB.
        target: [S, S, 3] target crop, RGB.
        weights: [S, S] of ring pixels that are skin in both.
        amount: 0 leaves the colour, 1 matches fully.
        contrast: lowest and highest allowed ratio of deviations (facts/pilot.md: 0.6 to 1.3).
    """
    total = float(weights.sum())
    if total < 8.0:
        return guide
    share = (weights / total)[..., None]
    mean_guide = (guide * share).sum(axis=(0, 1))
    mean_target = (target * share).sum(axis=(0, 1))
    grey_guide, grey_target = luma(guide), luma(target)
    flat = share[..., 0]
    deviation_guide = np.sqrt((flat * (grey_guide - luma(mean_guide)) ** 2).sum())
    deviation_target = np.sqrt((flat * (grey_target - luma(mean_target)) ** 2).sum())
    # The overall brightness already sets much of the contrast: a dark face has weaker texture.
    exposure = float(luma(mean_target) / max(float(luma(mean_guide)), 1e-3))
    ratio = np.sqrt(float(deviation_target / max(float(deviation_guide), 1e-4)) * exposure)
    ratio = float(np.clip(ratio, *contrast))
    matched = (guide - mean_guide) * ratio + mean_target
    return (guide + amount * (matched - guide)).astype(np.float32)


def match_light(
    guide: Floats, target: Floats, face: Floats, amount: float, interocular: float
) -> Floats:
    """Return `guide` under the target's light: broad brightness differences taken out.

    The parts lie on each other, so what differs over more than half an eye distance is mostly
    where the light comes from. Only brightness is moved; the parts keep their colours.

    Args:
        guide: [S, S, 3] colour-matched reference.
        target: [S, S, 3] target crop.
        face: [S, S] weights of pixels that are face in both.
        amount: 0 to 1.
        interocular: pixels.
    """
    difference = np.clip(luma(target) - luma(guide), -LIGHT_LIMIT, LIGHT_LIMIT)
    sigma = LIGHT_REACH * interocular
    weight = blur(face, sigma)
    light = blur(difference * face, sigma) / np.maximum(weight, 1e-3)
    return (guide + amount * light[..., None]).astype(np.float32)


def membrane(difference: Floats, weights: Floats, interocular: float) -> Floats:
    """Return the smooth correction [S, S, 3] that makes the guide meet the target at the rim.

    The difference on the rim, without its fine texture, is spread into the hole by a push-pull
    pyramid (Gortler et al., "The Lumigraph", 1996; the membrane of Perez et al., "Poisson image
    editing", 2003, without a solver). A short stretch that differs much from its surroundings (a
    shadow, a fold of a smile) is limited, or it would smear into the part.

    Args:
        difference: [S, S, 3] target minus guide.
        weights: [S, S] of rim pixels that may be compared.
        interocular: pixels.
    """
    difference = np.clip(difference, -MEMBRANE_LIMIT, MEMBRANE_LIMIT)
    wide, _ = _normalised_blur(difference, weights, 0.3 * interocular)
    near, weight = _normalised_blur(difference, weights, 0.05 * interocular)
    local = near - wide
    shade = luma(local)[..., None]
    near = wide + np.clip(shade, -MEMBRANE_LOCAL, MEMBRANE_LOCAL)
    near += np.clip(local - shade, -MEMBRANE_TINT, MEMBRANE_TINT)
    return push_pull(near, np.minimum(weight * 2.0, 1.0) * (weights > 0))


def _normalised_blur(values: Floats, weights: Floats, sigma: float) -> tuple[Floats, Floats]:
    """Return the weighted local mean of [S, S, C] `values`, and the local weight [S, S]."""
    local = blur(weights, sigma)
    return blur(values * weights[..., None], sigma) / np.maximum(local[..., None], 1e-5), local


def push_pull(values: Floats, weights: Floats) -> Floats:
    """Fill [S, S, C] `values` where `weights` [S, S] are 0, smoothly, keeping them where 1."""
    if min(weights.shape) <= 2:
        total = max(float(weights.sum()), 1e-6)
        mean = (values * weights[..., None]).sum(axis=(0, 1)) / total
        return np.broadcast_to(mean, values.shape).astype(np.float32)
    half = (max(1, (values.shape[1] + 1) // 2), max(1, (values.shape[0] + 1) // 2))
    coarse_weight = cv2.resize(weights, half, interpolation=cv2.INTER_AREA)
    coarse = cv2.resize(values * weights[..., None], half, interpolation=cv2.INTER_AREA)
    coarse = coarse / np.maximum(coarse_weight[..., None], 1e-6)
    # Few samples are as good as many: otherwise far-off but numerous pixels would win.
    filled = push_pull(coarse, np.minimum(coarse_weight * 4.0, 1.0))
    back = cv2.resize(filled, (values.shape[1], values.shape[0]), interpolation=cv2.INTER_LINEAR)
    back = blur(back, 0.8)
    keep = weights[..., None]
    return (keep * values + (1.0 - keep) * back).astype(np.float32)
