"""Fitting the warped reference to the target's light: ring statistics and a membrane."""

from __future__ import annotations

import cv2
import numpy as np

from fapvideo.ops.image import LUMA, as_rgb, block_span, blur, luma, reduced, reduction, smoothstep
from fapvideo.structs import Floats

CHEEKS = (50, 280, 205, 425, 101, 330, 118, 347, 187, 411, 117, 346, 36, 266, 6, 197, 195, 9)
"""Mesh points that are bare skin on nearly every face: cheeks, nose ridge, glabella."""
LIGHT_REACH = 0.28
"""Blur of the brightness difference that counts as light, inter-ocular distances."""
LIGHT_LIMIT = 0.3
LIT, DARKEST = (0.3, 2.5), 0.05
"""What light may multiply by, and the brightness (0..1) from which on that is to be had."""
TINT_LIMIT = 0.12
NEAR, WIDE = 0.05, 0.3
"""Blurs of the membrane's values and of their surroundings, inter-ocular distances."""
MEMBRANE_LIMIT, MEMBRANE_LOCAL, MEMBRANE_TINT = 0.25, 0.08, 0.02
"""Largest correction on the rim, and largest departure from its surroundings' correction, in
brightness and in colour."""
RIM_WIDTH, RIM_NEAR = 0.055, 0.02
"""Width of the band around the hole that it has to meet, and blur along it, inter-ocular."""
RIM_DEPTH = 0.25
"""How far into the hole the band's own correction reaches, inter-ocular distances."""
POOLED = 4.0
"""Few samples in a pixel of a reduced picture are as good as many: otherwise far-off but numerous
pixels would win."""
SMOOTH_ENLARGED = 0.8
"""Blur, in pixels, that takes the creases out of a picture enlarged by two."""
DARK = (0.97, 0.72)
"""Shares of skin's brightness below which a pixel of the guide begins to be dark, and is."""
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
    middle = _cheeks(image, landmarks)
    grey, grey_middle = luma(image), float(luma(middle))
    # The colour without its brightness, less the cheeks': a matrix with a shift, in one pass.
    shifted = np.column_stack([np.eye(3) - LUMA, grey_middle - middle]).astype(np.float32)
    red, green, blue = np.abs(cv2.transform(image, shifted)).transpose(2, 0, 1)
    tint = np.maximum(np.maximum(red, green), blue)
    darker = (grey_middle - grey) / darkest
    return np.clip(2.0 - np.maximum(tint / TINT_LIMIT, darker) * 1.5, 0.0, 1.0)


def _cheeks(image: Floats, landmarks: Floats) -> Floats:
    """Return [3] the median colour of the cheeks; what is blurred is the picture around them."""
    size = image.shape[0]
    sigma = size / 64
    at = np.clip(landmarks[list(CHEEKS), :2].astype(np.int64), 0, size - 1)
    low, high = at.min(axis=0), at.max(axis=0)
    columns, rows = (block_span(low[k], high[k], 4 * sigma) for k in range(2))
    soft = blur(image[rows, columns], sigma)
    return np.median(soft[at[:, 1] - rows.start, at[:, 0] - columns.start], axis=0)


