"""Make `fapvideo/assets/brand_face.png`: nobody's face, a mesh-aligned mean of many.

    python scripts/make_brand_face.py CACHE_FOLDER

Photos: the pinned CelebA sample (`fapvideo train` fetches the same), non-commercial research only;
none of them is kept. Takes a quarter of an hour on a CPU
core, nearly all of it enlarging the photos, which CACHE_FOLDER keeps for the next time.

1. Enlarge each face four times, and measure its mesh, also mirrored.
2. Warp every face to the mean shape of all, lips closed, irises in the middle.
3. Bring all to the same skin tone; average robustly: hair over the skin and other outliers count
   little. Align the faces to the mean by optical flow, three times over.
4. Give the mean back the contrast that averaging took from its fine bands.
5. `brand_face_finish`: light, sharpness, irises, brows, skin grain, hair and backdrop.
"""

from __future__ import annotations

import sys
from pathlib import Path

import brand_face_finish as finish
import cv2
import numpy as np
import torch
from brand_face_finish import IOD, SIZE, from_lab, outline, to_lab

from fapvideo.config.train import load_train_preset
from fapvideo.guide.warp import source_map, triangle_map
from fapvideo.nets.realesrgan import RRDBNet
from fapvideo.ops import mesh
from fapvideo.ops.geometry import similarity_matrix
from fapvideo.ops.image import blur, signed_distance, smoothstep, soft_edge
from fapvideo.ops.pose import head_pose
from fapvideo.structs import Bytes, Floats
from fapvideo.synth.motion import open_mouth
from fapvideo.track.finder import FaceFinder
from fapvideo.track.landmarks import FaceMesh
from fapvideo.training.faces.sets import fetch
from fapvideo.training.learning.pretrained import load_enlarger

# Chosen by measure (mesh: yaw under 16 and pitch under 14 degrees, lips less than 0.07 and mouth
# corners less than 0.88 inter-ocular distances apart, eyes open), then by eye: no glasses, no hair
# over the brows, no beard, little make-up, even light. No photo that training holds out.
WOMEN = (
    19, 22, 26, 34, 35, 92, 103, 157, 165, 222, 259, 267, 278, 287, 288, 289, 303, 396, 415, 442,
    476, 480, 505, 510, 516, 610, 640, 653, 699, 715, 742, 758, 783, 890, 914,
)  # fmt: skip
MEN = (
    16, 33, 55, 64, 115, 164, 203, 255, 286, 362, 368, 559, 622, 652, 712, 723, 730, 732, 813, 858,
    913, 975, 977, 990,
)  # fmt: skip
MEN_WEIGHT = 1.3
MARGIN = 0.12
"""Around the mesh, in shares of its size: what is enlarged."""
OUT = Path(__file__).parent.parent / "fapvideo" / "assets" / "brand_face.png"

FARTHEST_GAZE = np.array([0.1, 0.03])
"""Largest shift of an iris, (x, y) inter-ocular distances: beyond it the lid would be drawn in the
eye, and irises of blurred or half-closed eyes are measured badly."""
Face = tuple[Bytes, Floats]
"""An enlarged photo and its landmarks [478, 3]."""


def load_face(path: Path, cache: Path, finder: FaceFinder, net: RRDBNet) -> Face:
    """Return one photo, four times as large, the face by the network, and its landmarks."""
    photo = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
    landmarks = finder(photo)[0].landmarks
    kept = cache / f"{path.stem}.npz"
    if not kept.exists():
        low, high = landmarks[:468, :2].min(axis=0), landmarks[:468, :2].max(axis=0)
        x0, y0 = np.maximum(np.floor(low - MARGIN * (high - low)), 0).astype(int)
        x1, y1 = np.ceil(high + MARGIN * (high - low)).astype(int)
        large = net.enlarge(photo[y0:y1, x0:x1] / 255.0)
        np.savez(kept, rgb=np.round(large * 255).astype(np.uint8), x0=x0, y0=y0)
    part = np.load(kept)
    x0, y0 = 4 * int(part["x0"]), 4 * int(part["y0"])
    height, width = part["rgb"].shape[:2]
    whole = cv2.resize(photo, None, fx=4, fy=4, interpolation=cv2.INTER_CUBIC).astype(np.float32)
    soft = np.zeros((height, width), np.float32)
    soft[12:-12, 12:-12] = 1
    soft = blur(soft, 6)[..., None]
    whole[y0 : y0 + height, x0 : x0 + width] *= 1 - soft
    whole[y0 : y0 + height, x0 : x0 + width] += soft * part["rgb"]
    large = np.clip(whole, 0, 255).astype(np.uint8)
    return large, measure_twice(large, landmarks * 4)


def measure_twice(rgb: Bytes, landmarks: Floats) -> Floats:
    """Return the mean of the landmarks measured in the photo and in its mirror image."""
    face_mesh, turn = FaceMesh(), mesh.mirror()
    offset = np.array([rgb.shape[1], 0, 0])
    first = face_mesh.from_landmarks(rgb, landmarks).landmarks
    start = (first[turn] * [-1, 1, 1] + offset).astype(np.float32)
    flipped = face_mesh.from_landmarks(np.ascontiguousarray(rgb[:, ::-1]), start).landmarks
    return ((first + flipped[turn] * [-1, 1, 1] + offset) / 2).astype(np.float32)


def mean_shape(faces: list[Face]) -> Floats:
    """Return [478, 3] the faces' mean shape, symmetric, frontal, lips closed, in the picture."""
    heads = [head_pose(points).to_head(points) for _, points in faces]
    head = np.mean(heads, axis=0).astype(np.float64)
    head = (head + head[mesh.mirror()] * [-1, 1, 1]) / 2
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


def main(cache: Path) -> None:
    """Make the picture."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    cache.mkdir(parents=True, exist_ok=True)
    photos = {int(path.stem): path for path in fetch("celeba_sample", cache / "sets")}
    finder = FaceFinder()
    net = load_enlarger(load_train_preset("embedded_256"), cache / "sets")
    assert net is not None  # that preset enlarges
    faces = [load_face(photos[number], cache, finder, net) for number in WOMEN + MEN]
    shares = np.array([1.0] * len(WOMEN) + [MEN_WEIGHT] * len(MEN))
    mean, landmarks = mean_face(faces, shares)
    picture = finish.finished(mean.astype(np.float32), landmarks, net)
    cv2.imwrite(str(OUT), cv2.cvtColor(from_lab(picture), cv2.COLOR_RGB2BGR))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
