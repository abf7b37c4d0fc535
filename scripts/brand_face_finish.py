"""From the mean of many faces to a portrait: what averaging blurs is lit, sharpened and painted.

Pictures are CIE Lab, float32 [SIZE, SIZE, 3]; landmarks are [478, 3] in its pixels. Nothing here is
random: noise is seeded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from fapvideo.nets.realesrgan import RRDBNet
from fapvideo.ops import mesh
from fapvideo.ops.image import blur, smoothstep
from fapvideo.structs import Bytes, Floats

SIZE, IOD = 640, 172.0
"""Side of the picture and inter-ocular distance of the face in it, pixels."""
SHARPENED = (100, 624, 100, 540)
"""Top, bottom, left, right of what Real-ESRGAN draws again."""
X, Y = np.meshgrid(*(np.arange(SIZE, dtype=np.float32) + 0.5,) * 2)
MIDDLE = SIZE / 2


@dataclass(frozen=True, slots=True)
class Style:
    """How a mean face is finished."""

    hair_end: float = 1.0
    """How far down hair reaches: 0 the height of the eyes, 1 the chin."""
    volume: float = 1.0
    """Of the hair."""
    taper: float = 1.0
    """How much narrower the chin gets."""


def to_lab(rgb: Floats) -> Floats:
    """Convert [H, W, 3] sRGB in [0, 1] to CIE Lab."""
    return cv2.cvtColor(rgb.astype(np.float32), cv2.COLOR_RGB2LAB)


def from_lab(lab: Floats) -> Bytes:
    """Convert CIE Lab to uint8 sRGB."""
    rgb = cv2.cvtColor(lab.astype(np.float32), cv2.COLOR_LAB2RGB)
    return np.round(np.clip(rgb, 0, 1) * 255).astype(np.uint8)


def finished(mean: Floats, landmarks: Floats, net: RRDBNet | None, style: Style) -> Floats:
    """Return the portrait made from the mean face; `net` draws its edges again."""
    lab = without_creases(with_bare_temples(relit(mean, landmarks), landmarks), landmarks)
    lab = lab if net is None else sharpened(lab, net)
    face = outline(landmarks, mesh.FACE_OVAL)
    lab[..., 0] += 0.22 * (blur(lab, 3) - blur(lab, 26))[..., 0] * blur(face, 8)
    lab[..., 0] += 3.5 * blur(face, 20)
    draw_brows(lab, landmarks)
    draw_irises(lab, landmarks)
    add_grain(lab, landmarks)
    lab, landmarks = tapered(lab, landmarks, style.taper)
    return with_hair(lab, landmarks, style)


# ----------------------------------------------------------------------------------- masks


def outline(points: Floats, ring: Sequence[int], feather: float = 0.0) -> Floats:
    """Return [SIZE, SIZE] 1 inside the closed outline `ring` of `points`."""
    return filled(points[list(ring), :2], feather)


def filled(corners: Floats, feather: float = 0.0) -> Floats:
    """Return [SIZE, SIZE] 1 inside a polygon [N, 2], anti-aliased."""
    fine = np.zeros((4 * SIZE, 4 * SIZE), np.uint8)
    cv2.fillPoly(fine, [np.round((corners * 4 - 0.5) * 16).astype(np.int32)], 255, cv2.LINE_AA, 4)
    small = cv2.resize(fine, (SIZE, SIZE), interpolation=cv2.INTER_AREA)
    return blur(small.astype(np.float32) / 255, feather)


def parts_mask(points: Floats, parts: Sequence[str], grow: int) -> Floats:
    """Return [SIZE, SIZE] 1 on the named parts, enlarged by a square of `grow` px."""
    rings = [ring for part in parts for ring in mesh.outlines(part)]
    return np.max([cv2.dilate(outline(points, r), np.ones((grow, grow))) for r in rings], axis=0)


def depth(mask: Floats) -> Floats:
    """Return [SIZE, SIZE] the distance into a mask, pixels."""
    return cv2.distanceTransform((mask > 0.5).astype(np.uint8), cv2.DIST_L2, 5)


def noise(seed: int) -> Floats:
    """Return [SIZE, SIZE] white noise."""
    return np.random.default_rng(seed).standard_normal((SIZE, SIZE)).astype(np.float32)


def strands(dx: Floats, dy: Floats, length: int, width: float, seed: int) -> Floats:
    """Return [SIZE, SIZE] noise smeared along a direction field, deviation 1: hair.

    Source: Cabral and Leedom, "Imaging vector fields using line integral convolution", 1993.
    """
    grain = blur(noise(seed), width)
    norm = np.maximum(np.hypot(dx, dy), 1e-6)
    field = [(part / norm).astype(np.float32) for part in (dx, dy)]
    total = grain.copy()
    for sign in (1, -1):
        x, y = X - 0.5, Y - 0.5
        for _ in range(length):
            step = [cv2.remap(f, x, y, 1, borderMode=cv2.BORDER_REPLICATE) for f in field]
            x, y = x + sign * step[0], y + sign * step[1]
            total += cv2.remap(grain, x, y, 1, borderMode=cv2.BORDER_REFLECT_101)
    return total / total.std()


# -------------------------------------------------------------------------------- the face


def relit(lab: Floats, points: Floats) -> Floats:
    """Even out half of the slow differences in tone and light across the face."""
    face = outline(points, mesh.FACE_OVAL)
    bare = 1 - parts_mask(points, ("eyes", "brows", "mouth"), 19)
    weight = (cv2.erode(face, np.ones((25, 25))) * bare)[..., None]
    slow = blur(lab * weight, 38) / np.maximum(blur(weight[..., 0], 38), 1e-3)[..., None]
    mean = (lab * weight).sum(axis=(0, 1)) / weight.sum()
    return lab + 0.55 * smoothstep(depth(face) / 40)[..., None] * (mean - slow)


def with_bare_temples(lab: Floats, points: Floats) -> Floats:
    """Replace hair that hangs over the mesh by skin: it would come along with a brow."""
    face = outline(points, mesh.FACE_OVAL)
    bare = 1 - parts_mask(points, ("eyes", "brows", "mouth", "nose"), 23)
    tone = np.median(lab[face * bare > 0.5], axis=0)
    dark = np.maximum((tone[0] - blur(lab, 5)[..., 0]) / 9 - 0.6, 0)
    skin = np.exp(-(dark**2)) * cv2.erode(face, np.ones((21, 21))) * bare
    near = blur(lab * skin[..., None], 24) / np.maximum(blur(skin, 24), 1e-3)[..., None]
    share = 0.9 * (1 - skin) * blur(bare, 6) * smoothstep(depth(face) / 30)
    return lab + share[..., None] * (near - lab)


def without_creases(lab: Floats, points: Floats) -> Floats:
    """Smooth the folds that smiles leave beside the nose and under the eyes: they end at a part's
    rim, and would stop there in whoever has none.
    """
    parts = parts_mask(points, ("eyes", "brows", "mouth"), 15)
    wings = cv2.erode(parts_mask(points, ("nose",), 1), np.ones((15, 15)))
    face = outline(points, mesh.FACE_OVAL)
    skin = np.clip(cv2.erode(face, np.ones((15, 15))) - np.maximum(parts, blur(wings, 5)), 0, 1)
    fine, wide = (
        blur(lab * skin[..., None], sigma) / np.maximum(blur(skin, sigma), 1e-3)[..., None]
        for sigma in (1.5, 20)
    )
    share = 0.7 * blur(skin, 4) * skin * smoothstep(depth(face) / 60)
    return lab + share[..., None] * (wide - fine)


def sharpened(lab: Floats, net: RRDBNet) -> Floats:
    """Let Real-ESRGAN draw the face's edges again, from half the size."""
    top, bottom, left, right = SHARPENED
    rgb = from_lab(lab).astype(np.float32) / 255
    part = rgb[top:bottom, left:right]
    half = cv2.resize(part, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    large = net.enlarge(half)
    drawn = cv2.resize(large, part.shape[1::-1], interpolation=cv2.INTER_AREA)
    share = np.zeros(part.shape[:2], np.float32)
    share[24:-24, 24:-24] = 0.8
    part += blur(share, 9)[..., None] * (drawn - part)
    return to_lab(rgb)


def draw_brows(lab: Floats, points: Floats) -> None:
    """Draw, in place, single hairs into the brows: upwards at the nose, then outwards."""
    for ring, out in ((mesh.RIGHT_BROW, -1), (mesh.LEFT_BROW, 1)):
        centre = points[list(ring), 0].mean()
        near = blur(cv2.dilate(outline(points, ring), np.ones((9, 9))), 4)
        dark = near * np.clip((blur(lab[..., 0], 14) - lab[..., 0]) / 12, 0, 1)
        along = np.clip((X - centre) * out / (0.56 * IOD) + 0.5, 0, 1)
        angle = np.radians(62 - 80 * along)
        hairs = strands(out * np.cos(angle), -np.sin(angle), 7, 0.5, seed=11)
        lab[..., 0] += dark * (3.6 * hairs - 1.5)


def draw_irises(lab: Floats, points: Floats) -> None:
    """Paint, in place, both irises anew: averaging leaves none. Brown, with one catchlight."""
    turns = np.linspace(-np.pi, np.pi, 721)
    ray = np.random.default_rng(3).standard_normal(720)
    ray = np.convolve(np.tile(ray, 3), np.hanning(19), "same")[720:1441]
    ray /= ray.std()
    eyes = ((mesh.RIGHT_IRIS, mesh.RIGHT_EYE_LIDS), (mesh.LEFT_IRIS, mesh.LEFT_EYE_LIDS))
    for iris, lids in eyes:
        centre, rim = points[iris[0], :2], points[list(iris[1:]), :2]
        radius = float(np.linalg.norm(rim - centre, axis=1).mean())
        x, y = (X - centre[0]) / radius, (Y - centre[1]) / radius
        away = np.hypot(x, y)
        opening = outline(points, lids, 1.2)
        ring = smoothstep((away - 0.36) / 0.16) * smoothstep((1 - away) / 0.22)
        rays = np.interp(np.arctan2(y, x), turns, ray)
        light = 24 + 5 * smoothstep((away - 0.4) / 0.4) + ring * (2.6 * rays + 3.5)
        light += 6 * smoothstep(0.8 * y + 0.3) * ring
        light *= 1 - 0.45 * smoothstep((away - 0.78) / 0.25)
        pupil = 1 - smoothstep((away - 0.34) / 0.12)
        light += pupil * (7 - light)
        light *= 1 - 0.45 * blur(1 - opening, 4.5) * (y < 0.3)  # the upper lid's shadow
        tint = 1 - 0.8 * pupil
        colour = np.stack(
            [light, (6 + 2 * ring) * tint, (9 + 5 * ring * (1 - 0.5 * away)) * tint], axis=-1
        )
        disc = opening * (1 - smoothstep((away - 0.94) / 0.14))
        lab += disc[..., None] * (colour - lab)
        spark = np.exp(-((((x + 0.26) ** 2 + (y + 0.3) ** 2) / 0.17**2) ** 1.5))
        lab[..., 0] += 0.9 * opening * spark * (92 - lab[..., 0])
        lab[..., 0] += 6 * opening * np.exp(-((x - 0.3) ** 2 + (y - 0.42) ** 2) / 0.3**2)


def add_grain(lab: Floats, points: Floats) -> None:
    """Add, in place, the fine texture of skin."""
    eyes = np.maximum(outline(points, mesh.RIGHT_EYE_LIDS), outline(points, mesh.LEFT_EYE_LIDS))
    smooth = np.maximum(cv2.dilate(eyes, np.ones((7, 7))), 0.6 * outline(points, mesh.LIPS_OUTER))
    skin = outline(points, mesh.FACE_OVAL, 4) * (1 - blur(smooth, 3))
    fine, broad = blur(noise(5), 0.9) - blur(noise(5), 2.2), blur(noise(6), 2) - blur(noise(6), 5)
    spots = blur(noise(8), 9)
    spots /= spots.std()
    lab[..., 0] += skin * (0.42 * fine / fine.std() + 0.38 * broad / broad.std() + 0.25 * spots)
    lab[..., 1] += skin * 0.35 * spots


def tapered(lab: Floats, points: Floats, amount: float) -> tuple[Floats, Floats]:
    """Make the face a little narrower towards the chin; return picture and landmarks."""
    start, chin = points[2, 1] - 0.5 * IOD, points[mesh.CHIN, 1]

    def width(y: Floats) -> Floats:
        return 1 - amount * (0.022 + 0.075 * smoothstep((y - start) / (chin - start)))

    x = (MIDDLE + (X - MIDDLE) / width(Y)).astype(np.float32)
    moved = points.copy()
    moved[:, 0] = MIDDLE + (points[:, 0] - MIDDLE) * width(points[:, 1])
    picture = cv2.remap(lab, x - 0.5, Y - 0.5, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    return picture, moved


# ------------------------------------------------------------------------------- around it


def with_hair(lab: Floats, points: Floats, style: Style) -> Floats:
    """Put the face before painted hair, a neck and a studio's grey."""
    top, chin = points[mesh.FOREHEAD, 1], points[mesh.CHIN, 1]
    middle = top + 0.42 * (chin - top)
    half = float(np.ptp(points[list(mesh.FACE_OVAL), 0])) / 2
    away = np.clip(np.hypot(X - MIDDLE, Y - 0.4 * SIZE) / (0.7 * SIZE), 0, 1.2)
    out = _colour(70 - 26 * away**1.6, -0.5, -2.5)
    hair, cover, locks = _hair(top, middle, chin, half, style)
    out += cover[..., None] * (hair - out)
    neck, cover = _neck(lab, chin, half)
    out += cover[..., None] * (neck - out)
    # The face reaches up to the hairline, which the mean shows as a blur only.
    oval = points[list(mesh.FACE_OVAL), :2].copy()
    bend = middle - 0.35 * IOD
    up = np.clip((bend - oval[:, 1]) / (bend - top), 0, 1)
    oval[:, 1] -= 0.2 * IOD * up**1.3
    oval[:, 0] += 0.02 * (oval[:, 0] - MIDDLE)
    shape = filled(oval)
    inside = depth(shape) - depth(1 - shape)
    upper = smoothstep((middle - Y) / (0.5 * IOD))
    line = smoothstep((top + 0.15 * IOD - Y) / (0.3 * IOD))
    edge = inside - 3 + 12 * upper * (1 - line) + line * (4 + 3.5 * locks)
    cover = smoothstep(edge / (4 + 8 * upper + 8 * line) + 0.35)
    rows, columns = slice(int(top + 10), int(top + 50)), slice(int(MIDDLE - 60), int(MIDDLE + 60))
    skin = np.median(lab[rows, columns].reshape(-1, 3), axis=0)
    dark = smoothstep((blur(skin[0] - lab[..., 0], 4) - 4) / 8) * smoothstep((top + 40 - Y) / 60)
    face = lab + dark[..., None] * (skin - lab)
    face[..., 0] -= (5 + 4 * upper) * np.exp(-np.maximum(inside, 0) / 22)
    return out + cover[..., None] * (face - out)


def _colour(light: Floats, a: Floats | float, b: Floats | float) -> Floats:
    return np.stack(np.broadcast_arrays(light, a, b), axis=-1).astype(np.float32)


def _hair(
    top: float, middle: float, chin: float, half: float, style: Style
) -> tuple[Floats, Floats, Floats]:
    """Return combed-back hair, where it is, and its strands."""
    height = np.where(middle > Y, 0.68, 0.8) * (chin - top)
    ex, ey = (X - MIDDLE) / (1.27 * style.volume * half), (Y - middle) / height
    across = (X - MIDDLE) / half
    side = smoothstep((np.abs(across) - 0.15) / 1.0)
    dx = -ey * (0.35 + 0.65 * side) * np.sign(across + 1e-5) + 0.75 * (1 - side) * across
    dy = np.abs(ex) * (0.25 + 0.75 * side) - 0.75 * (1 - side)
    thin, thick = strands(dx, dy, 40, 0.55, seed=21), strands(dx, dy, 60, 1.8, seed=22)
    reach = np.hypot(ex, ey)
    loose = 0.25 + 0.75 * smoothstep((Y - top - 0.2 * IOD) / (1.2 * IOD))
    cover = smoothstep((1 - reach - loose * (0.010 * thin + 0.014 * thick)) / 0.055)
    end = middle + style.hair_end * (chin + 10 - middle)
    cover *= smoothstep((end + 6 * thick - Y) / 70)
    sheen = np.exp(-(((reach - 0.86) / 0.06) ** 2)) * smoothstep((middle - 0.1 * IOD - Y) / 60)
    light = 19 + 2.6 * thin + 2.4 * thick + 8 * sheen
    light -= 6 * smoothstep((Y - middle) / (chin - middle))
    return _colour(light, 5.5 + 0.10 * light, 8.5 + 0.22 * light), cover, thin + thick


def _neck(lab: Floats, chin: float, half: float) -> tuple[Floats, Floats]:
    """Return a round neck in the shadow of the chin, and where it is."""
    rows, columns = slice(int(chin + 18), int(chin + 40)), slice(int(MIDDLE - 50), int(MIDDLE + 50))
    tone = np.median(blur(lab, 6)[rows, columns].reshape(-1, 3), axis=0)
    side = np.abs(X - MIDDLE) / (half * (0.6 + 0.1 * np.clip((Y - chin) / 60, -0.2, 1)))
    light = (1 - 0.38 * np.clip(side, 0, 1) ** 2.5) * (
        1 - 0.3 * np.exp(-np.maximum(Y - chin, 0) / 34)
    )
    cover = smoothstep((1 - side) / 0.1) * smoothstep((Y - chin + 90) / 20)
    return _colour((0.5 * tone[0] + 28) * light, 0.8 * tone[1], 0.75 * tone[2]), cover
