"""Looking at what was painted: is the face still where it was meant to be, and of sane colours?

A painter can go wrong where nothing before it did: a model that gives no numbers, infinite weights,
a poisoned cache, a mesh that no longer fits the picture. What it made is looked at before it is
shown; what fails is not shown, and said.
"""

from __future__ import annotations

import numpy as np

from fapvideo.ops import mesh
from fapvideo.ops.image import as_rgb, chroma
from fapvideo.ops.pose import CROP_INTEROCULAR
from fapvideo.paint.painter import FaceJob
from fapvideo.structs import Floats
from fapvideo.track.landmarks import FaceMesh

OFF_PLACE = 0.055
"""Distance of a painted part from where it was meant to be, in inter-ocular distances, from which
on it looks wrong. On real clips it is 0.04 at most; parts that are shifted by 0.1 measure 0.065."""
GONE = 0.02
"""Presence under which there is no face any more; an extreme grimace, well painted, has 0.25."""
OFF_COLOUR, MARGIN = 0.1, 0.08
"""Share of the painted pixels whose chroma may lie further than MARGIN outside what frame,
guide and references hold. Meant for colours that come from nowhere: the networks' slight casts on
irises and lids reach 0.02 beyond 0.06."""
EVERY = 2
"""Only every second painted pixel, both ways, is counted: a quarter tells the share as well."""
OUTERMOST = (0.1, 99.9)
"""Percentiles of those that count as their range."""


class PaintCheck:
    """Judges finished crops."""

    def __init__(self) -> None:
        """Load the mesh's network."""
        self._mesh = FaceMesh()
        self._photos: dict[str, Floats] = {}
        """SHA-256 of a reference -> the range of its chroma."""

    def __call__(self, job: FaceJob, result: Floats) -> str:
        """Return why a finished crop [S, S, 3] must not be shown: a code of `structs.REASONS`.

        Empty where it may. Nothing is looked at where nothing is painted.
        """
        hole = job.masks.hole
        if not hole.any():
            return ""
        if not (np.isfinite(result).all() and np.isfinite(hole).all()):
            return "numeric"
        if self._foreign_colours(job, result) > OFF_COLOUR:
            return "looks_wrong"
        if job.face.placement.state == "held":
            return ""  # the face is not where it is painted, or something is before it
        shown = np.clip(result, 0, 1) - job.face.picture
        shown *= as_rgb(hole)
        shown += job.face.picture
        return "looks_wrong" if self.distance(job, shown) > OFF_PLACE else ""

    def distance(self, job: FaceJob, shown: Floats) -> float:
        """Return how far the parts in the crop `shown` [S, S, 3] lie from where they were meant.

        The largest distance of any part, in inter-ocular distances; infinite where there is no
        face any more. Only parts whose place the painter has told (`FaceJob.wanted`) count.
        """
        face = self._mesh.from_landmarks(np.rint(shown * 255).astype(np.uint8), job.face.landmarks)
        if face.presence < GONE:
            return float("inf")
        unit = CROP_INTEROCULAR * job.face.target.crop_size
        away = [
            np.linalg.norm((face.landmarks[list(ring)] - wanted[list(ring)])[:, :2].mean(axis=0))
            for part, wanted in job.wanted.items()
            for ring in mesh.outlines(part)
        ]
        return float(max(away, default=0.0)) / unit

    def _foreign_colours(self, job: FaceJob, result: Floats) -> float:
        """Return the share of the painted pixels whose chroma no frame, guide or photo has."""
        painted = chroma(result[::EVERY, ::EVERY][job.masks.hole[::EVERY, ::EVERY] > 0.5])
        if not len(painted):
            return 0.0
        ranges = [_chroma_range(job.face.picture), _chroma_range(job.guide)]
        for photo in (one for group in job.face.target.references.values() for one in group):
            if photo.sha256 not in self._photos:
                self._photos[photo.sha256] = _chroma_range(photo.crop)
            ranges.append(self._photos[photo.sha256])
        low = np.min([one[0] for one in ranges], axis=0) - MARGIN
        high = np.max([one[1] for one in ranges], axis=0) + MARGIN
        foreign = (painted < low) | (painted > high)
        return float(foreign.any(axis=-1).mean())


def _chroma_range(picture: Floats) -> Floats:
    """Return [2, 2] the lowest and the highest chroma of [S, S, 3], outliers left out."""
    return np.percentile(chroma(picture[::4, ::4].reshape(-1, 3)), OUTERMOST, axis=0)
