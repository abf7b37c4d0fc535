"""How real results look: Frechet distances between features of results and of real faces.

A Frechet distance compares two clouds of feature vectors by means and covariances (FID: Heusel et
al., NeurIPS 2017, arXiv 1706.08500). Ours uses MobileNetV2 and is named so: its numbers are not
FID's. `mask` looks inside the swapped parts and `focal` around their border, in the spirit of
HS-Diffusion's Mask-FID and Focal-FID (arXiv 2212.06458).

Few samples make a Frechet distance too large, the more so the more dimensions there are. So
features are projected on a few fixed directions (principal components over real faces, each with
variance 1), and the distance between two halves of the same real faces is given beside it: what is
not clearly above that floor says nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Self

import cv2
import numpy as np
import torch
from scipy import linalg
from torch import Tensor
from torch.nn import functional

from fapvideo.errors import WeightsError
from fapvideo.evaluation.definitions import Definition
from fapvideo.evaluation.views import EXPECTED, RING, FaceView, FramePair
from fapvideo.nets.mobilenet import MobileNetV2Tokens
from fapvideo.ops.files import write_atomically
from fapvideo.structs import Bytes, Floats
from fapvideo.weights.embedded import embedded_tower
from fapvideo.weights.state import read_tensors

ZONES = ("mobilenet", "mask", "focal")
"""The whole aligned face, inside the mask, around the mask's border."""
INCEPTION = "inception"
EVERY = 4
"""One frame of a shot in so many is looked at: neighbours are nearly the same."""
FEWEST = 20
"""Fewer samples on either side give no distance."""
SPLITS = 8
"""Halvings of the real faces that the floor is a mean of."""
BASIS = Path(__file__).parent / "data" / "frechet_basis.safetensors"

Basis = Mapping[str, tuple[Floats, Floats]]
"""Zone -> (mean [C], components [C, D])."""


def frechet(a: Floats, b: Floats) -> float:
    """Return the squared Frechet distance between Gaussians fitted to rows [N, D] and [M, D].

    |mean difference|^2 + tr A + tr B - 2 tr sqrt(A B), with A and B the covariances. The last trace
    is the sum of the singular values of the product of the centred rows, which needs no matrix root
    and stays exact where there are fewer samples than dimensions.

    Source: Dowson and Landau 1982; Heusel et al., arXiv 1706.08500.
    """
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    gap = a.mean(axis=0) - b.mean(axis=0)
    x = (a - a.mean(axis=0)) / np.sqrt(max(len(a) - 1, 1))
    y = (b - b.mean(axis=0)) / np.sqrt(max(len(b) - 1, 1))
    shared = linalg.svdvals(x @ y.T).sum()
    return float(max(gap @ gap + (x**2).sum() + (y**2).sum() - 2 * shared, 0.0))


