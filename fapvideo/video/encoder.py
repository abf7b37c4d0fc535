"""Which encoder, which pixel format and which options suit a video, a container and a preset."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import av

from fapvideo.config.schema import VideoConfig
from fapvideo.errors import VideoWriteError
from fapvideo.ops.yuv import PlaneLayout, plane_layout, resolve_matrix
from fapvideo.structs import ColorTags, VideoInfo
from fapvideo.video.color import is_hdr
from fapvideo.video.planar import planar_format
from fapvideo.video.support import ENCODERS

MUXERS = {".mp4": "mp4", ".mov": "mov", ".mkv": "matroska"}
"""Accepted output suffixes and FFmpeg's names for their containers."""

_CODECS_IN = {
    ".mp4": ("h264", "hevc"),
    ".mov": ("h264", "hevc", "prores"),
    ".mkv": ("h264", "hevc", "prores", "ffv1"),
}
_EVEN_ONLY = ("libx264", "libx265", "prores_ks")
"""Encoders that refuse a size that is no multiple of the chroma subsampling."""


@dataclass(frozen=True, slots=True)
class Encoding:
    """How the video stream is encoded."""

    codec: str
    """FFmpeg's name of the encoder."""
    pixel_format: str
    color: ColorTags
    options: dict[str, str]
    codec_tag: str = ""
    warnings: tuple[str, ...] = ()


def choose_encoding(info: VideoInfo, config: VideoConfig, suffix: str) -> Encoding:
    """Choose encoder, pixel format and options; every loss is named in `warnings`.

    `auto` is H.264 for 8 bits and H.265 for more bits or HDR; a video with transparency becomes
    ProRes in `.mov` and FFV1 in `.mkv`, because the other two drop it.

    Raises:
        VideoWriteError: the container cannot hold the codec.
    """
    planar = planar_format(info.pixel_format)
    layout = plane_layout(planar)
    name = _auto_codec(layout, info, suffix) if config.codec == "auto" else config.codec
    if name not in _CODECS_IN[suffix]:
        homes = " or ".join(s for s, codecs in _CODECS_IN.items() if name in codecs)
        raise VideoWriteError(
            f"{name} cannot be stored in {suffix}", hint=f"name the output {homes}"
        )
    encoder = "libx264rgb" if name == "h264" and layout.family == "rgb" else ENCODERS[name]
    chosen = nearest_format(planar, _supported(encoder, info))
    warnings = _losses(layout, plane_layout(planar_format(chosen)), planar, name)
    color = info.color
    if layout.family == "rgb" and plane_layout(planar_format(chosen)).family != "rgb":
        matrix = resolve_matrix(color.matrix, info.width, info.height)
        color = replace(color, matrix=matrix, full_range=False)
    options, hdr_warnings = _options(name, encoder, info, config)
    return Encoding(
        codec=encoder,
        pixel_format=chosen,
        color=color,
        options=options,
        codec_tag="hvc1" if name == "hevc" and suffix != ".mkv" else "",
        warnings=(*warnings, *hdr_warnings),
    )


def nearest_format(wanted: str, candidates: list[str]) -> str:
    """Return the candidate that loses least of `wanted`, and among those adds least.

    A loss of colour model weighs most, then transparency, bits, chroma resolution.
    """
    target = plane_layout(wanted)

    def cost(candidate: str) -> tuple[int, ...]:
        layout = plane_layout(planar_format(candidate))
        dx, dy = layout.shift_x - target.shift_x, layout.shift_y - target.shift_y
        return (
            int(target.family != "gray" and layout.family != target.family),
            int(target.alpha and not layout.alpha),
            max(0, target.bits - layout.bits),
            0 if target.family == "gray" else max(0, dx) + max(0, dy),
            int(layout.family != target.family),
            int(layout.alpha and not target.alpha),
            max(0, layout.bits - target.bits),
            max(0, -dx) + max(0, -dy)
            if target.family != "gray"
            else -(layout.shift_x + layout.shift_y),
            int(candidate != wanted),
        )

    return min(candidates, key=cost)


def _auto_codec(
    layout: PlaneLayout, info: VideoInfo, suffix: str
) -> Literal["h264", "hevc", "prores", "ffv1"]:
    if layout.alpha and suffix != ".mp4":
        return "prores" if suffix == ".mov" else "ffv1"
    if layout.bits == 8 and not is_hdr(info.color):
        return "h264"
    return "hevc"


def _supported(encoder: str, info: VideoInfo) -> list[str]:
    """Return the encoder's pixel formats that can hold a picture of this size."""
    formats = []
    for video_format in av.Codec(encoder, "w").video_formats or ():
        name = video_format.name
        if name.startswith("yuvj") or (encoder == "libx265" and name.startswith("yuva")):
            continue
        try:
            layout = plane_layout(planar_format(name))
        except Exception:  # float, palette and other formats that are never delivered
            continue
        odd = info.width % (1 << layout.shift_x) or info.height % (1 << layout.shift_y)
        if not (odd and encoder in _EVEN_ONLY):
            formats.append(name)
    return formats


def _losses(source: PlaneLayout, target: PlaneLayout, planar: str, codec: str) -> list[str]:
    """Describe what changes between two layouts."""
    changes = []
    if source.family != target.family:
        changes.append(f"{source.family} becomes {target.family}")
    if source.alpha and not target.alpha:
        changes.append("transparency is lost (ProRes in .mov and FFV1 in .mkv keep it)")
    if source.bits != target.bits:
        changes.append(f"{source.bits} bits become {target.bits}")
    if changes:
        return [f"{codec} cannot hold {planar}: {', '.join(changes)}"]
    if (source.shift_x, source.shift_y) == (target.shift_x, target.shift_y):
        return []
    return [f"{codec} cannot hold {planar} at this size: chroma is stored at another resolution"]


def _options(
    name: str, encoder: str, info: VideoInfo, config: VideoConfig
) -> tuple[dict[str, str], list[str]]:
    """Return (encoder options, warnings about HDR metadata that is lost)."""
    warnings = []
    if info.hdr.dynamic:
        warnings.append(f"dynamic HDR metadata ({info.hdr.dynamic}) is not kept")
    static = bool(info.hdr.mastering_display or info.hdr.max_cll)
    if static and name != "hevc":
        warnings.append(f"{name} does not carry the HDR10 metadata of the input; hevc does")
    if encoder == "prores_ks":
        return {"profile": _prores_profile(info), "vendor": "apl0"}, warnings
    if encoder == "ffv1":
        # The number of slices is FFmpeg's choice: a fixed one fails at many odd sizes.
        return {"level": "3", "slicecrc": "1"}, warnings
    options = {"crf": str(config.crf), "preset": config.speed}
    if name == "hevc":
        parameters = ["log-level=none"]
        if info.hdr.mastering_display:
            parameters.append(f"master-display={info.hdr.mastering_display}")
        if info.hdr.max_cll:
            parameters.append(f"max-cll={info.hdr.max_cll}")
        if static:
            parameters.append("repeat-headers=1")
        options["x265-params"] = ":".join(parameters)
    return options, warnings


def _prores_profile(info: VideoInfo) -> str:
    layout = plane_layout(planar_format(info.pixel_format))
    rich = layout.alpha or layout.family == "rgb" or (layout.shift_x, layout.shift_y) == (0, 0)
    return "4444" if rich and layout.family != "gray" else "hq"
