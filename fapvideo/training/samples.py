"""Making training samples: a face with holes, a guide with the errors of real swaps, the truth.

A same-photo reference with soft jitter teaches a net to copy its guide (facts/pilot.md). Two kinds
of sample avoid that, both with the true face as the answer:

* *swap cycle* (after ReliableSwap, arXiv 2306.05356): the part of A is first swapped into another
  person's face B, with B's light, colour, shape and occluders, and what comes out is the reference
  with which A is restored. Its errors are the errors of real swaps.
* *self*: A's own photo under another light, gain, sharpness and with imprecise landmarks.

The tokens to be injected come from A's part in a jittered copy, never from the guide.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from fapvideo.config.schema import GuideConfig, GuideShape, MaskConfig
from fapvideo.config.train import DataConfig
from fapvideo.guide.build import GuidePart, build_guide
from fapvideo.guide.shape import guide_landmarks, shape_weights
from fapvideo.mask.parts import part_boxes, part_masks
from fapvideo.ops import mesh
from fapvideo.ops.image import blur, resize
from fapvideo.ops.pose import CROP_INTEROCULAR, head_pose
from fapvideo.structs import Floats, PartMasks
from fapvideo.training.faces import FaceSet

PARTS = ("eyes", "brows", "nose", "mouth")


@dataclass(frozen=True, slots=True)
class Sample:
    """One training example at the model's resolution R; pictures are RGB in [0, 1]."""

    target: Floats
    """[R, R, 3] the truth."""
    guide: Floats
    """[R, R, 3] the target with its hole filled by the guide."""
    core: Floats
    """[R, R] the hole, 0 or 1."""
    reference: Floats
    """[R, R, 3] jittered photo whose parts give the tokens."""
    parts: Floats
    """[4, R, R] soft masks of eyes, brows, nose, mouth in the *target*; 0 where not swapped."""
    sources: Floats
    """[4, 4] boxes (y0, x0, y1, x1 in [0, 1]) of the parts in the reference."""


class SampleMaker:
    """Draws samples from a set of faces, each determined by (seed, index)."""

    def __init__(self, faces: FaceSet, chosen: list[int], config: DataConfig, size: int) -> None:
        """Draw from the `chosen` indices of `faces` for a model of `size` px."""
        self.faces, self.chosen, self.config, self.size = faces, chosen, config, size

    def make(self, seed: int, index: int) -> Sample:
        """Return sample number `index` of the sequence `seed`."""
        rng = np.random.default_rng([seed, index])
        parts = _draw_parts(rng, self.config.all_parts)
        a = self._face(rng, self.chosen[index % len(self.chosen)])
        b = self._face(rng, int(rng.choice(self.chosen)))
        size = self.size
        image, points = resize(a[0], size), a[1] * (size / a[0].shape[0])
        if rng.random() < self.config.cycle:
            source, source_points = _through(rng, a, b, parts)
        else:
            source, source_points = _jitter(rng, a[0], strong=True), a[1]
        iod = CROP_INTEROCULAR * size
        pose = head_pose(points)
        weights = shape_weights(_draw_shape(rng), parts)
        other = guide_landmarks(
            points, pose, pose.to_head(points), head_pose(b[1]).to_head(b[1]), weights
        )
        masks = part_masks([points, other], parts, _draw_masks(rng), size, iod)
        placed = points + _smooth_noise(rng, 0.012 * iod)
        piece = GuidePart(parts, source, source_points, placed.astype(np.float32))
        guide = build_guide(image, points, [piece], masks, _draw_guide(rng), iod).picture
        reference = _jitter(rng, image, strong=False)
        return Sample(
            image,
            guide,
            masks.core,
            reference,
            _part_stack(masks, size),
            part_boxes(points, PARTS, size),
        )

    def _face(self, rng: np.random.Generator, index: int) -> tuple[Floats, Floats]:
        return self.faces.face(index, mirrored=bool(rng.random() < 0.5))


def _part_stack(masks: PartMasks, size: int) -> Floats:
    empty = np.zeros((size, size), np.float32)
    return np.stack([masks.parts.get(part, empty) for part in PARTS])