@dataclass
class FeatureBank:
    """Feature vectors by zone, collected over frames, clips and photos."""

    rows: dict[str, list[Floats]] = field(default_factory=dict)

    def add(self, zone: str, vector: Floats) -> None:
        """Add one vector [D]."""
        self.rows.setdefault(zone, []).append(np.asarray(vector, np.float32))

    def add_projected(self, vectors: Mapping[str, Floats], basis: Basis) -> None:
        """Add one face's vectors of `face_vectors`, zone -> [C], on the directions of `basis`."""
        for zone, vector in vectors.items():
            mean, components = basis[zone]
            self.add(zone, (vector - mean) @ components)

    def __getitem__(self, zone: str) -> Floats:
        """Return [N, D]."""
        return np.stack(self.rows[zone])

    def count(self, zone: str) -> int:
        """Return N."""
        return len(self.rows.get(zone, ()))

    @classmethod
    def joined(cls, banks: Iterable[FeatureBank]) -> Self:
        """Return one bank with the vectors of all."""
        out = cls()
        for bank in banks:
            for zone, rows in bank.rows.items():
                out.rows.setdefault(zone, []).extend(rows)
        return out

    def save(self, path: Path) -> None:
        """Write an `.npz`, in one step."""
        with write_atomically(path) as fresh, fresh.open("wb") as file:
            np.savez(file, **{zone: np.stack(rows) for zone, rows in self.rows.items()})  # type: ignore[arg-type]

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote."""
        with np.load(path, allow_pickle=False) as file:
            return cls({zone: list(file[zone]) for zone in file.files})


def distances(result: FeatureBank, real: FeatureBank) -> dict[str, float]:
    """Return `frechet.*` of results against real faces; zones with too few samples are left out."""
    out: dict[str, float] = {}
    for zone in (*ZONES, INCEPTION):
        fewest = min(result.count(zone), real.count(zone))
        if fewest >= FEWEST:
            out[f"frechet.{zone}"] = frechet(result[zone], real[zone])
            out[f"frechet.floor.{zone}"] = floor(real[zone])
            out["frechet.samples"] = float(fewest)
    return out


def floor(rows: Floats) -> float:
    """Return the mean Frechet distance between random halves of rows [N, D] of one kind."""
    rng = np.random.default_rng(0)
    orders = [rng.permutation(len(rows)) for _ in range(SPLITS)]
    half = len(rows) // 2
    return float(np.mean([frechet(rows[o[:half]], rows[o[half : 2 * half]]) for o in orders]))


class Distribution:
    """Group `frechet.*`: results against the source's own faces."""

    definitions: ClassVar[tuple[Definition, ...]] = (
        Definition(
            "frechet.mobilenet", "Frechet distance (MobileNetV2)", "variances", "lower",
            "Frechet distance between MobileNetV2 features of the results' aligned faces and of "
            "real ones, in 16 directions of variance 1 over real faces. Not FID.",
            "Heusel et al., arXiv 1706.08500, with another network", headline=True,
        ),
        Definition(
            "frechet.mask", "Frechet distance inside the mask", "variances", "lower",
            "The same of features averaged inside the swapped parts.",
            "in the spirit of HS-Diffusion's Mask-FID, arXiv 2212.06458",
        ),
        Definition(
            "frechet.focal", "Frechet distance around the seam", "variances", "lower",
            f"The same of features averaged within {RING} px of the mask's border, both sides.",
            "in the spirit of HS-Diffusion's Focal-FID, arXiv 2212.06458",
        ),
        Definition(
            "frechet.inception", "FID", "", "lower",
            "Frechet distance of Inception features, where its weights are given; far too large "
            "for fewer than some thousand samples: compare only within one table.",
            "Heusel et al., arXiv 1706.08500",
        ),
        Definition(
            "frechet.floor.*", "Floor of the Frechet distance", "variances", "lower",
            "Distance between two random halves of the real faces: what is not clearly above it "
            "cannot be told from nothing. At half the samples, so rather too high.", "own",
        ),
        Definition(
            "frechet.samples", "Samples of the Frechet distance", "", "higher",
            "Faces on the smaller side.", "own",
        ),
    )  # fmt: skip

    def __init__(
        self,
        tower: MobileNetV2Tokens | None = None,
        basis: Basis | None = None,
        inception: Path | None = None,
    ) -> None:
        """Prepare for one clip; tower and basis are by default those of the package.

        `inception` is the file for `load_inception`; without, there is no FID.

        Raises:
            WeightsError: a file is missing or damaged.
        """
        self._tower = tower or embedded_tower()
        self._basis = basis or read_frechet_basis(BASIS)
        self._inception = load_inception(inception) if inception else None
        self._until_next = 0
        self.result, self.real = FeatureBank(), FeatureBank()
        """What was collected so far: join the banks of several clips for `distances`."""

    def update(self, pair: FramePair) -> Mapping[str, float]:
        """Collect the features of a frame's faces; there are no curves."""
        if pair.first_of_shot:
            self._until_next = 0
        if self._until_next > 0:
            self._until_next -= 1
            return {}
        views = [view for view in pair.faces if view.weight >= EXPECTED]
        for view in views:
            self._collect(view)
        self._until_next = EVERY - 1 if views else 0
        return {}

    def summary(self) -> Mapping[str, float]:
        """Return the distances of this clip's results from its own source."""
        return distances(self.result, self.real)

    def _collect(self, view: FaceView) -> None:
        banks, pictures = (self.result, self.real), np.stack([view.result, view.source])
        weights = zone_weights(view.hole)
        for bank, vectors in zip(banks, face_vectors(self._tower, pictures, weights), strict=True):
            bank.add_projected(vectors, self._basis)
        if self._inception is not None:
            for bank, vector in zip(banks, _inception(self._inception, pictures), strict=True):
                bank.add(INCEPTION, vector)


