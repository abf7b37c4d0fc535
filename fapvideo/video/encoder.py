"""Which encoder, which pixel format and which options suit a video, a container and a preset."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import av

from fapvideo.config.schema import VideoConfig
from fapvideo.errors import VideoWriteError
from fapvideo.ops.yuv import PlaneLayout, plane_layout, resolve_matrix
from fapvideo.structs import ColorTags, FieldOrder, VideoInfo
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
_COMPATIBLE = "yuv420p"
_FRAME_PACKING = {"left_right": 3, "top_bottom": 4}
"""`VideoInfo.stereo` -> x264's number of the arrangement, written into the pictures."""
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
    field_order: FieldOrder = "progressive"
    warnings: tuple[str, ...] = ()


def choose_encoding(info: VideoInfo, config: VideoConfig, suffix: str) -> Encoding:
    """Choose encoder, pixel format and options; every loss is named in `warnings`.

    `auto` is H.264 for 8 bits and for fields, H.265 for more bits or HDR; a video with transparency
    becomes ProRes in `.mov` and FFV1 in `.mkv`, because the other two drop it. With
    `config.compatible` it is H.264 in 8-bit 4:2:0.

    Raises:
        VideoWriteError: the container cannot hold the codec, or the codec not the pictures.
    """
    planar = planar_format(info.pixel_format)
    layout = plane_layout(planar)
    fields: FieldOrder = "progressive" if config.deinterlace else info.field_order
    name: str = config.codec
    if name == "auto":
        name = "h264" if config.compatible else _auto_codec(layout, info, suffix, fields)
    if name == "hevc" and fields != "progressive":
        raise VideoWriteError(
            f"{info.path} is interlaced, and x265 codes fields only as pictures of their own",
            hint='set video.deinterlace = true, or video.codec = "h264", "prores" or "ffv1"',
        )
    if name not in _CODECS_IN[suffix]:
        homes = " or ".join(s for s, codecs in _CODECS_IN.items() if name in codecs)
        raise VideoWriteError(
            f"{name} cannot be stored in {suffix}", hint=f"name the output {homes}"
        )
    rgb = name == "h264" and layout.family == "rgb" and not config.compatible
    encoder = "libx264rgb" if rgb else ENCODERS[name]
    supported = _supported(encoder, info)
    if config.compatible:
        supported = _only_compatible(supported, name, info)
    chosen = nearest_format(planar, supported)
    because = "video.compatible is set" if config.compatible else f"{name} cannot hold {planar}"
    warnings = _losses(layout, plane_layout(planar_format(chosen)), because)
    if not config.compatible:
        warnings += _players(name, chosen)
    if fields != "progressive" and plane_layout(planar_format(chosen)).shift_y != layout.shift_y:
        warnings.append("the colour lines of the two fields are mixed: chroma is resampled")
    color = info.color
    if config.compatible and layout.family == "gray":
        color = replace(color, full_range=False)
    if layout.family == "rgb" and plane_layout(planar_format(chosen)).family != "rgb":
        matrix = resolve_matrix(color.matrix, info.width, info.height)
        color = replace(color, matrix=matrix, full_range=False)
    options, hdr_warnings = _options(name, suffix, info, config, fields)
    return Encoding(
        codec=encoder,
        pixel_format=chosen,
        color=color,
        options=options,
        codec_tag="hvc1" if name == "hevc" and suffix != ".mkv" else "",
        field_order=fields,
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
    layout: PlaneLayout, info: VideoInfo, suffix: str, fields: FieldOrder
) -> Literal["h264", "hevc", "prores", "ffv1"]:
    if layout.alpha and suffix != ".mp4":
        return "prores" if suffix == ".mov" else "ffv1"
    if fields != "progressive":
        return "h264"
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


def _only_compatible(supported: list[str], name: str, info: VideoInfo) -> list[str]:
    """Return 8-bit 4:2:0 alone.

    Raises:
        VideoWriteError: the encoder cannot write it, or not at this size.
    """
    if _COMPATIBLE in supported and name in ("h264", "hevc"):
        return [_COMPATIBLE]
    odd = info.width % 2 or info.height % 2
    what = f"of {info.width}x{info.height} (odd)" if odd else f"in {name}"
    raise VideoWriteError(
        f"video.compatible asks for 4:2:0, which a picture {what} cannot be stored in",
        hint="leave video.compatible out, or crop the video to even numbers"
        if odd
        else 'set video.codec = "h264"',
    )


def _players(name: str, chosen: str) -> list[str]:
    """Say where many players will not show the output: H.264 beyond 8-bit 4:2:0, H.265 beyond it.

    Browsers, phones and hardware decoders implement the profiles High and Main 10, not High 10,
    High 4:2:2, High 4:4:4 Predictive and the range extensions.
    """
    common = {"h264": (_COMPATIBLE,), "hevc": (_COMPATIBLE, "yuv420p10le")}
    if name not in common or chosen in common[name]:
        return []
    return [
        f"{name} with {chosen} pictures is refused by many players; "
        "video.compatible = true writes 8-bit 4:2:0"
    ]


def _losses(source: PlaneLayout, target: PlaneLayout, because: str) -> list[str]:
    """Describe what changes between two layouts."""
    changes = []
    if source.family != target.family:
        changes.append(f"{source.family} becomes {target.family}")
    if source.alpha and not target.alpha:
        changes.append("transparency is lost (ProRes in .mov and FFV1 in .mkv keep it)")
    if source.bits != target.bits:
        changes.append(f"{source.bits} bits become {target.bits}")
    if changes:
        return [f"{because}: {', '.join(changes)}"]
    if (source.shift_x, source.shift_y) == (target.shift_x, target.shift_y):
        return []
    return [f"{because}: chroma is stored at another resolution"]


def tells_hdr_itself(encoder: str, suffix: str) -> bool:
    """Tell whether static HDR10 metadata goes into the container, by `video.hdr_boxes`."""
    return encoder == ENCODERS["prores"] and suffix == ".mov"


def _options(
    name: str, suffix: str, info: VideoInfo, config: VideoConfig, fields: FieldOrder
) -> tuple[dict[str, str], list[str]]:
    """Return (encoder options, warnings about HDR metadata that is lost)."""
    warnings = []
    if info.hdr.dynamic:
        warnings.append(f"dynamic HDR metadata ({info.hdr.dynamic}) is not kept")
    static = bool(info.hdr.mastering_display or info.hdr.max_cll)
    if static and name != "hevc" and not tells_hdr_itself(ENCODERS[name], suffix):
        warnings.append(f"{name} does not carry the HDR10 metadata of the input; hevc does")
    if name == "prores":
        return {"profile": _prores_profile(info), "vendor": "apl0"}, warnings
    if name == "ffv1":
        # The number of slices is FFmpeg's choice: a fixed one fails at many odd sizes.
        return {"level": "3", "slicecrc": "1"}, warnings
    options = {"crf": str(config.crf), "preset": config.speed}
    if name == "h264":
        packing = _FRAME_PACKING.get(info.stereo)
        settings = [f"frame-packing={packing}"] if packing else []
        settings += [f"{fields}=1"] if fields != "progressive" else []
        if settings:
            options["x264-params"] = ":".join(settings)
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
