"""`swap.mov`: the change alone, in a codec that editors read, with straight alpha."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from fapvideo.layers.colours import movie_colours
from fapvideo.layers.frame import FrameLayers
from fapvideo.layers.numbers import Numbers
from fapvideo.ops.display import to_display
from fapvideo.ops.yuv import quantise, rgb_to_yuv
from fapvideo.structs import VideoFrame, VideoInfo

NAME = "swap.mov"
FORMAT, BITS = "yuva444p10le", 10
"""What ProRes 4444 takes."""


def movie_info(info: VideoInfo, numbers: Numbers) -> VideoInfo:
    """Return what the movie is like: the clip's times and shape, without its other streams."""
    start = numbers.timecode(0)
    return replace(
        info,
        container="",
        pixel_format=FORMAT,
        bit_depth=BITS,
        color=movie_colours(info),
        metadata={} if start is None else {"timecode": str(start)},
        captions=False,
    )


def movie_frame(frame: VideoFrame, layers: FrameLayers, info: VideoInfo) -> VideoFrame:
    """Return a frame of the movie, as coded.

    Args:
        frame: of the source.
        layers: of it.
        info: of `movie_info`.
    """
    black, middle, top = 16 << (BITS - 8), 1 << (BITS - 1), (1 << BITS) - 1
    shape = info.height, info.width
    planes = [np.full(shape, value, np.uint16) for value in (black, middle, middle, 0)]
    if layers.box is not None:
        x0, y0, x1, y1 = layers.box
        rgb, alpha = layers.swap[..., :3], np.rint(layers.swap[..., 3] * top)
        yuv = rgb_to_yuv(rgb, info.color.matrix)
        for plane, values in enumerate((*np.moveaxis(yuv, -1, 0), alpha)):
            if plane < 3:
                values = quantise(values, BITS, full_range=False, chroma=plane > 0)
            shown = to_display(planes[plane], info)[y0:y1, x0:x1]  # a view
            shown[...] = np.where(alpha > 0, np.rint(values), shown)
    return replace(frame, pixel_format=FORMAT, planes=tuple(planes), captions=b"")
