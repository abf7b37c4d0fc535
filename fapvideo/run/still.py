"""Pictures as clips of one frame, and frames as pictures."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np

from fapvideo.composite.planes import FrameCanvas
from fapvideo.structs import Bytes, ColorTags, FrameBatch, HdrMetadata, VideoFrame, VideoInfo


def as_picture(frame: VideoFrame, info: VideoInfo) -> Bytes:
    """Return a frame as RGB uint8, as displayed."""
    width, height = info.display_size
    rgb = FrameCanvas(frame, info).read_rgb((0, 0, width, height))
    return np.round(rgb * 255).astype(np.uint8)


def as_clip(rgb: Bytes) -> tuple[FrameBatch, VideoInfo]:
    """Return a picture as a clip of one frame."""
    height, width = rgb.shape[:2]
    planes = tuple(np.ascontiguousarray(rgb[..., channel]) for channel in (1, 2, 0))
    frame = VideoFrame(0, 0, 0.0, "gbrp", planes)
    info = VideoInfo(
        path=Path("picture"),
        container="",
        width=width,
        height=height,
        rotation=0,
        sample_aspect_ratio=Fraction(1),
        frame_rate=Fraction(1),
        time_base=Fraction(1),
        vfr=False,
        frames=1,
        duration_s=1.0,
        pixel_format="gbrp",
        bit_depth=8,
        color=ColorTags(matrix=0, full_range=True),
        hdr=HdrMetadata(),
        video_stream=0,
        streams=(),
    )
    return FrameBatch((frame,), rgb[None], Fraction(1)), info
