"""Swappers with the tiny bundle, and a reader of whole files, for tests of whole runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import face_clips
import numpy as np

from fapvideo.config.schema import RunPreset
from fapvideo.structs import Bytes, VideoFrame, VideoInfo
from fapvideo.swapper import VideoSwapper
from fapvideo.video.reader import VideoReader

BRAND = str(face_clips.BRAND)
FAST = {"codec": "ffv1", "speed": "ultrafast"}


@dataclass(frozen=True)
class Decoded:
    """A whole file in memory."""

    info: VideoInfo
    frames: tuple[VideoFrame, ...]
    rgb: Bytes
    """[N, H, W, 3] as displayed."""

    @property
    def times(self) -> list[Any]:
        """Presentation times in seconds, exact."""
        return [frame.pts * self.info.time_base for frame in self.frames]

    def same_samples(self, other: Decoded, index: int) -> bool:
        """Tell whether one frame's samples are those of the other file."""
        return all(map(np.array_equal, self.frames[index].planes, other.frames[index].planes))


def decode(path: Path) -> Decoded:
    """Read every frame of a file."""
    with VideoReader(path) as reader:
        batches = list(reader.batches(8))
        frames = tuple(frame for batch in batches for frame in batch.frames)
        return Decoded(reader.info, frames, np.concatenate([batch.rgb for batch in batches]))


def preset(**tables: Any) -> RunPreset:
    """Return a preset: the brand face's mouth, tiny bundle, lossless, small crops, quick."""
    defaults: dict[str, Any] = {
        "name": "test",
        "bundle": "tiny",
        "references": {"mouth": BRAND},
        "video": FAST,
        "denoise": {"mode": "off"},
        "composite": {"max_size": 64},
    }
    return RunPreset.model_validate({**defaults, **tables})


def swapper(**tables: Any) -> VideoSwapper:
    """Return a swapper with that preset, on the CPU."""
    return VideoSwapper(preset(**tables), "cpu")
