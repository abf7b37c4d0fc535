"""The image tower of the packaged bundle on its own, for who looks at faces without a bundle."""

from __future__ import annotations

import torch

from fapvideo.nets.mobilenet import MobileNetV2Tokens
from fapvideo.weights.bundle import EMBEDDED
from fapvideo.weights.state import load_into, read_tensors


def embedded_tower() -> MobileNetV2Tokens:
    """Return the image tower of the embedded bundle (1 MB), float32, on the CPU.

    Raises:
        WeightsError: its file is missing or damaged.
    """
    path = EMBEDDED / "encoder.safetensors"
    with torch.random.fork_rng(devices=[]):
        tower = MobileNetV2Tokens()
    load_into(tower, read_tensors(path), "the image encoder", path)
    return tower.to(torch.float32).requires_grad_(False).fold()
