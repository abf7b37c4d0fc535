"""What one would do without a model: paste the reference's part, plainly or by Poisson cloning.

Both are meant as good versions of their kind: they follow the face by the same smoothed tracks as a
swap, cover the target's own part with the same soft masks, write into the frame's own samples and
keep every timestamp. What they lack is expression, light and colour.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from fapvideo.composite.paste import cut, paste
from fapvideo.composite.planes import FrameCanvas
from fapvideo.config.schema import RunPreset
from fapvideo.errors import NoFaceFound
from fapvideo.mask.parts import part_masks
from fapvideo.ops import mesh
from fapvideo.ops.geometry import Matrix, transform, warp
from fapvideo.ops.pose import CROP_INTEROCULAR, crop_matrix, head_pose
from fapvideo.plan.follow import Analysis, TrackAnalysis, analyse
from fapvideo.progress import OnProgress, ShouldStop, Ticker
from fapvideo.reference.images import AlignedFace
from fapvideo.run.still import as_clip, as_picture
from fapvideo.structs import Bytes, Floats, Placement, VideoFrame, VideoInfo
from fapvideo.video.probe import probe
from fapvideo.video.reader import VideoReader
from fapvideo.video.writer import VideoWriter

Blend = Literal["paste", "poisson"]
Faces = Mapping[str, Sequence[AlignedFace]]
"""Part -> references; a baseline takes the first."""

RESOLUTION = 128
"""Crops are at least this large, as the embedded bundle's."""
WORN = 3
"""Pixels by which `cv2.seamlessClone` erodes its mask."""
PAIRED, SIDES = ("eyes", "brows"), ("right", "left")
"""Parts that are pasted side by side: each has a fit of its own."""


def baseline_video(
    source: Path,
    output: Path,
    faces: Faces,
    preset: RunPreset,
    blend: Blend,
    progress: OnProgress | None = None,
    cancel: ShouldStop | None = None,
) -> dict[str, float]:
    """Swap a video; return its timings in seconds.

    Args:
        source: the video.
        output: is replaced if it exists; appears only when it is whole.
        faces: part -> references.
        preset: `[video]`, `[track]`, `[mask]` and `[composite]` are used.
        blend: how the part gets into the face.
        progress: told of every batch.
        cancel: asked after every batch.

    Raises:
        VideoReadError, VideoWriteError, Cancelled.
    """
    started = time.perf_counter()
    info, ticker = probe(source), Ticker(progress, cancel)
    reader = VideoReader(info, preset.video)
    with tempfile.TemporaryDirectory(prefix="fapvideo-") as scratch:
        ticker.begin("analyse", info.frames)
        batches = reader.batches(preset.denoise.batch_size)
        rate = float(info.frame_rate)
        analysis = analyse(batches, rate, preset, (), RESOLUTION, Path(scratch), ticker.advance)
        tracked = time.perf_counter()
        painter = _Painter(info, faces, preset, blend)
        ticker.begin("swap", analysis.frames)
        with VideoWriter(output, info, preset.video, overwrite=True) as writer:
            for batch in reader.batches(preset.denoise.batch_size):
                writer.write(painter.paint(frame, analysis) for frame in batch.frames)
                ticker.advance(len(batch))
    wall = time.perf_counter() - started
    return {
        "track_s": round(tracked - started, 3),
        "wall_s": round(wall, 3),
        "fps": round(analysis.frames / max(wall, 1e-6), 3),
    }


def baseline_image(rgb: Bytes, faces: Faces, preset: RunPreset, blend: Blend) -> Bytes:
    """Return uint8 [H, W, 3] with the parts of its face pasted over.

    Raises:
        NoFaceFound: there is no face in the picture.
    """
    batch, info = as_clip(rgb)
    with tempfile.TemporaryDirectory(prefix="fapvideo-") as scratch:
        analysis = analyse([batch], 1.0, preset, (), RESOLUTION, Path(scratch))
        if not analysis.selected:
            raise NoFaceFound(f"no face found in the picture of {rgb.shape[1]}x{rgb.shape[0]}")
        return as_picture(
            _Painter(info, faces, preset, blend).paint(batch.frames[0], analysis), info
        )


class _Painter:
    """Paints the parts over the faces of one frame."""

    def __init__(self, info: VideoInfo, faces: Faces, preset: RunPreset, blend: Blend) -> None:
        self._info, self._blend = info, blend
        self._faces = {part: given[0] for part, given in faces.items() if given}
        # A mouth is pasted whole: without a model nothing knows what belongs between its lips.
        self._mask = preset.mask.model_copy(update={"keep_inner_mouth": False})
        self._opacity = preset.composite.opacity

    def paint(self, frame: VideoFrame, analysis: Analysis) -> VideoFrame:
        """Return the frame with all its parts pasted."""
        canvas = FrameCanvas(frame, self._info)
        for item, placement in analysis.placements(frame.index):
            self._paint_face(canvas, item, placement)
        return canvas.frame()

    def _paint_face(self, canvas: FrameCanvas, item: TrackAnalysis, placement: Placement) -> None:
        size, frame_size = item.crop_size, self._info.display_size
        matrix = crop_matrix(head_pose(placement.landmarks), size)
        landmarks = transform(matrix, placement.landmarks)
        layers = list(self._layers(landmarks, size))
        if self._blend == "poisson":
            target = cut(canvas, matrix, size, frame_size)
            picture = cloned(target, layers)
        else:
            picture = averaged(layers)
        alpha = np.maximum.reduce([mask for _, mask in layers])
        opacity = alpha * placement.weight * self._opacity
        paste(canvas, picture, opacity.astype(np.float32), matrix, frame_size)

    def _layers(self, landmarks: Floats, size: int) -> Iterator[tuple[Floats, Floats]]:
        """Yield (reference warped onto the target [S, S, 3], mask of the part [S, S])."""
        interocular = CROP_INTEROCULAR * size
        for part, face in self._faces.items():
            paired = part in PAIRED and self._mask.eye_side == "both"
            for side in SIDES if paired else (self._mask.eye_side,):
                config = self._mask.model_copy(update={"eye_side": side})
                masks = part_masks([landmarks], [part], config, size, interocular)
                picture = fitted(face.crop, face.landmarks, landmarks, part, side, size)
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


def averaged(layers: Sequence[tuple[Floats, Floats]]) -> Floats:
    """Return the layers' mean under their masks."""
    total = np.sum([mask for _, mask in layers], axis=0)
    merged = np.sum([picture * mask[..., None] for picture, mask in layers], axis=0)
    return (merged / np.maximum(total, 1e-6)[..., None]).astype(np.float32)


def cloned(target: Floats, layers: Sequence[tuple[Floats, Floats]]) -> Floats:
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
