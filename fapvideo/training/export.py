"""From a trainer to a bundle folder that `fapvideo run --set bundle=DIR` takes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from fapvideo.config.bundle import BundleManifest
from fapvideo.training.network import TrainingNetwork
from fapvideo.weights.bundle import save_bundle


def export_bundle(
    folder: Path,
    manifest: BundleManifest,
    network: TrainingNetwork,
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
        "unet.safetensors": _cast(network.unet.state_dict(), torch.bfloat16),
        "adapter.safetensors": _cast(network.adapter.state_dict(), torch.bfloat16),
        "encoder.safetensors": _cast(encoder.state_dict(), torch.float16),
    }
    return save_bundle(
        folder, manifest, states, licences=licences, extra={"MODEL_CARD.md": model_card}
    )


def _cast(state: Mapping[str, Tensor], dtype: torch.dtype) -> dict[str, Tensor]:
    return {
        name: value.to(dtype) if value.is_floating_point() else value
        for name, value in state.items()
    }
