"""Things that get in front of faces, drawn: hands, hair, glasses, microphones.

Nothing here is a photo, but each thing has what makes it look like one at the size of a crop: it is
modelled as a surface under a light, coloured by the face it covers, as soft as the picture, and
casts a shadow. Drawn larger than needed and reduced, so that edges are smooth.
"""

from __future__ import annotations

import cv2
import numpy as np

from fapvideo.ops import mesh
from fapvideo.ops.image import blur, luma, resize, smoothstep
from fapvideo.ops.pose import head_pose
from fapvideo.structs import Floats
from fapvideo.training.samples.drawing import (
    FINER,
    Scene,
    Thing,
    covered,
    exposed,
    filled,
    grid,
    lit,
    mottle,
    pixel,
    reduced,
    spark,
    stroke,
    tube,
    turned,
)

HAIR = ((20, 17, 15), (45, 32, 24), (82, 58, 38), (120, 84, 48), (176, 138, 88), (150, 148, 146))
"""Black, dark brown, brown, auburn, blond, grey; sRGB."""
FRAMES = ((18, 17, 18), (24, 22, 26), (70, 42, 24), (120, 98, 60), (104, 104, 110), (60, 22, 28))
"""Black twice, horn, gold, steel, red; sRGB."""
MICROPHONES = ((28, 28, 30), (40, 40, 44), (120, 122, 126), (160, 160, 162))
FINGERS = (0.9, 1.0, 0.94, 0.78)
"""Lengths from the index to the little finger, relative to the middle one."""


def hand(rng: np.random.Generator, scene: Scene, tip: Floats, away: Floats) -> Thing:
    """Return one to four fingers side by side; the longest one ends at `tip` [2].

    `tip` is in pixels of the enlarged crop, `away` [2] a unit vector from there to the hand.
    """
    width = rng.uniform(0.2, 0.26) * scene.unit
    count = int(rng.integers(1, 5))
    across = np.array([-away[1], away[0]]) * rng.choice([-1, 1])
    height = np.zeros((scene.size, scene.size), np.float32)
    nails = np.zeros_like(height)
    creases = np.zeros_like(height)
    with_nails = rng.random() < 0.7
    fan = rng.uniform(-0.02, 0.1)
    curl = rng.normal(0, 0.1)
    knuckles = tip + away * 5.2 * width
    for number in range(len(FINGERS)):
        place = number - (count - 1) / 2
        curled = 1.0 if number < count else rng.uniform(0.25, 0.4)
        length = FINGERS[number] * 5.2 * width * rng.uniform(0.95, 1.05) * curled
        base = knuckles + across * place * width * 0.98
        along = turned(-away, place * fan if number < count else 0.0)
        middle = base + along * 0.5 * length + across * curl * width * curled
        end = base + along * length
        thick = width / 2 * (0.86 if number == 3 else 1.0)
        height = np.maximum(height, tube(scene.size, (base, middle, end), thick, 0.82 * thick))
        if number < count:
            if with_nails:
                nails = np.maximum(nails, _nail(scene.size, end, along, thick))
            creases = np.maximum(creases, _crease(rng, scene.size, (middle, end), thick))
    back = knuckles + across * (1.5 - (count - 1) / 2) * width * 0.98 + away * 1.5 * width
    flat = 0.4 * tube(scene.size, (back, back + away * 12 * width), 2.0 * width, 1.5 * width)
    height = np.maximum(height, flat)  # the back of the hand is broad and not high
    shade = lit(height, scene, 0.5)
    tone = scene.skin * np.exp(rng.normal(0, 0.08)) * (1.0, *np.exp(rng.normal(0, 0.02, 2)))
    colour = tone * shade[..., None] ** (0.85, 1.05, 1.1)  # light passes through skin, red
    colour *= 1.0 - 0.16 * creases[..., None]
    nail = np.clip(tone * (1.12, 1.04, 1.06) * shade[..., None] + 0.04, 0, 1)
    colour += (nails * 0.75)[..., None] * (nail - colour)
    colour *= 1.0 + mottle(rng, scene.size, 0.05, 0.02)
    return reduced(rng, scene, colour, covered(height), 0.22)


