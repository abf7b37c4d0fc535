"""Glasses on a face's mesh, in perspective: frames of many kinds, tinted lenses, reflections.

Other than `occluders.glasses`, which makes samples to paint by, this one knows which of what it
drew hides the face (frame, strong reflections, dark lenses) and what one sees through.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from fapvideo.ops import mesh
from fapvideo.ops.image import blur, luma, smoothstep
from fapvideo.ops.pose import head_pose
from fapvideo.structs import Floats
from fapvideo.training.samples.drawing import Scene, exposed, filled, grid, mottle, stroke
from fapvideo.training.samples.props import Cover, finish

FRAMES = (
    (16, 15, 16), (16, 15, 16), (24, 22, 26), (66, 40, 24), (96, 62, 38), (130, 106, 64),
    (110, 110, 116), (168, 168, 172), (60, 22, 28), (30, 40, 78), (206, 200, 190),
)  # fmt: skip
"""Black, dark, horn, tortoise, gold, steel, silver, red, blue, clear; sRGB."""
PERSPECTIVE = 0.12
"""Growth of what is an inter-ocular distance nearer."""
DARK = 0.08
"""Share of sunglasses."""


@dataclass(frozen=True, slots=True)
class _Shape:
    """Outlines in the head frame, each [N, 3]."""

    lenses: tuple[Floats, Floats]
    bridges: tuple[Floats, ...]
    temples: tuple[Floats, Floats]


def eyewear(rng: np.random.Generator, scene: Scene) -> Cover:
    """Return glasses on the nose of the scene's face."""
    size, unit = scene.size, scene.unit
    shape = _shape(rng)
    project = _camera(rng, scene)
    lines = [project(lens) for lens in shape.lenses]
    glass = np.maximum.reduce([filled(size, line) for line in lines])
    frame = _frame(rng, scene, lines, [project(b) for b in shape.bridges])
    thin = unit * rng.uniform(0.015, 0.05)
    for temple in shape.temples:
        frame = np.maximum(frame, stroke(size, project(temple), thin))
    solid = 1.0 if rng.random() < 0.88 else rng.uniform(0.55, 0.9)  # clear plastic
    rim = _rim_colour(rng, scene, frame)
    through, tint, mirror = _lens(rng, scene, glass)
    colour = tint + mirror[..., None] * (np.array([0.93, 0.97, 1.0]) - tint)
    alpha = np.maximum(through, mirror)
    colour = colour + frame[..., None] * (rim - colour)
    kept = np.maximum(frame, smoothstep((alpha - 0.35) / 0.4))
    cover = finish(rng, scene, colour, np.maximum(alpha, frame * solid), kept, frame, 0.0)
    return cover.shaded(frame, scene, rng.uniform(0.0, 0.35), rng.uniform(0.02, 0.09))


def _camera(rng: np.random.Generator, scene: Scene) -> Callable[[Floats], Floats]:
    """Return a function from the head frame [N, 3] to pixels [N, 2], the fit a little off."""
    pose = head_pose(scene.points)
    drop = np.array([rng.normal(0, 0.015), rng.normal(0.0, 0.035), 0.0])
    grow = rng.uniform(0.92, 1.1)
    tilt = rng.normal(0, 0.025)
    turn = np.array([[np.cos(tilt), -np.sin(tilt), 0], [np.sin(tilt), np.cos(tilt), 0], [0, 0, 1]])

    def project(points: Floats) -> Floats:
        placed = (points * (grow, grow, 1.0)) @ turn.T + drop
        depth = placed @ pose.rotation[2]
        flat = pose.to_image(placed)[:, :2]
        return flat + (flat - pose.shift[:2]) * (-PERSPECTIVE * (depth - depth.mean()))[:, None]

    return project


