"""Held-out photos with a known truth, and what every way of swapping makes of them.

A part of A goes into a stranger's face B and from there back into A
(`fapvideo.training.samples.making`): every system gets the face B that now has A's part as
reference, and A with a hole; the photo of A is the answer. No photo here was ever trained on
(every tenth of a set, by name).
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import platformdirs
import torch
from torch import Tensor

from fapvideo.composite.detail import restore_detail
from fapvideo.config.schema import DenoiseConfig, FuseConfig
from fapvideo.config.train import load_train_preset
from fapvideo.denoise.denoiser import Denoiser
from fapvideo.denoise.noise import track_noise
from fapvideo.evaluation.metrics import distribution
from fapvideo.evaluation.metrics.features import PartFeatures
from fapvideo.evaluation.metrics.seam import seams
from fapvideo.evaluation.report.benchmark import commit
from fapvideo.evaluation.views import SIDE, FaceView
from fapvideo.nets.perceptual import PerceptualDistance
from fapvideo.ops import mesh
from fapvideo.ops.pose import CROP_INTEROCULAR
from fapvideo.paint.guided import faded_at_the_rim
from fapvideo.paint.pasted import averaged, cloned, fitted
from fapvideo.parts import PARTS, TRAINED
from fapvideo.structs import Bytes, Floats
from fapvideo.training.faces.prepare import FaceSet, prepare
from fapvideo.training.faces.sets import fetch, sets_folder
from fapvideo.training.faces.sources import sources_in
from fapvideo.training.learning.flow_task import blank
from fapvideo.training.learning.losses import held_out_metrics
from fapvideo.training.learning.pretrained import load_encoder, load_perceptual
from fapvideo.training.samples.making import Sample
from fapvideo.training.samples.pool import PoolRecipe, as_batch
from fapvideo.training.train import BARE, HELDOUT_SEED
from fapvideo.weights.bundle import Bundle
from fapvideo.weights.embedded import embedded_tower

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
R = 128
SWAPPED = 0.5
"""A part counts as swapped where its mask reaches this."""

Pictures = Floats
"""[N, R, R, 3] in [0, 1]."""


@dataclass(frozen=True)
class Material:
    """Samples of held-out faces, and tokens of their references."""

    faces: FaceSet
    chosen: tuple[int, ...]
    """The held-out faces; sample i shows number i modulo their count."""
    samples: tuple[Sample, ...]
    arrays: Mapping[str, Any]
    """As `training.pool` stores them."""

    @cached_property
    def batch(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Target and guide [N, 3, R, R] in [-1, 1], core [N, 1, R, R], tokens."""
        names = ("target", "guide", "core", "tokens")
        target, guide, core, tokens = (torch.from_numpy(self.arrays[name]) for name in names)
        return as_batch(target, guide, core, tokens)

    @cached_property
    def holes(self) -> Floats:
        """[N, R, R] soft masks that results are shown through."""
        return np.stack([sample.parts.max(axis=0) for sample in self.samples])

    def photo(self, index: int) -> str:
        """Return the name of the photo that sample `index` shows."""
        return Path(self.faces.names[self.chosen[index % len(self.chosen)]]).stem


def faces(work: Path, recipe: str = "celeba") -> FaceSet:
    """Return the usable faces of the set that a training preset names."""
    data = load_train_preset(recipe).data
    folder = fetch(data.sets[0], sets_folder())[0].parent
    return prepare(sources_in([folder]), faces_folder(work, recipe), R, data)


def faces_folder(work: Path, recipe: str) -> Path:
    """Return where the faces of a training preset's set are kept."""
    return work / f"faces-{recipe}"


def material(
    work: Path, count: int, recipe: str = "celeba", *, random_tower: bool = False
) -> Material:
    """Make `count` samples of the held-out faces, those that a training preset measures on."""
    preset = load_train_preset(recipe)
    update = {"encoder": "random"} if random_tower else {}
    model = preset.model.model_copy(update=update)
    preset = preset.model_copy(update={"model": model, "start": ""})
    config = preset.data.model_copy(update=BARE)
    people = faces(work, recipe)
    chosen = tuple(people.indices(heldout=True))
    encoder = load_encoder(preset, sets_folder(), None)
    drawer = PoolRecipe(faces_folder(work, recipe), chosen, HELDOUT_SEED, R, config, encoder)
    samples: list[Sample] = []
    rows = []
    for start in range(0, count, 32):
        drawn = drawer.draw(range(start, min(start + 32, count)))
        rows.append(drawer.stored(drawn))
        samples += drawn
    arrays = {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}
    return Material(people, chosen, tuple(samples), arrays)


