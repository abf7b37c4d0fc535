"""The arrows in order: the only file that knows all stages.

    decode -> faces -> parts -> features -> guide -> tokens -> diffusion -> paste -> encode

Two passes over the video. The first (`plan/follow.py`) follows every face and, knowing the whole
clip, smooths its geometry and decides what happens to poor frames. The second, `Pipeline.swap`,
treats batches of frames, each a function of the frame and of the analysis alone, so results do not
depend on the batch size.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from fapvideo.composite.detail import restore_detail
from fapvideo.composite.paste import cut, paste
from fapvideo.composite.planes import FrameCanvas, changed_outside
from fapvideo.config.schema import RunPreset
from fapvideo.denoise.denoiser import Denoiser
from fapvideo.denoise.noise import track_noise
from fapvideo.fuse.tokens import PartSource, fuse_fractional, fuse_parity
from fapvideo.guide.build import GuidePart, build_guide, pieces_by_reference
from fapvideo.guide.shape import guide_landmarks, lids_shut, shape_weights
from fapvideo.mask.boxes import PartBox
from fapvideo.mask.open_set import FaceBoxes, open_set_masks
from fapvideo.mask.parts import part_boxes, part_masks
from fapvideo.ops.geometry import Matrix, transform
from fapvideo.ops.image import resize
from fapvideo.ops.memory import keep_freed_memory
from fapvideo.ops.pose import (
    CROP_INTEROCULAR,
    HeadPose,
    crop_matrix,
    head_pose,
)
from fapvideo.paint.published import (
    INTEROCULAR,
    PUBLISHED_PARTS,
    box_rows,
    framed_boxes,
    framed_matrix,
    holes_of,
    published_boxes,
)
from fapvideo.plan.follow import Analysis, TrackAnalysis
from fapvideo.plan.references import LoadedReference, by_part
from fapvideo.progress import Stopwatch
from fapvideo.reference.images import AlignedFace
from fapvideo.structs import (
    Bytes,
    Floats,
    FrameBatch,
    PartMasks,
    Placement,
    VideoFrame,
    VideoInfo,
)
from fapvideo.weights.bundle import Bundle

# ------------------------------------------------------------------------------ second pass


@dataclass(frozen=True, slots=True)
class FaceJob:
    """One face of one frame on its way through mask, guide and diffusion."""

    item: TrackAnalysis
    placement: Placement
    matrix: Matrix
    landmarks: Floats
    """[478, 3] in the crop."""
    crop: Floats
    """[S, S, 3] the target."""
    masks: PartMasks
    guide: Floats
    """[S, S, 3]."""
    boxes: Mapping[str, PartBox]
    """Part -> its box, for parts whose mask is not the mesh's outline; all three if published."""
    index: int
    """Of the frame in its track."""


@dataclass(frozen=True, slots=True)
class SwappedBatch:
    """Finished frames, and what was done to them."""

    frames: tuple[VideoFrame, ...]
    jobs: tuple[tuple[FaceJob, ...], ...]
    """Per frame."""
    results: tuple[tuple[Floats, ...], ...]
    """Per frame and face: the finished crop [S, S, 3]."""
    outside_changed: int
    """Samples that changed outside every mask; must be 0."""


