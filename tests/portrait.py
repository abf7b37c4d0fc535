"""One real photo of a face (public domain) and heads posed by numbers, for tests."""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np

from fapvideo.ops import mesh
from fapvideo.ops.pose import HeadPose
from fapvideo.structs import Bytes, Face, Floats
from fapvideo.track.finder import FaceFinder


@cache
def astronaut() -> Bytes:
    """Return NASA's portrait of Eileen Collins, uint8 [512, 512, 3]; the face is 95 px wide."""
    from skimage.data import astronaut as load

    picture = np.ascontiguousarray(load())
    picture.setflags(write=False)
    return picture


@cache
def finder() -> FaceFinder:
    """Return one finder for all tests."""
    return FaceFinder()


@cache
def astronaut_face() -> Face:
    """Return the face of `astronaut` as measured."""
    (face,) = finder()(astronaut())
    return face


def headshot(size: int = 260) -> Bytes:
    """Return the head alone, uint8 [size, size, 3]; the face fills about half of it."""
    return cv2.resize(astronaut()[22:222, 125:325], (size, size), interpolation=cv2.INTER_CUBIC)


def rotation(yaw: float = 0.0, pitch: float = 0.0, roll: float = 0.0) -> np.ndarray:
    """Return [3, 3]: degrees; a face turned by it looks right, down, and leans clockwise."""
    turn = np.eye(3)
    # x right, y down, z away: looking to the right is a turn about -y, down about +x.
    for axis, degrees in ((0, pitch), (1, -yaw), (2, roll)):
        turn = cv2.Rodrigues(np.eye(3)[axis] * np.radians(degrees))[0] @ turn
    return turn


def posed(
    yaw: float = 0.0,
    pitch: float = 0.0,
    roll: float = 0.0,
    scale: float = 80.0,
    at: tuple[float, float] = (160.0, 120.0),
    head: Floats | None = None,
) -> Floats:
    """Return [478, 3] landmarks of a head (by default the mean face) in that pose, pixels."""
    pose = HeadPose(scale, rotation(yaw, pitch, roll), np.array([*at, 0.0]))
    return pose.to_image(mesh.canonical() if head is None else head)
