"""The light on the eyes: their whites tell it, the skin around them does not.

Matching the skin of two people moves every colour of the part by what their skins differ by, and a
brown iris comes out slate. Inside the lids the reference keeps its own colours, under the light
that the target's whites are seen in.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fapvideo.guide.eyes import EYES, EyeView
from fapvideo.ops.image import as_rgb, luma, signed_distance
from fapvideo.structs import Floats

LASHES = 0.012
"""What lies nearer to the lids is their shadow, inter-ocular distances."""
BESIDE = 1.15
"""Whites begin so many radii from an iris' centre."""
ENOUGH = 0.02
"""Area of white, squares of the inter-ocular distance, from which on it is trusted fully: open eyes
show about twice that."""
DARK = 0.02
"""Added to both sides of a ratio of colours."""
BRIGHTER, SLACK = (0.2, 1.7), 1.1
"""Bounds of the light's ratio in brightness, and how far it may leave those that skin sets it."""
SHADES, DARKEST = (-0.4, 0.5), 0.1
"""Bounds of the shade that a seamless rim asks of the eyes, as a factor less 1, and the brightness
below which it is not reckoned."""
WHITES_SAY = 0.8
"""Share, as an exponent, that whites have in how bright the eyes are; the rest is the skin's: lids
throw their shadow on both."""
SHADED, DEEPEST = 0.75, 0.45
"""What is within lids that show no white is in their shade where it is darker than this share of
what the skin's light makes of the reference's: irises differ by as much; and how far it goes."""
SKIN_TINT = 0.5
"""How far, as an exponent, the light has the tint in which skins differ, where nothing else tells
it."""


def light_eyes(
    lit: Floats,
    plain: Floats,
    target: Floats,
    landmarks: Floats,
    points: Floats,
    views: Sequence[EyeView],
    interocular: float,
) -> None:
    """Give, in place, the inside of the eyes of `lit` the reference's own colours in this light.

    Where the target shows too little white (narrow or closed eyes, small faces) brightness follows
    the skin around the eyes, less the shade of lids that are lowered, and colour stays the
    reference's.

    Args:
        lit: [S, S, 3] the guide, fitted to the target's skin.
        plain: [S, S, 3] the same before that, in the photo's colours.
        target: [S, S, 3] the target crop.
        landmarks: [478, >=2] of the target in it.
        points: [478, >=2] of the guide.
        views: its eyes.
        interocular: pixels.
    """
    around = [view.inside > 0 for view in views]
    if not any(eye.any() for eye in around):
        return
    (whites, area, within), (own, own_area, own_within) = (
        _white(picture, shape, interocular)
        for picture, shape in ((target, landmarks), (plain, points))
    )
    lit_mean, plain_mean = (
        np.concatenate(
            [picture[view.window][eye] for view, eye in zip(views, around, strict=True)]
        ).mean(axis=0)
        for picture in (lit, plain)
    )
    # Matching adds a shift, which takes dark eyes below black.
    brighter, skin = _light(np.maximum(lit_mean, 0.0), plain_mean)
    shade = (within + DARK) / (SHADED * brighter * own_within + DARK)
    gain = brighter * skin**SKIN_TINT * float(np.clip(shade, DEEPEST, 1.0))
    sure = min(1.0, area / ENOUGH, own_area / ENOUGH)
    if sure > 0.0:
        bright, tint = _light(whites, own)
        # No light tints eyes otherwise than skin, or more: what does is blood or a lens.
        tint = np.clip(tint, np.minimum(1.0, skin) / SLACK, np.maximum(1.0, skin) * SLACK)
        gain += sure * (bright**WHITES_SAY * brighter ** (1.0 - WHITES_SAY) * tint - gain)
    gain = gain.astype(np.float32)
    for view in views:
        under = lit[view.window]
        under += (plain[view.window] * gain - under) * as_rgb(view.inside)


def shaded(picture: Floats, correction: Floats) -> Floats:
    """Return a correction of skin [S, S, 3] as eyes take it: a shade, and none of its colour."""
    share = luma(correction) / np.maximum(luma(picture), DARKEST)
    return picture * as_rgb(np.clip(share, *SHADES))


def _light(seen: Floats, own: Floats) -> tuple[float, Floats]:
    """Return by what factors `seen` [3] is brighter than `own`, and otherwise tinted [3]."""
    ratio = (seen + DARK) / (own + DARK)
    brighter = float((luma(seen) + DARK) / (luma(own) + DARK))
    return float(np.clip(brighter, *BRIGHTER)), ratio / brighter


def _white(picture: Floats, shape: Floats, interocular: float) -> tuple[Floats, float, float]:
    """Return the mean colour [3] of the eyes' whites, and their area in squares of `interocular`.

    The brighter half of what lies between lids and irises: lashes throw a shadow on the rest. The
    third value is how bright all is that lies between the lids.
    """
    found, within = [], []
    for lids, iris in EYES:
        ring = shape[list(lids), :2]
        low = np.clip(np.floor(ring.min(axis=0)), 0, len(picture) - 1).astype(int)
        high = np.clip(np.ceil(ring.max(axis=0)), 0, len(picture)).astype(int)
        if (high <= low).any():
            continue
        window = (slice(low[1], high[1]), slice(low[0], high[0]))
        distance = signed_distance([ring], len(picture), 0.0, window)
        y, x = np.mgrid[window].astype(np.float32) + 0.5
        centre = shape[iris[0], :2]
        radius = np.linalg.norm(shape[list(iris[1:]), :2] - centre, axis=1).mean()
        away = np.hypot(x - centre[0], y - centre[1])
        inside = distance < -LASHES * interocular
        found.append(picture[window][inside & (away > BESIDE * radius)])
        within.append(luma(picture[window][inside]))
    pixels = np.concatenate(found) if found else np.zeros((0, 3), np.float32)
    every = np.concatenate(within) if within else np.zeros(0, np.float32)
    level = float(every.mean()) if len(every) else 1.0
    if not len(pixels):
        return np.zeros(3, np.float32), 0.0, level
    grey = luma(pixels)
    bright = pixels[grey >= np.median(grey)]
    return bright.mean(axis=0), len(pixels) / interocular**2, level
