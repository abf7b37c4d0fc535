"""Names for the colours of layers: R'G'B' of the source, in full range, as it encodes them.

Codes are those of ITU-T H.273; tags that a source leaves out are guessed as players do.
"""

from __future__ import annotations

from dataclasses import replace

from fapvideo.ops.yuv import RGB_IDENTITY, UNSPECIFIED, resolve_matrix
from fapvideo.structs import ColorTags, VideoInfo

_BT709, _BT470BG, _BT601, _BT2020, _P3D65 = 1, 5, 6, 9, 12
_SRGB, _PQ, _HLG = 13, 16, 18
_SDR_VIDEO = (1, 4, 5, 6, 14, 15)
"""Transfer characteristics of cameras, which displays show by BT.1886."""

_INTEROP = {
    (_BT709, _SRGB): "srgb_rec709_display",
    (_P3D65, _SRGB): "srgb_p3d65_display",
    (_P3D65, _PQ): "pq_p3d65_display",
    (_BT2020, _PQ): "pq_rec2020_display",
    (_BT2020, _HLG): "hlg_rec2020_display",
    **{(_BT709, transfer): "g24_rec709_display" for transfer in _SDR_VIDEO},
}
"""(primaries, transfer) -> the Color Interop Forum's identifier, as OpenEXR's `colorInteropID`."""

_D65 = (0.3127, 0.3290)
_CHROMATICITIES = {
    _BT709: (0.640, 0.330, 0.300, 0.600, 0.150, 0.060, *_D65),
    _BT470BG: (0.640, 0.330, 0.290, 0.600, 0.150, 0.060, *_D65),
    _BT601: (0.630, 0.340, 0.310, 0.595, 0.155, 0.070, *_D65),
    7: (0.630, 0.340, 0.310, 0.595, 0.155, 0.070, *_D65),
    _BT2020: (0.708, 0.292, 0.170, 0.797, 0.131, 0.046, *_D65),
    _P3D65: (0.680, 0.320, 0.265, 0.690, 0.150, 0.060, *_D65),
}
"""Primaries -> x, y of red, green, blue and white (H.273 table 2)."""


def layer_colours(info: VideoInfo) -> ColorTags:
    """Return what the images of a clip's layers hold: R'G'B', full range, nothing unspecified."""
    matrix = resolve_matrix(info.color.matrix, info.width, info.height)
    guess = _BT709 if matrix == _BT709 else (_BT2020 if matrix in (9, 10) else matrix)
    given = info.color
    primaries = given.primaries if given.primaries != UNSPECIFIED else _primaries(guess)
    transfer = given.transfer
    if transfer == UNSPECIFIED:
        rgb = given.matrix == RGB_IDENTITY
        transfer = _SRGB if rgb else (14 if primaries == _BT2020 else _BT709)
    return ColorTags(RGB_IDENTITY, primaries, transfer, full_range=True)


def movie_colours(info: VideoInfo) -> ColorTags:
    """Return what `swap.mov` holds: luma and chroma of the source's matrix, limited range."""
    matrix = resolve_matrix(info.color.matrix, info.width, info.height)
    return replace(info.color, matrix=matrix, full_range=False)


def interop_id(colours: ColorTags) -> str:
    """Return the Color Interop Forum's identifier, or `unknown`."""
    return _INTEROP.get((colours.primaries, colours.transfer), "unknown")


def chromaticities(colours: ColorTags) -> tuple[float, ...] | None:
    """Return x, y of red, green, blue and white, where they are known."""
    return _CHROMATICITIES.get(colours.primaries)


def in_words(colours: ColorTags) -> str:
    """Return what a header says of them."""
    known = {1: "BT.709", 5: "BT.601-625", 6: "BT.601-525", 9: "BT.2020", 12: "P3-D65"}
    primaries = known.get(colours.primaries, f"H.273 primaries {colours.primaries}")
    curves = {13: "sRGB", 16: "PQ (ST 2084)", 18: "HLG", **dict.fromkeys((1, 6, 14, 15), "BT.709")}
    transfer = curves.get(colours.transfer, f"H.273 transfer {colours.transfer}")
    return f"R'G'B', primaries {primaries}, transfer {transfer}, full range, not linear"


def _primaries(matrix: int) -> int:
    return matrix if matrix in _CHROMATICITIES else _BT601
