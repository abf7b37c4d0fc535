"""Metrics where the truth is known: animated portraits, and speakers given their own photo."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from fapvideo.evaluation.definitions import Definition
from fapvideo.evaluation.views import SIDE, FaceView, FramePair
from fapvideo.ops import mesh
from fapvideo.ops.geometry import transform
from fapvideo.ops.pose import CROP_INTEROCULAR
from fapvideo.structs import Floats

PERFECT_DB = 100.0
"""PSNR of equal pictures."""


class TruthMetric:
    """Compares with what must come out."""

    definitions: ClassVar[tuple[Definition, ...]] = (
        Definition(
            "truth.psnr", "PSNR to the truth", "dB", "higher",
            "Speakers who get the parts of their own photo must look as before: PSNR inside the "
            "mask against the source. Doing nothing is perfect here, so it means something only "
            "beside the strength of the edit on other clips.", "own", curve=True,
        ),
        Definition(
            "truth.landmarks.result", "Landmark error", "% eye distance", "lower",
            "Mean distance of the parts' landmarks, measured anew in the result, from where the "
            "animation put them. A frozen or shifted part is far off.", "own", curve=True,
        ),
        Definition(
            "truth.landmarks.source", "Landmark error in the source", "% eye distance", "lower",
            "The same measured in the source: what the measuring itself gets wrong.", "own",
        ),
    )  # fmt: skip

    def __init__(self, landmarks: Floats | None = None, *, itself: bool = False) -> None:
        """Take the true landmarks [T, 478, 3], and whether the source is what must come out."""
        self._landmarks, self._itself = landmarks, itself
        self._errors: dict[str, list[float]] = {"squared": [], "result": [], "source": []}

    def update(self, pair: FramePair) -> Mapping[str, float]:
        """Take the next frame."""
        points: dict[str, float] = {}
        for face in pair.faces[:1]:  # animated portraits show one
            if self._itself and face.mask.any():
                difference = face.result[face.mask].astype(np.float64) - face.source[face.mask]
                self._errors["squared"].append(float((difference**2).mean()))
                points["truth.psnr"] = _psnr(self._errors["squared"][-1])
            if self._landmarks is not None:
                truth = transform(face.matrix, self._landmarks[pair.index])
                self._errors["result"].append(_distance(face, face.measured_result, truth))
                self._errors["source"].append(_distance(face, face.measured_source, truth))
                points["truth.landmarks.result"] = self._errors["result"][-1]
        return points

    def summary(self) -> Mapping[str, float]:
        """Return the means."""
        values = {
            f"truth.landmarks.{name}": float(np.mean(self._errors[name]))
            for name in ("result", "source")
            if self._errors[name]
        }
        if self._errors["squared"]:
            values["truth.psnr"] = _psnr(float(np.mean(self._errors["squared"])))
        return values


def _psnr(squared: float) -> float:
    """Return the PSNR of a mean squared error of 8-bit values."""
    return min(PERFECT_DB, float(20 * np.log10(255) - 10 * np.log10(max(squared, 1e-12))))


def _distance(face: FaceView, found: Floats, truth: Floats) -> float:
    """Return the mean distance of the parts' points, percent of the distance of the eyes."""
    points = [i for part in face.parts for ring in mesh.outlines(part) for i in ring]
    away = np.linalg.norm(found[points, :2] - truth[points, :2], axis=1)
    return float(100 * away.mean() / (CROP_INTEROCULAR * SIDE))
