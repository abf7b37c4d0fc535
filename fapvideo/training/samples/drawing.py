"""Drawing surfaces under a light, larger than needed, and reducing them to a crop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from fapvideo.ops import mesh
from fapvideo.ops.image import blur, luma, resize
from fapvideo.structs import Floats

FINER = 3
"""Things are drawn this much larger."""
CHEEKS = (50, 280, 205, 425, 101, 330)


@dataclass(frozen=True, slots=True)
class Thing:
    """Something in front of a face, in the crop's pixels."""

    colour: Floats
    """[S, S, 3] RGB in [0, 1]."""
    alpha: Floats
    """[S, S] in [0, 1]."""
    shadow: Floats
    """[S, S] in [0, 1]: how much the face beneath is darkened."""

    def over(self, image: Floats) -> Floats:
        """Return `image` [S, S, 3] with the thing in front."""
        shaded = image * (1.0 - self.shadow[..., None]) ** (1.0, 1.12, 1.2)  # skin's shadow is red
        mixed = shaded + self.alpha[..., None] * (self.colour - shaded)
        return np.clip(mixed, 0.0, 1.0).astype(np.float32)


@dataclass(frozen=True, slots=True)
class Scene:
    """The face that something is drawn for, enlarged by `FINER`."""

    points: Floats
    """[478, 3] landmarks."""
    size: int
    unit: float
    """Inter-ocular distance, pixels."""
    skin: Floats
    """[3] colour of the cheeks."""
    hair: Floats
    """[3] colour above the forehead."""
    light: Floats
    """[3] unit vector to the light; z towards the viewer."""


def scene_of(rng: np.random.Generator, image: Floats, points: Floats) -> Scene:
    """Return what drawing needs to know of a crop [S, S, 3] with landmarks [478, 3]."""
    size = image.shape[0]
    smooth = blur(image, size / 48)
    at = np.clip(points[list(CHEEKS), :2].astype(np.int64), 0, size - 1)
    cheeks = smooth[at[:, 1], at[:, 0]]
    top = np.clip(points[mesh.FOREHEAD, :2] - [0, 0.12 * size], 0, size - 1).astype(np.int64)
    # The brighter cheek tells the side the light is on.
    side = float(luma(cheeks[1::2]).mean() - luma(cheeks[::2]).mean())
    left = np.clip(4 * side, -0.8, 0.8) + rng.normal(0, 0.15)
    light = np.array([left, -rng.uniform(0.2, 0.7), 1])
    return Scene(
        points * FINER,
        size * FINER,
        mesh.interocular(points) * FINER,
        np.median(cheeks, axis=0),
        smooth[top[1], top[0]],
        light / np.linalg.norm(light),
    )


# ------------------------------------------------------------------------------- shapes and light


def turned(direction: Floats, angle: float) -> Floats:
    """Return `direction` [2], turned by `angle` radians."""
    cos, sin = np.cos(angle), np.sin(angle)
    return np.array([[cos, -sin], [sin, cos]]) @ direction


def grid(size: int) -> Any:
    """Return x and y [size, size] of the pixels' middles."""
    axis = np.arange(size, dtype=np.float32) + 0.5
    return np.meshgrid(axis, axis)


def tube(size: int, axis: Sequence[Floats], start: float, stop: float) -> Floats:
    """Return [size, size] the height of a round, tapering tube along a line; 0 beside."""
    x, y = grid(size)
    height = np.zeros((size, size), np.float32)
    pieces = len(axis) - 1
    for number in range(pieces):
        a, b = axis[number], axis[number + 1]
        step = b - a
        along = ((x - a[0]) * step[0] + (y - a[1]) * step[1]) / max(float(step @ step), 1e-6)
        along = np.clip(along, 0, 1)
        radius = start + (stop - start) * (number + along) / pieces
        squared = (x - a[0] - along * step[0]) ** 2 + (y - a[1] - along * step[1]) ** 2
        height = np.maximum(height, np.sqrt(np.maximum(radius**2 - squared, 0)))
    return height


