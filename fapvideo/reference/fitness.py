"""How well a photo serves as the reference of a part, judged on its own, with reasons in words.

Exposure, sharpness and pose are measured; that something lies over a part, and glasses, are seen by
linear probes on the embedded bundle's image tower (`scripts/learn_fitness.py`; how often each was
right is in docs/casting.md).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import cv2
import numpy as np

from fapvideo.config.schema import ReferenceConfig
from fapvideo.ops import mesh
from fapvideo.ops.image import luma, signed_distance
from fapvideo.ops.packaged import read_packaged
from fapvideo.ops.pose import HeadPose, head_pose
from fapvideo.parts import PARTS
from fapvideo.reference.images import CLOSED_EYES, CROP_SIZE, OPEN_MOUTH, AlignedFace
from fapvideo.structs import Bytes, Floats

if TYPE_CHECKING:
    from fapvideo.nets.mobilenet import MobileNetV2Tokens

TERMS = ("sharpness", "exposure", "pose", "expression", "covered", "glasses", "beard")
"""What a photo is judged by on its own, in the order of `Judgement.terms`."""
CHECKED = ("sharpness", "pose")
"""Terms that `reference.images` warns about by itself."""
PROBED = ("eyes", "brows", "nose", "mouth")
"""Parts of which a probe tells whether something lies over them; `face` is all of them."""
VIEW, GLASSES_VIEW = (64, 64), (128, 64)
"""Width and height of what the tower is shown of one part, and of both eyes, pixels."""
SEEN = 192
"""Side of the aligned crop that views are cut from, pixels."""
GLASSES_WINDOW = ((0.0, 0.08), 2.2)
"""Centre and width of the latter, inter-ocular distances."""
BLOCKS = (6, 10)
"""Of the tower, whose outputs are looked at: 32 features at stride 8, and 64 at stride 16."""
COVERED = 0.5
"""Probability from which a part counts as covered."""
WORN = 0.5
"""Probability from which glasses and a beard are spoken of."""
BLURRED = 0.5
"""A photo under this share of `min_sharpness` is left out."""
DARK = (0.10, 0.28)
"""Luma of the brightest tenth of the face: as good as black, and bright enough."""
BURNT = (0.4, 0.08)
"""Share of the part without any drawing left in its lights: spoilt, and harmless."""
CHEEKS = ((50, 205), (280, 425))
"""Mesh points on the right and the left one."""
ONE_SIDED = (1.6, 0.7)
"""Logarithm of the ratio of the cheeks' brightness: half of the face in the dark, and ordinary."""
FRONTAL_DEG = 10.0
"""A turn up to this costs nothing."""
NODDED_DEG = 45.0
"""A nod of this much leaves nothing of the score."""
GAPING = 0.35
"""Opening of a mouth, inter-ocular distances, at which hardly a closed one can be made of it."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """How well one photo serves for one part."""

    part: str
    terms: Mapping[str, float]
    """Name -> [0, 1]; 1: nothing speaks against it."""
    reasons: tuple[str, ...] = ()
    """What speaks against it, in words, the worst first."""
    unfit: Mapping[str, str] = field(default_factory=dict)
    """Term -> the reason for which it is left out where there are others."""

    @property
    def score(self) -> float:
        """In [0, 1]: the product of the terms."""
        return float(np.prod(list(self.terms.values())))


@dataclass(frozen=True, slots=True)
class Finding:
    """One term of a judgement."""

    term: str
    score: float
    reason: str = ""
    unfit: bool = False


def judged(part: str, findings: Sequence[Finding]) -> Judgement:
    """Put findings together; of several about one term the product counts."""
    terms: dict[str, float] = {}
    for one in findings:
        terms[one.term] = terms.get(one.term, 1.0) * one.score
    said = sorted((one for one in findings if one.reason), key=lambda one: one.score)
    return Judgement(
        part,
        {term: round(score, 3) for term, score in terms.items()},
        tuple(one.reason for one in said),
        {one.term: one.reason for one in reversed(said) if one.unfit},
    )


def ramp(value: float, bad: float, good: float, least: float = 0.0) -> float:
    """Return `least` at `bad` and beyond, 1 at `good` and beyond, linear between."""
    share = float(np.clip((value - bad) / (good - bad), 0.0, 1.0))
    return least + (1.0 - least) * share


class Judge:
    """Judges photos; holds the network that sees what lies over a part."""

    def __init__(self, config: ReferenceConfig) -> None:
        """Take the demands on references; the network (1 MB) loads with the first photo."""
        self._config = config

    @cached_property
    def _probes(self) -> Probes:
        return Probes()

    def __call__(self, face: AlignedFace, parts: Sequence[str]) -> dict[str, Judgement]:
        """Return part -> how well the photo serves for it."""
        looks = self._probes.look(face)
        pose = head_pose(face.landmarks)
        general = [self._sharpness(face), *self._pose(pose), *_light(face)]
        return {
            part: judged(
                part,
                [
                    *general,
                    *_burnt(face, part),
                    *_expression(face, part),
                    *_covered(looks, part),
                    *_worn(looks, part),
                ],
            )
            for part in parts
        }

    def _sharpness(self, face: AlignedFace) -> Finding:
        """Half of the score at the wanted sharpness, all of it at four times that."""
        wanted = self._config.min_sharpness
        if wanted <= 0:
            return Finding("sharpness", 1.0)
        share = max(face.sharpness, 1e-6) / wanted
        score = float(np.clip(np.log(4 * share) / np.log(16), 0.0, 1.0))
        if share >= 1:
            return Finding("sharpness", score)
        words = f"blurred (sharpness {face.sharpness:.1f}, wanted {wanted:g})"
        return Finding("sharpness", score, words, share < BLURRED)

    def _pose(self, pose: HeadPose) -> Iterator[Finding]:
        yaw, pitch = abs(pose.yaw_deg), abs(pose.pitch_deg)
        limit = self._config.max_yaw_deg
        turned = f"turned by {yaw:.0f} degrees" if yaw > limit / 2 else ""
        score = ramp(yaw, 1.5 * limit, min(FRONTAL_DEG, limit / 2))
        yield Finding("pose", score, turned, yaw > limit)
        score = ramp(pitch, NODDED_DEG, 1.5 * FRONTAL_DEG)
        way = "down" if pose.pitch_deg > 0 else "up"
        yield Finding("pose", score, f"looks {way} by {pitch:.0f} degrees" if score < 0.7 else "")


# ------------------------------------------------------------------------------- light


def _light(face: AlignedFace) -> Iterator[Finding]:
    """Judge how bright the face is, and whether from one side only."""
    grey = luma(face.crop)
    inside = signed_distance([face.landmarks[list(mesh.FACE_OVAL), :2]], CROP_SIZE) < 0
    bright = float(np.quantile(grey[inside], 0.9)) if inside.any() else 0.0
    score = ramp(bright, *DARK)
    words = f"dark (the brightest tenth of the face has {bright:.0%} of white)"
    yield Finding("exposure", score, words if score < 0.7 else "", score < 0.25)
    score = ramp(abs(side_light(cheeks(face.crop, face.landmarks))), *ONE_SIDED, least=0.3)
    yield Finding("exposure", score, "lit from one side only" if score < 0.7 else "")


def cheeks(crop: Floats, landmarks: Floats) -> Floats:
    """Return [2, 3] median colours of the right and the left cheek.

    Args:
        crop: [S, S, 3] in [0, 1].
        landmarks: [478, >=2] in it.
    """
    reach = max(1, round(0.1 * mesh.interocular(landmarks[:, :2])))
    step = max(1, reach // 6)
    grid = np.mgrid[-reach : reach + 1 : step, -reach : reach + 1 : step].reshape(2, 1, -1)
    sides = []
    for points in CHEEKS:
        at = landmarks[list(points), 1::-1].T[:, :, None] + grid
        rows, columns = np.clip(np.rint(at), 0, len(crop) - 1).astype(np.int64)
        sides.append(np.median(crop[rows, columns].reshape(-1, 3), axis=0))
    return np.stack(sides)


def side_light(sides: Floats) -> float:
    """Return how much brighter the left cheek is than the right, as a natural logarithm."""
    right, left = (max(float(luma(colour)), 1e-3) for colour in sides)
    return float(np.log(left / right))


def _burnt(face: AlignedFace, part: str) -> Iterator[Finding]:
    """Judge how much of the part is white without drawing."""
    rings = [face.landmarks[list(ring), :2] for ring in PARTS[part].outline]
    grown = 0.1 * mesh.interocular(face.landmarks)
    pixels = face.crop[signed_distance(rings, CROP_SIZE) < grown]
    share = float((pixels.max(axis=-1) > 0.985).mean()) if len(pixels) else 0.0
    score = ramp(share, *BURNT)
    words = f"over-exposed ({share:.0%} of the part is burnt out)"
    yield Finding("exposure", score, words if score < 0.7 else "", score < 0.25)


# ---------------------------------------------------------------------------- expression


def _expression(face: AlignedFace, part: str) -> Iterator[Finding]:
    opening, eyes = face.expression["mouth_open"], face.expression["eye_open"]
    if part in ("mouth", "face"):
        words = f"the mouth is open ({opening:.2f} eye distances)" if opening > OPEN_MOUTH else ""
        yield Finding("expression", ramp(opening, GAPING, OPEN_MOUTH, least=0.3), words)
    if part in ("eyes", "face"):
        words = "the eyes are nearly closed" if eyes < CLOSED_EYES else ""
        score = ramp(eyes, CLOSED_EYES / 2, 2 * CLOSED_EYES, least=0.3)
        yield Finding("expression", score, words)


# ------------------------------------------------------------- what lies over, and what is worn


def _covered(looks: Mapping[str, float], part: str) -> Iterator[Finding]:
    own = PROBED if PARTS[part].whole else (part,)
    for name in own:
        chance = looks.get(name, 0.0)
        covered = chance >= COVERED
        words = f"something covers the {name} ({chance:.0%} sure)" if covered else ""
        yield Finding("covered", 1.0 - chance, words, covered)


def _worn(looks: Mapping[str, float], part: str) -> Iterator[Finding]:
    """Judge what is worn: a beard travels with the part and costs; glasses must not be pasted."""
    glasses, beard = looks["glasses"], looks["beard"]
    if part != "mouth":
        words = f"glasses ({glasses:.0%} sure)" if glasses >= WORN else ""
        score = 1.0 - (0.3 if part == "nose" else 0.6) * glasses
        yield Finding("glasses", score, words, bool(words))
    if part in ("mouth", "face"):
        words = f"a beard or moustache ({beard:.0%} sure)" if beard >= WORN else ""
        yield Finding("beard", 1.0 - 0.5 * beard, words)


class Probes:
    """Tells from features of the embedded bundle's tower what lies over a face."""

    def __init__(self) -> None:
        """Load the network and the weights of the probes."""
        from safetensors.numpy import load

        from fapvideo.weights.embedded import embedded_tower

        self._tower = embedded_tower()
        self._tables = load(read_packaged("reference/models/fitness.safetensors"))

    def look(self, face: AlignedFace) -> dict[str, float]:
        """Return probabilities: part -> that something lies over it; `glasses`; `beard`."""
        crop = cv2.resize(face.crop, (SEEN, SEEN), interpolation=cv2.INTER_AREA)
        picture = np.rint(crop * 255).astype(np.uint8)
        views = views_of(picture, face.landmarks * (SEEN / CROP_SIZE))
        return {name: self._chance(name, shown) for name, shown in views.items()}

    def _chance(self, name: str, shown: Sequence[Bytes]) -> float:
        """Return the larger chance of a pair's two sides."""
        weight, bias = self._tables[f"{name}.weight"], float(self._tables[f"{name}.bias"][0])
        logits = [float(features(self._tower, view) @ weight) + bias for view in shown]
        return float(1.0 / (1.0 + np.exp(-np.clip(max(logits), -60, 60))))


