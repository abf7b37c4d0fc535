"""The face mesh: which points belong to which part, its triangles, its mean shape.

Indices 0..467 are MediaPipe's canonical face mesh, 468..472 the right iris (centre first), 473..477
the left iris. The 852 triangles come from `FACEMESH_TESSELATION` in mediapipe 0.10.21
(`python/solutions/face_mesh_connections.py`, Apache-2.0), whose edges are listed triangle by
triangle with one winding; it leaves the eyes and the mouth open, which `triangles()` closes.
Outlines: our own choice of its points, checked by eye on some forty faces, profiles too.
"""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import Any

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.int64]
Floats = NDArray[np.floating[Any]]

LIPS_OUTER = (
    61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 409, 270, 269, 267, 0, 37, 39, 40, 185,
)  # fmt: skip
LIPS_INNER = (
    78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308, 415, 310, 311, 312, 13, 82, 81, 80, 191,
)  # fmt: skip
RIGHT_EYE_RING = (226, 247, 30, 29, 27, 28, 56, 190, 243, 112, 26, 22, 23, 24, 110, 25)
LEFT_EYE_RING = (446, 467, 260, 259, 257, 258, 286, 414, 463, 341, 256, 252, 253, 254, 339, 255)
RIGHT_EYE_LIDS = (33, 246, 161, 160, 159, 158, 157, 173, 133, 155, 154, 153, 145, 144, 163, 7)
LEFT_EYE_LIDS = (263, 466, 388, 387, 386, 385, 384, 398, 362, 382, 381, 380, 374, 373, 390, 249)
RIGHT_BROW = (70, 63, 105, 66, 107, 55, 65, 52, 53, 46)
LEFT_BROW = (300, 293, 334, 296, 336, 285, 295, 282, 283, 276)
NOSE = (
    168, 193, 122, 196, 174, 198, 49, 48, 64, 98, 97, 2, 326, 327, 294, 278, 279, 420, 399, 419,
    351, 417,
)  # fmt: skip
FACE_OVAL = (
    10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377, 152,
    148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109,
)  # fmt: skip

RIGHT_IRIS = (468, 469, 470, 471, 472)
LEFT_IRIS = (473, 474, 475, 476, 477)
IRISES = RIGHT_IRIS + LEFT_IRIS

STABLE = (
    33, 133, 263, 362, 168, 6, 197, 195, 5, 4, 127, 356, 234, 454, 50, 280, 205, 425, 9, 8, 122,
    351,
)  # fmt: skip
"""Points that expression hardly moves: eye corners, nose ridge, temples, cheekbones, glabella."""

UPPER_LIP, LOWER_LIP = 13, 14
MOUTH_CORNERS = (78, 308)
LIP_CORNER_PAIRS = ((62, 292), (78, 308))
"""These four nearly coincide, two by two, so that distance cannot tell them apart."""
CHIN, FOREHEAD = 152, 10


def outlines(part: str, side: str = "both") -> tuple[tuple[int, ...], ...]:
    """Return the closed outlines of `part` as landmark indices; eyes and brows have two.

    `side` is `both`, `left` or `right` (the person's own) and matters for eyes and brows only.
    """
    pairs = {
        "eyes": (RIGHT_EYE_RING, LEFT_EYE_RING),
        "brows": (RIGHT_BROW, LEFT_BROW),
    }
    if part in pairs:
        right, left = pairs[part]
        return {"both": (right, left), "right": (right,), "left": (left,)}[side]
    return {"nose": (NOSE,), "mouth": (LIPS_OUTER,), "face": (FACE_OVAL,)}[part]


def eye_centres(landmarks: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return [2, D] centres of the right and the left eye, from the lid corners."""
    return np.stack(
        [landmarks[[33, 133]].mean(axis=0), landmarks[[263, 362]].mean(axis=0)],
    )


def interocular(landmarks: NDArray[np.floating]) -> float:
    """Return the distance between the eye centres in the units of `landmarks` [478, 2 or 3].

    The depth counts where it is given, so that a turned head keeps its size.
    """
    right, left = eye_centres(landmarks)
    return float(np.linalg.norm(left - right))


def _fan(ring: tuple[int, ...]) -> list[tuple[int, int, int]]:
    """Close a ring whose two halves mirror each other with a strip of triangles."""
    count = len(ring)
    strip = []
    for i in range(count // 2):
        a, b = ring[i], ring[i + 1]
        d, c = ring[-i % count], ring[(-i - 1) % count]
        strip += [t for t in ((a, b, c), (a, c, d)) if len(set(t)) == 3]
    return strip


@cache
def triangles() -> Indices:
    """Return [898, 3] triangles that cover the whole face, eyes and mouth closed.

    Seen from the front, all run counterclockwise.
    """
    with resources.files("fapvideo.ops").joinpath("data/mesh_triangles.npy").open("rb") as file:
        skin = np.load(file).astype(np.int64)
    lids = _fan(RIGHT_EYE_LIDS[:1] + RIGHT_EYE_LIDS[:0:-1]) + _fan(LEFT_EYE_LIDS)
    mouth = _fan(LIPS_INNER)
    return np.concatenate([skin, np.array(lids + mouth, np.int64)])


@cache
def canonical() -> Floats:
    """Return [478, 3] mean face: eye centres at (-0.5, 0) and (0.5, 0), y down, z away.

    Procrustes mean of the mesh net's output on near-frontal faces (`scripts/make_canonical.py`).
    """
    with resources.files("fapvideo.ops").joinpath("data/mesh_canonical.npy").open("rb") as file:
        return np.load(file).astype(np.float32)


@cache
def mirror() -> Indices:
    """Return [478] for each landmark the index of its mirror image, from the canonical face."""
    face = canonical().astype(np.float64)
    flipped = face * [-1, 1, 1]
    nearest = np.linalg.norm(flipped[:, None] - face[None], axis=-1).argmin(axis=1)
    for right, left in LIP_CORNER_PAIRS:
        nearest[[right, left]] = left, right
    return nearest.astype(np.int64)
