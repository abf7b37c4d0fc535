"""Making training samples: a face with holes, a guide with the errors of real swaps, the truth.

A same-photo reference with soft jitter teaches a net to copy its guide (docs/method.md). Two kinds
of sample avoid that, both with the true face as the answer:

* *swap cycle* (after ReliableSwap, arXiv 2306.05356): the part of A is first swapped into another
  person's face B, with B's light, colour, shape and occluders, and what comes out is the reference
  with which A is restored. Its errors are the errors of real swaps.
* *self*: A's own photo under another light, gain, sharpness and with imprecise landmarks.

A small share is neither: the guide is the face itself, and right (`intact`).

In the first two, a share of the samples takes the part from *another photo or moment of the same
person*, where there is one. The guide's landmarks stay those of the truth, so expression comes from
the target, and only the look from the reference. Another share has something in front of one of the
two faces (`covering`).

The tokens to be injected come from a jittered copy of the photo the part is from, never from the
guide.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np

from fapvideo.config.guide import GuideShape
from fapvideo.config.schema import GuideConfig, MaskConfig
from fapvideo.config.train import DataConfig
from fapvideo.guide.build import GuidePart, build_guide
from fapvideo.guide.lips import guide_photo
from fapvideo.guide.shape import guide_landmarks, lids_shut, shape_weights
from fapvideo.mask.parts import part_boxes, part_masks
from fapvideo.ops import mesh
from fapvideo.ops.image import blur, resize
from fapvideo.ops.pose import CROP_INTEROCULAR, head_pose
from fapvideo.parts import TRAINED
from fapvideo.structs import Floats, PartMasks
from fapvideo.training.faces.prepare import FaceSet
from fapvideo.training.samples.covering import cover_reference, cover_target
from fapvideo.training.samples.filming import filmed
from fapvideo.training.samples.moments import moment, motions, nowhere, places

EXTRAS = 1
"""What only a share of the samples has is drawn by a generator of its own: a sample without any of
it is the same whatever the shares are."""
MOMENT, GRAIN = 2, 3
"""Likewise: what a face does at two moments, and what differs between frames of one recording."""
ON_TARGET = 0.6
"""Share of the occluders that are before the target; the others are on the reference."""

OPEN = np.zeros(2, np.float32)
"""How far eyes are shut that are not."""
TARGET_LIGHT = 0.6
"""How far a target's light is changed, where a reference's is changed by 0.5 or 1."""

Face = tuple[Floats, Floats]
"""A crop [S, S, 3] and its landmarks [478, 3]."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One training example at the model's resolution R; pictures are RGB in [0, 1]."""

    target: Floats
    """[R, R, 3] the truth."""
    guide: Floats
    """[R, R, 3] the target with its hole filled by the guide."""
    core: Floats
    """[R, R] the hole, 0 or 1."""
    parts: Floats
    """[4, R, R] soft masks of eyes, brows, nose, mouth in the target; 0 where not swapped."""
    boxes: Floats
    """[4, 4] boxes (y0, x0, y1, x1 in [0, 1]) of the parts in the target."""
    reference: Floats
    """[R, R, 3] jittered photo whose parts give the tokens."""
    reference_parts: Floats
    """[4, R, R] soft masks of the swapped parts in the reference."""
    sources: Floats
    """[4, 4] boxes of the parts in the reference."""
    landmarks: Floats
    """[478, 3] of the target, in its pixels."""
    given: Face
    """The picture whose parts the guide shows, and its landmarks: what a swap gets to see."""
    elsewhere: Floats
    """[R / 4, R / 4, 2] where in the sample of the other moment a place of this one is; see
    `moments.places`."""


