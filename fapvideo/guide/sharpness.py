"""Making the reference as soft as the frame it goes into."""

from __future__ import annotations

import numpy as np

from fapvideo.ops.image import blur, luma, window_of
from fapvideo.structs import Floats

FINE = 0.012
"""Sigma that separates fine from coarser texture, inter-ocular distances: about a pixel at 256."""
COARSE = 3.0
"""The coarser band ends at this many times `FINE`."""
BLURS = (0.0, 0.6, 1.0, 1.6, 2.5, 4.0)
"""Blurs that are tried, in units of `FINE`."""


def fineness(grey: Floats, weights: Floats, unit: float) -> float:
    """Return the amplitude of fine texture relative to coarser texture.

    Args:
        grey: [S, S] luma.
        weights: [S, S] where to look.
        unit: sigma that separates the two, pixels.
    """
    low = blur(grey, unit)
    lower = blur(grey, COARSE * unit)
    flat = weights.ravel()
    fine, coarse = (float(flat @ np.square(band).ravel()) for band in (grey - low, low - lower))
    return float(np.sqrt(fine / max(coarse, 1e-9)))


def match_sharpness(
    guide: Floats, target: Floats, weights: Floats, amount: float, interocular: float
) -> Floats:
    """Return `guide`, blurred until it is no finer than the target's own part.

    An upscaled, compressed or motion-blurred frame gets a part that is as soft as it is; a sharper
    frame leaves the reference alone. The same region is compared on both sides, so the part's own
    structure cancels out.

    Args:
        guide: [S, S, 3] warped reference.
        target: [S, S, 3] target crop.
        weights: [S, S] the part.
        amount: 0 leaves it, 1 matches.
        interocular: pixels.
    """
    unit = max(FINE * interocular, 0.7)
    window = window_of(weights, 4 * COARSE * unit)
    weights, grey = weights[window], luma(guide[window])
    wanted = fineness(luma(target[window]), weights, unit)
    found = [fineness(grey, weights, unit)]
    if wanted >= found[0]:
        return guide
    for tried in BLURS[1:]:  # fineness falls with blur; what is softer than wanted is not needed
        found.append(min(found[-1], fineness(blur(grey, tried * unit), weights, unit)))
        if found[-1] <= wanted:
            break
    sigma = float(np.interp(wanted, found[::-1], BLURS[: len(found)][::-1]))
    return blur(guide, amount * sigma * unit)
