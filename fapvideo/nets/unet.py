"""The denoising UNet: a stock diffusers class, minus the parts that no variant uses."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from fapvideo.nets.sites import attention_sites
from fapvideo.ops.torchvision_shim import load_library

SD15_CONFIG: dict[str, Any] = {
    "sample_size": 64,
    "in_channels": 9,
    "out_channels": 4,
    "block_out_channels": [320, 640, 1280, 1280],
    "cross_attention_dim": 768,
    "attention_head_dim": 8,
}
"""SD-1.5's UNet with the published nine input channels; the rest are diffusers' defaults."""


def build_unet(kind: str, config: Mapping[str, Any]) -> nn.Module:
    """Return the UNet of a `UnetSpec`, with random weights unless built on the meta device."""
    name = "UNet2DModel" if kind == "unet2d" else "UNet2DConditionModel"
    return getattr(load_library("diffusers"), name)(**config)


def dead_keys(keys: Iterable[str]) -> set[str]:
    """Return the UNet tensors that have exactly no effect under variant B.

    norm2, to_q, to_k and to_v of every cross-attention: the layer's output is replaced
    (tests/goldens/PARITY.md, 5), 31.6 million parameters at full size.
    """
    dead = (".attn2.to_q.", ".attn2.to_k.", ".attn2.to_v.")
    return {
        key
        for key in keys
        if any(part in key for part in dead) or (".transformer_blocks." in key and ".norm2." in key)
    }


def silence_cross_attention(unet: nn.Module) -> None:
    """Make every cross-attention return its output bias, which is what it does for zeros.

    For variant A: nobody gives the UNet a text, and keys and values of zeros are zeros.
    """
    strip_dead_cross_attention(unet)
    for site in attention_sites(unet).values():
        site.set_processor(_SilentProcessor())


class _SilentProcessor:
    """An attention processor that looks at nothing."""

    def __call__(self, attn: Any, hidden_states: Tensor, *_: Any, **__: Any) -> Tensor:
        bias = attn.to_out[0].bias
        rows = torch.zeros_like(hidden_states) if bias is None else bias.expand_as(hidden_states)
        return rows.to(hidden_states.dtype)


def strip_dead_cross_attention(unet: nn.Module) -> None:
    """Take the parts of `dead_keys` out of the UNet; its cross-attention then works no more."""
    for name, module in unet.named_modules():
        if name.endswith(".attn2"):
            for part in ("to_q", "to_k", "to_v"):
                setattr(module, part, nn.Identity())
            # The block still calls its norm2, whose result nobody reads.
            unet.get_submodule(name.rpartition(".")[0]).norm2 = nn.Identity()