# ------------------------------------------------------------------------------------- systems


def restored(
    given: Material, bundle: Bundle, steps: int = 1, injection: bool = True, guide: bool = True
) -> Pictures:
    """Return what a bundle makes of the samples, as a run composites it.

    Without the guide the network starts from the surroundings of the hole, blurred into it.
    """
    target, pictures, core, tokens = given.batch
    start = pictures if guide else blank(target, core)
    fuse = FuseConfig(scale=1.0 if injection else 0.0)
    denoiser = Denoiser(bundle, DenoiseConfig(steps=steps, batch_size=16), fuse)
    noise = track_noise(0, 0, denoiser.noise_shape)[None]
    found = denoiser(target, start, core, tokens, noise)
    denoiser.close()
    results, starts = _pictures(found), _pictures(start)
    fine = [restore_detail(a, b, b, 1.0) for a, b in zip(results, starts, strict=True)]
    if not guide:
        return np.stack(fine)
    iod = CROP_INTEROCULAR * R
    return np.stack(
        [faded_at_the_rim(*three, iod) for three in zip(fine, starts, given.holes, strict=True)]
    )


def guides(given: Material) -> Pictures:
    """Return the guides: warp, colour match, light and membrane, no network."""
    return _pictures(given.batch[1])


def blanks(given: Material) -> Pictures:
    """Return the holes filled from their surroundings: neither guide nor network."""
    target, _, core, _ = given.batch
    return _pictures(blank(target, core))


def pasted(given: Material, poisson: bool) -> Pictures:
    """Return the reference's parts fitted by affine transforms, plain or by Poisson cloning."""
    found = []
    for sample in given.samples:
        layers = list(_layers(sample))
        found.append(cloned(sample.target, layers) if poisson else averaged(layers))
    return np.stack(found)


def _layers(sample: Sample) -> list[tuple[Floats, Floats]]:
    """Return (reference warped onto the target, mask) of each part, eyes and brows one by one."""
    picture, points = sample.given
    out = []
    sides = _nearer_right(sample.landmarks)
    for part, mask in zip(TRAINED, sample.parts, strict=True):
        if not mask.any():
            continue
        for side in ("right", "left") if PARTS[part].paired else ("both",):
            where = {"right": sides, "left": ~sides}.get(side, np.ones_like(sides))
            placed = fitted(picture, points, sample.landmarks, part, side, R)
            out.append((placed, (mask * where).astype(np.float32)))
    return out


def _nearer_right(landmarks: Floats) -> Any:
    """Return [R, R] whether a pixel is nearer to the right eye than to the left one."""
    grid = np.stack(np.meshgrid(np.arange(R), np.arange(R)), axis=-1)
    right, left = (
        np.linalg.norm(grid - centre[:2], axis=-1) for centre in mesh.eye_centres(landmarks)
    )
    return right < left


def _tensor(pictures: Pictures) -> Tensor:
    return torch.from_numpy(pictures).permute(0, 3, 1, 2).float() * 2 - 1


def _pictures(batch: Tensor) -> Pictures:
    return (batch.float().permute(0, 2, 3, 1).numpy() + 1.0).clip(0.0, 2.0) / 2.0


# ------------------------------------------------------------------------------------- metrics


