"""The face mesh: its points, its triangles, its mean shape.

Indices 0..467 are MediaPipe's canonical face mesh, 468..472 the right iris (centre first), 473..477
the left iris. The 852 triangles come from `FACEMESH_TESSELATION` in mediapipe 0.10.21
(`python/solutions/face_mesh_connections.py`, Apache-2.0), whose edges are listed triangle by
triangle with one winding; it leaves the eyes and the mouth open, which `triangles()` closes.
The parts' outlines stand in `fapvideo/parts.py`.
"""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fapvideo.ops.image import smoothstep
from fapvideo.parts import PARTS, Ring

Indices = NDArray[np.int64]
Floats = NDArray[np.floating[Any]]

RIGHT_EYE_RING, LEFT_EYE_RING = PARTS["eyes"].outline
RIGHT_EYE_LIDS, LEFT_EYE_LIDS = PARTS["eyes"].inner
RIGHT_BROW, LEFT_BROW = PARTS["brows"].outline
(NOSE,), (LIPS_OUTER,), (FACE_OVAL,) = (PARTS[part].outline for part in ("nose", "mouth", "face"))
(LIPS_INNER,) = PARTS["mouth"].inner

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
LIP_CORNER_PAIRS = ((62, 292), (78, 308), (95, 324))
"""These nearly coincide with others at the mouth's corners: distance cannot tell them apart."""
CHIN, FOREHEAD = 152, 10


def outlines(part: str, side: str = "both") -> tuple[Ring, ...]:
    """Return the closed outlines of `part` as landmark indices; a pair has two, the right first.

    `side` is `both`, `left` or `right` (the person's own) and matters for pairs only.
    """
    rings = PARTS[part].outline
    if side == "both" or not PARTS[part].paired:
        return rings
    return rings[:1] if side == "right" else rings[1:]


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


def _fan(ring: Ring) -> list[tuple[int, int, int]]:
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
    """Return [478, 3] mean face: origin between the eyes, x to the viewer's right, y down, z away.

    Procrustes mean of FaceLandmarker v2's points on straight portraits; the centres of the eyes are
    0.937 apart, not 1 (`scripts/make_canonical.py` says why).
    """
    with resources.files("fapvideo.ops").joinpath("data/mesh_canonical.npy").open("rb") as file:
        return np.load(file).astype(np.float32)


@cache
def mirror() -> Indices:
    """Return [478] for each landmark the index of its mirror image, from the canonical face."""
    return mirror_pairs(canonical())


@cache
def above_lids() -> Floats:
    """Return [478] how far a landmark moves with the brows: 0 at the lids, 1 at the forehead."""
    return smoothstep((-canonical()[:, 1] - 0.09) / 0.14)


def mirror_pairs(face: Floats) -> Indices:
    """Return [478] for each landmark the index of its mirror image in a straight face [478, 3]."""
    face = face.astype(np.float64)
    flipped = face * [-1, 1, 1]
    nearest = np.linalg.norm(flipped[:, None] - face[None], axis=-1).argmin(axis=1)
    for right, left in LIP_CORNER_PAIRS:
        nearest[[right, left]] = left, right
    return nearest.astype(np.int64)
