"""More that gets in front of faces: cups, masks, cards, strands, headsets, another person.

Textures are pieces of other photos. Each comes with what of it hides the face (`Cover`), which is
what `nets.occlusion` learns to see; the drawing itself is that of `occluders`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from fapvideo.ops import mesh
from fapvideo.ops.image import blur, resize
from fapvideo.structs import Bytes, Floats
from fapvideo.training.samples.drawing import (
    FINER,
    Scene,
    Thing,
    filled,
    grid,
    mottle,
    reduced,
    stroke,
)

FABRICS = ((150, 190, 215), (225, 230, 235), (25, 25, 28), (60, 70, 110), (200, 160, 170))
"""Of masks: surgical blue, white, black, navy, pink; sRGB."""


@dataclass(frozen=True, slots=True)
class Cover:
    """Something in front of a face, and what of it stays."""

    thing: Thing
    kept: Floats
    """[S, S] in [0, 1]: what hides the face."""
    worn: Floats
    """[S, S] in [0, 1]: the frames of glasses among it."""

    def shaded(self, what: Floats, scene: Scene, depth: float, reach: float) -> Cover:
        """Let `what` [S * FINER, S * FINER] cast a shadow below itself."""
        fall = np.roll(resize(what, scene.size // FINER), round(reach * scene.unit / FINER), axis=0)
        shadow = depth * blur(fall, 0.03 * scene.unit / FINER)
        return replace(self, thing=replace(self.thing, shadow=shadow.astype(np.float32)))


def of_thing(thing: Thing) -> Cover:
    """Return a drawn thing that hides all it covers."""
    return Cover(thing, thing.alpha, np.zeros_like(thing.alpha))


def finish(
    rng: np.random.Generator,
    scene: Scene,
    colour: Floats,
    alpha: Floats,
    kept: Floats,
    worn: Floats,
    shadow: float,
) -> Cover:
    """Bring what was drawn to the crop's size; see `drawing.reduced`."""
    thing = reduced(rng, scene, colour, alpha, shadow)
    size = scene.size // FINER
    small = [np.clip(resize(each.astype(np.float32), size), 0, 1) for each in (kept, worn)]
    return Cover(thing, small[0], small[1])


# ----------------------------------------------------------------------------------- stuff


def texture(rng: np.random.Generator, scene: Scene, photo: Bytes) -> Floats:
    """Return [S, S, 3] a stuff under a light: one colour, a pattern, or a piece of a photo."""
    size = scene.size
    kind = rng.choice(("plain", "skin", "stripes", "photo"), p=(0.22, 0.13, 0.1, 0.55))
    if kind == "photo":
        turn = cv2.getRotationMatrix2D(
            (rng.uniform(0, photo.shape[1]), rng.uniform(0, photo.shape[0])),
            rng.uniform(0, 360),
            size / photo.shape[0] * rng.uniform(0.8, 3.0),
        )
        turn[:, 2] += rng.uniform(-0.4, 0.4, 2) * size
        base = cv2.warpAffine(photo, turn, (size, size), borderMode=cv2.BORDER_REFLECT)
        base = base.astype(np.float32) / 255 * np.exp(rng.normal(0, 0.15, 3))
    else:
        tone = scene.skin * np.exp(rng.normal(0, 0.1)) if kind == "skin" else rng.uniform(0, 1, 3)
        base = np.ones((size, size, 3), np.float32) * tone
        if kind == "stripes":
            x, y = grid(size)
            angle, period = rng.uniform(0, np.pi), rng.uniform(0.05, 0.4) * scene.unit
            wave = np.sin((x * np.cos(angle) + y * np.sin(angle)) / period * 2 * np.pi)
            base = base + (wave > rng.uniform(-0.5, 0.5))[..., None] * (rng.uniform(0, 1, 3) - base)
        base = base * (1 + mottle(rng, size, rng.uniform(0, 0.1), rng.uniform(0, 0.05)))
    x, y = grid(size)
    angle = rng.uniform(0, 2 * np.pi)
    slope = rng.uniform(0, 0.7) / size
    shade = 1 + slope * ((x - size / 2) * np.cos(angle) + (y - size / 2) * np.sin(angle))
    return np.clip(base * shade[..., None], 0, 1).astype(np.float32)


