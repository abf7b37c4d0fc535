"""Between a frame as coded and as displayed: turned, mirrored, and with pixels that are square."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from fapvideo.structs import Bytes, VideoInfo


def to_coded(picture: NDArray[Any], info: VideoInfo) -> NDArray[Any]:
    """Turn [h, w, ...] from display to coded orientation; a view."""
    return np.rot90(np.fliplr(picture) if info.mirrored else picture, info.rotation // 90)


def to_display(picture: NDArray[Any], info: VideoInfo) -> NDArray[Any]:
    """Turn [h, w, ...] from coded to display orientation; a view."""
    turned = np.rot90(picture, -info.rotation // 90)
    return np.fliplr(turned) if info.mirrored else turned


def square_pixels(rgb: Bytes, info: VideoInfo) -> Bytes:
    """Return a displayed picture [H, W, 3] with its pixels made square, enlarged if need be.

    Faces are followed and painted in these pixels; `geometry.stretched` leads back.
    """
    across, down = info.pixel_shape
    if across == down:
        return rgb
    size = (round(rgb.shape[1] * across), round(rgb.shape[0] * down))
    return np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_LINEAR), np.uint8)
