"""Samples for `nets.occlusion`: faces with something in front, and what of it hides them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from fapvideo.ops import mesh
from fapvideo.ops.image import blur, signed_distance, smoothstep
from fapvideo.ops.pose import head_pose
from fapvideo.structs import Bytes, Floats
from fapvideo.training.samples.covering import hair_over, hand_on, microphone_at
from fapvideo.training.samples.drawing import grid, scene_of
from fapvideo.training.samples.eyewear import eyewear
from fapvideo.training.samples.props import (
    Cover,
    cup,
    face_mask,
    headset,
    of_thing,
    other_person,
    patch,
    strands,
)

KINDS = {
    "none": 0.26, "eyewear": 0.28, "hand": 0.12, "patch": 0.12, "strands": 0.05, "lock": 0.03,
    "microphone": 0.04, "headset": 0.02, "cup": 0.04, "mask": 0.02, "person": 0.02,
}  # fmt: skip
"""How often each is the first thing before a face; a second one comes with a share of them."""
SECOND = 0.15
PARTS = ("eyes", "brows", "nose", "mouth")
OUTSIDE, OWN_HAIR = 0.12, 0.1
"""How far beyond the face's outline a label counts, inter-ocular distances, and how much it counts
above the brows, where a face's own hair may hang."""


@dataclass(frozen=True, slots=True)
class Portrait:
    """A face to draw before."""

    crop: Bytes
    """[S, S, 3] aligned crop."""
    points: Floats
    """[478, 3] in it."""
    glasses: bool
    """Whether it wears real ones, of which nobody has drawn the outline."""


@dataclass(frozen=True, slots=True)
class Veiled:
    """One sample."""

    picture: Bytes
    """[S, S, 3]."""
    kept: Floats
    """[S, S] in [0, 1]: what hides the face."""
    worn: Floats
    """[S, S] in [0, 1]: frames of glasses."""
    weight: Floats
    """[S, S] in [0, 1]: how much the labels count."""


def veil(
    rng: np.random.Generator, face: Portrait, others: Sequence[Portrait], kind: str = ""
) -> Veiled:
    """Draw something before a face; `kind` is one of `KINDS`, by default any."""
    size = len(face.crop)
    image: Floats = face.crop.astype(np.float32) / 255
    kinds = [kind] if kind else _kinds(rng, face)
    kept: Floats = np.zeros((size, size), np.float32)
    worn = kept
    for each in kinds:
        if each == "none":
            continue
        cover = draw(rng, image, face.points, each, others)
        image = cover.thing.over(image)
        kept = np.maximum(kept, cover.kept)
        worn = np.maximum(cover.worn, worn * (1 - cover.thing.alpha))
    if rng.random() < 0.2:
        image = _shadow(rng, image, face.points)
    weight = weights(face, kept)
    return Veiled(np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8), kept, worn, weight)


def _kinds(rng: np.random.Generator, face: Portrait) -> list[str]:
    names, shares = list(KINDS), np.array(list(KINDS.values()))
    found = [names[rng.choice(len(names), p=shares / shares.sum())]]
    if found[0] != "none" and rng.random() < SECOND:
        found.append(names[rng.integers(2, len(names))])
    if face.glasses:
        found = [name for name in found if name != "eyewear"]
    return found


def draw(
    rng: np.random.Generator,
    image: Floats,
    points: Floats,
    kind: str,
    others: Sequence[Portrait],
) -> Cover:
    """Draw one thing for the face [S, S, 3] with its points [478, 3]."""
    scene = scene_of(rng, image, points)
    other = others[int(rng.integers(len(others)))]
    if kind == "eyewear":
        return eyewear(rng, scene)
    if kind == "strands":
        return strands(rng, scene)
    if kind == "headset":
        return headset(rng, scene)
    if kind == "person":
        return other_person(rng, scene, other.crop, other.points)
    props = {"patch": patch, "cup": cup, "mask": face_mask}
    if kind in props:
        return props[kind](rng, scene, other.crop)
    drawn = {"hand": hand_on, "lock": hair_over, "microphone": microphone_at}[kind]
    return of_thing(drawn(rng, scene, PARTS))


