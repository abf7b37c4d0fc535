"""The image tower of the packaged bundle on its own, for who looks at faces without a bundle."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import torch

from fapvideo.nets.mobilenet import MobileNetV2Tokens
from fapvideo.weights.bundle import EMBEDDED
from fapvideo.weights.state import load_into, read_tensors


@cache
def embedded_tower() -> MobileNetV2Tokens:
    """Return the image tower of the embedded bundle (1 MB), float32, frozen, on the CPU.

    One for all who look at faces: it must not be moved or converted.

    Raises:
        WeightsError: its file is missing or damaged.
    """
    return load_tower(EMBEDDED / "encoder.safetensors").fold()


def load_tower(path: Path) -> MobileNetV2Tokens:
    """Return the image tower of a file, float32, frozen, on the CPU.

    Raises:
        WeightsError: the file is missing, damaged or of something else.
    """
    with torch.random.fork_rng(devices=[]):
        tower = MobileNetV2Tokens()
    load_into(tower, read_tensors(path), "the image encoder", path)
    return tower.to(torch.float32).requires_grad_(False)
