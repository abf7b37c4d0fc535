"""Injection A (inside ResNet blocks) against B (in place of cross-attention), in miniature.

    python benchmarks/adapter_variants.py [--steps 200] [--work DIR]

The published architecture with a UNet of 0.13 million random weights (bundle `tiny_sd15`), on the
public photos: the only size that a CPU trains in minutes. Both variants see the same samples in the
same order. Writes benchmarks/results/adapter_variants.json.
"""

from __future__ import annotations

import os
import shutil

os.environ["OMP_NUM_THREADS"] = "1"

import heldout
import torch

from fapvideo.config.train import load_train_preset
from fapvideo.training.learning.loop import LOG
from fapvideo.training.learning.records import read_log
from fapvideo.training.train import train
from fapvideo.training.work import work_folder

SETTINGS = {
    "start": "tiny_sd15",
    "data.sets": ["celeba_sample"],
    "data.pool": 512,
    "data.heldout_pool": 128,
    "data.min_face_px": 28,
    "model.resolution": 128,
    "optim.learning_rate": 2e-3,
    "optim.checkpointing": False,
    "optim.sheet_steps": 10**6,
    "optim.eval_steps": 10**6,
}
"""The 512 px of the preset would be lost on so small a network."""


def main() -> None:
    """Train both variants with the UNet frozen and trained; write what they reach."""
    parser = heldout.arguments(__doc__, "adapters")
    parser.add_argument("--steps", type=int, default=200)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    rows = {}
    for variant in ("A", "B"):
        for unet in (False, True):
            output = asked.work / f"{variant}-{'trained' if unet else 'frozen'}"
            own = {"model.variant": variant, "optim.train_unet": unet, "optim.steps": asked.steps}
            preset = load_train_preset("adapter_sd15", {**SETTINGS, **own})
            first, work = work_folder(asked.work / "A-frozen"), work_folder(output)
            if first.is_dir() and not work.exists():
                # Faces are found once for all; samples are made anew, from the same seed.
                shutil.copytree(first / "faces", work / "faces")
            train(preset, [], output, workers=1)
            log = read_log(work / LOG)
            name = f"{variant}, UNet {'trained' if unet else 'frozen'}"
            rows[name] = {
                "noise error before": float(log[0]["noise_error"]),
                "after": float(log[-1]["noise_error"]),
                "after, without injection": float(log[-1]["noise_error_no_injection"]),
            }
            print(name, rows[name], flush=True)
    record = {
        "what": f"{asked.steps} steps of 8 on a random UNet of the published architecture in "
        "miniature (`tiny_sd15`), 128 held-out samples: squared error of the predicted noise in "
        "the hole (1 says nothing). It compares the two ways of injecting and nothing else: what "
        "they reach on the published UNet needs its weights and a GPU.",
        "variants": rows,
    }
    heldout.write("adapter_variants", record, "python benchmarks/adapter_variants.py")


if __name__ == "__main__":
    main()
