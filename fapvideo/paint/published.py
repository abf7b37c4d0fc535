"""The published mode: the pictures, boxes and parts of FuseAnyPart's own inference.

Its networks see a face framed as in FFHQ, three chained boxes (eyes with brows, nose, mouth), the
target with all three holes filled, and each reference's part alone on black.

Source: the inference script of github.com/Thomas-wyh/FuseAnyPart (docs/fuseanypart.md), and
tests/goldens/PARITY.md, 1, 2 and 7.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import cv2
import numpy as np
import torch
from torch import Tensor

from fapvideo.config.casting import ReferenceSource
from fapvideo.config.schema import RunPreset
from fapvideo.denoise.denoiser import Denoiser, Sampling
from fapvideo.errors import PresetError
from fapvideo.fuse.tokens import fuse_parity
from fapvideo.mask.boxes import CHAIN, PartBox, chain_boxes
from fapvideo.mask.open_set import FaceBoxes, open_set_masks
from fapvideo.mask.parts import part_boxes
from fapvideo.nets.codec import published_hole
from fapvideo.nets.inputs import fill_hole, part_on_black
from fapvideo.ops.geometry import Matrix, transform, warp
from fapvideo.ops.image import resize
from fapvideo.ops.pose import CROP_INTEROCULAR
from fapvideo.ops.token_grid import without_cls
from fapvideo.paint.guided import encoded, noise_of, to_pictures, to_tensor
from fapvideo.paint.painter import FaceCrop, FaceJob
from fapvideo.plan.references import Sources
from fapvideo.reference.images import AlignedFace
from fapvideo.structs import Floats, Reference
from fapvideo.weights.bundle import Bundle

PUBLISHED_PARTS = CHAIN
"""In writing order; all three are painted in every frame, whichever are pasted."""
PUBLISHED = Sampling("ddim", steps=50, strength=1.0, guidance=7.5, from_noise=True)
"""Settings of the published inference script."""
INTEROCULAR = 0.246
"""Inter-ocular distance as a share of the picture's side, in FFHQ's alignment at 512 px."""
_CROP_EYES, _EYES = (0.5, 0.34), (0.5, 0.469)
"""Middle of a frontal face's eyes, as shares: in our aligned crop, and in FFHQ's alignment."""
_SCALE = INTEROCULAR / CROP_INTEROCULAR
_SHIFT = np.array(_EYES) - _SCALE * np.array(_CROP_EYES)


def published_sources(wanted: Sources) -> Sources:
    """Return the references of the published parts; brows come with the eyes.

    Raises:
        PresetError: another part, or brows from another picture than the eyes.
    """
    given = {part: list(sources) for part, sources in wanted.items() if sources}
    brows = given.pop("brows", None)
    if brows is not None and _pictures(brows) != _pictures(given.get("eyes", [])):
        raise PresetError(
            "denoise.mode = 'published' swaps the brows with the eyes, as one part:"
            " references.brows is not the picture of references.eyes",
            hint="give eyes and brows the same picture, or leave out brows",
        )
    other = sorted(set(given) - set(PUBLISHED_PARTS))
    if other:
        raise PresetError(
            f"denoise.mode = 'published' has no part {other[0]!r}",
            hint=f"its parts are {', '.join(PUBLISHED_PARTS)}",
        )
    return given


def _pictures(sources: Sequence[ReferenceSource | Reference]) -> list[tuple[str, float]]:
    return [(source.path, source.weight) for source in sources]


# ------------------------------------------------------------------------------- framing


def framing(size: int, target: int | None = None) -> Matrix:
    """Return the map [2, 3] from our aligned crop of `size` px to the published framing.

    The published pictures are aligned as FFHQ's are: the face is smaller than in our crop.
    `target` is the side of the result, pixels; `size` if not given.
    """
    side = size if target is None else target
    scale = _SCALE * side / size
    return np.array([[scale, 0.0, _SHIFT[0] * side], [0.0, scale, _SHIFT[1] * side]])


def framed_matrix(matrix: Matrix, size: int) -> Matrix:
    """Return frame -> published framing of `size` px, from frame -> our aligned crop."""
    linear, shift = np.split(framing(size), [2], axis=1)
    return linear @ matrix + np.column_stack([np.zeros((2, 2)), shift])


def framed_boxes(found: FaceBoxes) -> FaceBoxes:
    """Return boxes of our aligned crop as shares of the published framing."""
    return FaceBoxes(
        {part: _framed(box) for part, box in found.parts.items()},
        tuple((_framed(box), strength) for box, strength in found.keep_out),
    )


def _framed(box: PartBox) -> PartBox:
    (x, y), (y0, x0, y1, x1) = _SHIFT.tolist(), box
    return _SCALE * y0 + y, _SCALE * x0 + x, _SCALE * y1 + y, _SCALE * x1 + x


# --------------------------------------------------------------------------------- boxes


def published_boxes(
    landmarks: Floats, size: int, found: Mapping[str, PartBox] | None = None
) -> dict[str, PartBox]:
    """Return the chained boxes of eyes (with brows), nose and mouth, in [0, 1], float32 values.

    Args:
        landmarks: [478, 2 or 3] in the picture, pixels.
        size: side of the picture, pixels.
        found: detected boxes of some of the parts; the others are the mesh's outlines'.

    The mesh's nose reaches up between the eyes; its box begins below theirs instead, as in all
    published examples.
    """
    rows = part_boxes(landmarks, ("eyes", "brows", "nose", "mouth"), size)
    eyes = np.concatenate([rows[:2, :2].min(axis=0), rows[:2, 2:].max(axis=0)])
    boxes = {"eyes": _box(eyes), "nose": _box(rows[2]), "mouth": _box(rows[3])}
    boxes |= {part: box for part, box in (found or {}).items() if part in PUBLISHED_PARTS}
    if "nose" not in (found or {}) and boxes["eyes"][2] < boxes["nose"][2]:
        boxes["nose"] = (boxes["eyes"][2], *boxes["nose"][1:])
    chained = chain_boxes(boxes)
    return {part: _box(np.array(chained[part], np.float32)) for part in PUBLISHED_PARTS}


def _box(row: Floats) -> PartBox:
    y0, x0, y1, x1 = (float(edge) for edge in np.clip(row, 0.0, 1.0))
    return y0, x0, y1, x1


def box_rows(boxes: Mapping[str, PartBox]) -> Tensor:
    """Return [3, 4] float32 boxes in the order of `PUBLISHED_PARTS`."""
    return torch.tensor([boxes[part] for part in PUBLISHED_PARTS], dtype=torch.float32)


# ------------------------------------------------------------------------------ pictures


def holes_of(boxes: Tensor, size: int) -> Tensor:
    """Return [N, 1, size, size] in {0, 1}: the union of each sample's boxes [N, K, 4]."""
    return torch.cat([published_hole(rows, size) for rows in boxes])


