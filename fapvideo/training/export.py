"""From a trainer to a bundle folder that `fapvideo run --set bundle=DIR` takes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import nn

from fapvideo.config.bundle import BundleManifest
from fapvideo.training.network import stored
from fapvideo.training.task import TrainedNetwork
from fapvideo.weights.bundle import save_bundle


def export_bundle(
    folder: Path,
    manifest: BundleManifest,
    network: TrainedNetwork,
    encoder: nn.Module,
    licences: Mapping[str, str],
    model_card: str,
) -> BundleManifest:
    """Write `network` (averaged parameters) and `encoder` as a bundle, in one step.

    The UNet and the adapter are stored in bfloat16, the encoder in float16; both are half the size,
    and the first is what they are trained and run in.

    Args:
        folder: replaced if it is a bundle already.
        manifest: of the networks; its file list is written anew.
        network: what was trained.
        encoder: the frozen image tower.
        licences: file name -> licence.
        model_card: Markdown, stored as `MODEL_CARD.md`.
    """
    states = {
        **network.files(),
        "encoder.safetensors": stored(encoder.state_dict(), torch.float16),
    }
    return save_bundle(
        folder, manifest, states, licences=licences, extra={"MODEL_CARD.md": model_card}
    )
