"""Make brand faces: nobody's face, a mesh-aligned mean of portraits in the public domain.

    python scripts/make_brand_face.py OUTPUT_FOLDER [--look woman] [--plain]

Photos: the set `us_congress` (docs/data.md); none of them is kept, and none that training holds
out is in a mean. Three looks: `woman`, `man`, and `brand`, the mean of both. A minute or two a look
on a CPU core, and as much again for Real-ESRGAN, which `--plain` does without.

1. Bring each photo to the picture's scale, and measure its mesh, also mirrored.
2. Warp every face to the mean shape of all, lips closed and relaxed, irises in the middle.
3. Bring all to the same skin tone; average robustly: hair over the skin and other outliers count
   little. Align the faces to the mean by optical flow, three times over.
4. Give the mean back the contrast that averaging took from its fine bands.
5. `brand_face_finish`: light, folds, sharpness, irises, brows, skin grain, hair and backdrop.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import brand_face_finish as finish
import cv2
import numpy as np
import torch
from brand_face_finish import IOD, SIZE, from_lab, outline, to_lab

from fapvideo.config.train import load_train_preset
from fapvideo.guide.warp import source_map, triangle_map
from fapvideo.ops import mesh
from fapvideo.ops.geometry import similarity_matrix
from fapvideo.ops.image import blur, signed_distance, smoothstep, soft_edge
from fapvideo.ops.pose import head_pose
from fapvideo.structs import Bytes, Floats
from fapvideo.synth.motion import open_mouth, smile
from fapvideo.track.finder import FaceFinder
from fapvideo.track.landmarks import FaceMesh
from fapvideo.training.faces.sets import fetch, sets_folder
from fapvideo.training.learning.pretrained import load_enlarger

# Chosen by measure (45 px and more between the eyes, yaw under 14 degrees, trained on), then by
# eye: no glasses, no hair over the brows, no beard, even light, of any origin. Official portraits
# smile: lips are closed by the mean shape, not by the choice.
WOMEN = (
    "020701", "020752", "021149", "021501", "021530", "021538", "021738", "021752", "021919",
    "021928", "021941", "021964", "021972", "021977", "022107", "022121", "022122", "022124",
    "022138", "022155", "022157", "022159", "041904",
)  # fmt: skip
MEN = (
    "015607", "020914", "020918", "021104", "021154", "021309", "021333", "021525", "021543",
    "021714", "021720", "021728", "021730", "021735", "021740", "021745", "021901", "021916",
    "021923", "021930", "021951", "021967", "021974", "021988", "022109",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Look:
    """Whose mean a brand face is, and how it is finished."""

    women: float
    """Weight of each woman's face."""
    men: float
    style: finish.Style


LOOKS = {
    "brand": Look(1.0, 0.7, finish.Style()),
    "woman": Look(1.0, 0.0, finish.Style()),
    "man": Look(0.0, 1.0, finish.Style(hair_end=-0.1, taper=0.0, volume=0.9)),
}
RELAXED = 0.8
"""Distance of the corners of a mouth at rest, inter-ocular distances."""
SMILED = 0.18
"""By how much `synth.motion.smile` at 1 takes them apart."""

FARTHEST_GAZE = np.array([0.1, 0.03])
"""Largest shift of an iris, (x, y) inter-ocular distances: beyond it the lid would be drawn in the
eye, and irises of blurred or half-closed eyes are measured badly."""
Face = tuple[Bytes, Floats]
"""An enlarged photo and its landmarks [478, 3]."""


