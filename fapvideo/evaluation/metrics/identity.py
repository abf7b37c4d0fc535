"""Whether the person is still the same: whole-face identity embeddings by dlib (extra `identity`).

dlib's ResNet maps an aligned 150 x 150 px face to 128 numbers; photos of one person are closer than
0.6, by dlib's own account (99.38 % on LFW). It errs more often for people who are not white
Europeans: read it as a change, not as a verdict. Network and weights: Davis King, CC0
(https://github.com/davisking/dlib-models).
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from fapvideo.errors import WeightsError
from fapvideo.evaluation.definitions import Definition
from fapvideo.evaluation.views import EXPECTED, FramePair
from fapvideo.ops.geometry import similarity_matrix, warp
from fapvideo.reference.images import AlignedFace
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
EVERY_S = 0.5
"""Seconds from one measured frame to the next: the network takes a tenth of a second of CPU."""
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


class Identity:
    """Group `identity.*`."""

    definitions: ClassVar[tuple[Definition, ...]] = (
        Definition(
            "identity.distance", "Identity distance to the source", "", "lower",
            "Distance of whole-face identity embeddings between result and source, every "
            f"{EVERY_S} s. Over about 0.6 it is another person; a swap of eyes only should stay "
            "well below.",
            "dlib's face recognition network (King, CC0)", headline=True, curve=True,
        ),
        Definition(
            "identity.reference", "Identity distance to the reference", "", "lower",
            "The same between result and the nearest reference photo: how far the whole face has "
            "become the reference's.",
            "dlib's face recognition network (King, CC0)", curve=True,
        ),
    )  # fmt: skip

    def __init__(self, embed: IdentityEmbedding | None = None) -> None:
        """Prepare for one clip; without the extra, nothing is measured and `notes` says so."""
        self._embed = embed or (IdentityEmbedding() if available() else None)
        self._next_s = -np.inf
        self._seen: dict[str, list[float]] = {}
        self._references: dict[str, Floats] = {}

    def update(self, pair: FramePair) -> Mapping[str, float]:
        """Measure the faces of a frame, if it is time; return the means over them."""
        views = [view for view in pair.faces if view.weight >= EXPECTED]
        due = pair.first_of_shot or pair.time_s >= self._next_s
        if self._embed is None or not views or not due:
            return {}
        self._next_s = pair.time_s + EVERY_S
        row: dict[str, list[float]] = {}
        photos = [face for faces in pair.references.values() for face in faces]
        for view in views:
            result = self._embed(view.result, view.measured_result)
            source = self._embed(view.source, view.measured_source)
            row.setdefault("identity.distance", []).append(_apart(result, source))
            known = [_apart(result, self._reference(photo, self._embed)) for photo in photos]
            if known:
                row.setdefault("identity.reference", []).append(min(known))
        for key, values in row.items():
            self._seen.setdefault(key, []).extend(values)
        return {key: float(np.mean(values)) for key, values in row.items()}

    def summary(self) -> Mapping[str, float]:
        """Return the means over the clip."""
        return {key: float(np.mean(values)) for key, values in self._seen.items()}

    def notes(self) -> Sequence[str]:
        """Return what was left out, and why."""
        return [] if self._embed is not None else [f"identity left out: {HINT}"]

    def _reference(self, photo: AlignedFace, embed: IdentityEmbedding) -> Floats:
        """Return a reference's embedding, computed once."""
        if photo.sha256 not in self._references:
            self._references[photo.sha256] = embed(photo.crop, photo.landmarks)
        return self._references[photo.sha256]


def _apart(a: Floats, b: Floats) -> float:
    return float(np.linalg.norm(a - b))
