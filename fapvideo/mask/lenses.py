"""Lenses: what is seen through glasses is the eye behind them, and nothing in front of it.

A lens that reflects, or is seen at an angle, looks to the net like a thing that hides the eye. Who
wears glasses in many frames of a track wears them in all, and behind their lenses only what goes on
beyond them (a hand, hair) is in front.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from fapvideo.ops import mesh
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


def seen_through(
    chance: Floats, worn: Floats, places: NDArray[np.int32], face: NDArray[np.int32]
) -> Floats:
    """Return `chance` [S, S] without what is in the lenses of glasses and goes on nowhere else.

    Args:
        chance: that something is in front of the face.
        worn: [S, S] that it is the frame of glasses.
        places: of `lenses`.
        face: [N, 2] the face's outline.
    """
    out = chance
    inside = np.zeros(chance.shape, np.uint8)
    cv2.fillPoly(inside, [face], 1)
    things = ((chance > IN_FRONT) & (worn < FRAME)).astype(np.uint8)
    count, areas = cv2.connectedComponents(things)
    both = np.zeros(chance.shape, np.uint8)
    cv2.fillPoly(both, list(places), 1)
    beyond = np.bincount(areas[(inside > 0) & (both == 0)], minlength=count)
    for place in places:
        lens = np.zeros(chance.shape, np.uint8)
        cv2.fillPoly(lens, [place], 1)
        hidden = beyond > LARGER * lens.sum()
        hidden[0] = False
        thing = cv2.dilate(hidden[areas].astype(np.uint8), np.ones((3, 3)))
        here = (lens > 0) & (thing == 0)
        out = np.where(here, np.minimum(out, worn), out)
    return np.asarray(out, np.float32)
