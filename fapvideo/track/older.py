"""MediaPipe's older face mesh with its iris net, which the program itself no longer follows with.

Evaluation measures with it, so that what is judged is not measured by the same net; portraits are
animated and photos to train on are chosen by it.
"""

from __future__ import annotations

import cv2
import numpy as np

from fapvideo.ops import mesh
from fapvideo.ops.geometry import invert, transform, turned_square, warp
from fapvideo.structs import Bytes, Face, Floats
from fapvideo.track.detector import read_net
from fapvideo.track.landmarks import FaceMesh, cut, located, read_outputs

MESH_INPUT, IRIS_INPUT = 192, 64
IRIS_MARGIN = 2.3
SOFT = 4.0
"""Standard deviation, in its pixels, of the blur that a close-up is sharpened against."""
RIGHT_EYE = (
    33, 7, 163, 144, 145, 153, 154, 155, 133, 246, 161, 160, 159, 158, 157, 173,
    130, 25, 110, 24, 23, 22, 26, 112, 243, 247, 30, 29, 27, 28, 56, 190,
)  # fmt: skip
"""The mesh points that the eye net's first 32 points refine: lids, then the ring around them
(lower half first). Order of MediaPipe's iris landmark model."""


class OlderMesh(FaceMesh):
    """Measures 478 landmarks of one face, given roughly where it is.

    Source: MediaPipe Face Mesh and Iris (model cards: Google), vendored under Apache-2.0.
    """

    def __init__(self) -> None:
        """Load both networks."""
        self._net, self._iris = read_net("face_landmark"), read_net("iris_landmark")
        self._names = self._net.getUnconnectedOutLayersNames()
        self._iris_names = self._iris.getUnconnectedOutLayersNames()

    def _measure(
        self, rgb: Bytes, centre: Floats, direction: Floats, side: float, *, fine: bool
    ) -> Face:
        """Run the mesh; where `fine`, measure the eyes in close-ups, too."""
        matrix, crop = cut(rgb, centre, direction, side, MESH_INPUT)
        self._net.setInput(crop)
        face = located(matrix, *read_outputs(self._net.forward(self._names), 468))
        landmarks = face.landmarks
        landmarks[468:473] = landmarks[[33, 133]].mean(axis=0)
        landmarks[473:478] = landmarks[[263, 362]].mean(axis=0)
        if fine and face.presence > 0.1:
            self._refine_eye(rgb, landmarks, list(RIGHT_EYE), list(mesh.RIGHT_IRIS), flip=False)
            left = [int(mesh.mirror()[i]) for i in RIGHT_EYE]
            self._refine_eye(rgb, landmarks, left, list(mesh.LEFT_IRIS), flip=True)
        return face

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
        matrix = turned_square((outer + inner) / 2, direction, side, IRIS_INPUT, flip=flip)
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