def views_of(picture: Bytes, landmarks: Floats) -> dict[str, list[Bytes]]:
    """Return what each probe is shown, [h, w, 3]: of a pair both sides, the right one mirrored.

    Args:
        picture: [S, S, 3] aligned crop.
        landmarks: [478, 3] in it; only the head's pose counts, since what is covered is guessed.
    """
    pose, views = head_pose(landmarks), dict[str, list[Bytes]]()
    for part in PROBED:
        depth = float(mesh.canonical()[list(PARTS[part].outline[0]), 2].mean())
        views[part] = [
            _view(picture, pose, (*window.centre, depth), window.side, VIEW)[
                :, :: -1 if window.mirrored else 1
            ]
            for window in PARTS[part].windows
        ]
    depth = float(mesh.canonical()[list(PARTS["eyes"].outline[0]), 2].mean())
    centre, width = GLASSES_WINDOW
    views["glasses"] = [_view(picture, pose, (*centre, depth), width, GLASSES_VIEW)]
    views["beard"] = views["mouth"]
    return views


def _view(
    picture: Bytes,
    pose: HeadPose,
    centre: tuple[float, float, float],
    width: float,
    size: tuple[int, int],
) -> Bytes:
    """Return a window of a face, `width` eye distances wide about a point of the head."""
    middle = pose.to_image(np.array([centre], np.float32))[0, :2]
    zoom = size[0] / (pose.scale * width)
    shift = np.array(size) / 2 - middle * zoom
    matrix = np.array([[zoom, 0, shift[0]], [0, zoom, shift[1]]])
    how = cv2.INTER_LINEAR if zoom > 1 else cv2.INTER_AREA
    shown = cv2.warpAffine(picture, matrix, size, flags=how, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(shown, np.uint8)


def features(tower: MobileNetV2Tokens, view: Bytes) -> Floats:
    """Return [F] what two blocks of the tower make of a view [h, w, 3]."""
    return np.concatenate([x.flatten().numpy() for x in tower.maps(view, BLOCKS)])
