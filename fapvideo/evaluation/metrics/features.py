"""Features: what a facial part looks like, as a vector that is comparable by cosine.

A part is laid out flat: every pixel of a small window in the canonical face reads the picture where
the face mesh has that point, so place, pose and expression do not count. The window is made grey
and brought to mean 0 and standard deviation 1 under a soft mask, so light does not count. The
vector is made of

- texture: activations of MobileNetV2's block 3 (24 channels), averaged over a 4 x 4 grid, which
  keeps the layout;
- shape: the part's landmarks in the head frame, with a weight of one half;

each projected on its principal components over faces, divided by (standard deviation) ** 0.75.
The choice was made by validation (docs/evaluation.md, `benchmarks/validate_metrics.py`), which also
fits means and components, on photos that take no part in the validation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Self

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from fapvideo.errors import WeightsError
from fapvideo.guide.warp import triangle_map
from fapvideo.nets.mobilenet import MobileNetV2Tokens
from fapvideo.ops import mesh
from fapvideo.ops.image import luma, signed_distance, soft_edge
from fapvideo.ops.pose import head_pose
from fapvideo.parts import PARTS
from fapvideo.structs import Array, Floats
from fapvideo.weights.embedded import embedded_tower
from fapvideo.weights.state import read_tensors

SIDE = 48
"""Side of a window, pixels."""
GRID, BLOCK = 4, 3
"""Cells per side, and the block of the tower whose activations count."""
GROWN, FEATHER = 0.05, 0.10
"""Growth and softness of the masks, inter-ocular distances: they end inside what a swap replaces by
default (`[mask]`), so that what it leaves does not count as the source's part."""
CLIPPED = 4.0
"""Standard deviations beyond which light does not count."""
FLAT = 1.0
"""Added to the standard deviation (0..255 scale), so that noise in a flat window stays small."""
BASIS = Path(__file__).parent / "data" / "part_basis.safetensors"

Picture = tuple[Array, Floats]
"""A picture, uint8 or float in [0, 1], [H, W, 3] RGB, and its landmarks [478, 3]."""


MEASURED = tuple(name for name, part in PARTS.items() if part.windows)
"""Parts whose likeness is measured."""


@dataclass(frozen=True, slots=True)
class Layout:
    """How one window reads a picture."""

    corners: NDArray[np.int64]
    """[SIDE, SIDE, 3] landmarks around every pixel."""
    shares: Floats
    """[SIDE, SIDE, 3] how much of each."""
    mask: Floats
    """[SIDE, SIDE] soft mask of the part."""


@dataclass(frozen=True, slots=True)
class Basis:
    """Means and scaled principal components of one part."""

    mean: Floats
    """[D] of the texture of a window."""
    components: Floats
    """[D, K]."""
    shape_mean: Floats
    """[N * 3]."""
    shape_components: Floats
    """[N * 3, L]."""


@cache
def layout(part: str, index: int) -> Layout:
    """Return how window `index` of `part` reads a picture."""
    window = PARTS[part].windows[index]
    scale = SIDE / window.side
    points = mesh.canonical() * np.float32(scale)
    points[:, :2] += SIDE / 2 - scale * np.array(window.centre, np.float32)
    ids = triangle_map(points, SIDE)
    corners = mesh.triangles()[np.maximum(ids, 0)]
    a, b, c = (points[corners[..., k], :2].astype(np.float64) for k in range(3))
    axis = np.arange(SIDE) + 0.5
    pixel = np.stack(np.meshgrid(axis, axis), axis=-1)
    whole = _cross(b - a, c - a)
    second, third = _cross(pixel - a, c - a) / whole, _cross(b - a, pixel - a) / whole
    shares = np.stack([1 - second - third, second, third], axis=-1).astype(np.float32)
    polygons = [points[list(ring), :2] for ring in mesh.outlines(part)]
    own = PARTS[part].grow
    grown = GROWN if own is None else own
    mask = soft_edge(signed_distance(polygons, SIDE), grown * scale, FEATHER * scale)
    mask = np.where(ids >= 0, mask, 0).astype(np.float32)
    step = -1 if window.mirrored else 1
    return Layout(corners[:, ::step], shares[:, ::step], np.ascontiguousarray(mask[:, ::step]))


def _cross(a: Array, b: Array) -> Array:
    return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]