def match_ring(
    guide: Floats, target: Floats, weights: Floats, amount: float, contrast: tuple[float, float]
) -> Floats:
    """Return `guide` with the mean that the target has on the ring around the hole.

    Contrast follows the exposure, by half in logarithms: a dark face has weaker texture. What the
    ring's own deviations say of contrast is mostly what lies on it (a brow, a shadow), and matching
    them made parts flat: LPIPS 0.166 against 0.145 this way, over the guides of the first 48 swaps
    of `benchmarks/photo_truth.py`.

    Args:
        guide: [S, S, 3] warped reference, RGB.
        target: [S, S, 3] target crop, RGB.
        weights: [S, S] of ring pixels that are skin in both.
        amount: 0 leaves the colour, 1 matches fully.
        contrast: lowest and highest allowed gain of contrast (docs/method.md: 0.6 to 1.3).
    """
    total = float(weights.sum())
    if total < 8.0:
        return guide
    share = (weights / total).ravel()
    mean_guide, mean_target = (share @ image.reshape(-1, 3) for image in (guide, target))
    exposure = float(luma(mean_target) / max(float(luma(mean_guide)), 1e-3))
    ratio = float(np.clip(np.sqrt(exposure), *contrast))
    shift = mean_target - ratio * mean_guide
    matched = _linear(guide, np.full(3, ratio), shift)
    # Dark pixels: what light makes of them, in place of what the shift does.
    lit = _linear(guide, mean_target / np.maximum(mean_guide, 1e-3) - ratio, -shift)
    lit *= as_rgb(_dark(guide, mean_guide))
    matched += lit
    return matched if amount == 1.0 else guide + amount * (matched - guide)


def _linear(image: Floats, gain: Floats, shift: Floats) -> Floats:
    """Return [H, W, 3] `image` times `gain` [3] plus `shift` [3]."""
    return cv2.transform(image, np.column_stack([np.diag(gain), shift]).astype(np.float32))


def _dark(guide: Floats, mean: Floats) -> Floats:
    """Return [S, S] how far pixels are so dark, beside skin of colour `mean`, that they are lit.

    What takes skin to skin is a shift, which has a colour of its own on black: lashes, brows and
    nostrils turned orange on warm skin, blue on pale, and grey on light. Light multiplies. Over 128
    held-out portraits: 24.55 to 24.76 dB, LPIPS 0.105 to 0.098, the colour of dark pixels off by
    16.5 instead of 23.1 levels; by 14.8 since more than the darkest counts. Skin itself is
    better off with the shift (see above).
    """
    begin, end = (share * float(luma(mean)) for share in DARK)
    return smoothstep((begin - luma(guide)) / max(begin - end, 1e-6))


def match_light(
    guide: Floats, target: Floats, face: Floats, amount: float, interocular: float
) -> Floats:
    """Return `guide` under the target's light: broad brightness differences taken out.

    The parts lie on each other, so what differs over more than half an eye distance is mostly
    where the light comes from. Light multiplies: what is taken from all colours alike leaves a
    saturated orange in the shade of warm skin. Over 96 held-out portraits, against their truth:
    25.14 to 25.21 dB, LPIPS 0.099 to 0.095, colour in the shade 14.1 to 13.5 levels off.

    Args:
        guide: [S, S, 3] colour-matched reference.
        target: [S, S, 3] target crop.
        face: [S, S] weights of pixels that are face in both.
        amount: 0 to 1.
        interocular: pixels.
    """
    own = luma(guide)
    difference = np.clip(luma(target) - own, -LIGHT_LIMIT, LIGHT_LIMIT)
    sigma = LIGHT_REACH * interocular
    weight = np.maximum(blur(face, sigma), 1e-3)
    light, level = (blur(values * face, sigma) / weight for values in (difference, own))
    return guide * as_rgb(np.clip(1.0 + amount * light / np.maximum(level, DARKEST), *LIT))


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
    weighted = np.clip(difference, -MEMBRANE_LIMIT, MEMBRANE_LIMIT)
    weighted *= as_rgb(weights)
    known = (weights > 0).astype(np.float32)
    # All is blurred, and may be reckoned in a smaller picture, if the blur is wide enough.
    factor = reduction(NEAR * interocular, weights.shape)
    if factor > 1:
        weighted, weights, known = (reduced(x, factor) for x in (weighted, weights, known))
    wide, _ = _normalised_blur(weighted, weights, WIDE * interocular / factor)
    near, weight = _normalised_blur(weighted, weights, NEAR * interocular / factor)
    local = near - wide
    shade = luma(local)
    local -= as_rgb(shade)
    near = wide + as_rgb(np.clip(shade, -MEMBRANE_LOCAL, MEMBRANE_LOCAL))
    near += np.clip(local, -MEMBRANE_TINT, MEMBRANE_TINT, out=local)
    known *= np.minimum(weight * 2.0, 1.0)
    if factor > 1:
        known = np.minimum(known * POOLED, 1.0)
    return _enlarged(push_pull(near, known), difference.shape)


