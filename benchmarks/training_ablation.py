"""What each piece of the training is worth: short runs that differ in one setting.

    python benchmarks/training_ablation.py [--steps 200] [--samples 1280] [--work DIR] [--only NAME]

Every run starts from the same random weights and ends after the same steps; each is then measured
on the same held-out photos (`heldout`), with the guide as inference makes it. Runs that are
finished are kept in the work folder. Writes benchmarks/results/training_ablation.json.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"

import heldout
import torch
from heldout import Judge, material, restored, row

from fapvideo.config.overrides import merge
from fapvideo.config.train import TrainPreset, load_train_preset
from fapvideo.nets.mobilenet import MobileNetV2Tokens
from fapvideo.training.faces.sets import sets_folder
from fapvideo.training.learning.export import encoder_file, export_bundle
from fapvideo.training.learning.loop import Trainer
from fapvideo.training.learning.pretrained import load_encoder, load_perceptual
from fapvideo.training.train import Hooks, make_pools
from fapvideo.weights.bundle import load_bundle

Changes = dict[str, dict[str, Any]]
"""Section of the preset -> key -> value."""

BASE: Changes = {
    "model": {"channels": (32, 64, 128)},
    "data": {"heldout_pool": 32},
    "optim": {
        "perceptual_weight": 0.5,
        "token_weight": 0.0,
        "noise": 0.15,
        "warmup": 50,
        "eval_steps": 10**6,
        "sheet_steps": 10**6,
    },
}
"""A quarter of the shipped network's parameters: what matters here is the difference. Losses and
noise are those of the first versions, whatever the preset says today."""
AGAIN = "base, drawn again"
VARIANTS: dict[str, Changes] = {
    "base": {},
    AGAIN: {},
    "never any injection": {"optim": {"injection_dropout": 1.0, "guide_dropout": 0.0}},
    "guide not among the inputs": {"model": {"guide": False}},
    "encoder from scratch": {"model": {"encoder": "random"}},
    "no perceptual distance": {"optim": {"perceptual_weight": 0.0}},
    "perceptual distance twice": {"optim": {"perceptual_weight": 1.0}},
    "tokens of the result compared": {"optim": {"token_weight": 1.0}},
    "half the start noise": {"optim": {"noise": 0.075}},
    "no gradient loss": {"optim": {"gradient_weight": 0.0}},
    "no guide dropout": {"optim": {"guide_dropout": 0.0}},
    "patch discriminator": {"optim": {"adversarial_weight": 0.001, "adversarial_start": 0.5}},
    "no swap cycle": {"data": {"cycle": 0.0}},
    "nothing in front of faces": {"data": {"occluders": 0.0}},
    "hole weighs no more than the rest": {"optim": {"outside_weight": 1.0}},
    "no injection dropout": {"optim": {"injection_dropout": 0.0}},
    "guides as inference makes them": {"data": {"errors": 0.0}},
    "no soft targets, no intact guides": {"data": {"soft": 0.0, "intact": 0.0}},
}
"""Name -> what it changes in `BASE`. `AGAIN` has another seed: a difference is one only where it
exceeds the difference between the two."""


def main() -> None:
    """Train and measure; write after every run."""
    parser = heldout.arguments(__doc__, "ablation")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--samples", type=int, default=1280)
    parser.add_argument("--measured", type=int, default=87)
    parser.add_argument("--only", action="append", choices=list(VARIANTS))
    asked = parser.parse_args()
    torch.set_num_threads(1)
    table: dict[str, Any] = {}
    judges: dict[bool, Judge] = {}
    for name in asked.only or VARIANTS:
        preset = changed(name, asked.steps, asked.samples)
        folder = trained(preset, asked.work, name)
        random_tower = preset.model.encoder == "random"
        if random_tower not in judges:
            given = material(asked.work, asked.measured, random_tower=random_tower)
            judges[random_tower] = Judge(given)
        judge, bundle = judges[random_tower], load_bundle(folder, dtype=torch.bfloat16)
        given = judge.given
        table[name] = row(judge(restored(given, bundle)))
        for left_out in ("injection", "guide"):
            found = row(judge(restored(given, bundle, **{left_out: False})))
            for metric in ("psnr", "lpips"):
                table[name][f"{metric} without {left_out}"] = found[metric]
        print(name, table[name], flush=True)
        if not asked.only:
            write(table, asked)


def write(table: dict[str, Any], asked: argparse.Namespace) -> None:
    """Write what is measured so far."""
    record = {
        "what": f"{asked.steps} steps of 16 from random weights, {asked.samples} samples, a "
        "network of 3 million parameters, one setting changed at a time; "
        f"{asked.measured} held-out swaps with a known truth, 1 step. Far too short a training to "
        "judge a network by, long enough to compare.",
        "variants": table,
    }
    heldout.write("training_ablation", record, "python benchmarks/training_ablation.py")


def changed(name: str, steps: int, samples: int) -> TrainPreset:
    """Return the recipe with the changes of `BASE` and of a variant."""
    preset = load_train_preset("celeba")
    changes = merge(merge(BASE, VARIANTS[name]), {"data": {"pool": samples}})
    changes = merge(changes, {"optim": {"steps": steps}})
    sections = {
        section: getattr(preset, section).model_copy(update=changed)
        for section, changed in changes.items()
    }
    seed = preset.seed + (name == AGAIN)
    return preset.model_copy(update={"start": "", "seed": seed, **sections})


def trained(preset: TrainPreset, work: Path, name: str) -> Path:
    """Train a variant, or go on with it; return its bundle."""
    slug = name.replace(" ", "-").replace(",", "")
    output = work / "runs" / slug
    if (output / "bundle.toml").is_file():
        return output
    faces = heldout.faces(work)
    own = name == AGAIN or "data" in VARIANTS[name] or "encoder" in VARIANTS[name].get("model", {})
    pools = work / "pools" / (slug if own else "shared")
    pools.mkdir(parents=True, exist_ok=True)
    if not (pools / "faces").exists():
        (pools / "faces").symlink_to(heldout.faces_folder(work, "celeba").resolve())
    encoder = load_encoder(preset, sets_folder(), None)
    assert isinstance(encoder, MobileNetV2Tokens)
    measured, pool = make_pools(preset, pools, faces, encoder, 2, Hooks(), lambda: False)
    perceptual = load_perceptual(preset, sets_folder())
    folder, cpu = work / "states" / slug, torch.device("cpu")
    trainer = Trainer(preset, folder, pool, measured, perceptual, cpu, tower=encoder)
    trainer.run()
    output.parent.mkdir(exist_ok=True)
    network, frozen = trainer.averaged(), encoder_file(encoder)
    licences = dict.fromkeys([*frozen, *network.files()], "an experiment, not for distribution")
    export_bundle(output, trainer.manifest, network, frozen, licences, f"# {name}\n")
    return output


if __name__ == "__main__":
    main()
