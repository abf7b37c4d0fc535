"""The arrows in order: the second pass, on one page.

    decode -> faces -> parts -> features -> guide -> tokens -> diffusion -> paste -> encode

Two passes over the video. The first (`plan/`) follows every face and, knowing the whole clip,
smooths its geometry and decides what happens to poor frames. The second, `Pipeline.swap`, treats
batches of frames, each a function of the frame and of the plan alone, so results do not depend on
the batch size. What happens between a crop and a finished crop is the painter's (`paint/`). Its
three steps may run in three threads, each on another batch (`run/engine.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from fapvideo.composite.paste import SMALLEST_ALPHA, cut, paste, share_outside, shown_of
from fapvideo.composite.planes import FrameCanvas, Stroke, changed_outside
from fapvideo.mask.occlusion import keep_in_front
from fapvideo.mask.parts import opacity_of
from fapvideo.nets.occlusion import SIZE
from fapvideo.ops.geometry import combined, invert, stretched, transform
from fapvideo.ops.memory import keep_freed_memory
from fapvideo.ops.pose import crop_matrix, head_pose
from fapvideo.paint.painter import FaceCrop, FaceJob, Painter
from fapvideo.plan.targets import Plan, Target
from fapvideo.progress import Stopwatch
from fapvideo.structs import Floats, FrameBatch, Placement, VideoFrame, VideoInfo

Check = Callable[[FaceJob, Floats], str]
"""Returns a code of `structs.REASONS` for a finished crop that must not be shown, else nothing."""


def shown_as_it_is(job: FaceJob, result: Floats) -> str:
    """Let every finished crop pass."""
    return ""


@dataclass(frozen=True, slots=True)
class PreparedBatch:
    """Frames whose faces are cut, masked and ready for the painter."""

    batch: FrameBatch
    plan: Plan
    canvases: Sequence[FrameCanvas]
    jobs: tuple[tuple[FaceJob, ...], ...]
    """Per frame."""


@dataclass(frozen=True, slots=True)
class PaintedBatch:
    """The same with what the painter made of the crops."""

    prepared: PreparedBatch
    results: tuple[tuple[Floats, ...], ...]
    """Per frame and face: the finished crop [S, S, 3]."""


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
    refused: Mapping[tuple[int, int], str] = field(default_factory=dict)
    """(frame, track) -> why a face was not painted after all, a code of `structs.REASONS`."""
    cut_off: Mapping[tuple[int, int], float] = field(default_factory=dict)
    """(frame, track) -> share of the hole outside the picture, where it is not 0."""
    apart: Mapping[tuple[int, int], tuple[float, bool]] = field(default_factory=dict)
    """(frame, track) -> how far recognition finds the face from the filmed one, and whether it had
    to be blurred for that (`[anonymize]`)."""
    strokes: tuple[tuple[Stroke, ...], ...] = ()
    """Per frame what was painted, in order, where that is recorded."""


class Pipeline:
    """The second pass: batches of frames in, frames with swapped parts out."""

    def __init__(
        self,
        info: VideoInfo,
        painter: Painter,
        opacity: float = 1.0,
        stopwatch: Stopwatch | None = None,
        check: Check = shown_as_it_is,
        keep_occluders: bool = True,
        record: bool = False,
    ) -> None:
        """Bind everything that stays the same for the whole clip.

        Args:
            info: of the clip.
            painter: makes the finished crops.
            opacity: of what is painted, [0, 1].
            stopwatch: takes the seconds of each step.
            check: says of a finished crop why it must not be shown, if it must not.
            keep_occluders: whether what stands in front of a face stays, as far as a plan knows.
            record: whether what was painted is kept (`SwappedBatch.strokes`).
        """
        self.info, self.painter, self.opacity, self.check = info, painter, opacity, check
        self.keep_occluders, self.record = keep_occluders, record
        self.stopwatch = stopwatch or Stopwatch()
        keep_freed_memory()

    def swap(self, batch: FrameBatch, plan: Plan) -> SwappedBatch:
        """Swap the parts of all targets in a batch of frames: the three steps, one by one."""
        return self.composite(self.paint(self.prepare(batch, plan)))

    def prepare(self, batch: FrameBatch, plan: Plan) -> PreparedBatch:
        """Cut the crops, mask the parts, build what the painter starts from."""
        canvases = [FrameCanvas(frame, self.info, record=self.record) for frame in batch.frames]
        with self.stopwatch.measure("guide_s"):
            jobs = tuple(
                tuple(self._prepare(canvas, *face) for face in plan.placements(frame.index))
                for frame, canvas in zip(batch.frames, canvases, strict=True)
            )
        return PreparedBatch(batch, plan, canvases, jobs)

    def paint(self, prepared: PreparedBatch) -> PaintedBatch:
        """Let the painter finish the crops."""
        flat = [job for group in prepared.jobs for job in group]
        with self.stopwatch.measure("denoise_s"):
            finished = iter(self.painter.paint(flat) if flat else [])
        results = tuple(tuple(next(finished) for _ in group) for group in prepared.jobs)
        return PaintedBatch(prepared, results)

    def composite(self, painted: PaintedBatch) -> SwappedBatch:
        """Look at the finished crops, and put into the frames what may be shown."""
        batch, canvases = painted.prepared.batch, painted.prepared.canvases
        jobs, results = painted.prepared.jobs, painted.results
        refused, cut_off = _beyond(batch, jobs, self.info.display_size)
        with self.stopwatch.measure("composite_s"):
            refused |= self._wrong(batch, jobs, results, refused)
            done = [
                self._composite(*work, refused)
                for work in zip(batch.frames, canvases, jobs, results, strict=True)
            ]
        frames = tuple(frame for frame, _ in done)
        changed = sum(samples for _, samples in done)
        strokes = tuple(tuple(canvas.strokes) for canvas in canvases) if self.record else ()
        return SwappedBatch(frames, jobs, results, changed, refused, cut_off, strokes=strokes)

    def _prepare(self, canvas: FrameCanvas, target: Target, placement: Placement) -> FaceJob:
        """Cut the crop; let the painter mask the parts and build what it starts from."""
        size, pose = target.crop_size, head_pose(placement.landmarks)
        matrix = self.painter.framed(crop_matrix(pose, size), size)
        raster = stretched(matrix, self.info.pixel_shape)
        picture = cut(canvas, raster, size, self.info.display_size)
        landmarks = transform(matrix, placement.landmarks)
        face = FaceCrop(target, placement, pose, matrix, raster, landmarks, picture)
        job = self.painter.prepare(face)
        if target.occlusion is None or not self.keep_occluders:
            return job
        into = combined(matrix, invert(crop_matrix(pose, SIZE)))
        masks = keep_in_front(
            job.masks, target.occlusion, placement.index, picture, landmarks, into
        )
        # What lies outside the picture is in front of nothing: it is counted as cut off.
        seen = shown_of(raster, self.info.display_size, size)
        if seen is not None:
            masks = replace(masks, hole=np.where(seen > 0, masks.hole, job.masks.hole))
        return replace(job, masks=masks)

    def _wrong(
        self,
        batch: FrameBatch,
        jobs: Sequence[Sequence[FaceJob]],
        results: Sequence[Sequence[Floats]],
        refused: Mapping[tuple[int, int], str],
    ) -> dict[tuple[int, int], str]:
        """Return the faces whose finished crops must not be shown, and why."""
        wrong = {}
        for frame, group, finished in zip(batch.frames, jobs, results, strict=True):
            for job, result in zip(group, finished, strict=True):
                face = frame.index, job.face.placement.track_id
                reason = "" if face in refused else self.check(job, result)
                if reason:
                    wrong[face] = reason
        return wrong

    def _composite(
        self,
        frame: VideoFrame,
        canvas: FrameCanvas,
        jobs: Sequence[FaceJob],
        results: Sequence[Floats],
        refused: Mapping[tuple[int, int], str],
    ) -> tuple[VideoFrame, int]:
        """Paint the finished crops; return the frame and how many samples changed outside."""
        regions = []
        for job, result in zip(jobs, results, strict=True):
            if (frame.index, job.face.placement.track_id) in refused:
                continue
            alpha = job.masks.hole * (job.face.placement.weight * self.opacity)
            if job.face.target.strengths:
                alpha *= opacity_of(job.masks, job.face.target.strengths)
            region = paste(canvas, result, alpha, job.face.raster, self.info.display_size)
            if region is not None:
                regions.append(region)
        painted = canvas.frame()
        return painted, changed_outside(frame, painted, self.info, regions)


def _beyond(
    batch: FrameBatch, jobs: Sequence[Sequence[FaceJob]], size: tuple[int, int]
) -> tuple[dict[tuple[int, int], str], dict[tuple[int, int], float]]:
    """Return the faces of which nothing would be seen, with the reason, and those cut off.

    Args:
        batch: the frames.
        jobs: per frame.
        size: (width, height) of a frame as displayed.
    """
    refused, cut_off = {}, {}
    for frame, group in zip(batch.frames, jobs, strict=True):
        for job in group:
            face = frame.index, job.face.placement.track_id
            share = round(share_outside(job.masks.hole, job.face.raster, size), 4)
            if share > 0.0:
                cut_off[face] = share
            if share >= 1.0:
                refused[face] = "leaves_frame"
            elif job.masks.hole.max() < SMALLEST_ALPHA:
                refused[face] = "covered"
    return refused, cut_off
