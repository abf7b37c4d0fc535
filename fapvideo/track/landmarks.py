"""Dense landmarks: the mesh of MediaPipe's FaceLandmarker v2, 478 points with irises, by OpenCV."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from fapvideo.ops import mesh
from fapvideo.ops.geometry import Matrix, invert, transform, turned_square, warp
from fapvideo.structs import NUM_LANDMARKS, Bytes, Face, Floats
from fapvideo.track.detector import read_net

INPUT, MARGIN = 256, 1.5
PRESENT = 11.0
"""The net's logit at which a face is as likely as none: it gives 14 to 22 on a face, 5 to 10 where
it has slid off one."""


FAR_MOVED, FAR_DEG, FAR_SCALED = 0.1, 8.0, 1.15
"""Change from one frame to the next, in sides of the face, degrees in the picture and as a factor,
over which a face is measured twice. A head that turns by 20 degrees a frame lags by 5 otherwise."""

Square = tuple[Floats, Floats, float]
"""Centre [2], direction of the upper edge [2] and side of the square about a face."""


class FaceMesh:
    """Measures 478 landmarks of one face, given roughly where it is.

    Source: MediaPipe FaceLandmarker (model card: Google, "Face Mesh V2"), vendored under
    Apache-2.0.
    """

    def __init__(self) -> None:
        """Load the network."""
        self._net = read_net("face_landmarks_detector")
        self._names = self._net.getUnconnectedOutLayersNames()

    def from_box(self, rgb: Bytes, box: Floats, keypoints: Floats) -> Face:
        """Measure the face in a detector's `box` [4] with its `keypoints` [6, 2].

        Measured twice: the second crop is placed by the first result, as tracking does.
        """
        centre = (box[:2] + box[2:]) / 2
        side = float(max(box[2:] - box[:2]))
        first = self._measure(rgb, centre, keypoints[1] - keypoints[0], side, fine=False)
        return self._measure(rgb, *upright_square(first.landmarks), fine=True)

    def from_landmarks(self, rgb: Bytes, landmarks: Floats) -> Face:
        """Measure the face whose `landmarks` [478, 3] were found in a picture just before.

        Where it has moved far since, the crop was off and so is what was measured in it: once more.
        """
        before = upright_square(landmarks)
        face = self._measure(rgb, *before, fine=True)
        after = upright_square(face.landmarks)
        return self._measure(rgb, *after, fine=True) if _far(before, after) else face

    def measure(self, rgb: Bytes, square: Square, zoom: float = 1.0) -> Floats:
        """Return landmarks [478, 3] in a square of the picture, `zoom` times as near."""
        centre, direction, side = square
        return self._measure(rgb, centre, direction, side / zoom, fine=True).landmarks

    def _measure(
        self, rgb: Bytes, centre: Floats, direction: Floats, side: float, *, fine: bool
    ) -> Face:
        """Run the mesh on a square of 1.5 x `side` and map the result back to the frame.

        Points that are no numbers make a presence of 0.
        """
        matrix, crop = cut(rgb, centre, direction, side, INPUT)
        self._net.setInput(crop)
        points, logit = read_outputs(self._net.forward(self._names), NUM_LANDMARKS)
        return located(matrix, points, logit - PRESENT)


def _far(before: Square, after: Square) -> bool:
    """Tell whether a crop placed by one square was far off for the other."""
    moved = float(np.linalg.norm(after[0] - before[0])) / before[2]
    lengths = np.linalg.norm(after[1]) * np.linalg.norm(before[1])
    turned = float(after[1] @ before[1]) < np.cos(np.radians(FAR_DEG)) * float(lengths)
    return turned or moved > FAR_MOVED or not 1 / FAR_SCALED < after[2] / before[2] < FAR_SCALED


def upright_square(landmarks: Floats) -> Square:
    """Return the square about a face of `landmarks` [478, 3]; a sound one of unsound points."""
    points = landmarks[:468, :2]
    right, left = mesh.eye_centres(landmarks[:, :2])
    direction = left - right if (left != right).any() else np.array([1.0, 0.0], np.float32)
    axis = direction / max(float(np.linalg.norm(direction)), 1e-6)
    back = np.array([[axis[0], -axis[1]], [axis[1], axis[0]]])
    turned = points @ back
    low, high = turned.min(axis=0), turned.max(axis=0)
    centre = (back @ ((low + high) / 2)).astype(np.float32)
    return centre, direction, max(float(max(high - low)), 1.0)


def cut(
    rgb: Bytes, centre: Floats, direction: Floats, side: float, size: int
) -> tuple[Matrix, Floats]:
    """Return the transform of a mesh's crop and the crop as its input [1, 3, size, size], 0..1."""
    matrix = turned_square(centre, direction, MARGIN * side, size)
    crop = warp(rgb, matrix, (size, size), border=cv2.BORDER_CONSTANT)
    return matrix, crop.astype(np.float32).transpose(2, 0, 1)[None] / 255.0


def read_outputs(outputs: Sequence[Floats], count: int) -> tuple[Floats, float]:
    """Return the points [count, 3] in the crop and the presence's logit; the nets name neither."""
    sizes = {output.size: output.reshape(-1) for output in reversed(outputs)}
    return sizes[3 * count].reshape(count, 3), float(sizes[1][0])


def located(matrix: Matrix, points: Floats, logit: float) -> Face:
    """Return the face of points [N, 3] that were measured in the crop of `matrix`."""
    landmarks = np.zeros((NUM_LANDMARKS, 3), np.float32)
    landmarks[: len(points)] = transform(invert(matrix), points)
    presence = float(1.0 / (1.0 + np.exp(-np.clip(logit, -60, 60))))
    if not (np.isfinite(landmarks).all() and np.isfinite(presence)):
        landmarks, presence = np.zeros_like(landmarks), 0.0
    mapped = landmarks[:468, :2]
    box = np.concatenate([mapped.min(axis=0), mapped.max(axis=0)])
    return Face(box.astype(np.float32), landmarks, presence)
