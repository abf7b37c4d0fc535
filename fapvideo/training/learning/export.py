"""From a trainer to a bundle folder that `fapvideo run --set bundle=DIR` takes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from fapvideo.config.bundle import BundleManifest
from fapvideo.nets.clip import ClipTokens
from fapvideo.nets.codec import VaeCodec
from fapvideo.nets.mobilenet import MobileNetV2Tokens
from fapvideo.training.learning.network import stored
from fapvideo.training.learning.task import TrainedNetwork
from fapvideo.weights.bundle import Bundle, save_bundle
from fapvideo.weights.state import read_tensors

States = dict[str, dict[str, Tensor]]
"""File name -> its tensors."""


def export_bundle(
    folder: Path,
    manifest: BundleManifest,
    network: TrainedNetwork,
    frozen: Mapping[str, Mapping[str, Tensor]],
    licences: Mapping[str, str],
    model_card: str,
) -> BundleManifest:
    """Write `network` (averaged parameters) and the `frozen` networks as a bundle, in one step.

    See `save_bundle`; `frozen` is of `encoder_file` or `base_files`.
    """
    states, card = {**frozen, **network.files()}, {"MODEL_CARD.md": model_card}
    return save_bundle(folder, manifest, states, licences=licences, extra=card)


def encoder_file(encoder: MobileNetV2Tokens) -> States:
    """Return the embedded bundle's image tower, in float16, which is half the size."""
    return {"encoder.safetensors": stored(encoder.state_dict(), torch.float16)}


def base_files(start: Bundle) -> States:
    """Return codec, image tower and UNet of the bundle an adapter was trained on.

    To the bit, where it lies on the disk; tiny bundles, which don't, have float32.
    """
    manifest, folder = start.manifest, start.folder
    if folder is not None:
        files = {
            "codec.safetensors": manifest.codec.file,
            "encoder.safetensors": manifest.encoder.file,
            "unet.safetensors": manifest.unet.file,
        }
        return {name: read_tensors(folder / file) for name, file in files.items() if file}
    assert isinstance(start.codec, VaeCodec)
    assert isinstance(start.encoder.module, ClipTokens)
    tower = start.encoder.module.tower.state_dict()
    return {
        "codec.safetensors": start.codec.vae.state_dict(),
        "encoder.safetensors": {
            f"vision_model.{name.removeprefix('vision.')}": value for name, value in tower.items()
        },
        "unet.safetensors": start.unet.state_dict(),
    }