def _draw_parts(rng: np.random.Generator, all_parts: float) -> tuple[str, ...]:
    if rng.random() < all_parts:
        return PARTS
    keep = rng.random(len(PARTS)) < 0.5
    keep[rng.integers(len(PARTS))] = True
    return tuple(part for part, kept in zip(PARTS, keep, strict=True) if kept)


def _draw_shape(rng: np.random.Generator) -> GuideShape:
    eyes, brows, nose, mouth = rng.random(4)
    return GuideShape(eyes=eyes * 0.6, brows=brows, nose=nose, mouth=mouth * 0.7)


def _draw_masks(rng: np.random.Generator) -> MaskConfig:
    return MaskConfig(dilate=rng.uniform(0.03, 0.14), feather=rng.uniform(0.05, 0.15))


def _draw_guide(rng: np.random.Generator) -> GuideConfig:
    """Return guide settings near the defaults; colour steps are sometimes left out."""
    return GuideConfig(
        colour=float(rng.choice([1.0, 1.0, 0.7])),
        light=float(rng.choice([0.7, 0.7, 0.35, 0.0])),
        membrane=bool(rng.random() < 0.85),
    )


def _through(
    rng: np.random.Generator,
    a: tuple[Floats, Floats],
    b: tuple[Floats, Floats],
    parts: tuple[str, ...],
) -> tuple[Floats, Floats]:
    """Swap A's parts into B's face; return that picture and where A's points lie in it."""
    size = b[0].shape[0]
    iod = CROP_INTEROCULAR * size
    image = _jitter(rng, a[0], strong=bool(rng.random() < 0.5))
    pose, pose_a = head_pose(b[1]), head_pose(a[1])
    weights = shape_weights(_draw_shape(rng), parts)
    points = guide_landmarks(b[1], pose, pose.to_head(b[1]), pose_a.to_head(a[1]), weights)
    masks = part_masks([b[1], points], parts, _draw_masks(rng), size, iod)
    piece = GuidePart(parts, image, a[1], points)
    swapped = build_guide(b[0], b[1], [piece], masks, _draw_guide(rng), iod).picture
    out = b[0] + masks.hole[..., None] * (swapped - b[0])
    return out.astype(np.float32), points


def _jitter(rng: np.random.Generator, image: Floats, *, strong: bool) -> Floats:
    """Return the picture under another light, gain, contrast, saturation and sharpness."""
    amount = 1.0 if strong else 0.5
    size = image.shape[0]
    out = np.clip(image, 1e-3, 1.0) ** np.exp(rng.normal(0, 0.25 * amount))
    out = out * np.exp(rng.normal(0, 0.12 * amount, 3) + rng.normal(0, 0.2 * amount))
    field = rng.normal(0, 0.35 * amount, (3, 3)).astype(np.float32)
    out = out * np.exp(cv2.resize(field, (size, size), interpolation=cv2.INTER_CUBIC))[..., None]
    grey = out.mean(axis=-1, keepdims=True)
    out = grey + (out - grey) * np.exp(rng.normal(0, 0.2 * amount))
    mean = out.mean()
    out = mean + (out - mean) * np.exp(rng.normal(0, 0.15 * amount))
    out = blur(out.astype(np.float32), max(0.0, rng.normal(0.3, 0.5) * size / 128))
    return np.clip(out + rng.normal(0, 0.01, out.shape), 0.0, 1.0).astype(np.float32)


def _smooth_noise(rng: np.random.Generator, amplitude: float) -> Floats:
    """Return [478, 3] landmark errors that neighbours share: a mesh is off as a whole."""
    face = mesh.canonical()[:, :2]
    centres = face[rng.integers(0, 468, 12)]
    kernel = np.exp(-np.square(face[:, None] - centres[None]).sum(-1) / (2 * 0.3**2))
    noise = np.zeros((len(face), 3), np.float32)
    noise[:, :2] = kernel @ rng.normal(0, amplitude, (12, 2))
    return noise