def _shape(rng: np.random.Generator) -> _Shape:
    """Return one of the usual forms: round, oval, square, drops, cat's eyes."""
    face = mesh.canonical()
    width, height = rng.uniform(0.29, 0.43), rng.uniform(0.17, 0.38)
    middle, drop = rng.uniform(0.46, 0.56), rng.uniform(-0.04, 0.12)
    power = 2.0 / rng.uniform(1.9, 6.0)
    front = float(face[168, 2]) - rng.uniform(0.02, 0.12)
    angle = np.linspace(0, 2 * np.pi, 64, endpoint=False)
    cos, sin = np.cos(angle), np.sin(angle)
    x = width * np.sign(cos) * np.abs(cos) ** power
    y = height * np.sign(sin) * np.abs(sin) ** power
    kind = rng.integers(4)
    if kind == 1:  # drops, lower towards the cheeks
        y += 0.22 * height * (sin > 0) * sin + 0.12 * x * (y > 0)
    elif kind == 2:  # lifted outside
        y -= rng.uniform(0.05, 0.3) * height * np.clip(x / width, 0, 1) ** 2 * (sin < 0.3)
    elif kind == 3:  # narrower below
        x *= 1.0 - rng.uniform(0.05, 0.2) * np.clip(y / height, 0, 1)
    bow = rng.uniform(0.08, 0.3)
    y = y + drop

    def lens(side: int) -> Floats:
        across = middle + x
        return np.stack([side * across, y, front + bow * across**2], axis=1)

    inner, t = middle - width, np.linspace(-1, 1, 9)
    at = drop - rng.uniform(0.0, 0.7) * height
    arch = at - rng.uniform(0.0, 0.09) * (1 - t**2)
    bridges = [np.stack([t * inner * 1.02, arch, np.full(9, front)], axis=1)]
    if rng.random() < 0.15:
        top = np.full(9, drop - 0.9 * height)
        bridges.append(np.stack([t * inner * 1.3, top, np.full(9, front)], axis=1))
    outer = middle + width
    hinge = np.array([outer, drop - rng.uniform(0.1, 0.8) * height, front + bow * outer**2])
    ears = [np.array([*face[ear]]) for ear in (127, 356)]
    temples = tuple(
        np.stack([hinge * (side, 1, 1), ear]) for side, ear in zip((-1, 1), ears, strict=True)
    )
    return _Shape((lens(-1), lens(1)), tuple(bridges), temples)  # type: ignore[arg-type]