def hair(rng: np.random.Generator, scene: Scene, root: Floats, tip: Floats) -> Thing:
    """Return a lock that hangs from `root` to `tip` [2], and some loose hairs."""
    size, unit = scene.size, scene.unit
    base = _hair_colour(rng, scene)
    length = max(float(np.linalg.norm(tip - root)), 1e-6)
    down = (tip - root) / length
    across = np.array([-down[1], down[0]])
    width = rng.uniform(0.08, 0.28) * unit
    bend = rng.normal(0, 0.14) * length
    colour = np.full((size, size, 3), np.clip(base * 255, 0, 255), np.uint8)
    alpha = np.zeros((size, size), np.uint8)
    t = np.linspace(0, 1, 24)[:, None]
    for number in range(int(rng.integers(50, 120) * width / (0.15 * unit))):
        loose = number % 10 == 9
        spread = rng.normal(0, 1.0 if loose else 0.4) * width
        start = root + across * spread
        stop = tip + across * (spread * rng.uniform(0.2, 1.1)) + down * length * rng.normal(0, 0.09)
        knee = (start + stop) / 2 + across * (bend + rng.normal(0, 0.35 if loose else 0.12) * width)
        line = (1 - t) ** 2 * start + 2 * t * (1 - t) * knee + t**2 * stop
        points = [np.round(line * 16).astype(np.int32)]
        thick = max(1, round(unit * (0.005 if loose else 0.01)))
        tone = np.clip(base * np.exp(rng.normal(0, 0.3)) * 255, 0, 255)
        cv2.polylines(colour, points, False, tone.tolist(), thick, cv2.LINE_AA, 4)
        cv2.polylines(alpha, points, False, 150 if loose else 215, thick, cv2.LINE_AA, 4)
    cover = alpha.astype(np.float32) / 255
    cover = np.maximum(cover, smoothstep(1.5 * blur(cover, 0.014 * unit) - 0.35))
    x, y = grid(size)
    along = ((x - root[0]) * down[0] + (y - root[1]) * down[1]) / length
    shine = 0.85 + 0.35 * np.exp(-(((along - rng.uniform(0.3, 0.7)) / 0.16) ** 2))
    return reduced(rng, scene, colour / 255.0 * shine[..., None], cover, 0.25)


def _hair_colour(rng: np.random.Generator, scene: Scene) -> Floats:
    """Return the colour above the forehead, if that is hair, else one of the usual ones."""
    own = float(np.abs(scene.hair - scene.skin).max()) > 0.2 and float(luma(scene.hair)) < 0.6
    if own and rng.random() < 0.8:
        return scene.hair
    return exposed(scene, HAIR[rng.choice(len(HAIR), p=(0.3, 0.28, 0.2, 0.1, 0.08, 0.04))])