def _enlarged(picture: Floats, shape: tuple[int, ...]) -> Floats:
    """Return a smooth picture, which may have been reckoned smaller, in the size of `shape`."""
    if picture.shape == shape:
        return picture
    whole = cv2.resize(picture, shape[1::-1], interpolation=cv2.INTER_LINEAR)
    return blur(whole, SMOOTH_ENLARGED)


def rim_membrane(
    difference: Floats, hole: Floats, face: Floats, interocular: float
) -> tuple[Floats, Floats]:
    """Return the correction [S, S, 3] with which the guide meets whatever lies around the hole.

    `membrane` spreads what skin says through the whole part; here hair, glasses and lips count,
    too, and nothing is smoothed but grain. It holds near the border only: a seam is gone, and a
    strand of hair does not tint the part. Over the guides of the first 87 swaps of
    `benchmarks/photo_truth.py` the step at the seam fell from 3.1 to 2.3 dE, with likeness within
    0.001.

    Args:
        difference: [S, S, 3] target minus guide.
        hole: [S, S] 1 where the guide is shown; an opening within it is part of it.
        face: [S, S] weights of pixels that are face; what is behind it does not count.
        interocular: pixels.

    Returns:
        The correction, and [S, S] how far it replaces that of `membrane`.
    """
    radius = max(1, round(RIM_WIDTH * interocular))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    inside = (hole > 0).astype(np.uint8)
    depth = cv2.distanceTransform(inside, cv2.DIST_L2, 3) / (RIM_DEPTH * interocular)
    band = (cv2.dilate(inside, kernel) - inside) * face
    weighted = np.clip(difference, -MEMBRANE_LIMIT, MEMBRANE_LIMIT)
    weighted *= as_rgb(band)
    sigma = RIM_NEAR * interocular
    factor = reduction(sigma, band.shape)
    if factor > 1:
        weighted, band = reduced(weighted, factor), reduced(band, factor)
    values, weight = _normalised_blur(weighted, band, sigma / factor)
    known = (band > 0) * np.minimum(2.0 * weight, 1.0)
    return _enlarged(push_pull(values, known), difference.shape), 1.0 - smoothstep(depth)


def _normalised_blur(weighted: Floats, weights: Floats, sigma: float) -> tuple[Floats, Floats]:
    """Return the local mean of `weighted` [S, S, 3], values times weights, and the local weight."""
    local = blur(weights, sigma)
    return blur(weighted, sigma) / as_rgb(np.maximum(local, 1e-5)), local


def push_pull(values: Floats, weights: Floats) -> Floats:
    """Fill [H, W, 3] `values` where `weights` [H, W] are 0, smoothly, keeping them where 1."""
    keep = as_rgb(weights)
    weighted = values * keep
    if min(weights.shape) <= 2:
        mean = weighted.sum(axis=(0, 1)) / max(float(weights.sum()), 1e-6)
        return np.broadcast_to(mean, values.shape).astype(np.float32)
    half = (max(1, (values.shape[1] + 1) // 2), max(1, (values.shape[0] + 1) // 2))
    coarse_weight = cv2.resize(weights, half, interpolation=cv2.INTER_AREA)
    coarse = cv2.resize(weighted, half, interpolation=cv2.INTER_AREA)
    coarse /= as_rgb(np.maximum(coarse_weight, 1e-6))
    filled = push_pull(coarse, np.minimum(coarse_weight * POOLED, 1.0))
    back = cv2.resize(filled, (values.shape[1], values.shape[0]), interpolation=cv2.INTER_LINEAR)
    back = blur(back, SMOOTH_ENLARGED)
    back *= 1.0 - keep
    back += weighted
    return back