def zone_weights(hole: Floats) -> dict[str, Floats]:
    """Return zone -> [S, S] weights, from the soft mask of all swapped parts [S, S]."""
    inside = (hole > 0).astype(np.uint8)
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * RING + 1, 2 * RING + 1))
    band = cv2.dilate(inside, kernel) - cv2.erode(inside, kernel)
    weights = (np.ones_like(hole), hole, band.astype(np.float32))
    return dict(zip(ZONES, weights, strict=True))


@torch.no_grad()
def face_vectors(
    tower: MobileNetV2Tokens, pictures: Bytes, weights: Mapping[str, Floats]
) -> Iterator[dict[str, Floats]]:
    """Yield, for every picture of [N, S, S, 3], zone -> [C] the mean of its tokens in the zone.

    A zone without any weight is left out.
    """
    batch = torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255.0
    tokens = tower(batch)
    pooled: dict[str, Tensor] = {}
    for zone, weight in weights.items():
        small = functional.adaptive_avg_pool2d(torch.from_numpy(weight)[None], tower.grid).flatten()
        if float(small.sum()) > 0:
            pooled[zone] = small @ tokens / small.sum()
    for index in range(len(pictures)):
        yield {zone: rows[index].numpy() for zone, rows in pooled.items()}


def read_frechet_basis(path: Path) -> dict[str, tuple[Floats, Floats]]:
    """Read the directions that `benchmarks/validate_metrics.py --fit` wrote.

    Raises:
        WeightsError: missing, damaged or incomplete.
    """
    tensors = read_tensors(path)
    try:
        return {
            zone: (tensors[f"{zone}.mean"].numpy(), tensors[f"{zone}.components"].numpy())
            for zone in ZONES
        }
    except KeyError as error:
        raise WeightsError(f"{path}: {error.args[0]} is missing") from None


# -------------------------------------------------------------------------------- Inception


def load_inception(path: Path) -> torch.jit.ScriptModule:
    """Load a TorchScript Inception network: uint8 [N, 3, H, W] -> features [N, D].

    NVIDIA's `inception-2015-12-05.pt` of the StyleGAN metrics is one; its `return_features` is used
    where there is such an argument. A TorchScript file is a program: load only one you trust.

    Raises:
        WeightsError: missing, or no TorchScript file.
    """
    try:
        return torch.jit.load(str(path), map_location="cpu").eval()  # type: ignore[no-untyped-call]
    except (RuntimeError, ValueError, OSError) as error:
        reason = str(error).strip().splitlines()[0]
        raise WeightsError(
            f"{path} is no TorchScript file: {reason}",
            hint="give NVIDIA's inception-2015-12-05.pt, or leave frechet.inception out",
        ) from None


@torch.no_grad()
def _inception(network: torch.jit.ScriptModule, pictures: Bytes) -> Floats:
    """Return features [N, D] of pictures [N, S, S, 3]."""
    batch = torch.from_numpy(pictures).permute(0, 3, 1, 2).contiguous()
    schema: Any = network.forward.schema  # type: ignore[attr-defined]
    named = {argument.name for argument in schema.arguments}
    options: dict[str, Any] = {"return_features": True} if "return_features" in named else {}
    features: Tensor = network(batch, **options)
    return features.float().flatten(1).numpy()
