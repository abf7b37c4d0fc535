"""Lenses: what is seen through glasses is the eye behind them, and nothing in front of it.

A lens that reflects, or is seen at an angle, looks to the net like a thing that hides the eye. Who
wears glasses in many frames of a track wears them in all, and behind their lenses only what goes on
beyond them (a hand, hair) is in front.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Self

import cv2
import numpy as np
from numpy.typing import NDArray

from fapvideo.ops import mesh
from fapvideo.ops.image import smoothstep
from fapvideo.ops.pose import head_pose
from fapvideo.structs import Floats

LENS, LOWER = (0.42, 0.38), 0.1
"""Half width and half height of a lens, and how far its middle lies under the eye's, inter-ocular
distances."""
CORNERS = 24
"""Of the polygon that stands for a lens."""
IN_FRONT = 0.5
"""Chance from which on something counts as in front here."""
FRAME = 0.3
"""Chance from which on it is the frame itself."""
LARGER = 0.8
"""What goes on beyond a lens over so many times its area is no reflection in it."""
WORN, OFTEN = 0.45, 0.3
"""Chance of the surest pixel with which a frame of glasses is seen, and the share of a track's
frames in which it has to be."""
LASHES, ACROSS = 0.02, (0.55, 0.75)
"""Around an open eye so far, inter-ocular distances, lie its lashes: there a frame counts between
these chances only, since the net's are wider than thin frames."""


@dataclass(frozen=True, slots=True)
class Outlines:
    """Where in an aligned crop the face, the open eyes, and lenses before them lie; pixels."""

    face: NDArray[np.int32]
    """[N, 2]"""
    eyes: NDArray[np.int32]
    """[2, M, 2]"""
    lenses: NDArray[np.int32]
    """[2, CORNERS, 2]"""
    framed: bool
    """Whether a frame of glasses is seen."""

    @classmethod
    def of(cls, landmarks: Floats, worn: Floats) -> Self:
        """Return those of a face with `landmarks` [478, 3] and the map `worn` [S, S]."""
        rings = (mesh.FACE_OVAL, mesh.RIGHT_EYE_LIDS, mesh.LEFT_EYE_LIDS)
        face, *eyes = (np.round(landmarks[list(r), :2]).astype(np.int32) for r in rings)
        return cls(face, np.stack(eyes), lenses(landmarks), bool(worn.max() > WORN))


def wears_glasses(seen: Collection[Outlines]) -> bool:
    """Tell whether a face wears glasses that was seen in some frames."""
    return sum(one.framed for one in seen) > OFTEN * len(seen)


def through_glasses(chance: Floats, worn: Floats, outlines: Outlines) -> tuple[Floats, Floats]:
    """Return the maps [S, S] of what is in front and of frames, of a face that wears glasses."""
    worn = beside_eyes(worn, outlines)
    return seen_through(chance, worn, outlines), worn


def beside_eyes(worn: Floats, outlines: Outlines) -> Floats:
    """Return `worn` [S, S] less what is not sure on the eyes themselves."""
    eyes = np.zeros(worn.shape, np.uint8)
    cv2.fillPoly(eyes, list(outlines.eyes), 1)
    apart = float(np.linalg.norm(np.subtract(*outlines.eyes.mean(axis=1))))
    side = 2 * round(LASHES * apart) + 1
    eyes = cv2.dilate(eyes, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side)))
    sure = worn * smoothstep((worn - ACROSS[0]) / (ACROSS[1] - ACROSS[0]))
    return np.where(eyes > 0, sure, worn).astype(np.float32)


def lenses(landmarks: Floats) -> NDArray[np.int32]:
    """Return [2, CORNERS, 2] where the lenses of glasses lie, or would, in an aligned crop.

    Args:
        landmarks: [478, 3] in it.
    """
    pose = head_pose(landmarks)
    head = pose.to_head(landmarks)
    angles = np.linspace(0.0, 2 * np.pi, CORNERS, endpoint=False)
    ellipse = np.stack([LENS[0] * np.cos(angles), LENS[1] * np.sin(angles) + LOWER], axis=1)
    found = []
    for middle in mesh.eye_centres(head):
        points = np.concatenate([ellipse, np.zeros((CORNERS, 1))], axis=1) + middle
        found.append(pose.to_image(points)[:, :2])
    return np.round(np.array(found)).astype(np.int32)


def seen_through(chance: Floats, worn: Floats, outlines: Outlines) -> Floats:
    """Return `chance` [S, S] without what is in the lenses of glasses and goes on nowhere else.

    Args:
        chance: that something is in front of the face.
        worn: [S, S] that it is the frame of glasses.
        outlines: of the face.
    """
    out = chance
    inside = np.zeros(chance.shape, np.uint8)
    cv2.fillPoly(inside, [outlines.face], 1)
    things = ((chance > IN_FRONT) & (worn < FRAME)).astype(np.uint8)
    count, areas = cv2.connectedComponents(things)
    both = np.zeros(chance.shape, np.uint8)
    cv2.fillPoly(both, list(outlines.lenses), 1)
    beyond = np.bincount(areas[(inside > 0) & (both == 0)], minlength=count)
    for place in outlines.lenses:
        lens = np.zeros(chance.shape, np.uint8)
        cv2.fillPoly(lens, [place], 1)
        hidden = beyond > LARGER * lens.sum()
        hidden[0] = False
        thing = cv2.dilate(hidden[areas].astype(np.uint8), np.ones((3, 3)))
        here = (lens > 0) & (thing == 0)
        out = np.where(here, np.minimum(out, worn), out)
    return np.asarray(out, np.float32)
