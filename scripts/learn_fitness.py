"""Learn the probes of `fapvideo/reference/models/fitness.safetensors`: what lies over a part.

python scripts/learn_fitness.py PHOTOS LABELS [--output FILE]

PHOTOS is a folder of portraits as for `scripts/learn_looks.py`; every tenth by sorted name is left
out, to measure on. LABELS is a JSON file, `{"glasses": [names], "beard": [names]}`. Discs and
polygons in any colour, the skin's included, or with a piece of another photo are drawn over the
parts; logistic regression then tells covered parts from others by features of the embedded
bundle's tower. What is shipped was learned on 200 photos of the 707 portraits of members of the US
Congress, with drawn hands, hair and microphones over a quarter of them, drawn glasses over a third
and fringes over the brows of 90 more; glasses and beards were labelled by eye.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import cv2
import numpy as np
import torch
from learn_looks import relit
from safetensors.numpy import save_file
from safetensors.torch import load_file
from scipy.optimize import minimize

from fapvideo.config.schema import ReferenceConfig
from fapvideo.errors import ReferenceImageError
from fapvideo.nets.mobilenet import MobileNetV2Tokens
from fapvideo.ops import mesh
from fapvideo.parts import PARTS
from fapvideo.reference.fitness import PROBED, SEEN, features, views_of
from fapvideo.reference.images import CROP_SIZE, align
from fapvideo.structs import Bytes, Floats
from fapvideo.track.finder import FaceFinder

PACKAGE = Path(__file__).resolve().parent.parent / "fapvideo"
OUTPUT = PACKAGE / "reference/models/fitness.safetensors"
FREE, COVERED = 0.02, 0.15
"""Shares of a part: what is less counts as free, more as covered; what is between is not used."""
SHRINK = 0.03

Rng = np.random.Generator


def shape(rng: Rng, centre: Floats, radius: float) -> Floats:
    """Return [SEEN, SEEN] an ellipse or a polygon, soft at its edge."""
    mask, wide = np.zeros((SEEN, SEEN), np.uint8), rng.uniform(0.6, 1.5)
    angles = np.sort(rng.uniform(0, 2 * np.pi, rng.integers(5, 40)))
    reach = radius * rng.uniform(0.8, 1.2, len(angles))
    points = np.stack([np.cos(angles) * wide * reach, np.sin(angles) / wide * reach], 1) + centre
    cv2.fillPoly(mask, [np.round(points).astype(np.int32)], 255, cv2.LINE_AA)
    return cv2.GaussianBlur(mask.astype(np.float32) / 255, (0, 0), rng.uniform(0.4, 1.5))


def stuff(rng: Rng, skin: Floats, other: Bytes) -> Floats:
    """Return [SEEN, SEEN, 3]: one colour, the skin's, or a piece of another photo, shaded."""
    plain = np.ones((SEEN, SEEN, 3), np.float32)
    turn = cv2.getRotationMatrix2D((SEEN / 2, SEEN / 2), rng.uniform(0, 360), rng.uniform(0.6, 1.6))
    piece = cv2.warpAffine(other, turn, (SEEN, SEEN), borderMode=cv2.BORDER_REFLECT) / 255
    base = (plain * rng.uniform(0, 1, 3), plain * skin * np.exp(rng.normal(0, 0.12)), piece)
    y, x = np.mgrid[0:SEEN, 0:SEEN] / SEEN - 0.5
    angle = rng.uniform(0, 2 * np.pi)
    shade = 1 + rng.uniform(0, 0.8) * (np.cos(angle) * x + np.sin(angle) * y)
    return np.clip(base[rng.integers(3)] * shade[..., None], 0, 1)


def covered(rng: Rng, crop: Bytes, points: Floats, other: Bytes) -> tuple[Bytes, Floats]:
    """Return the crop with something over one of its parts, and where, [SEEN, SEEN]."""
    rings = mesh.outlines(PROBED[rng.integers(len(PROBED))])
    gap = mesh.interocular(points)
    middle = points[list(rings[rng.integers(len(rings))]), :2].mean(axis=0)
    alpha = shape(rng, middle + rng.normal(0, 0.25, 2) * gap, rng.uniform(0.2, 0.8) * gap)
    x, y = np.clip(points[50, :2].astype(int), 0, SEEN - 1)
    colour = stuff(rng, crop[y, x] / 255, other)
    mixed = crop / 255 + alpha[..., None] * (colour - crop / 255)
    return (np.clip(mixed, 0, 1) * 255).astype(np.uint8), alpha