def part_window(picture: Array, landmarks: Floats, part: str, index: int) -> Floats:
    """Return [SIDE, SIDE] float32: one window of a part, flat, grey, light-normalised, masked.

    `picture` is [H, W, 3], 0..255, with `landmarks` [478, 2 or 3]; `part` is one of `MEASURED`.
    """
    plan = layout(part, index)
    where = (landmarks[plan.corners, :2] * plan.shares[..., None]).sum(axis=2) - 0.5
    flat = cv2.remap(
        picture, where.astype(np.float32), None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    grey = luma(flat.astype(np.float32))
    weight = plan.mask / plan.mask.sum()
    grey = grey - (weight * grey).sum()
    spread = float(np.sqrt((weight * grey**2).sum()))
    return np.clip(grey / (spread + FLAT), -CLIPPED, CLIPPED) * plan.mask


def part_shape(landmarks: Floats, part: str) -> Floats:
    """Return [N * 3] the part's landmarks in the head frame."""
    points = [i for ring in PARTS[part].outline + PARTS[part].inner for i in ring]
    return head_pose(landmarks).to_head(landmarks)[points].reshape(-1)


@torch.no_grad()
def textures(
    tower: MobileNetV2Tokens, pictures: Sequence[Picture], parts: Sequence[str]
) -> dict[str, Floats]:
    """Return part -> [N, windows, D] averaged activations; one pass for everything."""
    ready = [_comparable(picture, landmarks) for picture, landmarks in pictures]
    windows = [
        part_window(picture, landmarks, part, index)
        for part in parts
        for picture, landmarks in ready
        for index in range(len(PARTS[part].windows))
    ]
    if not windows:
        return {}
    grey = torch.from_numpy(np.stack(windows).astype(np.float32))[:, None]
    hidden: Tensor = grey.expand(-1, 3, -1, -1).contiguous(memory_format=torch.channels_last)
    for index, block in enumerate(tower.features):
        hidden = block(hidden)
        if index == BLOCK:
            break
    rows = functional.adaptive_avg_pool2d(hidden, GRID).flatten(1).numpy()
    out, start = {}, 0
    for part in parts:
        shape = (len(pictures), len(PARTS[part].windows))
        out[part] = rows[start : start + shape[0] * shape[1]].reshape(*shape, -1)
        start += shape[0] * shape[1]
    return out


def _comparable(picture: Array, landmarks: Floats) -> Picture:
    """Bring a picture to 0..255 and, where it is far finer than a window, to about its size."""
    if picture.dtype != np.uint8:
        picture = np.asarray(picture, np.float32) * np.float32(255)
    finer = mesh.interocular(landmarks) / SIDE
    if finer >= 2:
        factor = 2 ** int(np.log2(finer))
        size = (max(1, picture.shape[1] // factor), max(1, picture.shape[0] // factor))
        scale = np.array([size[0] / picture.shape[1], size[1] / picture.shape[0]], np.float32)
        picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
        landmarks = landmarks[:, :2] * scale
    return picture, landmarks


class PartFeatures:
    """Feature vectors of facial parts."""

    def __init__(self, tower: MobileNetV2Tokens, basis: Mapping[str, Basis]) -> None:
        """Prepare; `tower` is frozen and float32, `basis` holds what can be asked for."""
        self.tower, self._basis = tower, basis

    @classmethod
    def packaged(cls) -> Self:
        """Load tower and basis that come with the package.

        Raises:
            WeightsError: a file is missing or damaged.
        """
        return cls(embedded_tower(), read_basis(BASIS))

    @property
    def parts(self) -> tuple[str, ...]:
        """Parts that have a basis."""
        return tuple(self._basis)

    def texture_size(self, part: str) -> int:
        """Return how many of a vector's first numbers are texture; the others are shape."""
        return len(PARTS[part].windows) * self._basis[part].components.shape[1]

    def __call__(self, pictures: Sequence[Picture], parts: Sequence[str]) -> dict[str, Floats]:
        """Return part -> [N, F] vectors of length 1; parts without a basis are left out."""
        rows = textures(self.tower, pictures, [part for part in parts if part in self._basis])
        return {part: self._vectors(part, given, pictures) for part, given in rows.items()}

    def embed(self, picture: Array, landmarks: Floats, part: str) -> Floats:
        """Return [F] the vector of one part of one picture."""
        return self([(picture, landmarks)], [part])[part][0]

    def _vectors(self, part: str, rows: Floats, pictures: Sequence[Picture]) -> Floats:
        """Project textures [N, W, D] and shapes, and join them."""
        basis = self._basis[part]
        texture = ((rows - basis.mean) @ basis.components).reshape(len(rows), -1)
        shapes = np.stack([part_shape(landmarks, part) for _, landmarks in pictures])
        shape = (shapes - basis.shape_mean) @ basis.shape_components
        vectors = np.concatenate([texture, shape], axis=1)
        return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)


def read_basis(path: Path) -> dict[str, Basis]:
    """Read what `benchmarks/validate_metrics.py --fit` wrote.

    Raises:
        WeightsError: missing, damaged or incomplete.
    """
    tensors = {key: value.float().numpy() for key, value in read_tensors(path).items()}
    parts = [part for part in MEASURED if f"{part}.mean" in tensors]
    try:
        return {
            part: Basis(**{field.name: tensors[f"{part}.{field.name}"] for field in fields(Basis)})
            for part in parts
        }
    except KeyError as error:
        raise WeightsError(f"{path}: {error.args[0]} is missing") from None