def part_alone(crop: Floats, landmarks: Floats, part: str, size: int) -> tuple[Tensor, Floats]:
    """Return a reference's part at its own place on black, and its box.

    Args:
        crop: [S, S, 3] our aligned crop, RGB in [0, 1].
        landmarks: [478, 2 or 3] in it, pixels.
        part: one of `PUBLISHED_PARTS`.
        size: side of the model's picture, pixels.

    Returns:
        [1, 3, size, size] in [0, 1] in the published framing, and [4] y0, x0, y1, x1 in [0, 1].
    """
    matrix = framing(crop.shape[0], size)
    picture = warp(crop, matrix, (size, size), border=cv2.BORDER_CONSTANT).astype(np.float32)
    box = published_boxes(transform(matrix, landmarks), size)[part]
    pixels = torch.from_numpy(np.ascontiguousarray(picture.transpose(2, 0, 1)))[None].clamp(0, 1)
    row = torch.tensor([box], dtype=torch.float32)
    return part_on_black(pixels, published_hole(row, size)), row[0].numpy()


# --------------------------------------------------------------------------------- painter


class PublishedPainter:
    """See `Painter`; there is no guide, and what is not swapped is painted anew, but not pasted."""

    def __init__(self, preset: RunPreset, bundle: Bundle) -> None:
        """Take a loaded bundle; its adapter is injected until `close`.

        Raises:
            PresetError: the bundle starts from a guide.
        """
        self.preset, self.bundle = preset, bundle
        self.resolution = bundle.manifest.resolution
        self.identity = f"{bundle.encoder.identity} {self.resolution}px published"
        if bundle.manifest.sampler.kind == "flow":
            raise PresetError(
                f"denoise.mode = 'published' does not fit bundle {bundle.manifest.name}:"
                " it starts from the guide",
                hint="use --set bundle=sd15, or --set denoise.mode=guided",
            )
        self.denoiser = Denoiser(bundle, preset.denoise, preset.fuse, default=PUBLISHED)
        self.warnings = self.denoiser.portions.warnings

    def close(self) -> None:
        """Take the adapter off again."""
        self.denoiser.close()

    # -------------------------------------------------------------------------- references

    def takes(self, wanted: Sources) -> Sources:
        """Take the published parts; brows come with the eyes."""
        return published_sources(wanted)

    def encode(self, face: AlignedFace, part: str) -> Floats:
        """Return the tokens of the part alone in its box."""
        alone, _ = part_alone(face.crop, face.landmarks, part, self.resolution)
        return without_cls(self.bundle.encoder.as_published(alone))[0].cpu().numpy()

    def box(self, face: AlignedFace, part: str) -> Floats:
        """Return the part's box in the published framing."""
        return part_alone(face.crop, face.landmarks, part, self.resolution)[1]

    # ------------------------------------------------------------------------------- paint

    def searched(self, parts: Sequence[str]) -> tuple[str, ...]:
        """Return all three: all are painted."""
        return PUBLISHED_PARTS if parts else ()

    def framed(self, matrix: Matrix, size: int) -> Matrix:
        """Take the face as FFHQ's alignment frames it."""
        return framed_matrix(matrix, size)

    def prepare(self, face: FaceCrop) -> FaceJob:
        """Find the three boxes; fill them with the hole's colour."""
        target, size = face.target, face.target.crop_size
        found = FaceBoxes({}, ())
        if target.boxes is not None:
            found = framed_boxes(target.boxes.at(face.placement.source))
        boxes = published_boxes(face.landmarks, size, found.parts)
        swapped = FaceBoxes({part: boxes[part] for part in target.parts}, found.keep_out)
        # The mouth is painted as the reference's: the target's inner mouth would not fit in it.
        config = self.preset.mask.model_copy(update={"keep_inner_mouth": False})
        masks = open_set_masks(
            swapped,
            [face.landmarks],
            target.parts,
            config,
            size,
            INTEROCULAR * size,
            inside_face=False,
        )
        hole = holes_of(box_rows(boxes)[None], size)[0, 0].numpy()[..., None]
        fill = (np.array(self.bundle.manifest.hole_fill, np.float32) + 1) / 2
        seen = (face.picture + hole * (fill - face.picture)).astype(np.float32)
        return FaceJob(face, masks, seen, boxes)

    def paint(self, jobs: Sequence[FaceJob]) -> list[Floats]:
        """Run the model on the jobs' crops at its own resolution; return full-size crops."""
        size = self.resolution
        targets = to_tensor([resize(job.face.picture, size) for job in jobs])
        seen = to_tensor([resize(job.guide, size) for job in jobs])
        holes, tokens = self._fuse(jobs, targets)
        noise = noise_of(jobs, self.denoiser)
        painted = self.denoiser(targets * 2 - 1, seen * 2 - 1, holes, tokens, noise)
        return [
            resize(picture, job.face.target.crop_size)
            for picture, job in zip(to_pictures(painted), jobs, strict=True)
        ]

    def _fuse(self, jobs: Sequence[FaceJob], targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return the holes [N, 1, R, R] and the fused tokens [N, tokens, C].

        A part without a reference is the target's own.
        """
        size, encode = targets.shape[-1], self.bundle.encoder.as_published
        boxes = torch.stack([box_rows(job.boxes) for job in jobs])
        holes = holes_of(boxes, size)
        fill = self.bundle.manifest.hole_fill
        portions = self.denoiser.portions
        face = encoded(encode, fill_hole(targets, holes, fill, unit=True), portions)
        parts, sources = [], []
        for number, part in enumerate(PUBLISHED_PARTS):
            given = [_chosen(job.face, part) for job in jobs]
            own = [row for row, reference in enumerate(given) if reference is None]
            tokens, rows = torch.empty(len(jobs), *without_cls(face)[0].shape), boxes[:, number]
            if own:
                alone = part_on_black(targets[own], holes_of(boxes[own, number : number + 1], size))
                tokens[own] = without_cls(encoded(encode, alone, portions))
            for row, reference in enumerate(given):
                if reference is not None:
                    tokens[row] = torch.from_numpy(reference.tokens)
            parts.append(tokens)
            sources.append(
                torch.stack(
                    [
                        rows[row] if reference is None else torch.from_numpy(reference.box)
                        for row, reference in enumerate(given)
                    ]
                )
            )
        return holes, fuse_parity(face, parts, torch.cat([boxes, torch.stack(sources, 1)], 1))


def _chosen(face: FaceCrop, part: str) -> Reference | None:
    """Return the reference of a part in this frame; None where the part is not swapped."""
    group = face.target.references.get(part)
    return None if group is None else group[face.target.chosen[part][face.placement.index]]