class SampleMaker:
    """Draws samples from a set of faces, each determined by (seed, index)."""

    def __init__(self, faces: FaceSet, chosen: list[int], config: DataConfig, size: int) -> None:
        """Draw from the `chosen` indices of `faces` for a model of `size` px."""
        self.faces, self.chosen, self.config, self.size = faces, chosen, config, size

    def make(self, seed: int, index: int) -> Sample:
        """Return sample number `index` of the sequence `seed`.

        In a share of them (`data.moments`) numbers 2k and 2k + 1 are two moments of one swap: the
        same but for what the face does, and for what differs between frames of a recording.
        """
        paired = self._paired(seed, index)
        first = index - index % 2 if paired else index
        rng, extras = (np.random.default_rng([seed, first, *more]) for more in ((), (EXTRAS,)))
        size, iod = self.size, CROP_INTEROCULAR * self.size
        parts = _draw_parts(rng, self.config.all_parts)
        number = self.chosen[first % len(self.chosen)]
        mirrored = bool(rng.random() < 0.5)
        a = self.faces.face(number, mirrored=mirrored)
        b = self._face(rng, int(rng.choice(self._strangers(number))))
        occluded = _draw_occluded(extras, self.config.occluders)
        intact = bool(extras.random() < self.config.intact)
        other = None if intact else self._other_photo(extras, number)
        donor = a if other is None else self.faces.face(other, mirrored=mirrored)
        if occluded == "reference":
            donor = cover_reference(extras, *donor, parts), donor[1]
        shown, shut, elsewhere = self._moment(a, seed, index) if paired else (a, OPEN, None)
        image, points = _resized(shown, size)
        image = self._recorded(extras, np.random.default_rng([seed, index, GRAIN]), image)
        faulty = extras.random() < self.config.errors
        if rng.random() < self.config.cycle:
            source, source_points = _through(rng, donor, b, parts)
        else:
            source, source_points = _jitter(rng, donor[0], strong=True), donor[1]
        masks = whole = _draw_hole(rng, points, b[1], parts, size)
        if occluded == "target":
            image, masks = cover_target(extras, image, points, parts, whole)
        placed: Floats = (points + _smooth_noise(rng, 0.012 * iod)).astype(np.float32)
        settings = _draw_guide(rng)
        if not faulty:
            placed, settings = points, GuideConfig()
        if intact:
            source, source_points, placed, settings = image, points, points, GuideConfig()
        photo = guide_photo(source, source_points, parts)
        piece = GuidePart(parts, photo, source_points, placed)
        guide = build_guide(image, points, [piece], masks, settings, iod, shut).picture
        reference, reference_points = _resized(donor, size)
        if paired or other is not None:
            whole = part_masks([reference_points], parts, MaskConfig().as_reference(), size, iod)
        return Sample(
            target=image,
            guide=guide,
            core=masks.core,
            parts=_part_stack(masks, size),
            boxes=part_boxes(points, TRAINED, size),
            reference=_jitter(rng, reference, strong=False),
            reference_parts=_part_stack(whole, size),
            sources=part_boxes(reference_points, TRAINED, size),
            landmarks=points,
            given=(source, source_points),
            elsewhere=nowhere(size) if elsewhere is None else places(points, elsewhere, size),
        )

    def _paired(self, seed: int, index: int) -> bool:
        """Return whether this sample and its neighbour are two moments of one swap."""
        if not self.config.moments:
            return False
        draw = np.random.default_rng([seed, index // 2, MOMENT]).random()
        return bool(draw < self.config.moments)

    def _moment(self, face: Face, seed: int, index: int) -> tuple[Face, Floats, Floats]:
        """Return the face at this sample's moment, how far its eyes are shut, and the other's
        landmarks [478, 3] at the model's resolution."""
        rng = np.random.default_rng([seed, index // 2, MOMENT, 1])
        both = motions(rng, head_pose(face[1]).yaw_deg)
        shown, other = moment(face, both[index % 2], both[1 - index % 2])
        shut = lids_shut(head_pose(shown[1]).to_head(shown[1]), head_pose(face[1]).to_head(face[1]))
        return shown, shut, other * (self.size / face[0].shape[0])

    def _recorded(
        self, extras: np.random.Generator, grain: np.random.Generator, image: Floats
    ) -> Floats:
        """Return the target in another light, or as video shows it, in shares of the samples."""
        if extras.random() < self.config.relight:
            image = np.clip(_under_other_light(extras, image, TARGET_LIGHT), 0.0, 1.0)
        if extras.random() < self.config.soft:
            image = filmed(extras, grain, image)
        return image

    def _face(self, rng: np.random.Generator, index: int) -> Face:
        return self.faces.face(index, mirrored=bool(rng.random() < 0.5))

    def _other_photo(self, rng: np.random.Generator, number: int) -> int | None:
        """Return another of the chosen faces of the same person, in a share of the samples."""
        others = [i for i in self._of_person(number) if i != number]
        if not others or rng.random() >= self.config.same_person:
            return None
        return int(rng.choice(others))

    def _strangers(self, number: int) -> list[int]:
        """Return the chosen faces of other people; all, where nobody says or there are none."""
        own = set(self._of_person(number))
        return [i for i in self.chosen if i not in own] or self.chosen

    def _of_person(self, number: int) -> list[int]:
        person = self.faces.people[number]
        return [i for i in self.chosen if self.faces.people[i] == person] if person else []


def _resized(face: Face, size: int) -> Face:
    image, points = face
    return resize(image, size), points * (size / image.shape[0])


def _draw_occluded(rng: np.random.Generator, share: float) -> Literal["target", "reference"] | None:
    if rng.random() >= share:
        return None
    return "target" if rng.random() < ON_TARGET else "reference"


def _draw_hole(
    rng: np.random.Generator, points: Floats, other: Floats, parts: tuple[str, ...], size: int
) -> PartMasks:
    """Return the masks of a swap with another person's face [478, 3]: over the old and new part."""
    pose = head_pose(points)
    weights = shape_weights(_draw_shape(rng), parts)
    theirs = head_pose(other).to_head(other)
    shape = guide_landmarks(points, pose, pose.to_head(points), theirs, weights)
    return part_masks([points, shape], parts, _draw_masks(rng), size, CROP_INTEROCULAR * size)


def _part_stack(masks: PartMasks, size: int) -> Floats:
    empty = np.zeros((size, size), np.float32)
    return np.stack([masks.parts.get(part, empty) for part in TRAINED])


def _draw_parts(rng: np.random.Generator, all_parts: float) -> tuple[str, ...]:
    if rng.random() < all_parts:
        return TRAINED
    keep = rng.random(len(TRAINED)) < 0.5
    keep[rng.integers(len(TRAINED))] = True
    return tuple(part for part, kept in zip(TRAINED, keep, strict=True) if kept)


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


def _through(rng: np.random.Generator, a: Face, b: Face, parts: tuple[str, ...]) -> Face:
    """Swap A's parts into B's face; return that picture and where A's points lie in it."""
    size = b[0].shape[0]
    iod = CROP_INTEROCULAR * size
    image = _jitter(rng, a[0], strong=bool(rng.random() < 0.5))
    pose, pose_a = head_pose(b[1]), head_pose(a[1])
    weights = shape_weights(_draw_shape(rng), parts)
    points = guide_landmarks(b[1], pose, pose.to_head(b[1]), pose_a.to_head(a[1]), weights)
    masks = part_masks([b[1], points], parts, _draw_masks(rng), size, iod)
    piece = GuidePart(parts, guide_photo(image, a[1], parts), a[1], points)
    swapped = build_guide(b[0], b[1], [piece], masks, _draw_guide(rng), iod).picture
    out = b[0] + masks.hole[..., None] * (swapped - b[0])
    return out.astype(np.float32), points


def _jitter(rng: np.random.Generator, image: Floats, *, strong: bool) -> Floats:
    """Return the picture under another light, and of another sharpness."""
    out = _under_other_light(rng, image, 1.0 if strong else 0.5)
    out = blur(out, max(0.0, rng.normal(0.3, 0.5) * image.shape[0] / 128))
    return np.clip(out + rng.normal(0, 0.01, out.shape), 0.0, 1.0).astype(np.float32)


def _under_other_light(rng: np.random.Generator, image: Floats, amount: float) -> Floats:
    """Return the picture with another gamma, gain, shading, contrast, saturation; not clipped."""
    size = image.shape[0]
    out = np.clip(image, 1e-3, 1.0) ** np.exp(rng.normal(0, 0.25 * amount))
    out = out * np.exp(rng.normal(0, 0.12 * amount, 3) + rng.normal(0, 0.2 * amount))
    field = rng.normal(0, 0.35 * amount, (3, 3)).astype(np.float32)
    out = out * np.exp(cv2.resize(field, (size, size), interpolation=cv2.INTER_CUBIC))[..., None]
    grey = out.mean(axis=-1, keepdims=True)
    out = grey + (out - grey) * np.exp(rng.normal(0, 0.2 * amount))
    mean = out.mean()
    return (mean + (out - mean) * np.exp(rng.normal(0, 0.15 * amount))).astype(np.float32)


def _smooth_noise(rng: np.random.Generator, amplitude: float) -> Floats:
    """Return [478, 3] landmark errors that neighbours share: a mesh is off as a whole."""
    face = mesh.canonical()[:, :2]
    centres = face[rng.integers(0, 468, 12)]
    kernel = np.exp(-np.square(face[:, None] - centres[None]).sum(-1) / (2 * 0.3**2))
    noise = np.zeros((len(face), 3), np.float32)
    noise[:, :2] = kernel @ rng.normal(0, amplitude, (12, 2))
    return noise
