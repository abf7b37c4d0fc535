"""Networks that training starts from but does not train: image tower and perceptual distance."""

from __future__ import annotations

import pickle
from pathlib import Path

import torch
from torch import Tensor

from fapvideo.config.train import TrainPreset
from fapvideo.errors import WeightsError
from fapvideo.nets.mobilenet import MobileNetV2Tokens
from fapvideo.nets.perceptual import PerceptualDistance
from fapvideo.training.sets import fetch

ENCODER_SET, PERCEPTUAL_SET = "mobilenet_v2", "perceptual"


def wanted_sets(preset: TrainPreset) -> tuple[str, ...]:
    """Return the public sets with the networks that `preset` needs."""
    encoder = (ENCODER_SET,) if preset.model.encoder == "imagenet" else ()
    perceptual = (PERCEPTUAL_SET,) if preset.optim.perceptual_weight > 0 else ()
    return encoder + perceptual


def load_encoder(preset: TrainPreset, sets: Path) -> MobileNetV2Tokens:
    """Return the frozen image tower, float32, on the CPU."""
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


def _read(path: Path) -> dict[str, Tensor]:
    try:
        return torch.load(path, weights_only=True, map_location="cpu")
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise WeightsError(
            f"{path} cannot be read: {error}", hint=f"delete {path.parent}; it is fetched again"
        ) from None
