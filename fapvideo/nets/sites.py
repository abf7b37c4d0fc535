"""Where in a diffusers UNet the fused map enters: names of ResNet blocks and cross-attentions."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from torch import nn

from fapvideo.ops.torchvision_shim import load_library


def published_resnets(unet: nn.Module) -> tuple[str, ...]:
    """Return the ResNet blocks that carry the addition in the published training code.

    These are all resnets of the down and up blocks at the three finest levels, and the first of
    the middle: 16 names in the SD-1.5 layout (docs/fuseanypart.md, 1.5). The deepest down block
    and the first up block carry none.
    """
    last = sum(1 for _ in unet.get_submodule("down_blocks").children()) - 1
    skip = (f"down_blocks.{last}.", "up_blocks.0.")
    names = [name for name in _resnets(unet) if not name.startswith((*skip, "mid_block."))]
    return (*names, "mid_block.resnets.0")


def resnets_up_to(unet: nn.Module, latent: int, grid: int = 32) -> tuple[str, ...]:
    """Return the ResNet blocks that work at `grid` x `grid` or coarser for a `latent`-sized input.

    For UNets of another layout: a 16x16 token map has little to say at finer grids.
    """
    strides = _strides(unet)
    return tuple(name for name in _resnets(unet) if latent // strides[name] <= grid)


def resnet_sites(unet: nn.Module, blocks: Iterable[str] | None) -> dict[str, Any]:
    """Return name -> `ResnetBlock2D` for `blocks`, by default the published ones.

    Raises:
        ValueError: a name is unknown, or the block scales norm2's output by the time embedding.
    """
    found = _resnets(unet)
    names = published_resnets(unet) if blocks is None else tuple(dict.fromkeys(blocks))
    for name in names:
        if name not in found:
            raise ValueError(f"{name} is not a ResnetBlock2D of this UNet")
        if found[name].time_embedding_norm != "default":
            raise ValueError(f"{name}: time_embedding_norm must be 'default'")
    return {name: found[name] for name in names}


def attention_sites(unet: nn.Module) -> dict[str, Any]:
    """Return name -> cross-attention (`attn2`) of all transformer blocks, in module order.

    Raises:
        ValueError: the UNet has none.
    """
    attention = load_library("diffusers.models.attention_processor").Attention
    sites = {
        name: module
        for name, module in unet.named_modules()
        if name.endswith(".attn2") and isinstance(module, attention)
    }
    if not sites:
        raise ValueError("this UNet has no cross-attention: variant B cannot be injected")
    return sites


def _resnets(unet: nn.Module) -> dict[str, Any]:
    """Return name -> `ResnetBlock2D`, without those that up- or downsample (`downsamplers.*`)."""
    block = load_library("diffusers.models.resnet").ResnetBlock2D
    return {
        name: module
        for name, module in unet.named_modules()
        if isinstance(module, block) and re.fullmatch(r".*resnets\.\d+", name)
    }


def _strides(unet: nn.Module) -> dict[str, int]:
    """Return ResNet name -> input pixels per pixel of its grid."""
    strides: dict[str, int] = {}
    stride = 1
    for stage in ("down_blocks", "mid_block", "up_blocks"):
        module = unet.get_submodule(stage)
        for index, block in [("", module)] if stage == "mid_block" else module.named_children():
            prefix = stage if index == "" else f"{stage}.{index}"
            for name in _resnets(block):
                strides[f"{prefix}.{name}"] = stride
            if getattr(block, "downsamplers", None) is not None:
                stride *= 2
            if getattr(block, "upsamplers", None) is not None:
                stride //= 2
    return strides
