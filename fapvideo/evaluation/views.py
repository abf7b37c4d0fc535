"""What metrics look at: one face of one frame, cut out of source and result alike.

Everything is placed by the *source's* smoothed landmarks, so a result is judged where the face was,
not where a detector finds it afterwards.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol, Self

import cv2
import numpy as np
from numpy.typing import NDArray

from fapvideo.config.schema import MaskConfig, RunPreset
from fapvideo.errors import NoFaceFound, VideoReadError
from fapvideo.mask.parts import part_masks
from fapvideo.ops.geometry import Matrix, transform, warp
from fapvideo.ops.pose import CROP_INTEROCULAR, crop_matrix, head_pose
from fapvideo.plan.decide import decide
from fapvideo.plan.follow import follow
from fapvideo.plan.people import CastReader
from fapvideo.plan.targets import Plan
from fapvideo.reference.images import AlignedFace
from fapvideo.structs import Bytes, Floats, VideoFrame, VideoInfo
from fapvideo.track.landmarks import FaceMesh
from fapvideo.video.probe import probe
from fapvideo.video.reader import VideoReader

SIDE = 256
"""Side of the aligned crop that metrics are computed in, pixels."""
RING = 8
"""Width of the ring around the mask, pixels of that crop."""
EXPECTED = 0.5
"""A face counts where a swap is expected at least this strongly (`FaceView.weight`)."""
RESOLUTION = 128
"""Crops of the plan are at least this large; it decides nothing here."""
BATCH = 8

Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class FaceView:
    """One face of one frame, in the source and in the result, in the same aligned crop."""

    track: int
    matrix: Matrix
    """[2, 3] from the displayed frame into the crop."""
    frame_size: tuple[int, int]
    """(width, height) of the displayed frame."""
    source: Bytes
    """[SIDE, SIDE, 3]."""
    result: Bytes
    """[SIDE, SIDE, 3]."""
    landmarks: Floats
    """[478, 3] of the source's smoothed track, in the crop."""
    measured_source: Floats
    """[478, 3] measured anew in this picture alone: nothing smoothed."""
    measured_result: Floats
    """[478, 3] the same of the result."""
    presence: float
    """Mesh presence in the source."""
    yaw_deg: float
    weight: float
    """How strongly a swap is expected here, [0, 1]: poor frames may be faded (`mask.policy`)."""
    parts: Mapping[str, Floats]
    """Part -> soft mask [SIDE, SIDE], the target's own outlines, grown and feathered by default."""
    hole: Floats
    """[SIDE, SIDE] union of the parts."""

    @cached_property
    def mask(self) -> Bools:
        """[SIDE, SIDE] every pixel that a swap may change."""
        return self.hole > 0

    @cached_property
    def ring(self) -> Bools:
        """[SIDE, SIDE] the pixels within `RING` of the mask, outside it."""
        kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * RING + 1, 2 * RING + 1))
        return (cv2.dilate(self.mask.astype(np.uint8), kernel) > 0) & ~self.mask

    @cached_property
    def outside(self) -> Bools:
        """[SIDE, SIDE] everything else in the crop, as far as it lies in the frame."""
        return self.inside_frame & ~self.mask & ~self.ring

    @cached_property
    def inside_frame(self) -> Bools:
        """[SIDE, SIDE] the pixels of the crop that show the frame and not its repeated border."""
        width, height = self.frame_size
        ones = np.full((height, width), 255, np.uint8)
        return warp(ones, self.matrix, (SIDE, SIDE), border=cv2.BORDER_CONSTANT) == 255


@dataclass(frozen=True, slots=True)
class FramePair:
    """One frame of the source with the result's frame of the same time."""

    index: int
    time_s: float
    source: VideoFrame
    source_rgb: Bytes
    """[H, W, 3] as displayed."""
    result: VideoFrame
    result_rgb: Bytes
    """[H, W, 3] brought to the source's size if it is another."""
    faces: tuple[FaceView, ...]
    first_of_shot: bool
    """Whether the picture before belongs to another shot, or there is none."""
    references: Mapping[str, Sequence[AlignedFace]]
    """Part -> the photos it was to come from; empty where they are not known."""
    time_error_s: float = 0.0
    """How far the result's frame is from the source's time: 0 where timestamps are kept."""


class Material(Protocol):
    """What results are compared with: a `Clip`, or a set of photos (`photos.PhotoPairs`)."""

    @property
    def path(self) -> Path:
        """File or folder of the source."""

    @property
    def parts(self) -> tuple[str, ...]:
        """What was swapped."""

    @property
    def frames(self) -> int:
        """How many pairs there are."""

    @property
    def frame_rate(self) -> float:
        """Frames per second."""

    def pairs(self, result: Path) -> Iterator[FramePair]:
        """Yield every source frame with the result's."""


