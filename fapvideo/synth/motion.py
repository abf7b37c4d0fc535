"""What an animated face does: one moment's motion, a script over time, moved landmarks.

Displacements live in the head frame (inter-ocular distance 1, y down, z away from the viewer).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fapvideo.ops import mesh
from fapvideo.ops.image import smoothstep
from fapvideo.structs import Floats

# Lip rows of the mesh from the outer to the inner line, nine columns each, and the corners.
UPPER_LIP_ROWS = (
    (185, 40, 39, 37, 0, 267, 269, 270, 409),
    (184, 74, 73, 72, 11, 302, 303, 304, 408),
    (183, 42, 41, 38, 12, 268, 271, 272, 407),
    (191, 80, 81, 82, 13, 312, 311, 310, 415),
)
LOWER_LIP_ROWS = (
    (146, 91, 181, 84, 17, 314, 405, 321, 375),
    (77, 90, 180, 85, 16, 315, 404, 320, 307),
    (96, 89, 179, 86, 15, 316, 403, 319, 325),
    (95, 88, 178, 87, 14, 317, 402, 318, 324),
)
LIP_CORNERS = (61, 76, 62, 78, 291, 306, 292, 308)
LIP_PROFILE = np.array([0.42, 0.7, 0.88, 0.97, 1.0, 0.97, 0.88, 0.7, 0.42])
"""How far each lip column opens when the middle opens by one."""

Row = tuple[int, ...]
Eye = tuple[Row, Row, tuple[Row, ...], tuple[Row, ...]]
# Rows around each eye: upper lid edge, lower lid edge (paired), then the rows above and below.
EYES: tuple[Eye, Eye] = (
    (
        (246, 161, 160, 159, 158, 157, 173),
        (7, 163, 144, 145, 153, 154, 155),
        ((247, 30, 29, 27, 28, 56, 190), (113, 225, 224, 223, 222, 221, 189)),
        ((25, 110, 24, 23, 22, 26, 112),),
    ),
    (
        (466, 388, 387, 386, 385, 384, 398),
        (249, 390, 373, 374, 380, 381, 382),
        ((467, 260, 259, 257, 258, 286, 414), (342, 445, 444, 443, 442, 441, 413)),
        ((255, 339, 254, 253, 252, 256, 341),),
    ),
)
LID_SHARE = 0.86
"""The upper lid's share of closing the eye."""
LID_FOLLOW = (0.34, 0.08)
"""How far the rows above the upper lid come along."""

JAW_HINGE = np.array([0.0, 0.45, 0.75])


@dataclass(frozen=True, slots=True)
class Motion:
    """What the face and the camera do at one moment; the defaults are the photo itself."""

    mouth_open: float | None = None
    """Distance of the inner lips in inter-ocular distances; None keeps the photo's."""
    smile: float = 0.0
    """1 pulls the mouth's corners up and out, -1 in and down."""
    brows: float = 0.0
    """1 raises the brows by 0.1 inter-ocular distances."""
    blink: float = 0.0
    """0 as in the photo, 1 closed."""
    yaw_deg: float = 0.0
    pitch_deg: float = 0.0
    roll_deg: float = 0.0
    zoom: float = 1.0
    pan: tuple[float, float] = (0.0, 0.0)
    """Camera shift in shares of the picture's width; the face moves the other way."""


def talking(t: float) -> Motion:
    """Return a speaker's motion at time `t` (seconds): 4 s long, then it repeats.

    Syllables at 3 to 5 a second with pauses, blinks at 0.9 s and 2.7 s, a slow turn and nod of the
    head, a slow zoom.
    """
    t = t % 4.0
    turn = np.sin(2 * np.pi * t / 4.0)
    return Motion(
        mouth_open=0.015 + 0.22 * speech(t),
        smile=-0.35 + 0.25 * float(np.sin(2 * np.pi * (t - 0.6) / 4.0)),
        brows=0.5 * _bump(t, 1.45, 0.35) + 0.35 * _bump(t, 3.1, 0.3),
        blink=max(_blink(t, 0.9), _blink(t, 2.7)),
        yaw_deg=8.0 * float(turn),
        pitch_deg=2.0 * float(np.sin(2 * np.pi * t / 2.0 + 0.4)) - 0.5,
        roll_deg=1.2 * float(np.sin(2 * np.pi * t / 4.0 + 0.8)),
        zoom=1.0 + 0.06 * float(1 - np.cos(2 * np.pi * t / 4.0)),
        pan=(0.012 * float(turn), 0.0),
    )


