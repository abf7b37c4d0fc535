"""From photos to what `trust.protected` keeps of a person."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fapvideo.config.schema import ReferenceConfig
from fapvideo.plan.references import align_source
from fapvideo.track.finder import FaceFinder
from fapvideo.trust.protected import Looker, Seen


def seen_in_photos(photos: Sequence[Path]) -> list[Seen]:
    """Return what the largest face in each photo looks like, as tracks are compared.

    Raises:
        ReferenceImageError: one cannot be read, or shows no usable face.
    """
    finder, look, config = FaceFinder(), Looker(), ReferenceConfig()
    faces = (align_source(str(photo), {}, finder, config) for photo in photos)
    return [look(face.crop, face.landmarks) for face in faces]
