"""Reading the recorded numbers in `tests/goldens` (their README says where they come from)."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

GOLDENS = Path(__file__).parent / "goldens"


@functools.cache
def golden_manifest() -> dict[str, Any]:
    """Return the manifest of all golden files."""
    return json.loads((GOLDENS / "manifest.json").read_text())


def manifest_of(name: str) -> dict[str, Any]:
    """Return the manifest entry of `name`.safetensors."""
    return next(f for f in golden_manifest()["files"] if f["file"] == f"{name}.safetensors")


def golden(name: str) -> dict[str, Tensor]:
    """Return the tensors of `name`.safetensors, float16 widened to float32 as its README asks."""
    tensors = load_file(GOLDENS / f"{name}.safetensors")
    return {k: v.float() if v.dtype is torch.float16 else v for k, v in tensors.items()}
