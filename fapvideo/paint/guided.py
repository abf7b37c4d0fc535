"""The painter of this project: from a guide, by fused tokens, through the network, to the part."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from fapvideo.composite.detail import restore_detail
from fapvideo.composite.tint import tint_like
from fapvideo.config.schema import RunPreset
from fapvideo.denoise.denoiser import Denoiser
from fapvideo.denoise.noise import track_noise
from fapvideo.fuse.tokens import PartSource, fuse_fractional, fuse_parity
from fapvideo.guide.build import GuidePart, build_guide, closed_eyes, pieces_by_reference
from fapvideo.guide.eyes import PhotoEyes, iris_radius, openings, photo_eyes
from fapvideo.guide.lips import guide_photo
from fapvideo.guide.moves import Moves
from fapvideo.guide.shape import guide_landmarks, lids_shut, moves_of, shape_weights
from fapvideo.mask.boxes import PartBox
from fapvideo.mask.leftovers import grown
from fapvideo.mask.open_set import open_set_masks
from fapvideo.mask.parts import WELL_INSIDE, part_boxes, part_masks
from fapvideo.nets.inputs import fill_hole, part_on_black
from fapvideo.ops import mesh
from fapvideo.ops.geometry import Matrix, transform
from fapvideo.ops.image import (
    as_rgb,
    luma,
    resize,
    signed_distance,
    smoothstep,
    soft_edge,
    window_of,
)
from fapvideo.ops.portions import Portions
from fapvideo.ops.pose import CROP_INTEROCULAR
from fapvideo.ops.token_grid import without_cls
from fapvideo.paint.painter import FaceCrop, FaceJob
from fapvideo.plan.references import Sources
from fapvideo.plan.targets import Target
from fapvideo.reference.images import AlignedFace
from fapvideo.structs import Bytes, Floats, PartMasks, Reference
from fapvideo.weights.bundle import Bundle

LEFTOVER_EDGE = 0.03
"""Softness of the border of what is left of old parts, inter-ocular distances."""
LASHES = 0.6, 0.95
"""Shares of the brightness around the eyes under which there are lashes, and over which skin."""
RIM = 0.12
"""How far into the hole the model's correction is faded in, inter-ocular distances."""
AROUND_EYES = 0.15
"""How far beyond the part anything of the eyes is changed, inter-ocular distances."""


