"""The published files in toy size: what people would have on their disk, with recorded weights."""

from __future__ import annotations

import io
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from golden_vectors import golden
from published_toy import toy_manifest, toy_states
from safetensors.torch import save
from torch import Tensor

from fapvideo.weights.bundle import Networks, build_networks
from fapvideo.weights.state import shapes_of


def below(prefix: str, state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}


def fap_groups() -> dict[str, dict[str, Tensor]]:
    """Return the three groups of fap.bin."""
    return {
        "image_proj": below("state.", golden("resampler")),
        "image_proj2": below("state.", golden("mlp_proj")),
        "unet": golden("unet_b_state"),
    }


def clip_state() -> dict[str, Tensor]:
    """Return the CLIP image tower in transformers' layout."""
    return toy_states()["encoder.safetensors"]


def old_vae_state() -> dict[str, Tensor]:
    """Return the VAE under the attention names of diffusers before 0.18."""
    names = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    result = {}
    for key, value in toy_states()["codec.safetensors"].items():
        for new, old in names.items():
            if ".attentions.0." in key:
                key = key.replace(f".{new}.", f".{old}.")
        result[key] = value
    return result


def write_published_files(folder: Path) -> dict[str, Path]:
    """Write fap.bin, a VAE and an image tower as their publishers name them."""
    for name, data in _published_files().items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return dict(zip(("fap", "vae", "clip_vision"), map(folder.joinpath, FILES), strict=True))


FILES = (
    "fap.bin",
    "vae/diffusion_pytorch_model.safetensors",
    "models/image_encoder/model.safetensors",
)


@cache
def _published_files() -> dict[str, bytes]:
    """Return the bytes of each file, put together once for all tests."""
    fap = io.BytesIO()
    torch.save(fap_groups(), fap)
    return dict(
        zip(FILES, (fap.getvalue(), save(old_vae_state()), save(clip_state())), strict=True)
    )


@cache
def _layout() -> Any:
    return {group: shapes_of(state) for group, state in fap_groups().items()}


@cache
def _empty_networks() -> Networks:
    """Return the networks of which converting reads names and shapes only: once is enough."""
    return build_networks(toy_manifest(), empty=True)


def shrink(monkeypatch: pytest.MonkeyPatch, store: Path) -> None:
    """Make bundle `sd15` toy-sized, and the store a folder of the test."""
    monkeypatch.setattr("fapvideo.weights.convert.fap_layout", _layout)
    monkeypatch.setattr(
        "fapvideo.weights.convert.build_networks", lambda *_, **__: _empty_networks()
    )
    monkeypatch.setattr("fapvideo.weights.importer.sd15_manifest", toy_manifest)
    monkeypatch.setenv("FAPVIDEO_WEIGHTS", str(store))
