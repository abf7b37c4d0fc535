"""A stronger, weaker or other expression: `guide.expression`, `guide.offsets`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fapvideo.config.guide import GuideOffsets
from fapvideo.ops import mesh
from fapvideo.ops.image import smoothstep
from fapvideo.structs import Floats

EYE_ROWS = (
    ((246, 161, 160, 159, 158, 157, 173), (7, 163, 144, 145, 153, 154, 155)),
    ((466, 388, 387, 386, 385, 384, 398), (249, 390, 373, 374, 380, 381, 382)),
)
"""Per eye the upper lid's edge, and the lower lid's below it."""
CORNER_PULL = np.array([0.09, -0.07, 0.05])
"""Where a full smile pulls a corner of the mouth: out, up, back; inter-ocular distances."""
SMILE_REACH, BROW_REACH, BROW_RISE = 0.32, 0.25, 0.1
LOWER_LIP = 0.8
"""The lower lip's share of opening the mouth, with the jaw."""


@dataclass(frozen=True, slots=True)
class Moves:
    """How the expression is changed; callable on a head."""

    gains: Floats
    """[478] what a displacement from rest is multiplied by."""
    offsets: GuideOffsets

    @property
    def idle(self) -> bool:
        """Whether nothing is changed."""
        return bool((self.gains == 1.0).all()) and self.offsets == GuideOffsets()

    @property
    def move_lips(self) -> bool:
        """Whether the lips come to lie elsewhere than the target's."""
        lips = self.gains[list(mesh.LIPS_INNER)]
        return bool((lips != 1.0).any() or self.offsets.smile or self.offsets.mouth_open)

    def __call__(self, head: Floats, resting: Floats) -> Floats:
        """Return the head [478, 3] with its expression changed.

        Args:
            head: [478, 3] this frame's shape, head frame.
            resting: [478, 3] the shape at rest.
        """
        out = (head + (self.gains - 1.0)[:, None] * (head - resting)).astype(np.float64)
        given = self.offsets
        _smile(out, given.smile)
        _raise_brows(out, given.brows_up)
        _open_eyes(out, given.eyes_open)
        _open_mouth(out, given.mouth_open)
        return out.astype(np.float32)


def _smile(head: Floats, amount: float) -> None:
    """Pull, in place, the mouth's corners and the cheeks with them."""
    face = mesh.canonical()
    for corner, side in ((61, -1.0), (291, 1.0)):
        away = np.linalg.norm(face[:, :2] - face[corner, :2], axis=1)
        head += amount * np.exp(-((away / SMILE_REACH) ** 2))[:, None] * CORNER_PULL * [side, 1, 1]


def _raise_brows(head: Floats, amount: float) -> None:
    """Lift, in place, brows and forehead."""
    face = mesh.canonical()
    brows = face[list(mesh.RIGHT_BROW + mesh.LEFT_BROW), :2]
    away = np.linalg.norm(face[:, None, :2] - brows[None], axis=-1).min(axis=1)
    head[:, 1] -= BROW_RISE * amount * np.exp(-((away / BROW_REACH) ** 2)) * mesh.above_lids()


def _open_eyes(head: Floats, amount: float) -> None:
    """Move, in place, the upper lids away from the lower ones by a share of their distance."""
    for upper, lower in EYE_ROWS:
        gap = head[list(upper)] - head[list(lower)]
        head[list(upper)] += amount * gap


def _open_mouth(head: Floats, amount: float) -> None:
    """Part, in place, the lips by `amount` inter-ocular distances; the chin comes along."""
    face = mesh.canonical()
    x, y = face[:, 0], face[:, 1]
    middle = face[[mesh.UPPER_LIP, mesh.LOWER_LIP], 1].mean()
    across = np.exp(-((x / 0.3) ** 2))
    down = smoothstep((y - middle) / 0.06) * (1.0 - smoothstep((y - 1.6) / 0.4))
    up = smoothstep((middle - y) / 0.06) * np.exp(-(((y - middle) / 0.15) ** 2))
    head[:, 1] += amount * across * (LOWER_LIP * down - (1.0 - LOWER_LIP) * up)