def weights(face: Portrait, kept: Floats) -> Floats:
    """Return [S, S] how much the labels count.

    Outside the face nothing is asked. Real glasses count neither as skin nor as glasses.
    """
    size = len(face.crop)
    unit = mesh.interocular(face.points[:, :2])
    oval = signed_distance([face.points[list(mesh.FACE_OVAL), :2]], size)
    weight = 1.0 - smoothstep((oval / unit - OUTSIDE) / 0.1)
    x, y = grid(size)
    pose = head_pose(face.points)
    cos, sin = np.cos(pose.roll), np.sin(pose.roll)
    eyes = mesh.eye_centres(face.points[:, :2]).mean(axis=0)
    down = ((y - eyes[1]) * cos - (x - eyes[0]) * sin) / unit
    brow = (face.points[[105, 334], 1].mean() - eyes[1]) / unit
    above = smoothstep((brow - 0.08 - down) / 0.06)
    weight = weight * (1 - (1 - OWN_HAIR) * above)
    if face.glasses:
        band = smoothstep((down + 0.5) / 0.05) * smoothstep((0.65 - down) / 0.05)
        weight = weight * (1 - band)
    drawn = (kept > 0.5) & (oval < (OUTSIDE + 0.1) * unit)
    return np.maximum(weight, drawn).astype(np.float32)


def _shadow(rng: np.random.Generator, image: Floats, points: Floats) -> Floats:
    """Let a hard or soft shadow fall over a part of the face: it hides nothing."""
    size = len(image)
    unit = mesh.interocular(points[:, :2])
    x, y = grid(size)
    centre = points[rng.integers(468), :2]
    angle = rng.uniform(0, 2 * np.pi)
    away = (x - centre[0]) * np.cos(angle) + (y - centre[1]) * np.sin(angle)
    if rng.random() < 0.5:
        along = (x - centre[0]) * np.sin(angle) - (y - centre[1]) * np.cos(angle)
        away = away + rng.uniform(0, 0.2) * unit * np.sin(along / unit * rng.uniform(2, 9))
    edge = rng.uniform(0.01, 0.5) * unit
    dark = smoothstep(away / edge + 0.5)[..., None] * rng.uniform(0.15, 0.65)
    return image * (1 - dark) ** np.array([1.0, rng.uniform(0.95, 1.15), rng.uniform(0.9, 1.25)])


# --------------------------------------------------------------------------------- filming


def filmed(rng: np.random.Generator, sample: Veiled) -> Veiled:
    """Return a sample moved a little, perhaps mirrored, relit, filmed and compressed."""
    size = len(sample.picture)
    matrix = cv2.getRotationMatrix2D(
        (size / 2, size / 2), rng.normal(0, 4), np.exp(rng.normal(0, 0.05))
    )
    matrix[:, 2] += rng.normal(0, 0.025 * size, 2)
    if rng.random() < 0.5:
        matrix = matrix @ np.array([[-1, 0, size - 1], [0, 1, 0], [0, 0, 1.0]])
    labels = np.stack([sample.kept, sample.worn, sample.weight], axis=-1)
    moved = cv2.warpAffine(labels, matrix, (size, size), borderMode=cv2.BORDER_CONSTANT)
    p = cv2.warpAffine(sample.picture, matrix, (size, size), borderMode=cv2.BORDER_REPLICATE)
    picture = degraded(rng, p.astype(np.float32) / 255)
    return Veiled(picture, moved[..., 0], moved[..., 1], moved[..., 2])


def degraded(rng: np.random.Generator, p: Floats) -> Bytes:
    """Return uint8 of [S, S, 3] under other light, exposure, focus, noise and compression."""
    size = len(p)
    p = np.clip(p, 1e-4, 1) ** np.exp(rng.normal(0, 0.2))
    p = p * np.exp(rng.normal(0, 0.1, 3)) * np.exp(rng.normal(0, 0.15))
    if rng.random() < 0.1:
        p = np.repeat(p.mean(axis=-1, keepdims=True), 3, axis=-1)
    if rng.random() < 0.5:
        p = blur(p.astype(np.float32), rng.uniform(0.3, 1.3))
    if rng.random() < 0.12:  # moved while it was exposed
        length = int(rng.integers(3, 10))
        kernel = np.zeros((length, length), np.float32)
        way = rng.uniform(0, np.pi)
        middle = np.array([length / 2, length / 2])
        reach = np.array([np.cos(way), np.sin(way)]) * length / 2
        ends = [tuple(int(v) for v in middle + sign * reach) for sign in (-1, 1)]
        cv2.line(kernel, ends[0], ends[1], 1.0)
        p = cv2.filter2D(p, -1, kernel / max(float(kernel.sum()), 1.0))
    if rng.random() < 0.3:
        small = int(rng.uniform(0.4, 0.95) * size)
        p = cv2.resize(p, (small, small), interpolation=cv2.INTER_AREA)
        p = cv2.resize(p, (size, size), interpolation=cv2.INTER_LINEAR)
    if rng.random() < 0.5:
        p = p + rng.normal(0, rng.uniform(0.004, 0.03), p.shape)
    done = np.rint(np.clip(p, 0, 1) * 255).astype(np.uint8)
    if rng.random() < 0.5:
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.uniform(25, 92))]
        done = cv2.imdecode(cv2.imencode(".jpg", done, quality)[1], cv2.IMREAD_COLOR)
    return np.asarray(done, np.uint8)