def glasses(rng: np.random.Generator, scene: Scene, *, dark: bool = False) -> Thing:
    """Return glasses on the nose of the scene's face; `dark` ones hide the eyes."""
    size, unit = scene.size, scene.unit
    pose = head_pose(scene.points)
    lenses, bridge, temples = _glasses_shape(rng)

    def drawn(points: Floats) -> Floats:
        return pose.to_image(points)[:, :2]

    tone = exposed(scene, FRAMES[rng.integers(len(FRAMES))])
    thick = unit * (rng.uniform(0.012, 0.025) if luma(tone) > 0.25 else rng.uniform(0.02, 0.075))
    frame = np.zeros((size, size), np.float32)
    for lens in lenses:
        frame = np.maximum(frame, stroke(size, drawn(lens), thick, closed=True))
        if thick > 0.03 * unit:  # the upper rim is the stronger one
            upper = drawn(lens[len(lens) // 2 + 1 :]) - [0, thick / 3]
            frame = np.maximum(frame, stroke(size, upper, thick))
    frame = np.maximum(frame, stroke(size, drawn(bridge), thick))
    for temple in temples:
        frame = np.maximum(frame, stroke(size, drawn(temple), 0.7 * thick))
    glass = np.maximum.reduce([filled(size, drawn(lens)) for lens in lenses])
    tint = np.array([0.05, 0.05, 0.06]) if dark else np.array([0.75, 0.8, 0.85])
    clear = rng.uniform(0.75, 0.95) if dark else rng.uniform(0.0, 0.1)
    ramp = np.linspace(1.0, rng.uniform(0.6, 1.0) if dark else 1.0, size)[:, None]
    glare = _glare(rng, size) * rng.uniform(0.0, 0.35) * float(luma(scene.skin))
    alpha = glass * np.maximum(clear * ramp, glare)
    colour = tint + glare[..., None] * (np.array([0.95, 0.97, 1.0]) - tint)
    rim = tone * lit(blur(frame, thick / 4) * thick, scene, 0.75)[..., None]
    colour = colour + frame[..., None] * (rim - colour)
    thing = reduced(rng, scene, colour, np.maximum(alpha, frame), 0.0)
    fall = np.roll(resize(frame, size // FINER), max(1, round(0.05 * unit / FINER)), axis=0)
    return Thing(thing.colour, thing.alpha, 0.3 * blur(fall, 0.03 * unit / FINER))


def microphone(rng: np.random.Generator, scene: Scene, at: Floats, away: Floats) -> Thing:
    """Return a handheld microphone; its head's middle is `at` [2], its handle goes `away` [2]."""
    size, unit = scene.size, scene.unit
    radius = rng.uniform(0.26, 0.4) * unit
    neck = at + away * radius * 0.9
    grip = tube(size, (neck, neck + away * 6 * radius), 0.62 * radius, 0.45 * radius)
    band = tube(size, (at + away * 0.75 * radius, neck), 0.85 * radius, 0.72 * radius)
    head = tube(size, (at, at + away * rng.uniform(0.0, 0.5) * radius), radius, 0.95 * radius)
    foam = rng.random() < 0.45
    tone = exposed(scene, MICROPHONES[rng.integers(2 if foam else len(MICROPHONES))])
    colour = exposed(scene, MICROPHONES[rng.integers(2)]) * lit(grip, scene, 0.45)[..., None]
    metal = exposed(scene, (130, 130, 135)) * (lit(band, scene, 0.3) ** 2)[..., None]
    colour = np.where((band > 0)[..., None], metal, colour)
    if foam:
        rough = 1 + mottle(rng, size, 0.05, 0.25)[..., 0]
        ball = tone * (lit(head, scene, 0.6) * rough)[..., None]
    else:
        ball = tone * (lit(head, scene, 0.35) * _lattice(rng, head, at, away, radius))[..., None]
        ball = ball + (0.16 * spark(head, scene))[..., None]
    colour = np.where((head > 0)[..., None], ball, colour)
    height = np.maximum(np.maximum(grip, band), head)
    return reduced(rng, scene, colour, covered(height), 0.3)


# -------------------------------------------------------------------------- parts of the things


def _nail(size: int, end: Floats, along: Floats, thick: float) -> Floats:
    centre = end + along * 0.15 * thick
    angle = float(np.degrees(np.arctan2(along[1], along[0])))
    axes = (max(1, round(0.62 * thick)), max(1, round(0.5 * thick)))
    mask = np.zeros((size, size), np.uint8)
    cv2.ellipse(mask, pixel(centre), axes, angle, 0, 360, 255, -1, cv2.LINE_AA)
    return blur(mask.astype(np.float32) / 255, 0.06 * thick)


def _crease(
    rng: np.random.Generator, size: int, joints: tuple[Floats, Floats], thick: float
) -> Floats:
    """Return [size, size] the folds of a finger at its middle and its last joint."""
    first, end = joints
    along = (end - first) / max(float(np.linalg.norm(end - first)), 1e-6)
    across = np.array([-along[1], along[0]])
    out = np.zeros((size, size), np.float32)
    for place in (0.0, 0.5):
        for shift in rng.normal(0, 0.12, 2):
            centre = first + (end - first) * place + along * shift * thick
            t = np.linspace(-0.75, 0.75, 9)[:, None] * thick
            line = centre + across * t + along * (t / thick) ** 2 * 0.12 * thick
            out = np.maximum(out, stroke(size, line, max(1.0, 0.07 * thick)))
    return blur(out, 0.05 * thick)


def _lattice(
    rng: np.random.Generator, head: Floats, at: Floats, away: Floats, radius: float
) -> Floats:
    """Return [S, S] the wire mesh of a microphone's head, which follows its curve."""
    x, y = grid(head.shape[0])
    u = ((x - at[0]) * away[0] + (y - at[1]) * away[1]) / radius
    v = (-(x - at[0]) * away[1] + (y - at[1]) * away[0]) / radius
    wires = rng.uniform(11, 16)
    waves = [np.sin(np.arcsin(np.clip(w, -1, 1)) * wires) for w in (u + v, u - v)]
    return (0.82 + 0.25 * np.maximum(*waves)).astype(np.float32)


def _glasses_shape(rng: np.random.Generator) -> tuple[list[Floats], Floats, list[Floats]]:
    """Return outlines of the lenses, the bridge and the temples, each [N, 3], in the head frame."""
    face = mesh.canonical()
    width, height = rng.uniform(0.33, 0.41), rng.uniform(0.22, 0.34)
    middle, drop = rng.uniform(0.48, 0.54), rng.uniform(-0.01, 0.06)
    power = 2.0 / rng.uniform(2.0, 4.5)
    front = float(face[168, 2]) - 0.06
    angle = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    cos, sin = np.cos(angle), np.sin(angle)
    x = middle + width * np.sign(cos) * np.abs(cos) ** power
    y = drop + height * np.sign(sin) * np.abs(sin) ** power
    z = front + 0.18 * x**2
    lenses: list[Floats] = [np.stack([side * x, y, z], axis=1) for side in (-1, 1)]
    inner = middle - width
    t = np.linspace(-1, 1, 9)
    arch = drop - 0.3 * height - 0.05 * (1 - t**2)
    bridge = np.stack([t * inner, arch, np.full(9, front)], axis=1)
    outer = middle + width
    hinge = np.array([outer, drop - 0.35 * height, front + 0.18 * outer**2])
    ears = ((-1, 127), (1, 356))
    return lenses, bridge, [np.stack([hinge * (side, 1, 1), face[ear]]) for side, ear in ears]


def _glare(rng: np.random.Generator, size: int) -> Floats:
    """Return a soft slanting band of reflected light."""
    x, y = grid(size)
    across = x * np.cos(0.6) + y * np.sin(0.6)
    return np.exp(-(((across - rng.uniform(0.3, 1.1) * size) / (0.08 * size)) ** 2))
