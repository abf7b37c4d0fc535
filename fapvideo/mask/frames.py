"""Taking the frames of glasses out of a photo, so that a part of it is not pasted with them."""

from __future__ import annotations

import cv2
import numpy as np

from fapvideo.mask.occlusion import WORN_SURE, Occluders, kept_at_size, sure_areas
from fapvideo.nets.occlusion import SIZE
from fapvideo.ops.image import blur, resize
from fapvideo.ops.pose import CROP_INTEROCULAR
from fapvideo.structs import Floats

GROWN, FROM = 0.02, 0.03
"""How far beyond the frames is filled, and from how far: inter-ocular distances."""


def without_frames(crop: Floats, landmarks: Floats, see: Occluders) -> Floats:
    """Return an aligned crop [S, S, 3] in [0, 1] whose frames of glasses are filled with skin.

    Args:
        crop: of one face.
        landmarks: [478, 2 or 3] in it.
        see: what sees them.

    Source: Telea, "An image inpainting technique based on the fast marching method", 2004, by
    OpenCV. Lenses stay, with what they reflect or tint.
    """
    size = len(crop)
    unit, zoom = CROP_INTEROCULAR * size, size / SIZE
    seen = np.rint(np.clip(resize(crop, SIZE), 0, 1) * 255).astype(np.uint8)
    worn = sure_areas(see(seen, landmarks / zoom)[1], WORN_SURE)
    kept = kept_at_size(worn, crop, np.array([[zoom, 0.0, 0.0], [0.0, zoom, 0.0]]))
    side = 2 * max(1, round(GROWN * unit)) + 1
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    hole = cv2.dilate((kept > 0.5).astype(np.uint8), kernel)
    if not hole.any():
        return crop
    picture = np.rint(np.clip(crop, 0, 1) * 255).astype(np.uint8)
    filled = cv2.inpaint(picture, hole, FROM * unit, cv2.INPAINT_TELEA)
    share = np.clip(blur(hole.astype(np.float32), 0.3 * side) * 1.6, 0, 1)[..., None]
    return np.asarray(crop + share * (filled.astype(np.float32) / 255 - crop), np.float32)
