"""From photos to what `trust.protected` keeps of a person."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fapvideo.config.schema import ReferenceConfig
from fapvideo.plan.references import align_source
from fapvideo.structs import Floats
from fapvideo.track.finder import FaceFinder
from fapvideo.track.identity import Looks


def looks_of_photos(photos: Sequence[Path]) -> list[Floats]:
    """Return [D] of the largest face in each photo, as tracks are compared.

    Raises:
        ReferenceImageError: one cannot be read, or shows no usable face.
    """
    finder, looks, config = FaceFinder(), Looks(), ReferenceConfig()
    found = []
    for photo in photos:
        face = align_source(str(photo), {}, finder, config)
        crop = np.round(face.crop * 255).astype(np.uint8)
        found.append(looks.of_faces([(crop, face.landmarks)]))
    return found
