"""Learn the projection of `fapvideo/track/models/looks.safetensors`: faces of one person together.

python scripts/learn_looks.py PHOTOS [--output FILE] [--moved 4] [--people 353]

PHOTOS is a folder with one photo a person, such as the 707 portraits of members of the US Congress
in the public repository voteview/member_photos (commit 687cf7a9; works of the US government are in
the public domain). Every tenth by sorted name is left out, to measure on. Each photo is moved
(pose, expression), relit, blurred and compressed; linear discriminant analysis then finds the
directions in which people differ more than such copies of one of them. What is shipped was learned
on 634 photos, 351 of which were moved (two with another origin were left out).
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from safetensors.numpy import save_file
from safetensors.torch import load_file
from scipy.linalg import eigh

from fapvideo.nets.mobilenet import MobileNetV2Tokens
from fapvideo.ops.geometry import warp
from fapvideo.ops.pose import crop_matrix, head_pose
from fapvideo.reference.images import read_image
from fapvideo.structs import Bytes, Floats
from fapvideo.synth.motion import Motion
from fapvideo.synth.portrait import AnimatedPortrait
from fapvideo.track.finder import FaceFinder
from fapvideo.track.identity import SIZE, aligned, features

PACKAGE = Path(__file__).resolve().parent.parent / "fapvideo"
OUTPUT = PACKAGE / "track/models/looks.safetensors"
KEPT, DIRECTIONS = 400, 200
"""Principal components that are looked at, and directions that are found in them."""
SHRINK = 0.1
"""Share of the mean variance that every direction within a person is granted at least."""

Rng = np.random.Generator


def relit(picture: Bytes, rng: Rng) -> Bytes:
    """Return another take of a crop: exposure, colour, light from a side, focus, noise, JPEG."""
    size = len(picture)
    p = np.clip(picture.astype(np.float32) / 255, 1e-4, 1) ** np.exp(rng.normal(0, 0.25))
    p = p * np.exp(rng.normal(0, 0.12, 3)) * np.exp(rng.normal(0, 0.2))
    y, x = np.mgrid[0:size, 0:size] / size - 0.5
    angle = rng.uniform(0, 2 * np.pi)
    shade = rng.uniform(0, 0.8) * (np.cos(angle) * x + np.sin(angle) * y)
    p = p * (1 + shade)[..., None]
    if rng.random() < 0.6:
        p = cv2.GaussianBlur(p, (0, 0), rng.uniform(0.4, 2.2))
    if rng.random() < 0.4:
        small = int(rng.uniform(48, 128))
        p = cv2.resize(p, (small, small), interpolation=cv2.INTER_AREA)
        p = cv2.resize(p, (size, size), interpolation=cv2.INTER_LINEAR)
    if rng.random() < 0.5:
        p = p + rng.normal(0, rng.uniform(0.005, 0.03), p.shape)
    done = (np.clip(p, 0, 1) * 255).astype(np.uint8)
    if rng.random() < 0.5:
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.uniform(25, 90))]
        done = cv2.imdecode(cv2.imencode(".jpg", done, quality)[1], cv2.IMREAD_COLOR)
    return done


def moved(crop: Bytes, count: int, rng: Rng) -> Iterator[Bytes]:
    """Yield aligned crops of the same face, turned and with other expressions, relit."""
    portrait = AnimatedPortrait(crop, (SIZE, SIZE))
    for _ in range(count):
        motion = Motion(
            mouth_open=None if rng.random() < 0.5 else float(rng.uniform(0, 0.25)),
            smile=float(rng.uniform(-0.8, 0.8)),
            brows=float(rng.uniform(-0.5, 1)),
            blink=float(rng.uniform(0, 1)) if rng.random() < 0.3 else 0.0,
            yaw_deg=float(rng.normal(0, 9)),
            pitch_deg=float(rng.normal(0, 6)),
            roll_deg=float(rng.normal(0, 3)),
        )
        picture, landmarks = portrait.draw(motion)
        matrix = crop_matrix(head_pose(landmarks), SIZE)
        matrix[:, 2] += rng.normal(0, 1.0, 2)  # as if the landmarks were not quite right
        yield relit(warp(picture, matrix, (SIZE, SIZE)), rng)


def learn(rows: Floats, people: np.ndarray) -> dict[str, Floats]:
    """Return mean [F] and project [F, DIRECTIONS] of features [N, F] of `people` [N]."""
    mean = rows.mean(axis=0)
    _, axes = np.linalg.eigh((rows - mean).T @ (rows - mean))
    axes = axes[:, ::-1][:, :KEPT]
    points = (rows - mean) @ axes
    names, index = np.unique(people, return_inverse=True)
    centres = np.stack([points[index == i].mean(axis=0) for i in range(len(names))])
    several = np.bincount(index)[index] > 1
    apart = (points - centres[index])[several]
    within = apart.T @ apart / len(apart)
    within += np.eye(len(within)) * np.trace(within) / len(within) * SHRINK
    _, directions = eigh(np.cov(centres.T), within)
    project = axes @ directions[:, ::-1][:, :DIRECTIONS]
    return {"mean": mean.astype(np.float16), "project": project.astype(np.float16)}


def main() -> None:
    """Read the photos, learn, write."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("photos", type=Path)
    parser.add_argument("--output", type=Path, default=OUTPUT)
    parser.add_argument("--moved", type=int, default=4, help="copies of a photo")
    parser.add_argument("--leave-out", nargs="*", default=[], help="names of photos")
    parser.add_argument("--people", type=int, default=353, help="whose photos are moved")
    args = parser.parse_args()
    tower = MobileNetV2Tokens()
    tower.load_state_dict(load_file(PACKAGE / "bundles/embedded/encoder.safetensors"), strict=False)
    finder, rng = FaceFinder(), np.random.default_rng(0)
    rows: list[Floats] = []
    people: list[int] = []
    for number, path in enumerate(sorted(args.photos.iterdir())):
        faces = finder(read_image(path)[0]) if number % 10 else []
        if not faces or path.name in args.leave_out:
            continue
        crop = aligned(read_image(path)[0], faces[0].landmarks)
        copies = list(moved(crop, args.moved, rng)) if len(set(people)) < args.people else []
        rows.append(features(tower, [crop, *copies]))
        people += [number] * len(rows[-1])
    save_file(learn(np.concatenate(rows), np.array(people)), args.output)


if __name__ == "__main__":
    main()
