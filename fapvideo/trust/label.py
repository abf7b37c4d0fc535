"""The visible label: a small plate in a corner that says AI was at work.

Its words are those of the three icons of the EU's code of practice on marking and labelling
(10 June 2026, annex): `AI`, `AI MODIFIED`, `AI GENERATED`. The code allows labels of one's own that
keep the capital letters AI as what is seen first, near a corner where nothing covers them; the
icons' drawings themselves are not in this package.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from fapvideo.composite.planes import Box
from fapvideo.config.trust import Corner, LabelKind
from fapvideo.structs import Bytes, Floats, VideoInfo

WORDS: dict[LabelKind, tuple[str, ...]] = {
    "off": (),
    "basic": ("AI",),
    "modified": ("AI", "MODIFIED"),
    "generated": ("AI", "GENERATED"),
}
SHARE, SMALLEST = 0.035, 13
"""Height of the letters' line: share of the picture's shorter side, and at least so many of the
video's own pixels, the coarser way."""
LEGIBLE = 8
"""Under this height of a line, pixels, letters run together: fewer words are shown instead."""
MARGIN = 0.6
"""Room between plate and edge, in line heights."""
MOST = 0.9
"""Of the picture's width and height that a plate may take at most."""
PLATE = 0.7
"""Opacity of the plate; the letters' is 1."""
WHITE = {16: 0.58, 18: 0.75}
"""White of a caption as a signal: 203 cd/m2 in PQ and HLG (ITU-R BT.2408), by H.273's transfer."""


@dataclass(frozen=True, slots=True)
class Label:
    """A plate in its place."""

    text: str
    box: Box
    """In displayed pixels."""
    rgb: Floats
    """[h, w, 3] in [0, 1]."""
    alpha: Floats
    """[h, w], above 0 everywhere: the whole box is declared to be changed."""


def draw_label(kind: LabelKind, corner: Corner, info: VideoInfo) -> Label | None:
    """Return the label for a video; None where `kind` is "off".

    Letters are as tall as SHARE of the picture, however its pixels are shaped. Where a picture is
    too small for all words on one line they are on two, and at the least there is `AI`.
    """
    words = WORDS[kind]
    if not words:
        return None
    width, height = info.display_size
    across, down = info.pixel_shape
    room = int(MOST * width * across), int(MOST * height * down)
    line = round(max(SMALLEST * max(across, down), SHARE * min(width * across, height * down)))
    plate, text = _fitting(words, line, room)
    size = max(1, round(plate.shape[1] / across)), max(1, round(plate.shape[0] / down))
    plate = np.asarray(cv2.resize(plate, size, interpolation=cv2.INTER_AREA), np.uint8)
    rows, columns = plate.shape[:2]
    away = min(int(MARGIN * line), (width - columns) // 2, (height - rows) // 2)
    x = away if corner.endswith("left") else width - columns - away
    y = away if corner.startswith("top") else height - rows - away
    white = WHITE.get(info.color.transfer, 1.0)
    ink = plate.astype(np.float32) / 255
    alpha = PLATE + (1 - PLATE) * ink
    rgb = np.repeat((white * ink / alpha)[..., None], 3, axis=-1)
    return Label(text, (x, y, x + columns, y + rows), rgb.astype(np.float32), alpha)


def _fitting(words: Sequence[str], line: int, room: tuple[int, int]) -> tuple[Bytes, str]:
    """Return a plate [h, w] uint8, 255 where it is white, that fits into `room` (w, h); its text.

    The first that fits of: one line, one word a line, both smaller as long as they are legible, AI
    alone, and that as small as it has to be.
    """
    for letters in range(line, LEGIBLE - 1, -1):
        for rows in ([list(words)], [[word] for word in words]):
            plate = _plate(rows, letters)
            if plate.shape[1] <= room[0] and plate.shape[0] <= room[1]:
                return plate, " ".join(words)
    plate = _plate([list(words[:1])], LEGIBLE)
    scale = min(1.0, room[0] / plate.shape[1], room[1] / plate.shape[0])
    size = max(1, int(plate.shape[1] * scale)), max(1, int(plate.shape[0] * scale))
    return np.asarray(cv2.resize(plate, size, interpolation=cv2.INTER_AREA), np.uint8), words[0]


def _plate(rows: Sequence[Sequence[str]], line: int) -> Bytes:
    """Return words [h, w] uint8 white on black; the first one dark in a light box."""
    font = ImageFont.load_default(line)
    pad, rim = max(2, round(0.3 * line)), max(1, line // 12)
    height = round(1.15 * line) + pad
    widths = [[round(font.getlength(word)) + 2 * pad for word in row] for row in rows]
    plate = Image.new("L", (max(map(sum, widths)), height * len(rows)), 0)
    draw = ImageDraw.Draw(plate)
    for y, (row, sizes) in enumerate(zip(rows, widths, strict=True)):
        x = 0
        for word, size in zip(row, sizes, strict=True):
            first = word == rows[0][0]
            end = plate.width if first and len(row) == 1 else x + size
            if first:
                low, high = (x + rim, y * height + rim), (end - 1 - rim, (y + 1) * height - 1 - rim)
                draw.rectangle((low, high), 255)
            middle = ((x + end) / 2, (y + 0.5) * height)
            draw.text(middle, word, 0 if first else 255, font, anchor="mm")
            x += size
    return np.array(plate)