def load_face(path: Path, finder: FaceFinder) -> Face:
    """Return one photo at the picture's scale, and its landmarks."""
    photo = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
    landmarks = finder(photo)[0].landmarks
    scale = IOD / mesh.interocular(landmarks)
    large = cv2.resize(photo, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    return large, measure_twice(large, landmarks * scale)


def measure_twice(rgb: Bytes, landmarks: Floats) -> Floats:
    """Return the mean of the landmarks measured in the photo and in its mirror image."""
    face_mesh, turn = FaceMesh(), mesh.mirror()
    offset = np.array([rgb.shape[1], 0, 0])
    first = face_mesh.from_landmarks(rgb, landmarks).landmarks
    start = (first[turn] * [-1, 1, 1] + offset).astype(np.float32)
    flipped = face_mesh.from_landmarks(np.ascontiguousarray(rgb[:, ::-1]), start).landmarks
    return ((first + flipped[turn] * [-1, 1, 1] + offset) / 2).astype(np.float32)


def mean_shape(faces: list[Face]) -> Floats:
    """Return [478, 3] the faces' mean shape, symmetric, frontal, mouth at rest, in the picture."""
    heads = [head_pose(points).to_head(points) for _, points in faces]
    head = np.mean(heads, axis=0).astype(np.float64)
    head = (head + head[mesh.mirror()] * [-1, 1, 1]) / 2
    wide = float(np.linalg.norm(head[mesh.MOUTH_CORNERS[0]] - head[mesh.MOUTH_CORNERS[1]]))
    smile(head, (RELAXED - wide) / SMILED)
    open_mouth(head, 0.004)
    return (head * IOD + [SIZE / 2, 0.445 * SIZE, 0]).astype(np.float32)


def steer_gaze(
    where: Floats, points: Floats, source: Floats, interocular: float, strength: float = 1.0
) -> Floats:
    """Shift the sampling inside the eyes so that the reference's irises look where the target's do.

    Args:
        where: [S, S, 2] sampling map from `source_map`.
        points: [478, >=2] destination landmarks; their irises are the target's.
        source: [478, >=2] landmarks of the reference.
        interocular: in destination pixels.
        strength: 0 keeps the reference's gaze.
    """
    size = where.shape[0]
    eyes = ((mesh.RIGHT_EYE_LIDS, 468), (mesh.LEFT_EYE_LIDS, 473))
    unit = mesh.interocular(source[:, :2])
    offsets = []
    for _, iris in eyes:
        column, row = (int(np.clip(value, 0, size - 1)) for value in points[iris, :2])
        offsets.append((source[iris, :2] - where[row, column]) / unit)
    # Both eyes look the same way; the mean of two measurements is the steadier one.
    offset = np.clip(np.mean(offsets, axis=0), -FARTHEST_GAZE, FARTHEST_GAZE) * unit * strength
    out = where.copy()
    flat = out.reshape(-1, 2)
    for lids, _ in eyes:
        distance = signed_distance([points[list(lids), :2]], size, 0.0).ravel()
        inside = np.flatnonzero(distance < 0)
        weight = soft_edge(distance[inside], -0.06 * interocular, 0.06 * interocular)
        flat[inside] += weight[:, None] * offset.astype(np.float32)
    return out


def warped(face: Face, target: Floats) -> Floats:
    """Return float32 [SIZE, SIZE, 3] Lab: the face warped to `target`, its surroundings along."""
    rgb, points = face
    ids = triangle_map(target, SIZE)
    inside = steer_gaze(source_map(target, points, ids), target, points, IOD)
    base = similarity_matrix(target[:468, :2], points[:468, :2])
    oval = list(mesh.FACE_OVAL)
    step = 8
    axis = (np.arange(SIZE // step + 2) - 0.5) * step
    pixels = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    ring = target[oval, :2].astype(np.float64)
    shift = points[oval, :2] - (ring @ base[:, :2].T + base[:, 2])
    squared = ((pixels[:, None] - ring[None]) ** 2).sum(axis=-1) + 1e-3
    weights = squared**-1.5
    fade = smoothstep(1 - np.sqrt(squared.min(axis=1)) / IOD / 2)[:, None]
    field = pixels @ base[:, :2].T + base[:, 2]
    field += fade * (weights @ shift) / weights.sum(axis=1, keepdims=True)
    field = field.reshape(len(axis), len(axis), 2).astype(np.float32)
    outside = cv2.resize(field, None, fx=step, fy=step)[step : step + SIZE, step : step + SIZE]
    depth = cv2.distanceTransform((ids >= 0).astype(np.uint8), cv2.DIST_L2, 5)
    where = outside + smoothstep((depth - 1) / 8)[..., None] * (inside - outside)
    x, y = where[..., 0] - 0.5, where[..., 1] - 0.5
    picture = cv2.remap(rgb, x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    return to_lab(picture / 255.0)


def same_tone(faces: list[Floats], skin: Floats) -> tuple[Floats, Floats]:
    """Bring all faces to the median skin tone and contrast; return them and that tone [3]."""
    means = np.array([np.median(face[skin], axis=0) for face in faces])
    spreads = np.array([face[skin].std(axis=0) for face in faces])
    tone, spread = np.median(means, axis=0), np.median(spreads, axis=0)
    gains = np.clip(spread / spreads, [0.7, 0.8, 0.8], [1.3, 1.2, 1.2])
    moved = [
        (face - mean) * gain + tone for face, mean, gain in zip(faces, means, gains, strict=True)
    ]
    return np.stack(moved).astype(np.float32), tone


def trust(faces: Floats, tone: Floats, skin: Floats, shares: Floats) -> Floats:
    """Return [N, S, S] weights: where skin belongs, pixels that look like skin count."""
    out = np.empty(faces.shape[:3], np.float32)
    for number, face in enumerate(faces):
        off = np.maximum(np.abs(blur(face, 4) - tone) / [16, 9, 9] - 0.5, 0)
        like = np.exp(-(off**2).sum(axis=-1))
        out[number] = shares[number] * blur((1 - skin + skin * like).astype(np.float32), 5) + 1e-3
    return out


def robust_mean(faces: Floats, weights: Floats) -> Floats:
    """Return [S, S, 3] the weighted mean, twice reweighted by Tukey's biweight."""
    out = np.empty(faces.shape[1:], np.float32)
    for top in range(0, SIZE, 32):
        rows, w = faces[:, top : top + 32], weights[:, top : top + 32, :, None]
        mean = (rows * w).sum(axis=0) / w.sum(axis=0)
        for _ in range(2):
            off = np.abs(rows - mean) / [14, 7, 7]
            k = w * np.clip(1 - (off / 2.2) ** 2, 0, 1) ** 2
            mean = (rows * k).sum(axis=0) / np.maximum(k.sum(axis=0), 1e-4)
        out[top : top + 32] = mean
    return out


def congealed(faces: Floats, mean: Floats, inside: Floats) -> Floats:
    """Return the faces moved by smooth flow, at most 6 px, so that they agree with `mean`."""
    flow = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)

    def grey(lab: Floats) -> Bytes:
        return np.clip(lab[..., 0] * 2.55, 0, 255).astype(np.uint8)

    flows = [blur(flow.calc(grey(mean), grey(blur(face, 1.5)), None), 6) for face in faces]
    drift = np.median(np.stack(flows), axis=0)  # the mean itself shall not wander
    x, y = np.meshgrid(np.arange(SIZE, dtype=np.float32), np.arange(SIZE, dtype=np.float32))
    out = []
    for face, found in zip(faces, flows, strict=True):
        move = found - drift
        length = np.linalg.norm(move, axis=-1, keepdims=True)
        move = move * np.minimum(1, 6 / np.maximum(length, 1e-3)) * inside[..., None]
        picture = cv2.remap(
            face,
            x + move[..., 0],
            y + move[..., 1],
            cv2.INTER_CUBIC,
            borderMode=cv2.BORDER_REPLICATE,
        )
        out.append(picture)
    return np.stack(out)


def bands(picture: Floats) -> tuple[list[Floats], Floats]:
    """Return five difference-of-Gaussian bands from fine to coarse, and what is left."""
    found, rest = [], picture
    for level in range(5):
        low = blur(rest, 1.2 * 2**level)
        found.append(rest - low)
        rest = low
    return found, rest


def with_contrast(mean: Floats, faces: Floats, inside: Floats) -> Floats:
    """Raise each band of the mean towards the local contrast of a single face."""
    own, rest = bands(mean)
    wanted = np.zeros((len(own), SIZE, SIZE), np.float32)
    for face in faces:
        for level, band in enumerate(bands(face)[0]):
            wanted[level] += blur(band[..., 0] ** 2, 14) / len(faces)
    for band, energy, limit in zip(own, wanted, (2.0, 2.0, 1.6, 1.25, 1.05), strict=True):
        have = np.sqrt(blur(band[..., 0] ** 2, 14))
        gain = blur(np.clip(np.sqrt(energy) / np.maximum(have, 0.05), 1, limit), 10)
        rest = rest + band * (1 + 0.8 * (gain - 1) * inside)[..., None]
    return rest


def mean_face(faces: list[Face], shares: Floats) -> tuple[Floats, Floats]:
    """Return the mean face, Lab [SIZE, SIZE, 3], and its landmarks [478, 3]."""
    target = mean_shape(faces)
    oval = outline(target, mesh.FACE_OVAL)
    parts = finish.parts_mask(target, ("eyes", "brows", "mouth"), 19)
    bare = finish.parts_mask(target, ("eyes", "brows", "mouth"), 25)
    stack, tone = same_tone([warped(face, target) for face in faces], oval * (1 - bare) > 0.5)
    inside = blur(cv2.erode(oval, np.ones((31, 31))), 10)
    skin = oval * (1 - blur(parts, 6))
    mean = robust_mean(stack, trust(stack, tone, skin, shares))
    for _ in range(3):
        stack = congealed(stack, mean, inside)
        mean = robust_mean(stack, trust(stack, tone, skin, shares))
    return 0.35 * mean + 0.65 * with_contrast(mean, stack, inside), target


def main() -> None:
    """Make the pictures."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("output", type=Path)
    parser.add_argument("--look", choices=LOOKS, action="append", help="by default all")
    parser.add_argument("--plain", action="store_true", help="without Real-ESRGAN: for a glance")
    given = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    given.output.mkdir(parents=True, exist_ok=True)
    sets = sets_folder()
    photos = {path.stem: path for path in fetch("us_congress", sets)}
    net = None if given.plain else load_enlarger(load_train_preset("embedded_256"), sets)
    finder = FaceFinder()
    for name in given.look or LOOKS:
        look = LOOKS[name]
        people = WOMEN * (look.women > 0) + MEN * (look.men > 0)
        shares = np.array([look.women if each in WOMEN else look.men for each in people])
        mean, landmarks = mean_face([load_face(photos[each], finder) for each in people], shares)
        picture = finish.finished(mean.astype(np.float32), landmarks, net, look.style)
        file = given.output / ("brand_face.png" if name == "brand" else f"brand_{name}.png")
        cv2.imwrite(str(file), cv2.cvtColor(from_lab(picture), cv2.COLOR_RGB2BGR))


if __name__ == "__main__":
    main()
