"""Features: what a facial part looks like as a vector, comparable by cosine; tokens of a face.

A part is cut out by its own landmarks, made grey and brought to mean 0 and standard deviation 1
inside a soft mask of fixed shape, so that place, size, turn in the plane and light do not count.
Its vector is the activations of two early blocks of MobileNetV2, averaged over a 4 x 4 grid (which
keeps the layout), centred by the mean over faces and half whitened: projected on the principal
components, each divided by the square root of its standard deviation. The choice was made by
validation: docs/evaluation.md and `benchmarks/validate_metrics.py`, which also fits mean and
components, on photos that the validation never sees.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Self

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from fapvideo.errors import WeightsError
from fapvideo.nets.mobilenet import MobileNetV2Tokens
from fapvideo.ops import mesh
from fapvideo.ops.geometry import similarity_matrix, warp
from fapvideo.ops.image import luma, signed_distance, soft_edge
from fapvideo.structs import Array, Floats
from fapvideo.weights.bundle import EMBEDDED
from fapvideo.weights.state import load_into, read_tensors

SIDE = 64
"""Side of the square pictures of parts, pixels."""
GRID = 4
TAPS = (3, 6)
"""Blocks of the tower whose activations count: 24 and 32 channels, stride 4 and 8."""
GROWN, FEATHER = 0.08, 0.12
"""Growth and softness of the masks, inter-ocular distances."""
CLIPPED = 4.0
"""Standard deviations beyond which light does not count."""
BASIS = Path(__file__).parent / "data" / "part_basis.safetensors"


@dataclass(frozen=True, slots=True)
class Window:
    """Where a part is cut out, in the canonical face (inter-ocular distance 1)."""

    centre: tuple[float, float]
    side: float
    anchors: tuple[int, ...]
    """Landmarks by which it is aligned."""
    mirrored: bool = False
    """Whether it is shown mirrored, so that right eyes look like left ones."""


EYE_CORNERS = (33, 133, 263, 362)
WINDOWS: Mapping[str, tuple[Window, ...]] = {
    "eyes": (
        Window((-0.5, 0.0), 1.0, EYE_CORNERS, mirrored=True),
        Window((0.5, 0.0), 1.0, EYE_CORNERS),
    ),
    "brows": (
        Window((-0.5, -0.33), 1.0, mesh.RIGHT_BROW + mesh.LEFT_BROW, mirrored=True),
        Window((0.5, -0.33), 1.0, mesh.RIGHT_BROW + mesh.LEFT_BROW),
    ),
    "nose": (Window((0.0, 0.42), 1.15, mesh.NOSE),),
    "mouth": (Window((0.0, 0.98), 1.2, mesh.LIPS_OUTER),),
}
PARTS = tuple(WINDOWS)
"""Parts that have features."""

Picture = tuple[Array, Floats]
"""A picture, uint8 [H, W, 3] or float [H, W, 3] in [0, 1], and its landmarks [478, 2 or 3]."""


@cache
def window_mask(part: str, index: int) -> Floats:
    """Return [SIDE, SIDE] the soft mask of a part in one of its windows."""
    window = WINDOWS[part][index]
    scale = SIDE / window.side
    polygons = [
        (mesh.canonical()[list(ring), :2] - window.centre) * scale + SIDE / 2
        for ring in mesh.outlines(part)
    ]
    mask = soft_edge(signed_distance(polygons, SIDE), GROWN * scale, FEATHER * scale)
    mask = mask[:, ::-1] if window.mirrored else mask
    return np.ascontiguousarray(mask, np.float32)


def part_picture(picture: Array, landmarks: Floats, part: str, index: int) -> Floats:
    """Return [SIDE, SIDE] float32: one window of a part, grey, light-normalised, masked.

    Args:
        picture: uint8 or float32 [H, W, 3].
        landmarks: [478, 2 or 3] in it.
        part: one of `PARTS`.
        index: which of its windows.
    """
    window = WINDOWS[part][index]
    chosen = list(window.anchors)
    matrix = similarity_matrix(landmarks[chosen, :2], mesh.canonical()[chosen, :2])
    scale = SIDE / window.side
    matrix = matrix * scale
    matrix[:, 2] += SIDE / 2 - scale * np.array(window.centre)
    if window.mirrored:
        matrix = np.array([[-1.0, 1.0], [1.0, 1.0]])[:, :1] * matrix
        matrix[0, 2] += SIDE
    grey = luma(warp(picture, matrix, (SIDE, SIDE)).astype(np.float32))
    mask = window_mask(part, index)
    weight = mask / mask.sum()
    mean = float((weight * grey).sum())
    spread = float(np.sqrt((weight * (grey - mean) ** 2).sum()))
    level = 255.0 if picture.dtype == np.uint8 else 1.0
    normal = (grey - mean) / (spread + 0.004 * level)
    return np.clip(normal, -CLIPPED, CLIPPED) * mask


class PartFeatures:
    """Feature vectors of facial parts."""

    def __init__(
        self, tower: MobileNetV2Tokens, basis: Mapping[str, tuple[Floats, Floats]]
    ) -> None:
        """Prepare.

        Args:
            tower: the image tower, frozen, float32.
            basis: part -> (mean [D], components [D, K]) of what `activations` returns.
        """
        self.tower, self._basis = tower, basis

    @classmethod
    def packaged(cls) -> Self:
        """Load tower and basis that come with the package.

        Raises:
            WeightsError: a file is missing or damaged.
        """
        return cls(packaged_tower(), read_basis(BASIS))

    @property
    def parts(self) -> tuple[str, ...]:
        """Parts that have a basis."""
        return tuple(self._basis)

    def __call__(self, pictures: Sequence[Picture], parts: Sequence[str]) -> dict[str, Floats]:
        """Return part -> [N, F] vectors of length 1, one per picture; one pass for all of them."""
        known = [part for part in parts if part in self._basis]
        rows = activations(self.tower, pictures, known)
        return {part: self._project(part, rows[part]) for part in known}

    def embed(self, picture: Array, landmarks: Floats, part: str) -> Floats:
        """Return [F] the vector of one part of one picture."""
        return self([(picture, landmarks)], [part])[part][0]

    def _project(self, part: str, rows: Floats) -> Floats:
        """Map activations [N, W, D] to [N, F]; the vectors of windows are joined."""
        mean, components = self._basis[part]
        vectors = ((rows - mean) @ components).reshape(len(rows), -1)
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        return (vectors / np.maximum(lengths, 1e-9)).astype(np.float32)


@torch.no_grad()
def activations(
    tower: MobileNetV2Tokens, pictures: Sequence[Picture], parts: Sequence[str]
) -> dict[str, Floats]:
    """Return part -> [N, windows, D] averaged activations of the tower's blocks `TAPS`."""
    squares = [
        part_picture(picture, landmarks, part, index)
        for part in parts
        for picture, landmarks in pictures
        for index in range(len(WINDOWS[part]))
    ]
    if not squares:
        return {part: np.zeros((0, len(WINDOWS[part]), 0), np.float32) for part in parts}
    grey = torch.from_numpy(np.stack(squares))[:, None]
    hidden: Tensor = grey.expand(-1, 3, -1, -1).contiguous(memory_format=torch.channels_last)
    pooled = []
    for index, block in enumerate(tower.features):
        hidden = block(hidden)
        if index in TAPS:
            small = functional.adaptive_avg_pool2d(hidden, GRID).flatten(1)
            pooled.append(small / small.shape[1] ** 0.5)
        if index == TAPS[-1]:
            break
    rows = torch.cat(pooled, dim=1).numpy()
    out, start = {}, 0
    for part in parts:
        count = len(pictures) * len(WINDOWS[part])
        out[part] = rows[start : start + count].reshape(len(pictures), len(WINDOWS[part]), -1)
        start += count
    return out


def packaged_tower() -> MobileNetV2Tokens:
    """Return the image tower of the embedded bundle, float32, on the CPU.

    Raises:
        WeightsError: its file is missing or damaged.
    """
    path = EMBEDDED / "encoder.safetensors"
    with torch.random.fork_rng(devices=[]):
        tower = MobileNetV2Tokens()
    load_into(tower, read_tensors(path), "the image encoder", path)
    tower.to(torch.float32, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return tower


def read_basis(path: Path) -> dict[str, tuple[Floats, Floats]]:
    """Read the means and components that `benchmarks/validate_metrics.py --fit` wrote.

    Raises:
        WeightsError: missing, damaged, or it holds no pair of tensors for a part.
    """
    tensors = read_tensors(path)
    try:
        return {
            part: (
                tensors[f"{part}.mean"].float().numpy(),
                tensors[f"{part}.components"].float().numpy(),
            )
            for part in PARTS
            if f"{part}.mean" in tensors
        }
    except KeyError as error:
        raise WeightsError(f"{path}: {error.args[0]} is missing") from None
