"""Frames of a video that are worth training on: spread over time, sharp, unlike each other."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np

from fapvideo.config.train import DataConfig
from fapvideo.errors import Cancelled, VideoReadError
from fapvideo.progress import ShouldStop
from fapvideo.structs import Bytes, VideoInfo
from fapvideo.track.finder import FaceFinder
from fapvideo.training.faces.alignment import Measured, measure
from fapvideo.video.reader import VideoReader

log = logging.getLogger(__name__)

STRETCH_S = 0.5
"""Shortest stretch of which one frame is taken: neighbouring frames teach nothing new."""
MOMENTS = (0.25, 0.5, 0.75)
"""Where in a stretch frames are looked at; the sharpest usable one stands for it."""
STRETCHES_PER_FRAME = 2
"""Of this many stretches for each frame that is wanted, the most different looks are kept."""
MEMORY = 1 << 28
"""Bytes of decoded frames at once: every pass reads the file's index anew."""


@dataclass(frozen=True, slots=True)
class ClipFaces:
    """What one video gave."""

    kept: tuple[tuple[float, Measured], ...]
    """(seconds from the first frame, face), in order of time."""
    looked_at: int
    reasons: dict[str, int]
    """Reason -> frames that are of no use for it, the most frequent first."""
    sample: Bytes | None
    """A frame that is of no use, where none is; to show why."""


def clip_faces(
    path: Path, finder: FaceFinder, size: int, config: DataConfig, stop: ShouldStop = lambda: False
) -> ClipFaces | str:
    """Return at most `config.video_frames` faces of a video, or why it cannot be read.

    Reads a few frames at a time and jumps between them, so memory and time depend on the number
    of frames that are wanted, not on the length.

    Raises:
        Cancelled: `stop` said so.
    """
    best: list[tuple[float, Measured]] = []
    bad: Counter[str] = Counter()
    looked_at, sample = 0, None
    try:
        reader = VideoReader(path)
        for times in _passes(reader.info, config.video_frames):
            if stop():
                raise Cancelled(f"stopped in {path}")
            usable: dict[int, list[tuple[float, Measured]]] = {}
            for number, (frame, rgb) in enumerate(reader.frames_at(times)):
                looked_at += 1
                rgb = _square_pixels(rgb, reader.info.sample_aspect_ratio)
                found = measure(rgb, finder, size, config)
                if isinstance(found, str):
                    bad[found.partition(":")[0]] += 1
                    sample = rgb if sample is None else sample
                else:
                    usable.setdefault(number // len(MOMENTS), []).append((frame.time_s, found))
            best += [max(faces, key=lambda face: face[1].sharpness) for faces in usable.values()]
    except VideoReadError as error:
        log.warning("%s", error)
        return f"not a readable video: {error}"
    kept = tuple(best[i] for i in most_different(best, config.video_frames))
    return ClipFaces(kept, looked_at, dict(bad.most_common()), sample)


def _passes(info: VideoInfo, wanted: int) -> Iterator[list[float]]:
    """Yield times, seconds, to look at: `MOMENTS` in every stretch, as many as memory allows."""
    stretches = max(1, min(STRETCHES_PER_FRAME * wanted, int(info.duration_s / STRETCH_S)))
    length = info.duration_s / stretches
    each = len(MOMENTS) * 5 * info.width * info.height  # RGB, and planes of up to 8:4:4
    at_once = max(1, MEMORY // each)
    for first in range(0, stretches, at_once):
        numbers = range(first, min(first + at_once, stretches))
        yield [(number + moment) * length for number in numbers for moment in MOMENTS]


def _square_pixels(rgb: Bytes, aspect: Fraction) -> Bytes:
    """Return the picture as it is shown: pixels may be wider than high."""
    height, width = rgb.shape[:2]
    if aspect == 1:
        return np.ascontiguousarray(rgb)
    wider = (max(1, round(width * aspect)), height)
    return cv2.resize(rgb, wider, interpolation=cv2.INTER_LINEAR).astype(np.uint8)


def most_different(faces: list[tuple[float, Measured]], count: int) -> list[int]:
    """Return the places of `count` faces that differ most in expression and pose, in order.

    The sharpest first, then always the one farthest from all that are taken.
    """
    if len(faces) <= count:
        return list(range(len(faces)))
    looks = np.stack([face.look for _, face in faces])
    chosen = [int(np.argmax([face.sharpness for _, face in faces]))]
    away = np.full(len(faces), np.inf)
    while len(chosen) < count:
        away = np.minimum(away, np.linalg.norm(looks - looks[chosen[-1]], axis=1))
        away[chosen] = -1.0
        chosen.append(int(away.argmax()))
    return sorted(chosen)