class GuidedPainter:
    """See `Painter`; with `denoise.mode = "off"` the guide is what it paints."""

    def __init__(self, preset: RunPreset, bundle: Bundle) -> None:
        """Take a loaded bundle; its adapter is injected until `close`."""
        self.preset, self.bundle = preset, bundle
        self.resolution = bundle.manifest.resolution
        self.identity = f"{bundle.encoder.identity} {self.resolution}px"
        self.denoiser = Denoiser(bundle, preset.denoise, preset.fuse)
        self.warnings = self.denoiser.portions.warnings
        self._weights: dict[tuple[str, ...], Floats] = {}
        self._moves: dict[tuple[Any, ...], Moves] = {}
        self._photos: dict[tuple[str, tuple[str, ...]], tuple[Floats, PhotoEyes | None]] = {}

    def close(self) -> None:
        """Take the adapter off again."""
        self.denoiser.close()

    # -------------------------------------------------------------------------- references

    def takes(self, wanted: Sources) -> Sources:
        """Take all."""
        return wanted

    def encode(self, face: AlignedFace, part: str) -> Floats:
        """Return the tokens of the part alone on black."""
        size = self.resolution
        landmarks = face.landmarks * (size / face.crop.shape[0])
        masks = part_masks(
            [landmarks], [part], self.preset.mask.as_reference(), size, CROP_INTEROCULAR * size
        )
        picture, mask = resize(face.crop, size), torch.from_numpy(masks.parts[part])
        alone = part_on_black(to_tensor([picture]), mask)
        return without_cls(self.bundle.encoder(alone))[0].cpu().numpy()

    def box(self, face: AlignedFace, part: str) -> Floats:
        """Return the box of the part's outline."""
        landmarks = face.landmarks * (self.resolution / face.crop.shape[0])
        return part_boxes(landmarks, [part], self.resolution)[0]

    # ----------------------------------------------------------------------------- prepare

    def searched(self, parts: Sequence[str]) -> tuple[str, ...]:
        """Return the swapped parts."""
        return tuple(parts)

    def framed(self, matrix: Matrix, size: int) -> Matrix:
        """Take the aligned crop as it is."""
        return matrix

    def prepare(self, face: FaceCrop) -> FaceJob:
        """Mask the parts, build the guide."""
        pieces = self._pieces(face)
        beyond = self._beyond(face)
        masks, boxes = self._mask(face, pieces, beyond)
        shut = _lids_shut(face)
        iod = CROP_INTEROCULAR * face.target.crop_size
        guide = build_guide(
            face.picture,
            face.landmarks,
            pieces,
            masks,
            self.preset.guide,
            iod,
            shut,
            moved_lips=self._moves_inner_mouth(face.target),
            leftovers=_leftovers(face, beyond),
        )
        masks = replace(masks, hole=masks.hole * guide.trust)
        wanted = {part: piece.points for piece in pieces for part in piece.parts}
        return FaceJob(face, masks, guide.picture, boxes, wanted)

    def _pieces(self, face: FaceCrop) -> list[GuidePart]:
        """Return the references to use, placed on the target."""
        target, index = face.target, face.placement.index
        if target.parts not in self._weights:
            self._weights[target.parts] = shape_weights(self.preset.guide.shape, target.parts)
        weights, moves = self._weights[target.parts], self._moves_of(target)
        photos: dict[str, Reference] = {}
        chosen: dict[str, str] = {}
        for part, group in target.references.items():
            photo = group[target.chosen[part][index]]
            chosen[part], photos[photo.path] = photo.path, photo
        pieces = []
        for path, parts in pieces_by_reference(chosen).items():
            photo = photos[path]
            points = guide_landmarks(
                face.placement.landmarks,
                face.pose,
                target.track.neutral,
                photo.shape,
                weights,
                moves,
            )
            placed = transform(face.matrix, points)
            image, eyes = self._prepared(photo, parts)
            iris = iris_radius(target.track.neutral)
            pieces.append(GuidePart(parts, image, photo.landmarks, placed, eyes, iris))
        return pieces

    def _moves_of(self, target: Target) -> Moves:
        """Return how the expression of this face is changed."""
        key = (target.parts, *target.expression.items())
        if key not in self._moves:
            self._moves[key] = moves_of(self.preset.guide, target.parts, target.expression)
        return self._moves[key]

    def _moves_inner_mouth(self, target: Target) -> bool:
        """Tell whether what is between the target's lips has to be brought to other ones."""
        return self.preset.mask.keep_inner_mouth and self._moves_of(target).move_lips

    def _prepared(
        self, photo: Reference, parts: tuple[str, ...]
    ) -> tuple[Floats, PhotoEyes | None]:
        """Return a reference as it is warped for `parts`, once, and its eyes if it gives them."""
        key = photo.sha256, parts
        if key not in self._photos:
            image = guide_photo(photo.crop, photo.landmarks, parts)
            eyes = photo_eyes(image, photo.landmarks) if "eyes" in parts else None
            self._photos[key] = image, eyes
        return self._photos[key]

    def _mask(
        self, face: FaceCrop, pieces: Sequence[GuidePart], beyond: Mapping[str, Sequence[Floats]]
    ) -> tuple[PartMasks, Mapping[str, PartBox]]:
        """Return the masks, and the boxes that they come from."""
        target, size, config = face.target, face.target.crop_size, self.preset.mask
        if self._moves_inner_mouth(target):
            config = config.model_copy(update={"keep_inner_mouth": False})  # it is painted, moved
        iod = CROP_INTEROCULAR * size
        shapes = [face.landmarks, *(piece.points for piece in pieces)]
        if target.boxes is None:
            return part_masks(shapes, target.parts, config, size, iod, beyond), {}
        new = {part: piece.points for piece in pieces for part in piece.parts}
        found = target.boxes.at(face.placement.source).covering(face.landmarks, new, size)
        return open_set_masks(found, shapes, target.parts, config, size, iod), found.parts

    def _beyond(self, face: FaceCrop) -> Mapping[str, Sequence[Floats]]:
        """Return closed lines around what the old parts are beside their outlines."""
        config, iod = self.preset.mask, CROP_INTEROCULAR * face.target.crop_size
        growth = face.target.growth if config.leftovers else None
        return grown(face.landmarks, growth or {}, iod, config.eye_side)

    # ------------------------------------------------------------------------------- paint

    def paint(self, jobs: Sequence[FaceJob]) -> list[Floats]:
        """Run the model on the jobs' crops at its own resolution; return full-size crops."""
        off = self.preset.denoise.mode == "off"
        painted = [job.guide for job in jobs] if off else self._denoised(jobs)
        if not self.preset.guide.colour:
            return painted
        return [
            tint_like(picture, job.face.picture) for picture, job in zip(painted, jobs, strict=True)
        ]

    def _denoised(self, jobs: Sequence[FaceJob]) -> list[Floats]:
        """Return the guides at full size, as the model corrects them."""
        size = self.resolution
        targets = to_tensor([resize(job.face.picture, size) for job in jobs])
        guides = [resize(job.guide, size) for job in jobs]
        holes = torch.stack(
            [torch.from_numpy((resize(job.masks.core, size) > 0.5).astype(np.float32))
             for job in jobs]
        )[:, None]  # fmt: skip
        tokens = self._fuse(jobs, targets, holes)
        noise = noise_of(jobs, self.denoiser)
        painted = self.denoiser(targets * 2 - 1, to_tensor(guides) * 2 - 1, holes, tokens, noise)
        return [
            self._finished(picture, small, job)
            for picture, small, job in zip(to_pictures(painted), guides, jobs, strict=True)
        ]

    def _finished(self, picture: Floats, small: Floats, job: FaceJob) -> Floats:
        """Return what the model made of a small guide as the crop [S, S, 3] that is pasted."""
        picture = restore_detail(picture, small, job.guide, self.preset.composite.detail)
        if self.bundle.manifest.sampler.residual:
            iod = CROP_INTEROCULAR * len(picture)
            picture = faded_at_the_rim(picture, job.guide, job.masks.hole, iod)
        return with_own_eyes(picture, job)

    def _fuse(self, jobs: Sequence[FaceJob], targets: Tensor, holes: Tensor) -> Tensor:
        """Return [N, tokens, C]: the reference parts' tokens in place of the target's."""
        seen = fill_hole(targets, holes, self.bundle.manifest.hole_fill, unit=True)
        face = encoded(self.bundle.encoder, seen, self.denoiser.portions)
        fused = torch.empty_like(face)
        for rows in _same_references(jobs):
            fused[rows] = self._fuse_group([jobs[row] for row in rows], face[rows])
        return fused

    def _fuse_group(self, jobs: Sequence[FaceJob], face: Tensor) -> Tensor:
        """Fuse faces that get the same references."""
        size, grid = self.resolution, self.bundle.encoder.grid
        references, parts = jobs[0].face.target.references, jobs[0].face.target.parts
        boxes = torch.from_numpy(np.stack([_token_boxes(job, size) for job in jobs]))
        sources = [
            [
                PartSource(
                    torch.from_numpy(reference.tokens)[None],
                    torch.from_numpy(reference.box),
                    reference.weight,
                )
                for reference in group
            ]
            for group in references.values()
        ]
        if self.preset.fuse.mode == "parity":
            firsts = [group[0] for group in sources]
            given = torch.stack([source.box for source in firsts]).expand(len(jobs), -1, -1)
            return fuse_parity(
                face, [source.tokens for source in firsts], torch.cat([boxes, given], 1)
            )
        masks = torch.from_numpy(
            np.stack([[resize(job.masks.parts[part], grid) for part in parts] for job in jobs])
        )
        return fuse_fractional(face, sources, boxes, masks)