def _cover(
    rng: np.random.Generator, scene: Scene, colour: Floats, mask: Floats, shadow: float = 0.25
) -> Cover:
    nothing = np.zeros_like(mask)
    return finish(rng, scene, colour, mask, mask, nothing, rng.uniform(0, shadow))


# ---------------------------------------------------------------------------------- things


def patch(rng: np.random.Generator, scene: Scene, photo: Bytes) -> Cover:
    """Return a card, a blob, a bar or a half of the picture, of any stuff, at any place."""
    size, unit = scene.size, scene.unit
    centre = scene.points[rng.integers(468), :2] + rng.normal(0, 0.3, 2) * unit
    kind = rng.choice(("card", "blob", "bar", "half"), p=(0.3, 0.35, 0.22, 0.13))
    if kind == "bar":
        along = rng.uniform(0, np.pi)
        reach = np.array([np.cos(along), np.sin(along)]) * rng.uniform(0.6, 4) * unit
        bent = rng.normal(0, 0.1, 2) * unit
        line = np.stack([centre - reach, centre + bent, centre + reach])
        mask = stroke(size, line, rng.uniform(0.03, 0.25) * unit)
        return _cover(rng, scene, texture(rng, scene, photo), mask)
    if kind == "half":
        angle, wave = rng.uniform(0, 2 * np.pi), rng.uniform(0, 0.08) * unit
        x, y = grid(size)
        along = (x - centre[0]) * np.sin(angle) - (y - centre[1]) * np.cos(angle)
        away = (x - centre[0]) * np.cos(angle) + (y - centre[1]) * np.sin(angle)
        away = away + wave * np.sin(along / unit * rng.uniform(3, 12))
        gap = rng.uniform(0.2, 1.2) * unit
        return _cover(rng, scene, texture(rng, scene, photo), (away > gap).astype(np.float32))
    if kind == "card":
        half = rng.uniform(0.15, 0.9, 2) * unit
        corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * half
        angle = rng.uniform(0, np.pi)
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        points = centre + corners @ turn.T + rng.normal(0, 0.04, (4, 2)) * unit
    else:
        count = int(rng.integers(5, 24))
        angles = np.sort(rng.uniform(0, 2 * np.pi, count))
        reach = rng.uniform(0.15, 0.8) * unit * rng.uniform(0.75, 1.25, count)
        wide = rng.uniform(0.6, 1.5)
        ring = np.stack([np.cos(angles) * wide, np.sin(angles) / wide], 1)
        points = centre + ring * reach[:, None]
    return _cover(rng, scene, texture(rng, scene, photo), filled(size, points))


