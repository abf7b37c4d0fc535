"""What pictures carry beside their samples, and what of it an output cannot have."""

from __future__ import annotations

from typing import Final

from fapvideo.structs import VideoInfo

_NAMES: Final = {
    "STEREO3D": "the layout of 3D pictures",
    "SPHERICAL": "the projection of 360-degree pictures",
    "AFD": "the active format description",
    "S12M_TIMECODE": "the timecode of each picture",
    "GOP_TIMECODE": "the timecode of each group of pictures",
    "ICC_PROFILE": "the colour profile of the pictures",
    "DYNAMIC_HDR_VIVID": "dynamic HDR metadata (HDR Vivid)",
    "AMBIENT_VIEWING_ENVIRONMENT": "the ambient viewing environment of HDR",
}
"""Kinds of FFmpeg's side data of frames. What is not here is kept elsewhere (display matrix, HDR10
metadata, captions) or speaks of the old encoding (encoder parameters, motion vectors)."""


def unkept(info: VideoInfo, encoder: str) -> list[str]:
    """Return a warning for everything that the output will not carry.

    PyAV 18 can set no side data of an output but the display matrix (`set_display_matrix`):
    `Frame.side_data` and `Packet` side data are for copies of what was read.
    """
    lost = [_NAMES[name] for name in info.carried if name in _NAMES]
    if info.stereo and encoder in ("libx264", "libx264rgb"):  # as a message in the pictures
        lost.remove(_NAMES["STEREO3D"])
    return [
        f"{what} is left out: PyAV cannot write it; put it back with a tool of its own "
        "(MP4Box, mkvpropedit, spatial-media)"
        for what in lost
    ]
