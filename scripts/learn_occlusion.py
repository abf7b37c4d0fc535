# ruff: noqa: T201 - it says how far it is
"""Learn `fapvideo/mask/models/occlusion.safetensors`: what stands in front of a face.

python scripts/learn_occlusion.py PHOTOS WORK [--minutes 45] [--output FILE] [--seed 1]

PHOTOS is a folder of portraits as for `scripts/learn_looks.py`; every tenth by sorted name is left
out, to measure on. Glasses, hands, hair, cups, microphones, masks, cards and other people are drawn
before them (`fapvideo/training/samples/hiding.py`), with pieces of other portraits as textures, and
the decoder of `fapvideo/nets/occlusion.py` learns to tell them from the face, on the packaged image
tower, which stays as it is. Real glasses, which nobody drew (the probe of `reference/fitness.py`
finds the portraits), count neither as face nor as in front of it.
WORK takes aligned faces and a checkpoint every few minutes; the same command goes on from there.

What is shipped was learned on 634 of the 707 portraits of members of the US Congress in the public
repository voteview/member_photos (commit 687cf7a9; works of the US government are in the public
domain), one core, in the time that its metadata tell.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from safetensors.torch import save_file
from torch.nn import functional

from fapvideo.config.schema import ReferenceConfig
from fapvideo.errors import ReferenceImageError
from fapvideo.nets.occlusion import BLOCKS, SIZE, OccluderNet, OcclusionNet, seen_by
from fapvideo.reference.fitness import SEEN, Probes, views_of
from fapvideo.reference.images import CROP_SIZE, align
from fapvideo.track.finder import FaceFinder
from fapvideo.training.samples.hiding import KINDS, Portrait, Veiled, degraded, filmed, veil
from fapvideo.weights.embedded import embedded_tower

OUTPUT = Path(__file__).resolve().parent.parent / "fapvideo/mask/models/occlusion.safetensors"
GLASSES = 0.05
"""Chance of glasses from which a portrait does not count as one without."""
THIN = 2.5
"""How much more pixels of thin things count."""
POOL, FRESH, BATCH = 4000, 4, 16
"""Samples that are kept, made for every step, and learned from in it."""
RATE, KEPT = 3e-3, 0.995
"""Learning rate at its highest; how much of the average of weights stays at a step."""
EVERY_S, EACH = 900.0, 12
"""Seconds between checkpoints; pictures of each kind that are measured on then."""


def faces(folder: Path, work: Path) -> tuple[list[Portrait], list[Portrait]]:
    """Return the portraits to learn from and those to measure on."""
    kept = work / "faces.npz"
    if not kept.exists():
        crops, points, chances, numbers = [], [], [], []
        finder, probes = FaceFinder(), Probes()
        config = ReferenceConfig(min_face_px=16, max_yaw_deg=60, min_sharpness=0)
        for number, path in enumerate(sorted(folder.iterdir())):
            try:
                face = align(path, finder, config)
            except ReferenceImageError:
                continue
            seen = cv2.resize(face.crop, (SEEN, SEEN), interpolation=cv2.INTER_AREA)
            views = views_of((seen * 255).astype(np.uint8), face.landmarks * (SEEN / CROP_SIZE))
            chances.append(probes._chance("glasses", views["glasses"]))
            small = cv2.resize(face.crop, (SIZE, SIZE), interpolation=cv2.INTER_AREA)
            crops.append(np.rint(small * 255).astype(np.uint8))
            points.append(face.landmarks * (SIZE / CROP_SIZE))
            numbers.append(number)
        np.savez(kept, crops=crops, points=points, chances=chances, numbers=numbers)
    table = np.load(kept)
    columns = (table["crops"], table["points"], table["chances"], table["numbers"])
    split: tuple[list[Portrait], list[Portrait]] = ([], [])
    for crop, shape, chance, number in zip(*columns, strict=True):
        split[int(number % 10 == 0)].append(Portrait(crop, shape, bool(chance > GLASSES)))
    return split


def stacked(samples: list[Veiled]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return pictures [B, 3, S, S] in [0, 1], labels [B, 2, S, S], weights [B, 1, S, S]."""
    pictures = torch.from_numpy(np.stack([s.picture for s in samples])).permute(0, 3, 1, 2)
    labels = torch.from_numpy(np.stack([(s.kept, s.worn) for s in samples]).astype(np.float32))
    weight = torch.from_numpy(np.stack([s.weight for s in samples]))[:, None]
    return pictures.float() / 255, labels, weight


