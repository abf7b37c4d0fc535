"""Bringing the model's small result to the full-resolution crop without losing texture."""

from __future__ import annotations

import cv2
import numpy as np

from fapvideo.ops.image import resize
from fapvideo.structs import Floats


def restore_detail(result: Floats, small_guide: Floats, guide: Floats, amount: float) -> Floats:
    """Return [S, S, 3]: the full-resolution guide, corrected as the model corrected the small one.

    What the model changed is smooth compared with skin texture, so the difference between its
    result and the guide it was given is enlarged and added to the guide at full resolution.

    Args:
        result: [R, R, 3] the model's picture in [0, 1].
        small_guide: [R, R, 3] the guide the model was given.
        guide: [S, S, 3] the guide at full resolution, S >= R.
        amount: 1 keeps all of the guide's texture, 0 shows the enlarged result.
    """
    size = guide.shape[0]
    if size == result.shape[0]:
        return result
    correction = cv2.resize(result - small_guide, (size, size), interpolation=cv2.INTER_CUBIC)
    detailed = guide + correction
    if amount < 1.0:
        soft = resize(result, size)
        detailed = soft + amount * (detailed - soft)
    return np.clip(detailed, 0.0, 1.0).astype(np.float32)
