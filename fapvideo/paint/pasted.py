"""What one would do without a model: paste the reference's part, plainly or by Poisson cloning.

Both are meant as good versions of their kind: they follow the face by the same smoothed tracks as a
swap, cover the target's own part with the same soft masks, write into the frame's own samples and
keep every timestamp. What they lack is expression, light and colour. Evaluation compares with them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from fapvideo.config.schema import RunPreset
from fapvideo.mask.parts import part_boxes, part_masks
from fapvideo.ops import mesh
from fapvideo.ops.geometry import Matrix, warp
from fapvideo.ops.pose import CROP_INTEROCULAR
from fapvideo.paint.painter import FaceCrop, FaceJob
from fapvideo.parts import PARTS
from fapvideo.plan.references import Sources
from fapvideo.reference.images import AlignedFace
from fapvideo.structs import Bytes, Floats, PartMasks

Blend = Literal["paste", "poisson"]
Layer = tuple[Floats, Floats]
"""A reference warped onto the target [S, S, 3], and the mask of its part [S, S]."""

WORN = 3
"""Pixels by which `cv2.seamlessClone` erodes its mask."""
SIDES = ("right", "left")
"""Of paired parts each has a fit of its own."""


class PastedPainter:
    """See `Painter`; takes the first reference of every part."""

    bundle = None
    resolution = 128
    """As the embedded bundle's."""
    identity = ""

    def __init__(self, preset: RunPreset, blend: Blend) -> None:
        """Blend as `blend` says; `[mask]` of the preset is used."""
        self.warnings: list[str] = []
        self._blend = blend
        # A mouth is pasted whole: without a model nothing knows what belongs between its lips.
        self._config = preset.mask.model_copy(update={"keep_inner_mouth": False})

    def close(self) -> None:
        """Nothing is held."""

    def takes(self, wanted: Sources) -> Sources:
        """Take the first of every part."""
        return {part: given[:1] for part, given in wanted.items() if given}

    def encode(self, face: AlignedFace, part: str) -> Floats:
        """Return no tokens."""
        return np.zeros((0, 0), np.float32)

    def box(self, face: AlignedFace, part: str) -> Floats:
        """Return the box of the part's outline."""
        return part_boxes(face.landmarks, [part], len(face.crop))[0]

    def searched(self, parts: Sequence[str]) -> tuple[str, ...]:
        """Return nothing: the mesh's outlines are used."""
        return ()

    def framed(self, matrix: Matrix, size: int) -> Matrix:
        """Take the aligned crop as it is."""
        return matrix

    def prepare(self, face: FaceCrop) -> FaceJob:
        """Fit every part; `guide` is what is pasted."""
        layers = list(self._layers(face))
        cover = np.maximum.reduce([mask for _, mask in layers])
        poisson = self._blend == "poisson"
        picture = cloned(face.picture, layers) if poisson else averaged(layers)
        masks = PartMasks({}, cover, (cover > 0).astype(np.float32), np.zeros_like(cover))
        return FaceJob(face, masks, picture, {})

    def paint(self, jobs: Sequence[FaceJob]) -> list[Floats]:
        """Return what was fitted."""
        return [job.guide for job in jobs]

    def _layers(self, face: FaceCrop) -> Iterator[Layer]:
        """Fit the reference of every part, left and right on their own."""
        size = len(face.picture)
        interocular = CROP_INTEROCULAR * size
        for part, (reference, *_) in face.target.references.items():
            paired = PARTS[part].paired and self._config.eye_side == "both"
            for side in SIDES if paired else (self._config.eye_side,):
                config = self._config.model_copy(update={"eye_side": side})
                masks = part_masks([face.landmarks], [part], config, size, interocular)
                picture = fitted(
                    reference.crop, reference.landmarks, face.landmarks, part, side, size
                )
                yield picture, masks.parts[part]


def fitted(
    picture: Floats, source: Floats, target: Floats, part: str, side: str, size: int
) -> Floats:
    """Return a reference [size, size, 3] with one part of it fitted to the target's.

    Args:
        picture: [S, S, 3] the reference.
        source: [478, >=2] its landmarks.
        target: [478, >=2] the target's, in a crop of `size` pixels.
        part: eyes, brows, nose or mouth.
        side: of eyes and brows `left`, `right` or `both`.
        size: pixels.
    """
    points = [i for ring in mesh.outlines(part, side) for i in ring]
    return warp(picture, _affine(source[points, :2], target[points, :2]), (size, size))


def _affine(source: Floats, target: Floats) -> Matrix:
    """Return the [2, 3] affine transform that maps `source` [N, 2] onto `target` best."""
    ones = np.ones((len(source), 1))
    known = np.concatenate([source, ones], axis=1).astype(np.float64)
    fit: Matrix = np.linalg.lstsq(known, target.astype(np.float64))[0].T.astype(np.float64)
    return fit


def averaged(layers: Sequence[Layer]) -> Floats:
    """Return the layers' mean under their masks."""
    total = np.sum([mask for _, mask in layers], axis=0)
    merged = np.sum([picture * mask[..., None] for picture, mask in layers], axis=0)
    return (merged / np.maximum(total, 1e-6)[..., None]).astype(np.float32)


def cloned(target: Floats, layers: Sequence[Layer]) -> Floats:
    """Return the target with every layer cloned into it, one after the other.

    Source: Perez, Gangnet and Blake, "Poisson image editing", 2003, by `cv2.seamlessClone`.
    """
    picture = np.round(target * 255).astype(np.uint8)
    for layer, mask in layers:
        picture = _clone(np.round(layer * 255).astype(np.uint8), picture, mask > 0)
    return picture.astype(np.float32) / 255.0


def _clone(layer: Bytes, target: Bytes, mask: NDArray[np.bool_]) -> Bytes:
    """Clone `layer` into `target` under a mask, exactly in place.

    `seamlessClone` wears three pixels off the mask, which are given back here: all of the old part
    is to go. It puts the middle of the mask's bounding box where it is told, rounded down, and
    misbehaves where that box touches the picture's border: both pictures get a margin.
    """
    if not mask.any():
        return target
    margin = WORN + 2
    padded = [cv2.copyMakeBorder(p, *(margin,) * 4, cv2.BORDER_REPLICATE) for p in (layer, target)]
    area = np.pad(mask.astype(np.uint8) * 255, margin)
    area = cv2.dilate(area, np.ones((3, 3), np.uint8), iterations=WORN)
    x, y, width, height = cv2.boundingRect(area)
    middle = (x + width // 2, y + height // 2)
    picture = cv2.seamlessClone(padded[0], padded[1], area, middle, cv2.NORMAL_CLONE)
    return picture[margin:-margin, margin:-margin]
