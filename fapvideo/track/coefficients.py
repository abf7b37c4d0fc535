"""The 52 expression coefficients of a face, from its landmarks: MediaPipe's blendshape net.

Evaluation measures with them; nothing that is painted depends on them.
"""

from __future__ import annotations

import numpy as np

from fapvideo.structs import Floats
from fapvideo.track.detector import read_net

POINTS = (
    0, 1, 4, 5, 6, 7, 8, 10, 13, 14, 17, 21, 33, 37, 39, 40, 46, 52, 53, 54, 55, 58, 61, 63, 65, 66,
    67, 70, 78, 80, 81, 82, 84, 87, 88, 91, 93, 95, 103, 105, 107, 109, 127, 132, 133, 136, 144,
    145, 146, 148, 149, 150, 152, 153, 154, 155, 157, 158, 159, 160, 161, 162, 163, 168, 172, 173,
    176, 178, 181, 185, 191, 195, 197, 234, 246, 249, 251, 263, 267, 269, 270, 276, 282, 283, 284,
    285, 288, 291, 293, 295, 296, 297, 300, 308, 310, 311, 312, 314, 317, 318, 321, 323, 324, 332,
    334, 336, 338, 356, 361, 362, 365, 373, 374, 375, 377, 378, 379, 380, 381, 382, 384, 385, 386,
    387, 388, 389, 390, 397, 398, 400, 402, 405, 409, 415, 454, 466, 468, 469, 470, 471, 472, 473,
    474, 475, 476, 477,
)  # fmt: skip
"""What the net takes: these mesh points, in this order."""
NAMES = (
    "neutral", "browDownLeft", "browDownRight", "browInnerUp", "browOuterUpLeft",
    "browOuterUpRight", "cheekPuff", "cheekSquintLeft", "cheekSquintRight", "eyeBlinkLeft",
    "eyeBlinkRight", "eyeLookDownLeft", "eyeLookDownRight", "eyeLookInLeft", "eyeLookInRight",
    "eyeLookOutLeft", "eyeLookOutRight", "eyeLookUpLeft", "eyeLookUpRight", "eyeSquintLeft",
    "eyeSquintRight", "eyeWideLeft", "eyeWideRight", "jawForward", "jawLeft", "jawOpen", "jawRight",
    "mouthClose", "mouthDimpleLeft", "mouthDimpleRight", "mouthFrownLeft", "mouthFrownRight",
    "mouthFunnel", "mouthLeft", "mouthLowerDownLeft", "mouthLowerDownRight", "mouthPressLeft",
    "mouthPressRight", "mouthPucker", "mouthRight", "mouthRollLower", "mouthRollUpper",
    "mouthShrugLower", "mouthShrugUpper", "mouthSmileLeft", "mouthSmileRight", "mouthStretchLeft",
    "mouthStretchRight", "mouthUpperUpLeft", "mouthUpperUpRight", "noseSneerLeft", "noseSneerRight",
)  # fmt: skip
"""What it gives: ARKit's names; left and right are the person's own."""


class CoefficientNet:
    """Reads expression from landmarks.

    Source: MediaPipe FaceLandmarker (model card: Google, "Blendshape V2"), vendored under
    Apache-2.0; points and names as in its `face_blendshapes_graph.cc`.
    """

    def __init__(self) -> None:
        """Load the network."""
        self._net = read_net("face_blendshapes")

    def __call__(self, landmarks: Floats) -> Floats:
        """Return [52] coefficients, 0 to 1, of an upright face with `landmarks` [478, >=2].

        The net takes pixels but cares neither for place nor for size.
        """
        self._net.setInput(np.ascontiguousarray(landmarks[list(POINTS), :2], np.float32)[None])
        found: Floats = self._net.forward().reshape(len(NAMES))
        return found
