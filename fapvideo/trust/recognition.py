"""Telling people apart by dlib's face recognition network (extra `identity`).

It is not the swapper's own: nothing that paints was made to please it. dlib's ResNet maps an
aligned 150 x 150 px face to 128 numbers; photos of one person are closer than 0.6, by dlib's own
account (99.38 % on LFW). It errs more often for people who are not white Europeans: read it as a
change, not as a verdict. Network and weights: Davis King, CC0
(https://github.com/davisking/dlib-models).
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np

from fapvideo.errors import WeightsError
from fapvideo.ops.geometry import similarity_matrix, warp
from fapvideo.structs import Array, Bytes, Floats

CHIP = 150
"""Side of the network's picture, pixels."""
MARGIN = 0.25
"""Room around the face, shares of the mean shape's box."""
CORNERS = (263, 362, 33, 133, 2)
"""Eye corners (left eye first, outer before inner) and the foot of the nose."""
MEAN_SHAPE = np.array(
    [
        [0.8595674595992, 0.2134981538014],
        [0.6460604764104, 0.2289658839285],
        [0.1205750620789, 0.2137274526882],
        [0.3340850613712, 0.2290642403242],
        [0.4901123135679, 0.6277975316475],
    ]
)
"""Where they lie in the mean shape's box: `get_face_chip_details` of dlib, five points."""
MODELS = "face_recognition_models"
MODEL_FILE = "models/dlib_face_recognition_resnet_model_v1.dat"
HINT = "pip install 'fapvideo[identity]'"


def face_chip(picture: Array, landmarks: Floats) -> Bytes:
    """Return the aligned face [CHIP, CHIP, 3], as dlib's network wants it.

    `picture` is uint8 or float [0, 1], [H, W, 3] RGB, with `landmarks` [478, 2 or 3].
    """
    target = (MEAN_SHAPE + MARGIN) / (1 + 2 * MARGIN) * CHIP
    matrix = similarity_matrix(landmarks[list(CORNERS), :2], target)
    chip = warp(picture, matrix, (CHIP, CHIP))
    if chip.dtype == np.uint8:
        return np.ascontiguousarray(chip)
    return np.round(np.clip(chip, 0.0, 1.0) * 255).astype(np.uint8)


def model_file() -> Path | None:
    """Return the weights' file, or None where the extra is not installed.

    The package `face_recognition_models` is looked up, never imported: it needs `pkg_resources`,
    which newer setuptools no longer have.
    """
    spec = importlib.util.find_spec(MODELS)
    if spec is None or spec.origin is None:
        return None
    path = Path(spec.origin).parent / MODEL_FILE
    return path if path.is_file() else None


def available() -> bool:
    """Tell whether the extra `identity` is installed."""
    return importlib.util.find_spec("dlib") is not None and model_file() is not None


class IdentityEmbedding:
    """Faces in, 128 numbers each out."""

    def __init__(self) -> None:
        """Load the network.

        Raises:
            WeightsError: the extra is not installed.
        """
        path = model_file()
        if path is None or not available():
            raise WeightsError("identity needs dlib and its weights", hint=HINT)
        import dlib

        self._network: Any = dlib.face_recognition_model_v1(str(path))

    def __call__(self, picture: Array, landmarks: Floats) -> Floats:
        """Return [128] for the face with these `landmarks` [478, 2 or 3] in `picture`."""
        return np.array(self._network.compute_face_descriptor(face_chip(picture, landmarks)))


def recognised_apart(a: Floats, b: Floats) -> float:
    """Return the distance of two embeddings [128]."""
    return float(np.linalg.norm(a - b))