class Pipeline:
    """The second pass: batches of frames in, frames with swapped parts out."""

    def __init__(
        self,
        info: VideoInfo,
        preset: RunPreset,
        bundle: Bundle,
        denoiser: Denoiser,
        references: Sequence[LoadedReference],
        stopwatch: Stopwatch | None = None,
    ) -> None:
        """Bind everything that stays the same for the whole clip."""
        self.info, self.preset, self.bundle, self.denoiser = info, preset, bundle, denoiser
        self.groups = by_part(references)
        self.parts = tuple(self.groups)
        self.stopwatch = stopwatch or Stopwatch()
        self._published = preset.denoise.mode == "published"
        self._weights = shape_weights(preset.guide.shape, self.parts)
        self._noise: dict[int, Tensor] = {}
        keep_freed_memory()

    def swap(self, batch: FrameBatch, analysis: Analysis) -> SwappedBatch:
        """Swap the parts of all selected faces in a batch of frames."""
        canvases = [FrameCanvas(frame, self.info) for frame in batch.frames]
        jobs: list[tuple[FaceJob, ...]] = []
        with self.stopwatch.measure("guide_s"):
            for frame, canvas in zip(batch.frames, canvases, strict=True):
                places = analysis.placements(frame.index)
                jobs.append(tuple(self._prepare(canvas, frame.index, *place) for place in places))
        flat = [job for group in jobs for job in group]
        with self.stopwatch.measure("denoise_s"):
            finished = iter(self._denoise(flat) if flat else [])
        results = tuple(tuple(next(finished) for _ in group) for group in jobs)
        with self.stopwatch.measure("composite_s"):
            done = [
                self._composite(*work)
                for work in zip(batch.frames, canvases, jobs, results, strict=True)
            ]
        frames = tuple(frame for frame, _ in done)
        return SwappedBatch(frames, tuple(jobs), results, sum(changed for _, changed in done))

    def _prepare(
        self, canvas: FrameCanvas, frame: int, item: TrackAnalysis, placement: Placement
    ) -> FaceJob:
        """Cut the crop, mask the parts, build the guide."""
        size = item.crop_size
        pose = head_pose(placement.landmarks)
        matrix = crop_matrix(pose, size)
        index = frame - item.track.first_frame
        if self._published:
            return self._prepare_published(canvas, index, item, placement, matrix)
        crop = cut(canvas, matrix, size, self.info.display_size)
        landmarks = transform(matrix, placement.landmarks)
        iod = CROP_INTEROCULAR * size
        pieces = self._pieces(index, item, placement, pose, matrix)
        source = int(item.plan.source[index])
        masks, boxes = self._mask(item, source, landmarks, pieces, size)
        shut = lids_shut(pose.to_head(placement.landmarks), item.track.neutral)
        guide = build_guide(crop, landmarks, pieces, masks, self.preset.guide, iod, shut)
        masks = replace(masks, hole=masks.hole * guide.trust)
        return FaceJob(item, placement, matrix, landmarks, crop, masks, guide.picture, boxes, index)

    def _prepare_published(
        self,
        canvas: FrameCanvas,
        index: int,
        item: TrackAnalysis,
        placement: Placement,
        matrix: Matrix,
    ) -> FaceJob:
        """Cut the crop in the published framing and find its three boxes; there is no guide."""
        size = item.crop_size
        matrix = framed_matrix(matrix, size)
        crop = cut(canvas, matrix, size, self.info.display_size)
        landmarks = transform(matrix, placement.landmarks)
        found = FaceBoxes({}, ())
        if item.boxes is not None:
            found = framed_boxes(item.boxes.at(int(item.plan.source[index])))
        boxes = published_boxes(landmarks, size, found.parts)
        swapped = FaceBoxes({part: boxes[part] for part in self.parts}, found.keep_out)
        # The mouth is painted as the reference's: the target's inner mouth would not fit in it.
        config = self.preset.mask.model_copy(update={"keep_inner_mouth": False})
        masks = open_set_masks(
            swapped, [landmarks], self.parts, config, size, INTEROCULAR * size, inside_face=False
        )
        hole = holes_of(box_rows(boxes)[None], size)[0, 0].numpy()[..., None]
        seen = (crop + hole * (self._fill().numpy() - crop)).astype(np.float32)
        return FaceJob(item, placement, matrix, landmarks, crop, masks, seen, boxes, index)

    def _mask(
        self,
        item: TrackAnalysis,
        index: int,
        landmarks: Floats,
        pieces: Sequence[GuidePart],
        size: int,
    ) -> tuple[PartMasks, Mapping[str, PartBox]]:
        """Return the masks of frame `index` of a track, and the boxes that they come from."""
        config, iod = self.preset.mask, CROP_INTEROCULAR * size
        shapes = [landmarks, *(piece.points for piece in pieces)]
        if item.boxes is None:
            return part_masks(shapes, self.parts, config, size, iod), {}
        new = {part: piece.points for piece in pieces for part in piece.parts}
        found = item.boxes.at(index).covering(landmarks, new, size)
        return open_set_masks(found, shapes, self.parts, config, size, iod), found.parts

    def _pieces(
        self,
        index: int,
        item: TrackAnalysis,
        placement: Placement,
        pose: HeadPose,
        matrix: Matrix,
    ) -> list[GuidePart]:
        """Return the references to use in frame `index` of a track, placed on the target."""
        faces: dict[str, AlignedFace] = {}
        chosen: dict[str, str] = {}
        for part, group in self.groups.items():
            face = group[item.chosen[part][index]].face
            chosen[part], faces[face.path] = face.path, face
        pieces = []
        for path, parts in pieces_by_reference(chosen).items():
            face = faces[path]
            points = guide_landmarks(
                placement.landmarks, pose, item.track.neutral, face.shape, self._weights
            )
            pieces.append(GuidePart(parts, face.crop, face.landmarks, transform(matrix, points)))
        return pieces

    def _denoise(self, jobs: Sequence[FaceJob]) -> list[Floats]:
        """Run the model on the jobs' crops at its own resolution; return full-size crops."""
        if self.preset.denoise.mode == "off":
            return [job.guide for job in jobs]
        size = self.bundle.manifest.resolution
        targets = _to_tensor([resize(job.crop, size) for job in jobs])
        guides = [resize(job.guide, size) for job in jobs]
        if self._published:
            holes, tokens = self._fuse_published(jobs, targets)
        else:
            holes = torch.stack(
                [torch.from_numpy((resize(job.masks.core, size) > 0.5).astype(np.float32))
                 for job in jobs]
            )[:, None]  # fmt: skip
            tokens = self._fuse(jobs, targets, holes)
        noise = torch.stack([self._noise_of(job.item.track.id) for job in jobs])
        painted = self.denoiser(targets * 2 - 1, _to_tensor(guides) * 2 - 1, holes, tokens, noise)
        pictures = ((painted + 1) / 2).permute(0, 2, 3, 1).numpy()
        if self._published:
            return [
                resize(row, job.item.crop_size) for row, job in zip(pictures, jobs, strict=True)
            ]
        return [
            restore_detail(picture, small, job.guide, self.preset.composite.detail)
            for picture, small, job in zip(pictures, guides, jobs, strict=True)
        ]

    def _fuse(self, jobs: Sequence[FaceJob], targets: Tensor, holes: Tensor) -> Tensor:
        """Return [N, tokens, C]: the reference parts' tokens in place of the target's."""
        size, grid = targets.shape[-1], self.bundle.encoder.grid
        fill = self._fill().view(1, 3, 1, 1)
        face = self.bundle.encoder(torch.lerp(targets, fill, holes)).cpu()
        boxes = torch.from_numpy(np.stack([self._token_boxes(job, size) for job in jobs]))
        sources = [
            [
                PartSource(
                    torch.from_numpy(loaded.reference.tokens)[None],
                    torch.from_numpy(loaded.reference.box),
                    loaded.reference.weight,
                )
                for loaded in group
            ]
            for group in self.groups.values()
        ]
        if self.preset.fuse.mode == "parity":
            firsts = [group[0] for group in sources]
            given = torch.stack([source.box for source in firsts]).expand(len(jobs), -1, -1)
            return fuse_parity(
                face, [source.tokens for source in firsts], torch.cat([boxes, given], 1)
            )
        masks = torch.from_numpy(
            np.stack([[resize(job.masks.parts[p], grid) for p in self.parts] for job in jobs])
        )
        return fuse_fractional(face, sources, boxes, masks)

    def _fuse_published(self, jobs: Sequence[FaceJob], targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return the holes [N, 1, R, R] and the fused tokens [N, tokens, C], as published.

        A part without a reference is the target's own, painted anew; it is not pasted.
        """
        size, encode = targets.shape[-1], self.bundle.encoder.as_published
        boxes = torch.stack([box_rows(job.boxes) for job in jobs])
        holes = holes_of(boxes, size)
        face = encode(torch.lerp(targets, self._fill().view(1, 3, 1, 1), holes)).cpu()
        parts, sources = [], []
        for number, part in enumerate(PUBLISHED_PARTS):
            if part not in self.groups:
                alone = targets * holes_of(boxes[:, number : number + 1], size)
                parts.append(encode(alone).cpu())
                sources.append(boxes[:, number])
                continue
            group = self.groups[part]
            chosen = [group[job.item.chosen[part][job.index]].reference for job in jobs]
            parts.append(torch.from_numpy(np.stack([given.tokens for given in chosen])))
            sources.append(torch.from_numpy(np.stack([given.box for given in chosen])))
        return holes, fuse_parity(face, parts, torch.cat([boxes, torch.stack(sources, 1)], 1))

    def _fill(self) -> Tensor:
        """Return [3], the colour of the hole in [0, 1]."""
        return (torch.tensor(self.bundle.manifest.hole_fill) + 1) / 2

    def _token_boxes(self, job: FaceJob, size: int) -> Floats:
        """Return [P, 4] where the parts' tokens go: detected boxes, else the outlines' own."""
        boxes = part_boxes(job.landmarks * (size / job.crop.shape[0]), self.parts, size)
        for row, part in enumerate(self.parts):
            boxes[row] = job.boxes.get(part, boxes[row])
        return boxes

    def _noise_of(self, track_id: int) -> Tensor:
        if track_id not in self._noise:
            shape = self.denoiser.noise_shape
            self._noise[track_id] = track_noise(self.preset.seed, track_id, shape)
        return self._noise[track_id]

    def _composite(
        self,
        frame: VideoFrame,
        canvas: FrameCanvas,
        jobs: Sequence[FaceJob],
        results: Sequence[Floats],
    ) -> tuple[VideoFrame, int]:
        """Paste the finished crops; return the frame and how many samples changed outside."""
        regions = []
        for job, result in zip(jobs, results, strict=True):
            opacity = job.placement.weight * self.preset.composite.opacity
            region = paste(
                canvas, result, job.masks.hole * opacity, job.matrix, self.info.display_size
            )
            if region is not None:
                regions.append(region)
        painted = canvas.frame()
        return painted, changed_outside(frame, painted, self.info, regions)


def _to_tensor(pictures: Sequence[Floats | Bytes]) -> Tensor:
    """Stack [S, S, 3] pictures to a float32 tensor [N, 3, S, S]."""
    stacked = np.stack([picture.transpose(2, 0, 1) for picture in pictures])
    return torch.from_numpy(np.ascontiguousarray(stacked, np.float32))