def cup(rng: np.random.Generator, scene: Scene, photo: Bytes) -> Cover:
    """Return a cup, a glass or a can before the mouth."""
    size, unit = scene.size, scene.unit
    mouth = scene.points[[mesh.UPPER_LIP, mesh.LOWER_LIP], :2].mean(axis=0)
    top = mouth + rng.normal(0, 0.12, 2) * unit + [0, rng.uniform(-0.35, 0.3) * unit]
    wide, tall = rng.uniform(0.35, 0.75) * unit, rng.uniform(0.7, 1.8) * unit
    narrow = rng.uniform(0.65, 1.0)
    tilt = rng.normal(0, 0.25)
    down, across = np.array([np.sin(tilt), np.cos(tilt)]), np.array([np.cos(tilt), -np.sin(tilt)])
    t = np.linspace(0, np.pi, 16)[:, None]
    flat = rng.uniform(0.1, 0.35)

    def rim(at: Floats, radius: float, sign: float) -> Floats:
        return at + across * radius * np.cos(t) + down * sign * flat * radius * np.sin(t)

    bottom = top + down * tall
    outline = np.concatenate([rim(top, wide, -1), rim(bottom, wide * narrow, 1)[::-1]])
    mask = filled(size, outline)
    x, y = grid(size)
    side = ((x - top[0]) * across[0] + (y - top[1]) * across[1]) / wide
    shade = 0.55 + 0.6 * np.exp(-(((side - rng.uniform(-0.5, 0.5)) / 0.5) ** 2))
    colour = texture(rng, scene, photo) * shade[..., None]
    mouth_of_cup = filled(
        size, np.concatenate([rim(top, wide * 0.93, -1), rim(top, wide * 0.93, 1)[::-1]])
    )
    colour = colour * (1 - rng.uniform(0.0, 0.6) * mouth_of_cup[..., None])
    if rng.random() < 0.4:
        sign = rng.choice([-1.0, 1.0])
        ring = top + down * tall * 0.5 + across * sign * wide
        circle = np.linspace(0, 2 * np.pi, 32)[:, None]
        line = ring + 0.3 * tall * (across * np.cos(circle) * 0.7 + down * np.sin(circle))
        mask = np.maximum(mask, stroke(size, line, 0.12 * unit, closed=True))
    return _cover(rng, scene, np.clip(colour, 0, 1), mask)


def face_mask(rng: np.random.Generator, scene: Scene, photo: Bytes) -> Cover:
    """Return a mask over mouth and chin, mostly over the nose, too."""
    size, unit = scene.size, scene.unit
    low = (
        93,
        132,
        58,
        172,
        136,
        150,
        149,
        176,
        148,
        152,
        377,
        400,
        378,
        379,
        365,
        397,
        288,
        361,
        323,
    )
    ridge = int(rng.choice((6, 197, 195, 5, 2, 0), p=(0.2, 0.25, 0.25, 0.15, 0.1, 0.05)))
    points = scene.points[:, :2]
    chin = points[list(low)]
    chin = points[4, :2] + (chin - points[4, :2]) * rng.uniform(1.0, 1.06)
    upper = np.stack([chin[-1], points[280], points[ridge], points[50], chin[0]])
    upper[[1, 3]] += [0, rng.uniform(-0.1, 0.2) * unit]
    mask = filled(size, np.concatenate([chin, _smooth(upper)]))
    tone = np.array(FABRICS[rng.integers(len(FABRICS))], np.float32) / 255
    if rng.random() < 0.3:
        colour = texture(rng, scene, photo)
    else:
        colour = np.ones((size, size, 3), np.float32) * tone * rng.uniform(0.6, 1.05)
    _, y = grid(size)
    folds = np.sin(y / (rng.uniform(0.1, 0.3) * unit) * 2 * np.pi) * rng.uniform(0, 0.08)
    away = cv2.distanceTransform((mask > 0.5).astype(np.uint8), cv2.DIST_L2, 3)
    bulge = 0.7 + 0.3 * np.clip(away / (0.5 * unit), 0, 1)
    colour = colour * (bulge * (1 + folds))[..., None] * (1 + mottle(rng, size, 0.04, 0.01))
    return _cover(rng, scene, np.clip(colour, 0, 1), mask)


def _smooth(points: Floats) -> Floats:
    """Return a fine line through five points."""
    t = np.linspace(0, 1, 30)
    return np.stack([np.interp(t, np.linspace(0, 1, len(points)), points[:, i]) for i in (0, 1)], 1)


