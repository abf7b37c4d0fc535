"""Write the published files at full size with random float16 values.

These are fap.bin, a VAE and an image tower, for trying the import and the `sd15` bundle without
the real weights; what it paints is noise.

    python scripts/make_synthetic_fap.py FOLDER        # 3.3 GB
    fapvideo weights import sd15 FOLDER

Names and shapes are the published ones (fapvideo/weights/sd15.py). Norm scales are 1, biases
0, matrices scaled by their fan-in, so that activations stay finite in half precision.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from fapvideo.nets.clip import VIT_H_14
from fapvideo.ops.torchvision_shim import load_library
from fapvideo.weights.sd15 import SD15_VAE, Shapes, fap_layout
from fapvideo.weights.state import shapes_of


def random_state(shapes: Shapes, seed: int) -> dict[str, Tensor]:
    """Return random float16 tensors of these shapes."""
    generator = torch.Generator().manual_seed(seed)
    return {name: _random(name, shape, generator) for name, shape in shapes.items()}


def _random(name: str, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    if name.endswith("bias"):
        return torch.zeros(shape, dtype=torch.float16)
    if len(shape) == 1 and "norm" in name:
        return torch.ones(shape, dtype=torch.float16)
    fan_in = math.prod(shape[1:]) or 1
    scale = 0.02 if "embed" in name or len(shape) == 1 else 0.5 / math.sqrt(fan_in)
    return (torch.randn(shape, generator=generator) * scale).half()


def layouts() -> tuple[Shapes, Shapes]:
    """Return name -> shape of the published VAE's and image tower's tensors."""
    diffusers, transformers = load_library("diffusers"), load_library("transformers")
    with torch.device("meta"):
        vae = diffusers.AutoencoderKL(**SD15_VAE)
        config = transformers.CLIPVisionConfig(**VIT_H_14)
        tower = transformers.CLIPVisionModelWithProjection(config)
    return shapes_of(vae.state_dict()), shapes_of(tower.state_dict())


def write(folder: Path, seed: int = 0) -> None:
    """Write the three files as their publishers name them."""
    vae, tower = layouts()
    paths = [
        folder / "fap.bin",
        folder / "vae" / "diffusion_pytorch_model.safetensors",
        folder / "image_encoder" / "model.safetensors",
    ]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
    groups = {name: random_state(shapes, seed) for name, shapes in fap_layout().items()}
    torch.save(groups, paths[0])
    del groups
    save_file(random_state(vae, seed + 1), paths[1])
    save_file(random_state(tower, seed + 2), paths[2])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    write(given.folder, given.seed)
