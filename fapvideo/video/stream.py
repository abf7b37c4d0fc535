"""What frames are that come from no file."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

from fapvideo.ops.yuv import plane_layout
from fapvideo.structs import ColorTags, HdrMetadata, VideoInfo


def stream_info(
    width: int,
    height: int,
    frame_rate: Fraction | float,
    pixel_format: str = "gbrp",
    color: ColorTags | None = None,
) -> VideoInfo:
    """Describe frames that come from nowhere in particular: upright, with square pixels.

    Args:
        width: of a frame, pixels.
        height: the same.
        frame_rate: frames a second; where frames bring times of their own, about that.
        pixel_format: FFmpeg's name; RGB pictures are `gbrp`.
        color: how samples are to be understood; by default guessed from the size, as players do,
            or that of RGB.
    """
    rate = Fraction(frame_rate).limit_denominator(1_000_000)
    layout = plane_layout(pixel_format)
    rgb = layout.family == "rgb"
    return VideoInfo(
        path=Path("frames"),
        container="",
        width=width,
        height=height,
        rotation=0,
        sample_aspect_ratio=Fraction(1),
        frame_rate=rate,
        time_base=1 / rate,
        vfr=False,
        frames=0,
        duration_s=0.0,
        pixel_format=pixel_format,
        bit_depth=layout.bits,
        color=color or (ColorTags(matrix=0, full_range=True) if rgb else ColorTags()),
        hdr=HdrMetadata(),
        video_stream=0,
        streams=(),
    )