def loss_of(logits: torch.Tensor, labels: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Cross entropy, and how little the areas overlap (soft dice), where labels count.

    What is thin counts several times: rims and strands are few pixels.
    """
    thin = (labels > 0.3) & (functional.avg_pool2d(labels, 9, 1, 4) < 0.55)
    entropy = functional.binary_cross_entropy_with_logits(logits, labels, reduction="none")
    chance = logits.sigmoid()
    both = (chance * labels * weight).sum((2, 3))
    sum_ = ((chance + labels) * weight).sum((2, 3))
    dice = 1 - (2 * both + 8) / (sum_ + 8)
    return (entropy * weight * (1 + THIN * thin)).sum() / weight.sum().clamp(
        min=1
    ) + 0.3 * dice.mean()


def measured(net: OcclusionNet, tower: Any, held: list[Portrait]) -> dict[str, float]:
    """Return intersection over union by kind, and the share of free faces that is lost."""
    rng, found = np.random.default_rng(7), {}
    bare = [face for face in held if not face.glasses]
    seeing = OccluderNet(net, tower)
    for kind in KINDS:
        both, either, lost, all_ = 0.0, 0.0, 0.0, 0.0
        for i in range(EACH):
            sample = veil(rng, bare[i % len(bare)], held, kind)
            seen = seen_by(seeing, degraded(rng, sample.picture.astype(np.float32) / 255))
            said, true, counts = seen[0] > 0.5, sample.kept > 0.5, sample.weight > 0.5
            both += (said & true & counts).sum()
            either += ((said | true) & counts).sum()
            lost += (said & ~true & counts).sum()
            all_ += (~true & counts).sum()
        found[kind] = round(float(lost / all_ if kind == "none" else both / max(either, 1)), 4)
    return found


class Pool:
    """Samples that are learned from several times, each time filmed anew."""

    def __init__(self, portraits: list[Portrait], rng: np.random.Generator) -> None:
        """Take who may be drawn before."""
        self.portraits, self._rng = portraits, rng
        self._samples: list[Veiled] = []

    def fill(self, count: int) -> None:
        """Make `count` new samples; the oldest ones go."""
        for _ in range(count):
            face = self.portraits[self._rng.integers(len(self.portraits))]
            made = veil(self._rng, face, self.portraits)
            small = [np.asarray(a, np.float16) for a in (made.kept, made.worn, made.weight)]
            self._samples.append(Veiled(made.picture, *small))  # type: ignore[arg-type]
        del self._samples[:-POOL]

    def batch(self, count: int) -> list[Veiled]:
        """Return some of them, filmed; each fresh one is among the next."""
        rows = self._rng.integers(0, len(self._samples), count - FRESH).tolist()
        chosen = [self._samples[i] for i in rows] + self._samples[-FRESH:]
        wide = [
            Veiled(s.picture, *(np.asarray(a, np.float32) for a in (s.kept, s.worn, s.weight)))
            for s in chosen
        ]
        return [filmed(self._rng, sample) for sample in wide]


def main() -> None:
    """Read the photos, draw before them, learn, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("photos", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--minutes", type=float, default=45.0)
    parser.add_argument("--output", type=Path, default=OUTPUT)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(args.seed)
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    learn, held = faces(args.photos, args.work)
    pool, tower = Pool(learn, np.random.default_rng(args.seed)), embedded_tower()
    net, mean = OcclusionNet(), OcclusionNet()
    optimiser = torch.optim.AdamW(net.parameters(), RATE, weight_decay=0.01)
    step, spent = 0, 0.0
    saved = args.work / "checkpoint.pt"
    if saved.exists():
        state = torch.load(saved, weights_only=True)
        net.load_state_dict(state["net"])
        mean.load_state_dict(state["mean"])
        optimiser.load_state_dict(state["optimiser"])
        step, spent = state["step"], state["spent"]
    total, told = args.minutes * 60, spent
    pool.fill(100)
    while spent < total:
        began = time.monotonic()
        share = spent / total
        rate = RATE * min(1.0, (step + 1) / 60) * (0.5 + 0.5 * float(np.cos(np.pi * share)))
        optimiser.param_groups[0]["lr"] = max(rate, 1e-5)
        pool.fill(FRESH)
        pictures, labels, weight = stacked(pool.batch(BATCH))
        with torch.no_grad():
            maps = tower.block_outputs(pictures, BLOCKS)
        loss = loss_of(net.train()(pictures * 2 - 1, maps), labels, weight)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()
        kept = min(KEPT, (step + 1) / (step + 10))
        with torch.no_grad():
            for a, b in zip(mean.state_dict().values(), net.state_dict().values(), strict=True):
                a.copy_(kept * a + (1 - kept) * b if a.is_floating_point() else b)
        step, spent = step + 1, spent + time.monotonic() - began
        if step % 50 == 0:
            print(json.dumps({"step": step, "s": round(spent), "loss": round(loss.item(), 4)}),
                  flush=True)  # fmt: skip
        if spent - told > EVERY_S or spent >= total:
            told = spent
            print(json.dumps({"step": step, **measured(mean.eval(), tower, held)}), flush=True)
            state = {"net": net.state_dict(), "mean": mean.state_dict(), "step": step,
                     "optimiser": optimiser.state_dict(), "spent": spent}  # fmt: skip
            torch.save(state, saved)
    args.output.parent.mkdir(parents=True, exist_ok=True)
    tensors = {k: v.half() if v.is_floating_point() else v for k, v in mean.state_dict().items()}
    photos = "707 portraits of voteview/member_photos 687cf7a9, public domain"
    about = {
        "licence": "Apache-2.0",
        "steps": str(step),
        "minutes": f"{spent / 60:.0f}",
        "photos": photos,
    }
    save_file(tensors, args.output, about)


if __name__ == "__main__":
    main()
