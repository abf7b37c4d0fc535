"""Whose part does the result show: cosine similarity of part features, swap success, strength.

FuseAnyPart (arXiv 2410.22771) reports "OSim" and "FPSim", but neither the text at hand nor the
published code defines them (docs/fuseanypart.md, 5). This is a measure of our own with the
same purpose, validated on people seen twice: `benchmarks/results/metric_validation.json`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar

import numpy as np

from fapvideo.evaluation.definitions import Definition
from fapvideo.evaluation.metrics.features import MEASURED, PartFeatures
from fapvideo.evaluation.views import EXPECTED, FaceView, FramePair
from fapvideo.reference.images import AlignedFace
from fapvideo.structs import Floats

TOO_ALIKE = 0.5
"""Reference and source closer than this (cosine 0.875) are taken to be this far apart: the strength
of swapping somebody's part for the same part means little."""

Key = tuple[str, str]
"""(name with a gap for the part, part)."""
Values = dict[Key, list[float]]

_OWN = "own; FuseAnyPart's OSim has no published definition"
_FEATURES = (
    "Cosine between feature vectors (texture laid out flat on the face mesh through MobileNetV2, "
    "light normalised, and shape in the head frame) of the part "
)


class PartSimilarity:
    """Groups `similarity.*`, `success.*` and `edit.*`."""

    definitions: ClassVar[tuple[Definition, ...]] = (
        Definition(
            "similarity.reference", "Likeness to the reference", "cosine", "higher",
            "Mean over the parts of `similarity.*.reference`.", _OWN, headline=True, curve=True,
        ),
        Definition(
            "similarity.source", "Likeness to the source", "cosine", "lower",
            "Mean over the parts of `similarity.*.source`.", _OWN, curve=True,
        ),
        Definition(
            "similarity.*.reference", "Likeness to the reference, part", "cosine", "higher",
            _FEATURES + "in the result and in the reference (the likest one where there are "
            "several). Catches a swap that did not happen, or took somebody else's part.",
            _OWN, curve=True,
        ),
        Definition(
            "similarity.*.source", "Likeness to the source, part", "cosine", "lower",
            _FEATURES + "in the result and in the source's frame.", _OWN, curve=True,
        ),
        Definition(
            "success", "Swap success", "", "higher",
            "Mean over the parts of `success.*`.", _OWN, headline=True,
        ),
        Definition(
            "success.*", "Swap success, part", "", "higher",
            "Share of the frames in which the part is likelier the reference's than the source's. "
            "Doing nothing gives 0.", _OWN,
        ),
        Definition(
            "edit.strength", "Edit strength", "", "higher",
            "Mean over the parts of `edit.strength.*`; doing nothing gives 0.", _OWN,
            headline=True, curve=True,
        ),
        Definition(
            "edit.strength.*", "Edit strength, part", "", "higher",
            "Distance of the part's features between result and source, divided by the distance "
            "between reference and source: 0 where nothing changed, about 1 where the reference's "
            "part took its place. It does not tell whether the change is right.", _OWN, curve=True,
        ),
    )  # fmt: skip

    def __init__(
        self, features: PartFeatures | None = None, parts: Sequence[str] = MEASURED
    ) -> None:
        """Prepare for one clip, to report `parts` by the package's features or others."""
        self._features = features or PartFeatures.packaged()
        self._parts = tuple(part for part in parts if part in self._features.parts)
        self._seen: Values = {}
        self._references: dict[tuple[str, str], Floats] = {}
        self._left_out: set[str] = set()

    def update(self, pair: FramePair) -> Mapping[str, float]:
        """Compare the parts of every face of a frame; return the means over faces."""
        row: Values = {}
        for view in pair.faces:
            if view.weight >= EXPECTED:
                for key, value in self._of_face(view, pair.references):
                    row.setdefault(key, []).append(value)
                    self._seen.setdefault(key, []).append(value)
        points = _named(row)
        return {key: value for key, value in points.items() if not key.startswith("success")}

    def summary(self) -> Mapping[str, float]:
        """Return the means over the clip."""
        return _named(self._seen)

    def notes(self) -> Sequence[str]:
        """Return what was left out, and why."""
        if not self._left_out:
            return []
        names = ", ".join(sorted(self._left_out))
        return [f"similarity of {names} left out: it did not pass its validation"]

    def _of_face(
        self, view: FaceView, references: Mapping[str, Sequence[AlignedFace]]
    ) -> Iterator[tuple[Key, float]]:
        """Yield all values of one face."""
        self._left_out |= set(view.parts) - set(self._parts)
        parts = [part for part in view.parts if part in self._parts]
        pictures = [(view.result, view.measured_result), (view.source, view.measured_source)]
        for part, (result, source) in self._features(pictures, parts).items():
            to_source = float(result @ source)
            yield ("similarity.{}.source", part), to_source
            known = [self._reference(part, face) for face in references.get(part, ())]
            if known:
                reference = max(known, key=lambda vector: float(result @ vector))
                to_reference = float(result @ reference)
                yield ("similarity.{}.reference", part), to_reference
                yield ("success.{}", part), float(to_reference > to_source)
                apart = float(np.linalg.norm(reference - source))
                change = float(np.linalg.norm(result - source))
                yield ("edit.strength.{}", part), change / max(apart, TOO_ALIKE)

    def _reference(self, part: str, face: AlignedFace) -> Floats:
        """Return a reference's vector, computed once."""
        key = (part, face.sha256)
        if key not in self._references:
            self._references[key] = self._features.embed(face.crop, face.landmarks, part)
        return self._references[key]


def _named(values: Values) -> dict[str, float]:
    """Return the mean of every key, and of every group the mean over its parts."""
    means = {key: float(np.mean(given)) for key, given in values.items()}
    out = {group.format(part): mean for (group, part), mean in means.items()}
    for group in dict.fromkeys(group for group, _ in means):
        of_parts = [mean for (other, _), mean in means.items() if other == group]
        out[group.replace(".{}", "")] = float(np.mean(of_parts))
    return out
