"""Exact float conversion between the samples of planar pixel formats and RGB.

Matrices: ITU-T H.273 table 4 (`MatrixCoefficients`); quantisation: H.273 equations 20 to 31.
Everything is float32 with nominal ranges [0, 1] for R, G, B, luma and [-0.5, 0.5] for chroma;
nothing is clipped, so that samples outside the legal range survive a round trip.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

UNSPECIFIED = 2
RGB_IDENTITY = 0

_KR_KB = {
    1: (0.2126, 0.0722),  # BT.709
    4: (0.30, 0.11),  # FCC
    5: (0.299, 0.114),  # BT.601, 625 lines
    6: (0.299, 0.114),  # BT.601, 525 lines
    7: (0.212, 0.087),  # SMPTE 240M
    9: (0.2627, 0.0593),  # BT.2020, non-constant luminance
    10: (0.2627, 0.0593),  # BT.2020, constant luminance: near enough for patching a picture
}
_YCGCO = 8
_CHROMA_SHIFTS = {
    "420": (1, 1),
    "422": (1, 0),
    "444": (0, 0),
    "440": (0, 1),
    "411": (2, 0),
    "410": (2, 2),
}
_FORMAT = re.compile(
    r"(?:yuv(?P<yuva>a?)(?P<jpeg>j?)(?P<chroma>420|422|444|440|411|410)p"
    r"|gbr(?P<gbra>a?)p|(?P<gray>gray))(?P<bits>9|10|12|14|16)?(?:le)?"
)


@dataclass(frozen=True, slots=True)
class PlaneLayout:
    """What the planes of a planar pixel format hold."""

    family: Literal["yuv", "rgb", "gray"]
    """`yuv`: planes Y, U, V; `rgb`: planes G, B, R; `gray`: plane Y."""
    bits: int
    shift_x: int
    """log2 of the horizontal chroma subsampling factor."""
    shift_y: int
    """log2 of the vertical chroma subsampling factor."""
    alpha: bool
    """Whether a plane of transparency follows."""
    jpeg: bool = False
    """One of FFmpeg's `yuvj...` formats, which are full range by name."""

    @property
    def dtype(self) -> type[np.uint8] | type[np.uint16]:
        """Return the type of one sample."""
        return np.uint8 if self.bits == 8 else np.uint16

    @property
    def planes(self) -> int:
        """Return the number of planes."""
        return (1 if self.family == "gray" else 3) + self.alpha

    @property
    def colour_planes(self) -> int:
        """Return the number of planes without transparency."""
        return 1 if self.family == "gray" else 3

    def shifts(self, plane: int) -> tuple[int, int]:
        """Return (x, y) log2 subsampling of one plane."""
        chroma = self.family == "yuv" and plane in (1, 2)
        return (self.shift_x, self.shift_y) if chroma else (0, 0)

    def plane_shape(self, plane: int, width: int, height: int) -> tuple[int, int]:
        """Return (height, width) of one plane of a picture of `width` x `height`."""
        shift_x, shift_y = self.shifts(plane)
        return -(-height >> shift_y), -(-width >> shift_x)


@lru_cache(maxsize=64)
def plane_layout(pixel_format: str) -> PlaneLayout:
    """Return the layout of a planar FFmpeg format of 8 to 16 bits, little endian.

    Raises:
        ValueError: the format is packed, floating point, big endian or unknown.
    """
    match = _FORMAT.fullmatch(pixel_format)
    if match is None:
        raise ValueError(f"{pixel_format} is not a planar integer pixel format")
    bits = int(match["bits"] or 8)
    if match["chroma"]:
        shift_x, shift_y = _CHROMA_SHIFTS[match["chroma"]]
        return PlaneLayout("yuv", bits, shift_x, shift_y, bool(match["yuva"]), bool(match["jpeg"]))
    if match["gray"]:
        return PlaneLayout("gray", bits, 0, 0, alpha=False)
    return PlaneLayout("rgb", bits, 0, 0, bool(match["gbra"]))


def resolve_matrix(matrix: int, width: int, height: int) -> int:
    """Return an H.273 matrix that is never "unspecified", guessed from the size as players do.

    `width` and `height` are as coded. High definition is BT.709, anything smaller BT.601 (the
    rule of mpv's `mp_csp_guess_colorspace`). An unknown or RGB code is treated as unspecified.
    """
    if matrix in _KR_KB or matrix == _YCGCO:
        return matrix
    return 1 if width >= 1280 or height > 576 else 6


@lru_cache(maxsize=16)
def _matrices(matrix: int) -> tuple[Floats, Floats]:
    """Return ([3, 3] RGB -> Y Cb Cr, its inverse) for one H.273 code."""
    if matrix == _YCGCO:
        forward = np.array([[0.25, 0.5, 0.25], [-0.25, 0.5, -0.25], [0.5, 0.0, -0.5]])
    else:
        kr, kb = _KR_KB[matrix]
        luma = np.array([kr, 1.0 - kr - kb, kb])
        blue = (np.array([0.0, 0.0, 1.0]) - luma) / (2.0 * (1.0 - kb))
        red = (np.array([1.0, 0.0, 0.0]) - luma) / (2.0 * (1.0 - kr))
        forward = np.stack([luma, blue, red])
    return forward.astype(np.float32), np.linalg.inv(forward).astype(np.float32)


def yuv_to_rgb(yuv: Floats, matrix: int) -> Floats:
    """Convert [..., 3] luma and chroma to [..., 3] R, G, B; `matrix` is an H.273 code."""
    return yuv @ _matrices(matrix)[1].T


def rgb_to_yuv(rgb: Floats, matrix: int) -> Floats:
    """Convert [..., 3] R, G, B to [..., 3] luma and chroma; `matrix` is an H.273 code."""
    return rgb @ _matrices(matrix)[0].T


def dequantise(samples: NDArray[Any], bits: int, *, full_range: bool, chroma: bool) -> Floats:
    """Turn integer samples into nominal values: luma [0, 1], chroma [-0.5, 0.5]."""
    scale, offset = _quantiser(bits, full_range=full_range, chroma=chroma)
    return (samples.astype(np.float32) - np.float32(offset)) * np.float32(1.0 / scale)


def quantise(values: Floats, bits: int, *, full_range: bool, chroma: bool) -> Floats:
    """Turn nominal values into sample values, float32, neither rounded nor clipped."""
    scale, offset = _quantiser(bits, full_range=full_range, chroma=chroma)
    return values * np.float32(scale) + np.float32(offset)


def _quantiser(bits: int, *, full_range: bool, chroma: bool) -> tuple[float, float]:
    """Return (scale, offset) of one kind of sample."""
    if full_range:
        return float((1 << bits) - 1), float(1 << (bits - 1)) if chroma else 0.0
    step = 1 << (bits - 8)
    return (224.0 * step, 128.0 * step) if chroma else (219.0 * step, 16.0 * step)