def shares(alpha: Floats, points: Floats, part: str) -> list[float]:
    """Return how much of each side of a part is covered."""
    found = []
    for ring in PARTS[part].outline:
        inside = np.zeros((SEEN, SEEN), np.uint8)
        cv2.fillPoly(inside, [np.round(points[list(ring), :2]).astype(np.int32)], 1)
        found.append(float((alpha * inside).sum() / max(int(inside.sum()), 1)))
    return found


def fit(rows: Floats, truth: Floats) -> tuple[Floats, Floats]:
    """Return weights [F] and bias [1] of a balanced logistic regression."""
    mean, spread = rows.mean(axis=0), rows.std(axis=0) + 0.05
    x = torch.tensor((rows - mean) / spread, dtype=torch.float32)
    y = torch.tensor(truth, dtype=torch.float32)
    share = float(y.mean())
    weight = torch.where(y > 0, 1.5 * (1 - share) / max(share, 1e-3), 1.0)

    def loss(values: Floats) -> tuple[float, Floats]:
        v = torch.tensor(values, dtype=torch.float32, requires_grad=True)
        entropy = torch.nn.functional.binary_cross_entropy_with_logits
        total = entropy(x @ v[:-1] + v[-1], y, weight=weight) + SHRINK * (v[:-1] ** 2).sum()
        total.backward()
        return total.item(), v.grad.numpy().astype(np.float64)

    start = np.zeros(rows.shape[1] + 1)
    found = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 150}).x
    weights = found[:-1] / spread
    return weights.astype(np.float32), np.array([found[-1] - weights @ mean], np.float32)


def main() -> None:
    """Read the photos, cover their parts, learn, write."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("photos", type=Path)
    parser.add_argument("labels", type=Path)
    parser.add_argument("--output", type=Path, default=OUTPUT)
    args = parser.parse_args()
    labels = json.loads(args.labels.read_text("utf-8"))
    tower = MobileNetV2Tokens()
    tower.load_state_dict(load_file(PACKAGE / "bundles/embedded/encoder.safetensors"), strict=False)
    rng, finder = np.random.default_rng(1), FaceFinder()
    config = ReferenceConfig(min_face_px=16, max_yaw_deg=60)
    rows: dict[str, list[Floats]] = {name: [] for name in (*PROBED, *labels)}
    truth: dict[str, list[float]] = {name: [] for name in rows}
    other = np.full((SEEN, SEEN, 3), 128, np.uint8)
    for path in (p for i, p in enumerate(sorted(args.photos.iterdir())) if i % 10):
        try:
            face = align(path, finder, config)
        except ReferenceImageError:
            continue
        crop = (cv2.resize(face.crop, (SEEN, SEEN), interpolation=cv2.INTER_AREA) * 255).astype(
            "u1"
        )
        points = face.landmarks * (SEEN / CROP_SIZE)
        free = np.zeros((SEEN, SEEN), np.float32)
        taken = [(crop, free), (relit(crop, rng), free)]
        taken += [covered(rng, crop, points, other) for _ in range(2)]
        for picture, alpha in taken:
            for name, views in views_of(picture, points).items():
                if name in labels:
                    known = [float(path.name in labels[name])] if alpha is free else []
                else:
                    known = shares(alpha, points, name)
                for view, value in zip(views, known, strict=False):
                    rows[name].append(features(tower, view))
                    truth[name].append(value)
        other = crop
    tables: dict[str, Floats] = {}
    for name in rows:
        x, y = np.stack(rows[name]), np.array(truth[name])
        used = (y < FREE) | (y > COVERED)
        tables[f"{name}.weight"], tables[f"{name}.bias"] = fit(x[used], y[used] > COVERED)
    save_file(tables, args.output)


if __name__ == "__main__":
    main()