class Judge:
    """Compares pictures with the truth, in the hole and at its border."""

    def __init__(self, given: Material) -> None:
        """Load the networks that measure."""
        self.given = given
        perceptual = load_perceptual(load_train_preset("celeba"), sets_folder())
        assert perceptual is not None
        self.perceptual: PerceptualDistance = perceptual
        self.features = PartFeatures.packaged()
        self.tower = embedded_tower()
        self.basis = distribution.read_frechet_basis(distribution.BASIS)
        self.truth = np.stack([sample.target for sample in given.samples])
        self.real = self._bank(self.truth)

    def __call__(self, pictures: Pictures) -> dict[str, Any]:
        """Return name -> [N] of `psnr`, `lpips`, `sharpness`, `seam`, `likeness`; and `frechet`."""
        shown = self.truth + self.given.holes[..., None] * (pictures - self.truth)
        core = self.given.batch[2]
        results, answers = _tensor(shown), _tensor(self.truth)
        found = [
            held_out_metrics(results[few], answers[few], core[few], self.perceptual)
            for few in (slice(i, i + 32) for i in range(0, len(shown), 32))
        ]
        values: dict[str, Any] = {
            name: torch.cat([row[name] for row in found]).numpy() for name in found[0]
        }
        values["seam"] = np.array([self._seam(i, shown[i]) for i in range(len(shown))])
        values["likeness"] = np.array([self._likeness(i, shown[i]) for i in range(len(shown))])
        values["frechet"] = distribution.distances(self._bank(shown), self.real)
        return values

    def _seam(self, index: int, picture: Floats) -> float:
        sample, hole = self.given.samples[index], self.given.holes[index]
        large = cv2.resize(hole, (SIDE, SIDE), interpolation=cv2.INTER_LINEAR)
        points = sample.landmarks * (SIDE / R)
        view = FaceView(
            track=0, matrix=np.eye(2, 3), frame_size=(SIDE, SIDE),
            source=_large(sample.target), result=_large(picture),
            landmarks=points, measured_source=points, measured_result=points,
            presence=1.0, yaw_deg=0.0, weight=1.0, parts={}, hole=large,
        )  # fmt: skip
        return seams(view).get("seam.colour", np.nan)

    def _likeness(self, index: int, picture: Floats) -> float:
        """Return the mean cosine of the swapped parts and the photo's own."""
        sample = self.given.samples[index]
        swapped = [p for p, m in zip(TRAINED, sample.parts, strict=True) if m.max() >= SWAPPED]
        points = sample.landmarks * (SIDE / R)
        pair = [(_large(image), points) for image in (picture, sample.target)]
        vectors = self.features(pair, [p for p in swapped if p in self.features.parts])
        return float(np.mean([a @ b for a, b in vectors.values()]))

    def _bank(self, pictures: Pictures) -> distribution.FeatureBank:
        bank = distribution.FeatureBank()
        for picture, hole in zip(pictures, self.given.holes, strict=True):
            large = cv2.resize(hole, (SIDE, SIDE), interpolation=cv2.INTER_LINEAR)
            weights = distribution.zone_weights(large)
            vectors = next(distribution.face_vectors(self.tower, _large(picture)[None], weights))
            bank.add_projected(vectors, self.basis)
        return bank


def _large(picture: Floats) -> Bytes:
    big = cv2.resize(picture, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
    return np.rint(big.clip(0, 1) * 255).astype(np.uint8)


def row(values: Mapping[str, Any]) -> dict[str, float]:
    """Return the means, for a table."""
    means = {k: round(float(np.nanmean(v)), 4) for k, v in values.items() if k != "frechet"}
    frechet = {
        name.replace("frechet.", "frechet_"): round(value, 3)
        for name, value in values["frechet"].items()
        if name.partition(".")[2] in distribution.ZONES
    }
    return {**means, **frechet}


# ------------------------------------------------------------------------------------- records


def arguments(about: str, name: str) -> argparse.ArgumentParser:
    """Return a parser with `--work`, by default `name` in the cache; `about` is a docstring."""
    parser = argparse.ArgumentParser(description=about.partition("\n")[0])
    folder = platformdirs.user_cache_path("fapvideo") / name
    parser.add_argument("--work", type=Path, default=folder, help="kept files: runs go on")
    return parser


def write(name: str, record: Mapping[str, Any], command: str) -> None:
    """Write `benchmarks/results/NAME.json` and print it."""
    machine = {
        "processor": platform.machine(),
        "torch": torch.__version__,
        "cores": os.cpu_count(),
    }
    result = {
        "what": record["what"],
        "command": command,
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "commit": commit(),
        "machine": machine,
        **{key: value for key, value in record.items() if key != "what"},
    }
    (RESULTS / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n", "utf-8")
    print(json.dumps(result, indent=1))