def speech(t: float) -> float:
    """Return how loud the speaker of `talking` is at `t`, 0..1; the mouth opens with it."""
    times = (0.25, 0.47, 0.68, 1.15, 1.34, 1.58, 1.8, 2.3, 2.5, 2.75, 2.96, 3.2, 3.45)
    sizes = (0.7, 1.0, 0.55, 0.8, 0.45, 1.0, 0.6, 0.9, 0.5, 0.75, 1.0, 0.5, 0.85)
    return min(1.0, sum(s * _bump(t, at, 0.15) for at, s in zip(times, sizes, strict=True)))


def _bump(t: float, centre: float, half: float) -> float:
    """Return a smooth bump of height 1 around `centre`, zero beyond `half`."""
    return float(np.cos(np.clip((t - centre) / half, -1, 1) * np.pi / 2) ** 2)


def _blink(t: float, at: float) -> float:
    """Close in 80 ms, stay closed for 50, open in 160."""
    closing, opening = (t - at + 0.08) / 0.08, (at + 0.21 - t) / 0.16
    return float(smoothstep(np.array(min(closing, opening))))


def expressed(neutral: Floats, motion: Motion) -> Floats:
    """Return the head's landmarks [478, 3] with the expression of `motion`, head frame."""
    head = neutral.astype(np.float64)
    raise_brows(head, motion.brows)
    smile(head, motion.smile)
    if motion.mouth_open is not None:
        open_mouth(head, motion.mouth_open)
    close_eyes(head, motion.blink)
    return head


def raise_brows(head: Floats, amount: float) -> None:
    """Lift, in place, brows and forehead; the lids stay."""
    face = mesh.canonical()
    brows = face[list(mesh.RIGHT_BROW + mesh.LEFT_BROW), :2]
    distance = np.linalg.norm(face[:, None, :2] - brows[None], axis=-1).min(axis=1)
    head[:, 1] -= 0.1 * amount * np.exp(-((distance / 0.25) ** 2)) * mesh.above_lids()


def smile(head: Floats, amount: float) -> None:
    """Pull, in place, the mouth's corners up, out and back, and the cheeks with them."""
    face = mesh.canonical()
    for corner, side in ((61, -1.0), (291, 1.0)):
        distance = np.linalg.norm(face[:, :2] - face[corner, :2], axis=1)
        pull = np.array([0.09 * side, -0.07, 0.05])
        head += amount * np.exp(-((distance / 0.32) ** 2))[:, None] * pull


def open_mouth(head: Floats, target: float) -> None:
    """Turn, in place, the jaw and part the lips until they are `target` apart, or close them."""
    now = float(np.linalg.norm(head[mesh.UPPER_LIP] - head[mesh.LOWER_LIP]))
    change = target - now
    face = mesh.canonical().astype(np.float64)
    arm = face - JAW_HINGE
    turn = np.stack([np.zeros(len(face)), -arm[:, 2], arm[:, 1]], axis=-1)
    turn /= -arm[mesh.LOWER_LIP, 2]
    weight = smoothstep((face[:, 1] - 0.8) / 0.42)
    low = 0.85 * change
    moves = low * weight[:, None] * turn
    corner = np.array([0.0, 0.35 * low, 0.1 * low])
    top = np.array([0.0, -0.15 * change, 0.0])
    gaps = head[list(LOWER_LIP_ROWS[-1])] - head[list(UPPER_LIP_ROWS[-1])]
    if change > 0:
        down = gaps[4] / max(float(np.linalg.norm(gaps[4])), 1e-6)
        down = down if np.linalg.norm(gaps[4]) > 0.02 else np.array([0.0, 1.0, 0.0])
        parting = change * LIP_PROFILE[:, None] * down
    else:
        parting = gaps * (target / max(now, 1e-6) - 1)
    share = LIP_PROFILE[:, None]
    upper = corner * (1 - share) + top * share
    for row in UPPER_LIP_ROWS:
        moves[list(row)] = upper
    for row in LOWER_LIP_ROWS:
        moves[list(row)] = upper + parting
    moves[list(LIP_CORNERS)] = corner
    inward = 0.12 * change * np.exp(-(((face[:, 1] - 1.0) / 0.35) ** 2))
    head[:, 0] -= inward * np.clip(face[:, 0] / 0.43, -1, 1)
    head += moves


def close_eyes(head: Floats, amount: float) -> None:
    """Bring, in place, the lids together; the skin around follows a little."""
    for upper, lower, above, below in EYES:
        gap = amount * (head[list(lower)] - head[list(upper)])
        head[list(upper)] += LID_SHARE * gap
        head[list(lower)] -= (1 - LID_SHARE) * gap
        for row, share in zip(above, LID_FOLLOW, strict=True):
            head[list(row)] += LID_SHARE * share * gap
        for row in below:
            head[list(row)] -= 0.4 * (1 - LID_SHARE) * gap