def _lids_shut(face: FaceCrop) -> Floats:
    """Return [2] how far the target's right and left eye are shut in this frame."""
    return lids_shut(face.pose.to_head(face.placement.landmarks), face.target.track.neutral)


def faded_at_the_rim(picture: Floats, guide: Floats, hole: Floats, interocular: float) -> Floats:
    """Return `picture` [S, S, 3] near the rim of the soft `hole` [S, S] as the guide is.

    The membrane has brought the guide to what is around it; a correction is a step there
    (docs/method.md).
    """
    inside = (hole > 0.5).astype(np.uint8)
    depth = cv2.distanceTransform(inside, cv2.DIST_L2, 3) / (RIM * interocular)
    return guide + as_rgb(smoothstep(depth)) * (picture - guide)


def with_own_eyes(picture: Floats, job: FaceJob) -> Floats:
    """Give a finished crop [S, S, 3], in place, the guide's irises, whites and closed lids.

    At the model's resolution an iris is a few pixels wide: what it makes of them looks elsewhere
    and has other colours. Lids that are shut are the target's own in the guide; the model, which
    has hardly seen any, may lighten them but not put the shade of an open eye on them. Around the
    eyes it changes light and texture, and no colours: what it adds there is a green or blue cast
    on the lids. Lashes, which matching two skins has tinted, it makes black again.
    """
    if "eyes" not in job.wanted:
        return picture
    face, size = job.face, picture.shape[0]
    unit = CROP_INTEROCULAR * size
    shut = _lids_shut(face)
    part = job.masks.parts["eyes"]
    window = window_of(part, AROUND_EYES * unit)
    guide = job.guide[window]
    change = picture[window] - guide
    light = as_rgb(luma(change))
    change -= as_rgb(_lids(guide, part[window])) * (change - light)
    lids = closed_eyes(face.landmarks, shut, size, unit, job.wanted.get("brows"))
    closed = as_rgb(lids[window])
    change += closed * (np.maximum(light, 0.0) - change)
    change *= 1.0 - as_rgb(openings(job.wanted["eyes"], size, unit)[window])
    picture[window] = guide + change
    return picture


