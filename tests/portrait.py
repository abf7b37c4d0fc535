"""One real photo of a face (public domain) and heads posed by numbers, for tests."""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np

from fapvideo.ops import mesh
from fapvideo.ops.pose import HeadPose
from fapvideo.structs import Bytes, Face, Floats
from fapvideo.track.finder import FaceFinder
from fapvideo.track.older import OlderMesh


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
def measuring_finder() -> FaceFinder:
    """Return one finder with the mesh that evaluation measures with."""
    return FaceFinder(mesh=OlderMesh())


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


def scene(
    size: tuple[int, int],
    faces: list[tuple[float, float, float]],
    background: tuple[int, int, int] = (90, 110, 100),
) -> Bytes:
    """Return uint8 [height, width, 3] with heads pasted at (x, y, width), pixels, all sub-pixel.

    x, y is the middle of the face, `width` its width; a negative one mirrors it.
    """
    width, height = size
    picture = np.empty((height, width, 3), np.float32)
    picture[:] = background
    picture += 12 * np.sin(np.arange(width) / 9.0)[None, :, None]
    photo = astronaut().astype(np.float32)
    box = astronaut_face().box
    middle, face_width = (box[:2] + box[2:]) / 2, float(box[2] - box[0])
    y, x = np.mgrid[0:512, 0:512].astype(np.float32) + 0.5
    away = np.hypot((x - middle[0]) / 0.85, (y - middle[1] + 10) / 1.1)
    alpha = np.clip((1.15 * face_width - away) / 10, 0, 1)
    for at_x, at_y, wanted in faces:
        scale = abs(wanted) / face_width
        side = np.sign(wanted)
        matrix = np.array([[side * scale, 0, at_x], [0, scale, at_y]], np.float64)
        matrix[:, 2] -= matrix[:, :2] @ (middle - 0.5) + 0.5
        source = cv2.GaussianBlur(photo, (0, 0), 0.4 / scale) if scale < 0.8 else photo
        layer = cv2.warpAffine(source, matrix, size)
        opacity = cv2.warpAffine(alpha, matrix, size)[..., None]
        picture += opacity * (layer - picture)
    return np.clip(np.rint(picture), 0, 255).astype(np.uint8)