def covered(height: Floats) -> Floats:
    """Return 1 where a surface has height, else 0."""
    return (height > 0).astype(np.float32)


def lit(height: Floats, scene: Scene, ambient: float) -> Floats:
    """Return the brightness of a surface under the scene's light, about 1 where it faces it."""
    smooth = blur(height, 0.01 * scene.unit)
    down, right = np.gradient(smooth)
    length = np.sqrt(right**2 + down**2 + 1.0)
    facing = (-right * scene.light[0] - down * scene.light[1] + scene.light[2]) / length
    return (ambient + (1.0 - ambient) * np.clip(facing, 0.0, 1.0)).astype(np.float32)


def spark(height: Floats, scene: Scene) -> Floats:
    """Return the mirror image of the light on a smooth surface."""
    return np.clip((lit(height, scene, 0.0) - 0.93) / 0.07, 0.0, 1.0) * (height > 0)


# --------------------------------------------------------------------------------------- drawing


def pixel(point: Floats) -> tuple[int, int]:
    """Return the pixel at `point` [2], as OpenCV takes it."""
    return round(float(point[0])), round(float(point[1]))


def stroke(size: int, line: Floats, thick: float, *, closed: bool = False) -> Floats:
    """Return [size, size] a line [N, 2] of `thick` pixels."""
    mask = np.zeros((size, size), np.uint8)
    points = [np.round(line * 16).astype(np.int32)]
    cv2.polylines(mask, points, closed, 255, max(1, round(thick)), cv2.LINE_AA, 4)
    return mask.astype(np.float32) / 255


def filled(size: int, line: Floats) -> Floats:
    """Return [size, size] 1 inside a closed line [N, 2], smooth at its edge."""
    mask = np.zeros((size, size), np.uint8)
    cv2.fillPoly(mask, [np.round(line * 16).astype(np.int32)], 255, cv2.LINE_AA, 4)
    return mask.astype(np.float32) / 255


def mottle(rng: np.random.Generator, size: int, coarse: float, fine: float) -> Floats:
    """Return [size, size, 1] texture: broad patches and grain of these deviations."""
    patches = rng.normal(0, coarse, (size // 24, size // 24)).astype(np.float32)
    grain = blur(rng.normal(0, 1, (size, size)).astype(np.float32), 1.2)
    broad = cv2.resize(patches, (size, size), interpolation=cv2.INTER_CUBIC)
    return (broad + grain * (fine / max(float(grain.std()), 1e-6)))[..., None]


def exposed(scene: Scene, srgb: Sequence[int]) -> Floats:
    """Return a colour as it looks in the light the face is in."""
    return np.array(srgb, np.float32) / 255 * float(np.clip(luma(scene.skin) / 0.6, 0.5, 1.25))


def reduced(
    rng: np.random.Generator, scene: Scene, colour: Floats, alpha: Floats, shadow: float
) -> Thing:
    """Return what was drawn at the crop's size, as soft as a photo is."""
    size = scene.size // FINER
    soft = rng.uniform(0.35, 0.75) * scene.size / 128
    weighted = blur(np.clip(colour, 0, 1).astype(np.float32) * alpha[..., None], soft)
    alpha = np.clip(blur(alpha.astype(np.float32), soft), 0, 1)
    small = resize(alpha, size)
    pure = resize(weighted, size) / np.maximum(small, 1e-4)[..., None]
    offset = -scene.light[:2] * 0.06 * scene.unit / FINER
    move = np.array([[1, 0, offset[0]], [0, 1, offset[1]]], np.float64)
    fall = cv2.warpAffine(small, move, (size, size), borderMode=cv2.BORDER_REPLICATE)
    return Thing(np.clip(pure, 0, 1), small, shadow * blur(fall, 0.06 * scene.unit / FINER))
