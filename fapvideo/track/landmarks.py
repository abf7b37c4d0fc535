"""Dense landmarks: MediaPipe's 468-point face mesh and its iris net, through OpenCV."""

from __future__ import annotations

import cv2
import numpy as np

from fapvideo.ops import mesh
from fapvideo.ops.geometry import Matrix, invert, transform, warp
from fapvideo.structs import NUM_LANDMARKS, Bytes, Face, Floats
from fapvideo.track.detector import read_net

MESH_INPUT, IRIS_INPUT = 192, 64
MESH_MARGIN, IRIS_MARGIN = 1.5, 2.3
SOFT = 4.0
"""Standard deviation, in its pixels, of the blur that a close-up is sharpened against."""
RIGHT_EYE = (
    33, 7, 163, 144, 145, 153, 154, 155, 133, 246, 161, 160, 159, 158, 157, 173,
    130, 25, 110, 24, 23, 22, 26, 112, 243, 247, 30, 29, 27, 28, 56, 190,
)  # fmt: skip
"""The mesh points that the eye net's first 32 points refine: lids, then the ring around them
(lower half first). Order of MediaPipe's iris landmark model."""


def _square(centre: Floats, direction: Floats, side: float, size: int, flip: bool) -> Matrix:
    """Return the transform of a square turned along `direction` into a `size` px crop."""
    cos, sin = direction / max(float(np.linalg.norm(direction)), 1e-6)
    scale = size / max(side, 1e-3)
    linear = scale * np.array([[cos, sin], [-sin, cos]])
    if flip:
        linear[0] *= -1
    return np.column_stack([linear, size / 2 - linear @ centre[:2]])


class FaceMesh:
    """Measures 478 landmarks of one face, given roughly where it is.

    Source: MediaPipe Face Mesh and Iris (model cards: Google), vendored under Apache-2.0.
    """

    def __init__(self) -> None:
        """Load both networks."""
        self._mesh = read_net("face_landmark")
        self._iris = read_net("iris_landmark")
        self._mesh_names = self._mesh.getUnconnectedOutLayersNames()
        self._iris_names = self._iris.getUnconnectedOutLayersNames()

    def from_box(self, rgb: Bytes, box: Floats, keypoints: Floats) -> Face:
        """Measure the face in a detector's `box` [4] with its `keypoints` [6, 2].

        Measured twice: the second crop is placed by the first result, as tracking does.
        """
        centre = (box[:2] + box[2:]) / 2
        side = float(max(box[2:] - box[:2]))
        first = self._measure(rgb, centre, keypoints[1] - keypoints[0], side, irises=False)
        return self.from_landmarks(rgb, first.landmarks)

    def from_landmarks(self, rgb: Bytes, landmarks: Floats) -> Face:
        """Measure the face whose `landmarks` [478, 3] were found in a picture just before."""
        points = landmarks[:468, :2]
        right, left = mesh.eye_centres(landmarks[:, :2])
        direction = left - right
        axis = direction / max(float(np.linalg.norm(direction)), 1e-6)
        turned = points @ np.array([[axis[0], -axis[1]], [axis[1], axis[0]]])
        low, high = turned.min(axis=0), turned.max(axis=0)
        middle = (low + high) / 2
        centre = np.array([[axis[0], -axis[1]], [axis[1], axis[0]]]) @ middle
        return self._measure(
            rgb, centre.astype(np.float32), direction, float(max(high - low)), irises=True
        )

    def _measure(
        self, rgb: Bytes, centre: Floats, direction: Floats, side: float, *, irises: bool
    ) -> Face:
        """Run the mesh on a square of 1.5 x `side` and map the result back to the frame."""
        matrix = _square(centre, direction, MESH_MARGIN * side, MESH_INPUT, flip=False)
        crop = warp(rgb, matrix, (MESH_INPUT, MESH_INPUT), border=cv2.BORDER_CONSTANT)
        self._mesh.setInput(crop.astype(np.float32).transpose(2, 0, 1)[None] / 255.0)
        outputs = {
            output.size: output.reshape(-1) for output in self._mesh.forward(self._mesh_names)
        }
        points = outputs[1404].reshape(468, 3)
        presence = float(1.0 / (1.0 + np.exp(-np.clip(outputs[1][0], -60, 60))))
        landmarks = np.zeros((NUM_LANDMARKS, 3), np.float32)
        landmarks[:468] = transform(invert(matrix), points)
        landmarks[468:473] = landmarks[[33, 133]].mean(axis=0)
        landmarks[473:478] = landmarks[[263, 362]].mean(axis=0)
        if irises and presence > 0.1:
            self._refine_eye(rgb, landmarks, list(RIGHT_EYE), list(mesh.RIGHT_IRIS), flip=False)
            left = [int(mesh.mirror()[i]) for i in RIGHT_EYE]
            self._refine_eye(rgb, landmarks, left, list(mesh.LEFT_IRIS), flip=True)
        box = np.concatenate([landmarks[:468, :2].min(axis=0), landmarks[:468, :2].max(axis=0)])
        return Face(box.astype(np.float32), landmarks, presence)

    def _refine_eye(
        self, rgb: Bytes, landmarks: Floats, eye: list[int], iris: list[int], *, flip: bool
    ) -> None:
        """Measure one eye's lids and iris in a close-up, in place.

        The mesh hardly closes its eyes at a blink; the close-up net does. It knows right eyes, so
        the left one is mirrored. Depths stay the mesh's.
        """
        outer, inner = landmarks[eye[0], :2], landmarks[eye[8], :2]
        direction = outer - inner if flip else inner - outer
        side = IRIS_MARGIN * float(np.linalg.norm(direction))
        matrix = _square((outer + inner) / 2, direction, side, IRIS_INPUT, flip)
        crop = warp(rgb, matrix, (IRIS_INPUT, IRIS_INPUT), border=cv2.BORDER_REPLICATE)
        # In soft video the net takes a shut eye for a half open one, and one that is torn open for
        # a calm one. Of an animated face whose opening is known, shut eyes measure 0.42 of open
        # ones this way and 0.50 without where it is blurred, 0.36 and 0.39 where it is sharp.
        crop = cv2.addWeighted(crop, 2.0, cv2.GaussianBlur(crop, (0, 0), SOFT), -1.0, 0.0)
        self._iris.setInput(crop.astype(np.float32).transpose(2, 0, 1)[None] / 255.0)
        outputs = {
            output.size: output.reshape(-1) for output in self._iris.forward(self._iris_names)
        }
        back = invert(matrix)
        contour = outputs[213].reshape(71, 3)[: len(eye), :2]
        landmarks[eye, :2] = transform(back, contour)
        landmarks[iris, :2] = transform(back, outputs[15].reshape(5, 3)[:, :2])
        landmarks[iris, 2] = landmarks[[eye[0], eye[8]], 2].mean()
