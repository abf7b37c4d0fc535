"""Contact sheets: what a preset would do to single frames."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

import cv2
import numpy as np

from fapvideo.composite.paste import place
from fapvideo.composite.planes import displayed
from fapvideo.errors import VideoReadError
from fapvideo.paint.painter import FaceJob
from fapvideo.parts import PARTS
from fapvideo.plan.people import Cast
from fapvideo.run.direct import Casting
from fapvideo.run.engine import Engine
from fapvideo.structs import Bytes, FrameBatch
from fapvideo.video.decord_reader import random_access
from fapvideo.video.reader import VideoReader

log = logging.getLogger(__name__)

HEIGHT = 320
MARGIN_S = 1.0
"""Length of the clip that is followed before and after the time of a column."""


def contact_sheet(
    engine: Engine, reader: VideoReader, casting: Casting, times_s: Sequence[float]
) -> Bytes:
    """Return columns of `column` side by side; warnings about references are logged.

    Raises:
        VideoReadError: there is no frame, or `video.reader` is not installed.
    """
    cast, warnings = casting()
    for text in warnings:
        log.warning(text)
    return join_columns([column(engine, reader, cast, time) for time in times_s])


def column(engine: Engine, reader: VideoReader, cast: Cast, time_s: float) -> Bytes:
    """Return source, masks, guide and result at one time, stacked.

    Raises:
        VideoReadError: there is no frame, or `video.reader` is not installed.
    """
    stretch = reader.cut(max(0.0, time_s - MARGIN_S), time_s + MARGIN_S)
    batch = shown_frame(stretch, time_s)
    with tempfile.TemporaryDirectory(prefix="fapvideo-") as scratch:
        plan = engine.plan(stretch, cast, Path(scratch))
        for text in plan.warnings:
            log.warning(text)
        pipeline = engine.pipeline(reader.info)
        swapped = pipeline.swap(batch, plan)
    result = displayed(swapped.frames[0], reader.info)
    return sheet_column(batch.rgb[0], result, swapped.jobs[0])


def shown_frame(reader: VideoReader, time_s: float) -> FrameBatch:
    """Return a batch of the one frame to show for `time_s`, looked up as `video.reader` says.

    `pyav` decodes what the first pass decodes and takes the frame nearest to the time: the same
    count of frames, whatever is damaged. `decord` jumps to the frame on display at that time; its
    picture is 8-bit RGB.

    Raises:
        VideoReadError: there is no frame, or decord is asked for and is not installed.
    """
    if reader.config.reader == "pyav":
        return nearest_frame(reader.batches(8), time_s)
    with random_access(reader.info, reader.config) as lookup:
        ((frame, rgb),) = lookup.frames_at([time_s])
    return FrameBatch((frame,), reader.info.time_base, (lambda: rgb,))


def nearest_frame(batches: Iterable[FrameBatch], time_s: float) -> FrameBatch:
    """Return a batch of the one frame nearest to `time_s`.

    Raises:
        VideoReadError: there is no frame.
    """
    best: FrameBatch | None = None
    gap = float("inf")
    for batch in batches:
        for i, frame in enumerate(batch.frames):
            if abs(frame.time_s - time_s) < gap:
                gap = abs(frame.time_s - time_s)
                best = FrameBatch((frame,), batch.time_base, batch.views[i : i + 1])
    if best is None:
        raise VideoReadError(f"there is no frame near {time_s:g} s", hint="see `fapvideo inspect`")
    return best


def sheet_column(source: Bytes, result: Bytes, jobs: Sequence[FaceJob]) -> Bytes:
    """Return source, masks, guide and result of one frame, stacked.

    Args:
        source: [H, W, 3].
        result: [H, W, 3].
        jobs: the faces that were swapped in it.
    """
    guide = source.astype(np.float32)
    size = (source.shape[1], source.shape[0])
    for job in jobs:
        alpha = place(job.masks.core, job.face.raster, size)[..., None]
        guide += alpha * (place(job.guide, job.face.raster, size) * 255 - guide)
    rows = [source, masked(source, jobs), guide.clip(0, 255).astype(np.uint8), result]
    return np.concatenate([_scaled(row) for row in rows])


def masked(source: Bytes, jobs: Sequence[FaceJob]) -> Bytes:
    """Return a frame [H, W, 3] with the masks of its parts, each in its colour."""
    shown, size = source.astype(np.float32), (source.shape[1], source.shape[0])
    for job in jobs:
        for part, mask in job.masks.parts.items():
            alpha = 0.6 * place(mask, job.face.raster, size)[..., None]
            shown += alpha * (np.array(PARTS[part].colour, np.float32) - shown)
    return shown.astype(np.uint8)


def join_columns(columns: Sequence[Bytes]) -> Bytes:
    """Put columns of equal size side by side."""
    return np.concatenate(columns, axis=1)


def _scaled(picture: Bytes) -> Bytes:
    width = max(1, round(picture.shape[1] * HEIGHT / picture.shape[0]))
    return np.asarray(cv2.resize(picture, (width, HEIGHT), interpolation=cv2.INTER_AREA), np.uint8)
