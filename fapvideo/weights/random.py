"""Bundles with random weights: they take the time of the real ones, and paint noise."""

from __future__ import annotations

from pathlib import Path

import torch

from fapvideo.config.bundle import load_manifest
from fapvideo.config.schema import DenoiseConfig
from fapvideo.nets.tiny import TINY_SEED
from fapvideo.weights.bundle import Bundle, assemble, bundle_folder
from fapvideo.weights.options import resized_manifest
from fapvideo.weights.sd15 import sd15_manifest


def random_bundle(
    name_or_folder: str | Path,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    *,
    options: DenoiseConfig | None = None,
) -> Bundle:
    """Return the networks of `sd15`, or of a bundle's manifest, with seeded random weights.

    `sd15` need not be installed. Of `options`, `resolution` counts.

    Raises:
        WeightsError: no such bundle.
    """
    published = str(name_or_folder) == "sd15"
    manifest = sd15_manifest() if published else load_manifest(bundle_folder(name_or_folder))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(TINY_SEED)
        return assemble(resized_manifest(manifest, options), None, torch.device(device), dtype)