def _lids(guide: Floats, part: Floats) -> Floats:
    """Return [S, S] where the part of the eyes shows skin, and not lashes or their shade."""
    grey = luma(guide)
    inside = grey[part > 0.5]
    if not inside.size:
        return part
    dark, skin = LASHES
    share = grey / max(float(np.median(inside)), 1e-3)
    return part * smoothstep((share - dark) / (skin - dark))


def _leftovers(face: FaceCrop, beyond: Mapping[str, Sequence[Floats]]) -> Floats | None:
    """Return [S, S] where old parts are `beyond` their outlines, well within the face.

    Near the face's outline it may be hair.
    """
    lines = [line for lines in beyond.values() for line in lines]
    if not lines:
        return None
    size = face.target.crop_size
    edge = LEFTOVER_EDGE * CROP_INTEROCULAR * size
    outline = signed_distance([face.landmarks[list(mesh.FACE_OVAL), :2]], size, 0.0)
    within = soft_edge(outline, -WELL_INSIDE * CROP_INTEROCULAR * size, 2 * edge)
    return within * soft_edge(signed_distance(lines, size, edge), 0.0, edge)


def _same_references(jobs: Sequence[FaceJob]) -> list[list[int]]:
    """Return the rows of jobs that share their references."""
    groups: dict[int, list[int]] = {}
    for row, job in enumerate(jobs):
        groups.setdefault(id(job.face.target.references), []).append(row)
    return list(groups.values())


def _token_boxes(job: FaceJob, size: int) -> Floats:
    """Return [P, 4] where the parts' tokens go: detected boxes, else the outlines' own."""
    parts = job.face.target.parts
    boxes = part_boxes(job.face.landmarks * (size / len(job.face.picture)), parts, size)
    for row, part in enumerate(parts):
        boxes[row] = job.boxes.get(part, boxes[row])
    return boxes


# ------------------------------------------------------------- shared with the published one


def noise_of(jobs: Sequence[FaceJob], denoiser: Denoiser) -> Tensor:
    """Return [N, *noise_shape]: one field for each track, so that noise moves with the face."""
    shape = denoiser.noise_shape
    targets = [job.face.target for job in jobs]
    return torch.stack([track_noise(each.seed, each.track.id, shape) for each in targets])


def encoded(encode: Callable[[Tensor], Tensor], pictures: Tensor, portions: Portions) -> Tensor:
    """Return what an image tower says of [N, 3, S, S] pictures, on the CPU."""
    count = len(pictures)
    return torch.cat(portions.run(count, count, lambda rows: encode(pictures[rows]).cpu()))


def to_tensor(pictures: Sequence[Floats | Bytes]) -> Tensor:
    """Stack [S, S, 3] pictures to a float32 tensor [N, 3, S, S]."""
    stacked = np.stack([picture.transpose(2, 0, 1) for picture in pictures])
    return torch.from_numpy(np.ascontiguousarray(stacked, np.float32))


def to_pictures(painted: Tensor) -> Floats:
    """Return [N, S, S, 3] in [0, 1] of a tensor [N, 3, S, S] in [-1, 1]."""
    return ((painted + 1) / 2).permute(0, 2, 3, 1).numpy()