def strands(rng: np.random.Generator, scene: Scene) -> Cover:
    """Return a few hairs across the face, or a thin curtain of them."""
    size, unit = scene.size, scene.unit
    base = scene.hair if rng.random() < 0.6 else rng.uniform(0, 0.7, 3) * (1, 0.8, 0.6)
    colour = np.ones((size, size, 3), np.float32) * np.clip(base, 0, 1)
    alpha = np.zeros((size, size), np.float32)
    root = scene.points[rng.integers(468), :2] * [1, 0] + [0, rng.uniform(-0.1, 0.3) * size]
    tip = scene.points[rng.integers(468), :2] + rng.normal(0, 0.2, 2) * unit
    t = np.linspace(0, 1, 24)[:, None]
    for _ in range(int(rng.integers(2, 22))):
        start, stop = (p + rng.normal(0, 0.12, 2) * unit for p in (root, tip))
        knee = (start + stop) / 2 + rng.normal(0, 0.2, 2) * unit
        line = (1 - t) ** 2 * start + 2 * t * (1 - t) * knee + t**2 * stop
        tress = stroke(size, line, rng.uniform(0.008, 0.045) * unit)
        alpha = np.maximum(alpha, tress * rng.uniform(0.6, 1.0))
        light = np.exp(rng.normal(0, 0.35))
        colour += tress[..., None] * (np.clip(base * light, 0, 1) - colour)
    kept = np.clip(blur(alpha, 0.008 * unit) * 1.5, 0, 1)
    return finish(rng, scene, colour, alpha, kept, np.zeros_like(alpha), 0.15)


def headset(rng: np.random.Generator, scene: Scene) -> Cover:
    """Return a microphone on a thin arm from an ear to the mouth."""
    size, unit = scene.size, scene.unit
    ear, corner = ((234, 61), (454, 291))[rng.integers(2)]
    end = scene.points[corner, :2] + rng.normal(0, 0.18, 2) * unit + [0, 0.12 * unit]
    start = scene.points[ear, :2]
    knee = (start + end) / 2 + [0, rng.uniform(0.05, 0.3) * unit]
    t = np.linspace(0, 1, 24)[:, None]
    line = (1 - t) ** 2 * start + 2 * t * (1 - t) * knee + t**2 * end
    mask = stroke(size, line, rng.uniform(0.02, 0.05) * unit)
    ball = np.zeros((size, size), np.uint8)
    radius = max(1, round(rng.uniform(0.05, 0.16) * unit))
    cv2.circle(ball, (round(float(end[0])), round(float(end[1]))), radius, 255, -1, cv2.LINE_AA)
    mask = np.maximum(mask, ball.astype(np.float32) / 255)
    tone = rng.choice([0.06, 0.1, 0.4, 0.75], p=(0.5, 0.25, 0.15, 0.1))
    colour = np.ones((size, size, 3), np.float32) * tone * (1 + mottle(rng, size, 0.05, 0.15))
    return _cover(rng, scene, np.clip(colour, 0, 1), mask)


def other_person(rng: np.random.Generator, scene: Scene, photo: Bytes, points: Floats) -> Cover:
    """Return the face of `photo` [H, W, 3], whose points [478, >=2] are given, from the side."""
    size, unit = scene.size, scene.unit
    own = float(np.linalg.norm(np.diff(mesh.eye_centres(points[:, :2]), axis=0)))
    zoom = unit / max(own, 1e-3) * rng.uniform(0.6, 1.4)
    middle = points[4, :2]
    way = rng.choice([-1.0, 1.0]) * rng.uniform(0.7, 1.9) * unit
    place = scene.points[4, :2] + [way, rng.normal(0, 0.6) * unit]
    matrix = cv2.getRotationMatrix2D((0.0, 0.0), rng.normal(0, 15), zoom)
    matrix[:, 2] = place - matrix[:, :2] @ middle
    colour = cv2.warpAffine(photo, matrix, (size, size), borderMode=cv2.BORDER_REFLECT)
    oval = points[list(mesh.FACE_OVAL), :2]
    grown = middle + (oval - middle) * rng.uniform(0.95, 1.15)
    mask = filled(size, grown @ matrix[:, :2].T + matrix[:, 2])
    return _cover(rng, scene, colour.astype(np.float32) / 255, mask)
