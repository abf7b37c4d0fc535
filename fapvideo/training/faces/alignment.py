"""One picture measured: its largest face, aligned, or the reason why it is of no use."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from fapvideo.config.train import DataConfig
from fapvideo.nets.realesrgan import RRDBNet
from fapvideo.ops import mesh
from fapvideo.ops.geometry import Matrix, invert, scale_of, transform, warp
from fapvideo.ops.pose import crop_matrix, expression, head_pose
from fapvideo.structs import NUM_LANDMARKS, Bytes, Floats
from fapvideo.track.finder import FaceFinder

LOOKS = ("mouth_open", "smile", "eye_open", "brow_height", "gaze_x", "gaze_y")
"""Measures of `ops.pose.expression` that tell one moment of a face from another."""
ENLARGED_ABOVE = 1.2
"""Crop pixels per pixel of the picture from which on one is short of detail."""
AROUND = 8
"""Pixels of the picture around the crop that an enlarger sees."""
COLOUR_SIDE = 40
"""Colours are judged on so many pixels across: larger ones than a print's dots."""
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
    """Variance of the crop's Laplacian, 0..255 scale; of one to be enlarged, before that."""
    look: Floats
    """[8] expression and pose, comparable by distance; about inter-ocular distances."""


def measure(
    rgb: Bytes, finder: FaceFinder, size: int, config: DataConfig, enlarger: RRDBNet | None = None
) -> Measured | str:
    """Return the largest face of [H, W, 3] in a crop of `size` px, or `reason: details`.

    `finder` has `min_presence` 0, so that a covered face is told from none. `enlarger` draws faces
    that are smaller than the crop, after they have met the demands of `config`.
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
    enlargement = scale_of(matrix)
    short = enlarger is not None and enlargement > ENLARGED_ABOVE
    # Stretched pixels look blurred: what is to be drawn larger is judged at its own scale.
    shrink = enlargement if short else 1.0
    side = round(size / shrink)
    crop = warp(rgb, matrix / shrink, (side, side), interpolation=cv2.INTER_CUBIC)
    sharpness = float(cv2.Laplacian(cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY), cv2.CV_32F).var())
    if sharpness < config.min_sharpness:
        return f"blurred: sharpness {sharpness:.0f}"
    if (colour := colourfulness(crop)) < config.min_colour:
        return f"printed in one ink, or toned: colour {colour:.1f}"
    if enlarger is not None and short:
        crop = enlarged(rgb, matrix, size, enlarger)
    measures = expression(face.landmarks)
    turned = (pose.yaw_deg / DEGREES_PER_UNIT, pose.pitch_deg / DEGREES_PER_UNIT)
    look = np.array([*(measures[name] for name in LOOKS), *turned], np.float32)
    points = transform(matrix, face.landmarks).reshape(NUM_LANDMARKS, 3)
    return Measured(crop, points, sharpness, look)


def colourfulness(crop: Bytes) -> float:
    """Return how far the colours of [S, S, 3] are from a function of brightness, CIE Lab units.

    A print in one ink has a colour for every brightness, whatever the ink and the paper; a face in
    colour has redder and yellower places of one brightness.
    """
    small = cv2.resize(crop, (COLOUR_SIDE, COLOUR_SIDE), interpolation=cv2.INTER_AREA)
    lab = cv2.cvtColor(small.astype(np.float32) / 255, cv2.COLOR_RGB2LAB).reshape(-1, 3)
    light = np.vander(lab[:, 0].astype(np.float64) / 100, 4)
    colours = lab[:, 1:].astype(np.float64)
    off = colours - light @ np.linalg.lstsq(light, colours)[0]
    return float(np.sqrt(np.square(off).sum(axis=1).mean()))


def enlarged(rgb: Bytes, matrix: Matrix, size: int, enlarger: RRDBNet) -> Bytes:
    """Return the crop [S, S, 3] that `matrix` [2, 3] cuts out of [H, W, 3], details drawn."""
    sides = np.array([[0, 0], [size, 0], [0, size], [size, size]], np.float64)
    corners = transform(invert(matrix), sides)
    limits = np.array(rgb.shape[1::-1])
    left, top = np.clip(np.floor(corners.min(axis=0)).astype(int) - AROUND, 0, limits - 1)
    right, bottom = np.clip(np.ceil(corners.max(axis=0)).astype(int) + AROUND, 1, limits)
    drawn = enlarger.enlarge(rgb[top:bottom, left:right] / np.float32(255))
    # Down to the crop's scale by areas, which does not alias; then only a turn is left.
    wanted = scale_of(matrix) * np.array([right - left, bottom - top])
    width, height = np.maximum(1, np.rint(wanted)).astype(int)
    drawn = cv2.resize(drawn, (int(width), int(height)), interpolation=cv2.INTER_AREA)
    stretch = np.array([(right - left) / width, (bottom - top) / height])
    shift = matrix[:, :2] @ [left, top] + matrix[:, 2]
    placed = np.column_stack([matrix[:, :2] * stretch, shift])
    crop = warp(drawn, placed, (size, size), interpolation=cv2.INTER_CUBIC)
    return np.rint(crop.clip(0, 1) * 255).astype(np.uint8)
