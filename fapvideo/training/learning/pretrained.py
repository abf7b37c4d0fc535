"""Networks that training starts from but does not train: image tower and perceptual distance."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fapvideo.config.train import TrainPreset
from fapvideo.errors import PresetError, WeightsError
from fapvideo.nets.mobilenet import MobileNetV2Tokens
from fapvideo.nets.perceptual import PerceptualDistance
from fapvideo.nets.realesrgan import RRDBNet
from fapvideo.training.faces.sets import fetch
from fapvideo.training.learning.network import embedded_manifest
from fapvideo.weights.bundle import Bundle, load_bundle
from fapvideo.weights.encoder import ImageEncoder

ENCODER_SET, PERCEPTUAL_SET, ENLARGER_SET = "mobilenet_v2", "perceptual", "realesrgan"


def wanted_sets(preset: TrainPreset) -> tuple[str, ...]:
    """Return the public sets with the networks that `preset` needs."""
    imagenet = preset.model.encoder == "imagenet" and not preset.start
    encoder = (ENCODER_SET,) if imagenet else ()
    perceptual = (PERCEPTUAL_SET,) if preset.optim.perceptual_weight > 0 else ()
    enlarger = (ENLARGER_SET,) if preset.data.enlarge else ()
    return encoder + perceptual + enlarger


def load_start(preset: TrainPreset, device: torch.device | str = "cpu") -> Bundle | None:
    """Return the bundle that training starts from, float32; `None` for random weights.

    On the CPU, but for `sd15_adapter`, which takes its networks over: on `device`.

    Raises:
        WeightsError: it is missing or damaged.
        PresetError: `[model]` describes another network than the bundle's.
    """
    if not preset.start:
        return None
    if preset.model.kind == "sd15_adapter":
        return _load_base(preset, device)
    bundle = load_bundle(preset.start)
    given, wanted = bundle.manifest, embedded_manifest(preset)
    for name in ("resolution", "guide_channels", "codec", "encoder", "unet", "adapter"):
        if getattr(given, name) != getattr(wanted, name):
            raise PresetError(
                f"training cannot start from bundle {preset.start}: its {name} is not [model]'s",
                hint="give [model] the values in the bundle's MODEL_CARD.md, or leave out start",
            )
    return bundle


def _load_base(preset: TrainPreset, device: torch.device | str) -> Bundle:
    """Return the bundle whose UNet gets the injection, at the resolution of `preset`."""
    bundle = load_bundle(preset.start, device)
    if bundle.manifest.unet.kind != "unet2d_condition":
        raise PresetError(
            f"bundle {preset.start} has no UNet of SD-1.5's class",
            hint="start = 'sd15', or model.kind = 'embedded'",
        )
    size = {"resolution": preset.model.resolution}
    return replace(bundle, manifest=bundle.manifest.model_copy(update=size))


def load_encoder(
    preset: TrainPreset, sets: Path, start: Bundle | None
) -> MobileNetV2Tokens | ImageEncoder:
    """Return the frozen image tower, float32: `start`'s own, where there is one.

    MobileNetV2 on the CPU, another one where `start` is.
    """
    if start is not None and preset.model.kind == "sd15_adapter":
        return start.encoder
    if start is not None:
        tower = MobileNetV2Tokens()
        tower.load_state_dict(start.encoder.module.state_dict())
        return tower
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(preset.seed)
        encoder = MobileNetV2Tokens()
    if preset.model.encoder == "imagenet":
        wanted = encoder.state_dict()
        state = _read(fetch(ENCODER_SET, sets)[0])
        encoder.load_state_dict({name: state[name] for name in wanted})
    return encoder


def load_perceptual(preset: TrainPreset, sets: Path) -> PerceptualDistance | None:
    """Return the frozen perceptual distance, or `None` where the preset gives it no weight."""
    if preset.optim.perceptual_weight == 0:
        return None
    perceptual = PerceptualDistance()
    perceptual.load_state_dict(_read(fetch(PERCEPTUAL_SET, sets)[0]))
    return perceptual


def load_enlarger(
    preset: TrainPreset, sets: Path, device: torch.device | str = "cpu"
) -> RRDBNet | None:
    """Return the network that enlarges small photos, or `None` where the preset does without.

    Raises:
        WeightsError: it cannot be had.
    """
    if not preset.data.enlarge:
        return None
    path = fetch(ENLARGER_SET, sets)[0]
    network = RRDBNet().eval().requires_grad_(False)
    try:
        network.load_ncnn(path.read_bytes())
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from None
    memory: Any = {"memory_format": torch.channels_last}
    return network.to(device).to(**memory)


def _read(path: Path) -> dict[str, Tensor]:
    try:
        return torch.load(path, weights_only=True, map_location="cpu")
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise _unreadable(path, error) from None


def _unreadable(path: Path, error: Exception) -> WeightsError:
    return WeightsError(
        f"{path} cannot be read: {error}", hint=f"delete {path.parent}; it is fetched again"
    )
