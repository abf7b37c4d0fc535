"""One picture measured: its largest face, aligned, or the reason why it is of no use."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from fapvideo.config.train import DataConfig
from fapvideo.ops import mesh
from fapvideo.ops.geometry import transform, warp
from fapvideo.ops.pose import crop_matrix, expression, head_pose
from fapvideo.structs import NUM_LANDMARKS, Bytes, Floats
from fapvideo.track.finder import FaceFinder

LOOKS = ("mouth_open", "smile", "eye_open", "brow_height", "gaze_x", "gaze_y")
"""Measures of `ops.pose.expression` that tell one moment of a face from another."""
DEGREES_PER_UNIT = 90.0
"""A head that turns by this much differs as a mouth that opens by an inter-ocular distance."""


@dataclass(frozen=True, slots=True)
class Measured:
    """A usable face."""

    crop: Bytes
    """[S, S, 3] RGB."""
    landmarks: Floats
    """[478, 3] in crop pixels."""
    sharpness: float
    """Variance of the crop's Laplacian, 0..255 scale."""
    look: Floats
    """[8] expression and pose, comparable by distance; about inter-ocular distances."""


def measure(rgb: Bytes, finder: FaceFinder, size: int, config: DataConfig) -> Measured | str:
    """Return the largest face of a picture in a crop of `size` px, or `reason: details`.

    Args:
        rgb: uint8 [H, W, 3].
        finder: with `min_presence` 0, so that a covered face is told from none.
        size: side of the crop, pixels.
        config: `[data]`, the demands.
    """
    faces = finder(rgb)
    if not faces:
        return "no face found"
    face = faces[0]
    if face.presence < config.min_presence:
        return f"face covered or unclear: mesh presence {face.presence:.2f}"
    pose = head_pose(face.landmarks)
    if abs(pose.yaw_deg) > config.max_yaw_deg:
        return f"turned away: by {pose.yaw_deg:.0f} degrees"
    distance = mesh.interocular(face.landmarks)
    if distance < config.min_face_px:
        return f"too small: the eyes are {distance:.0f} px apart"
    matrix = crop_matrix(pose, size)
    crop = warp(rgb, matrix, (size, size), interpolation=cv2.INTER_CUBIC)
    sharpness = float(cv2.Laplacian(cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY), cv2.CV_32F).var())
    if sharpness < config.min_sharpness:
        return f"blurred: sharpness {sharpness:.0f}"
    measures = expression(face.landmarks)
    turned = (pose.yaw_deg / DEGREES_PER_UNIT, pose.pitch_deg / DEGREES_PER_UNIT)
    look = np.array([*(measures[name] for name in LOOKS), *turned], np.float32)
    points = transform(matrix, face.landmarks).reshape(NUM_LANDMARKS, 3)
    return Measured(crop, points, sharpness, look)