@dataclass(frozen=True, slots=True)
class Clip:
    """A source clip, followed once and compared with any number of results."""

    info: VideoInfo
    preset: RunPreset
    """`[video]` (stretch of time), `[track]` and `[mask]` are used."""
    parts: tuple[str, ...]
    references: Mapping[str, Sequence[AlignedFace]]
    plan: Plan

    @classmethod
    def open(
        cls,
        path: Path,
        preset: RunPreset,
        parts: Sequence[str],
        scratch: Path,
        references: Mapping[str, Sequence[AlignedFace]] | None = None,
    ) -> Self:
        """Follow the faces of the clip at `path`.

        `scratch` is a folder that stays as long as the clip is used; for the others see `Clip`.

        Raises:
            VideoReadError: it cannot be read.
            NoFaceFound: it shows no face.
        """
        reader = VideoReader(probe(path), preset.video)
        rate = float(reader.info.frame_rate)
        followed = follow(reader.batches(BATCH), rate, preset.track, scratch)
        plan = decide(followed, rate, preset, CastReader().bystanders(preset), RESOLUTION)
        if not plan.targets:
            raise NoFaceFound(
                f"{path}: no face in {plan.frames} frames: nothing to measure",
                hint="lower track.detect_score, or give another clip",
            )
        return cls(reader.info, preset, tuple(parts), references or {}, plan)

    @property
    def path(self) -> Path:
        """The source video."""
        return self.info.path

    @property
    def frames(self) -> int:
        """Frames of the source."""
        return self.plan.frames

    @property
    def frame_rate(self) -> float:
        """Frames per second of the source."""
        return float(self.info.frame_rate)

    def pairs(self, result: Path, faces_of: Container[int] | None = None) -> Iterator[FramePair]:
        """Yield every source frame with the result's frame nearest in time.

        The result begins where `preset.video.start_s` does. `faces_of` are the positions in the
        stretch whose faces are wanted, to save the time of measuring the others; by default all.

        Raises:
            VideoReadError: one of the two cannot be read.
        """
        mesh = FaceMesh()
        cuts = {0, *self.plan.cuts}
        reader = VideoReader(self.info, self.preset.video)
        follower = _Follower(result, self.info.display_size)
        start_s: float | None = None
        for position, (frame, rgb) in enumerate(reader.pictures()):
            start_s = frame.time_s if start_s is None else start_s
            other, other_rgb = follower.nearest(frame.time_s - start_s)
            wanted = faces_of is None or position in faces_of
            faces = tuple(
                face_view(
                    rgb, other_rgb, place.landmarks, self.parts, self.preset.mask, mesh,
                    track=item.track.id, weight=place.weight,
                    presence=float(item.track.presence[frame.index - item.track.first_frame]),
                )
                for item, place in (self.plan.placements(frame.index) if wanted else ())
            )  # fmt: skip
            error = abs(other.time_s - (frame.time_s - start_s))
            yield FramePair(
                frame.index, frame.time_s, frame, rgb, other, other_rgb, faces,
                frame.index in cuts, self.references, error,
            )  # fmt: skip


def face_view(
    source: Bytes,
    result: Bytes,
    landmarks: Floats,
    parts: Sequence[str],
    config: MaskConfig,
    mesh: FaceMesh,
    *,
    track: int = 0,
    presence: float = 1.0,
    weight: float = 1.0,
) -> FaceView:
    """Cut one face out of both pictures [H, W, 3] and measure it in each by `mesh`.

    `landmarks` [478, 3] say where the face is in the source; an inner mouth that is kept by
    `config` still belongs to the mouth. The rest goes into the view as it is.
    """
    pose = head_pose(landmarks)
    matrix = crop_matrix(pose, SIDE)
    inside = transform(matrix, landmarks)
    cut = [warp(picture, matrix, (SIDE, SIDE)) for picture in (source, result)]
    whole = config.model_copy(update={"keep_inner_mouth": False})
    masks = part_masks([inside], parts, whole, SIDE, CROP_INTEROCULAR * SIDE)
    return FaceView(
        track=track,
        matrix=matrix,
        frame_size=(source.shape[1], source.shape[0]),
        source=cut[0],
        result=cut[1],
        landmarks=inside,
        measured_source=mesh.from_landmarks(cut[0], inside).landmarks,
        measured_result=mesh.from_landmarks(cut[1], inside).landmarks,
        presence=presence,
        yaw_deg=pose.yaw_deg,
        weight=weight,
        parts=masks.parts,
        hole=masks.hole,
    )


class _Follower:
    """Reads a result along with its source."""

    def __init__(self, path: Path, size: tuple[int, int]) -> None:
        """Open `path`; pictures of another size than `size` (width, height) are scaled to it."""
        self._size = size
        self._pictures = VideoReader(probe(path)).pictures()
        first = next(self._pictures, None)
        if first is None:
            raise VideoReadError(f"{path}: no frames")
        self._current, self._next = first, next(self._pictures, None)

    def nearest(self, time_s: float) -> tuple[VideoFrame, Bytes]:
        """Return the frame whose time is nearest; times must not go back."""
        while self._next is not None and abs(self._next[0].time_s - time_s) <= abs(
            self._current[0].time_s - time_s
        ):
            self._current, self._next = self._next, next(self._pictures, None)
        frame, rgb = self._current
        if (rgb.shape[1], rgb.shape[0]) != self._size:
            rgb = cv2.resize(rgb, self._size, interpolation=cv2.INTER_AREA)
        return frame, rgb
