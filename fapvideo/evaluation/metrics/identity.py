"""Whether the person is still the same: whole-face identity embeddings (`trust.recognition`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np

from fapvideo.evaluation.definitions import Definition
from fapvideo.evaluation.views import EXPECTED, FramePair
from fapvideo.reference.images import AlignedFace
from fapvideo.structs import Floats
from fapvideo.trust.recognition import HINT, IdentityEmbedding, available, recognised_apart

EVERY_S = 0.5
"""Seconds from one measured frame to the next: the network takes a tenth of a second of CPU."""


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
            row.setdefault("identity.distance", []).append(recognised_apart(result, source))
            known = [
                recognised_apart(result, self._reference(photo, self._embed)) for photo in photos
            ]
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
