"""Bringing the model's small result to the full-resolution crop without losing texture."""

from __future__ import annotations

import cv2
import numpy as np

from fapvideo.ops.image import as_rgb, blur, luma, resize
from fapvideo.structs import Floats

SMOOTH_LUMA, SMOOTH_TINT = 1 / 160, 1 / 50
"""Blur of the model's changes in brightness and in colour, as shares of its picture's side."""


def restore_detail(
    result: Floats,
    small_guide: Floats,
    guide: Floats,
    amount: float,
    coloured: Floats | None = None,
) -> Floats:
    """Return [S, S, 3]: the full-resolution guide, corrected as the model corrected the small one.

    What the model changed is smooth compared with skin texture, so the difference between its
    result and the guide it was given is enlarged and added to the guide at full resolution. Colour
    is changed more smoothly than brightness: fine colour differences are the model's noise, and
    show as fringes on lashes and irises.

    Args:
        result: [R, R, 3] the model's picture in [0, 1].
        small_guide: [R, R, 3] the guide the model was given.
        guide: [S, S, 3] the guide at full resolution, S >= R.
        amount: 1 keeps all of the guide's texture, 0 shows the enlarged result.
        coloured: [S, S] in [0, 1] where the guide's colours are right as they are.
    """
    size, small = guide.shape[0], result.shape[0]
    change = result - small_guide
    grey = luma(change)
    tint = blur(change - as_rgb(grey), SMOOTH_TINT * small)
    if coloured is not None:
        tint *= as_rgb(1.0 - resize(coloured, small))
    if size == small:
        return np.clip(small_guide + as_rgb(grey) + tint, 0.0, 1.0).astype(np.float32)
    tint += as_rgb(blur(grey, SMOOTH_LUMA * small))
    detailed = cv2.resize(tint, (size, size), interpolation=cv2.INTER_CUBIC)
    detailed += guide
    if amount < 1:
        detailed -= (1.0 - amount) * (guide - resize(small_guide, size))
    return np.clip(detailed, 0.0, 1.0, out=detailed)
