"""A frame without colours gets none: black-and-white, toned and pale clips stay what they are."""

from __future__ import annotations

import cv2
import numpy as np

from fapvideo.ops.image import LUMA, luma
from fapvideo.structs import Floats

GRID = 64
"""Side of the small picture that is looked at, pixels."""
MIDDLE = slice(GRID // 5, GRID - GRID // 5)
"""Of an aligned crop: the face, hardly anything of what is behind it."""
COLOURFUL = 0.025
"""Deviation of colours beyond those that follow from brightness, from which on a face is as
colourful as faces are: eleven filmed ones have 0.027 to 0.078, black-and-white and toned ones under
0.003."""


def tint_like(picture: Floats, frame: Floats) -> Floats:
    """Return `picture` [S, S, 3] no more colourful than `frame` [S, S, 3], an aligned crop.

    Colours are taken as a line over brightness (what a toned picture has) and what departs from it;
    the departures are scaled to those of the frame.
    """
    small = cv2.resize(frame, (GRID, GRID), interpolation=cv2.INTER_AREA)[MIDDLE, MIDDLE]
    pixels = small.reshape(-1, 3).astype(np.float64)
    grey = np.column_stack([luma(pixels), np.ones(len(pixels))])
    line, *_ = np.linalg.lstsq(grey, pixels, rcond=None)
    departures = pixels - grey @ line
    colourful = float(np.sqrt(np.square(departures).sum(axis=1).mean())) / COLOURFUL
    if colourful >= 1.0:
        return picture
    on_line = np.outer(line[0], LUMA)
    matrix = colourful * np.eye(3) + (1.0 - colourful) * on_line
    shift = (1.0 - colourful) * line[1]
    return cv2.transform(picture, np.column_stack([matrix, shift]).astype(np.float32))