def _frame(
    rng: np.random.Generator, scene: Scene, lenses: list[Floats], bridges: list[Floats]
) -> Floats:
    """Return [S, S] the front: full rims, upper ones only, or a bridge alone."""
    size, unit = scene.size, scene.unit
    thick = unit * (rng.uniform(0.012, 0.03) if rng.random() < 0.45 else rng.uniform(0.03, 0.11))
    kind = rng.choice(("full", "browline", "half", "none"), p=(0.66, 0.14, 0.12, 0.08))
    frame = np.zeros((size, size), np.float32)
    for line in lenses:
        if kind in ("full", "browline"):
            below = thick if kind == "full" else 0.3 * thick
            frame = np.maximum(frame, stroke(size, line, below, closed=True))
        if kind in ("browline", "half"):
            frame = np.maximum(frame, stroke(size, line[len(line) // 2 :], thick))
        if kind == "none":
            edge = stroke(size, line, 0.008 * unit, closed=True)
            frame = np.maximum(frame, rng.uniform(0.0, 0.5) * edge)
        elif thick > 0.04 * unit and rng.random() < 0.6:
            upper = line[len(line) // 2 + 1 :] - [0, thick * rng.uniform(0.1, 0.4)]
            frame = np.maximum(frame, stroke(size, upper, thick))
    for line in bridges:
        frame = np.maximum(frame, stroke(size, line, max(0.7 * thick, 0.018 * unit)))
    if rng.random() < 0.4:  # the pads on the nose
        for side in (0, -1):
            at = bridges[0][side] + [0, rng.uniform(0.05, 0.12) * unit]
            end = at + np.array([0, 0.08 * unit])
            pad = stroke(size, np.stack([at, end]), 0.035 * unit)
            frame = np.maximum(frame, rng.uniform(0.3, 0.8) * pad)
    return frame


def _rim_colour(rng: np.random.Generator, scene: Scene, frame: Floats) -> Floats:
    """Return [S, S, 3]: plain, flecked or two-coloured, with the light's glints."""
    size = scene.size
    tone = exposed(scene, FRAMES[rng.integers(len(FRAMES))])
    if rng.random() < 0.2:
        tone = rng.uniform(0, 1, 3).astype(np.float32) * float(luma(scene.skin)) * 1.3
    colour = np.ones((size, size, 3), np.float32) * tone
    if rng.random() < 0.25:  # tortoise shell
        flecks = np.clip(mottle(rng, size, 0.9, 0.0), -1, 1)
        colour = colour * np.exp(0.8 * flecks)
    if rng.random() < 0.2:
        other = exposed(scene, FRAMES[rng.integers(len(FRAMES))])
        _, y = grid(size)
        lower = smoothstep((y - scene.points[168, 1] - 0.1 * scene.unit) / (0.1 * scene.unit))
        colour = colour + lower[..., None] * (other - colour)
    shine = blur(rng.normal(0, 1, (size, size)).astype(np.float32), 0.03 * scene.unit)
    shine = np.clip(shine / max(float(shine.std()), 1e-6) - rng.uniform(0.8, 2.0), 0, 1)
    bright = rng.uniform(0.2, 1.0) * min(1.0, 1.6 * float(luma(scene.skin)))
    round_ = 0.8 + 0.2 * smoothstep(blur(frame, 0.02 * scene.unit) * 1.4)
    return colour * round_[..., None] + (shine * bright)[..., None]


def _lens(rng: np.random.Generator, scene: Scene, glass: Floats) -> tuple[Floats, Floats, Floats]:
    """Return how opaque the glass is [S, S], its tint [3] and its reflections [S, S]."""
    size = scene.size
    _, y = grid(size)
    dark = rng.random() < DARK
    tint = rng.uniform(0.0, 0.25, 3) if dark else rng.uniform(0.4, 0.9, 3)
    clear = rng.uniform(0.8, 0.98) if dark else rng.uniform(0.0, 0.14)
    ramp = np.clip(1.0 - rng.uniform(0, 0.4) * (y - y[0, 0]) / size, 0, 1)
    mirror = np.zeros((size, size), np.float32)
    for _ in range(int(rng.choice((0, 1, 2, 3), p=(0.35, 0.35, 0.2, 0.1)))):
        mirror = np.maximum(mirror, _reflection(rng, scene) * rng.uniform(0.15, 1.0))
    return glass * clear * ramp, tint, glass * mirror * min(1.0, 1.5 * float(luma(scene.skin)))


def _reflection(rng: np.random.Generator, scene: Scene) -> Floats:
    """Return [S, S] a slanting band, or a lamp or window in one lens or both."""
    size, unit = scene.size, scene.unit
    x, y = grid(size)
    if rng.random() < 0.4:
        slant = rng.uniform(-1.2, 1.2)
        across = (x - scene.points[168, 0]) * np.cos(slant) + (y - scene.points[168, 1]) * np.sin(
            slant
        )
        at, wide = rng.uniform(-1, 1) * unit, rng.uniform(0.03, 0.2) * unit
        return smoothstep(1.5 - np.abs(across - at) / wide)
    out = np.zeros((size, size), np.uint8)
    half = rng.uniform(0.02, 0.16, 2) * unit
    offset = rng.uniform(-0.3, 0.3, 2) * unit * (1, 0.6)
    skew = rng.uniform(-0.3, 0.3)
    for eye in mesh.eye_centres(scene.points[:, :2])[: 1 + (rng.random() < 0.8)]:
        corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * half
        corners[:, 0] += skew * corners[:, 1]
        place = eye + offset
        if rng.random() < 0.5:
            cv2.fillConvexPoly(out, np.round(place + corners).astype(np.int32), 255, cv2.LINE_AA)
        else:
            axes = tuple(max(1, int(h)) for h in half)
            cv2.ellipse(out, (int(place[0]), int(place[1])), axes, 0, 0, 360, 255, -1, cv2.LINE_AA)
    return blur(out.astype(np.float32) / 255, rng.uniform(0.004, 0.03) * unit)
