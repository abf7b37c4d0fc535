"""Merging a LoRA into a UNet: W += alpha / rank * up @ down.

Names of kohya's trainer (`lora_unet_down_blocks_0_..._to_q.lora_down.weight`, LCM-LoRA's layout)
and of diffusers (`unet.down_blocks.0....to_q.lora_A.weight`, `.lora.down.weight`) are understood.

Source: Hu et al. 2021, arXiv 2106.09685; LCM-LoRA: Luo et al. 2023, arXiv 2311.05556.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from fapvideo.errors import WeightsError
from fapvideo.weights.detect import expect
from fapvideo.weights.state import check_fit, read_tensors

_DOWN = re.compile(r"(.+?)\.(?:lora_down|lora_A|lora\.down)(?:\.default)?\.weight$")
_UP = {"lora_down": "lora_up", "lora_A": "lora_B", "lora.down": "lora.up"}
_TEXT = ("lora_te", "text_encoder")


@dataclass(frozen=True, slots=True)
class _Pair:
    """One low-rank change: up [out, r(, 1, 1)] and down [r, in(, k, k)]."""

    down: Tensor
    up: Tensor
    alpha: float

    def fits(self, weight: Tensor) -> bool:
        """Return whether the change is one of `weight`, without working it out."""
        shapes = self.up.shape, self.down.shape
        if min(map(len, shapes)) < 2 or self.up.shape[2:].numel() != 1 or not self.down.shape[0]:
            return False
        changed = (self.up.shape[0], *self.down.shape[1:])
        return self.up.shape[1] == self.down.shape[0] and changed == tuple(weight.shape)

    def delta(self) -> Tensor:
        """Return alpha / rank * up @ down, in float32 and in the shape of the weight."""
        rank = self.down.shape[0]
        product = self.up.float().flatten(1) @ self.down.float().flatten(1)
        return (self.alpha / rank) * product.reshape(self.up.shape[0], *self.down.shape[1:])


def merge_lora(unet: nn.Module, path: Path) -> int:
    """Add the LoRA in `path` to the UNet's weights; return how many layers changed.

    Cross-attentions (`attn2`) are left as they are: under variant B their output is the injected
    map, which the LoRA never saw. So is a text encoder's part.

    Raises:
        WeightsError: no LoRA, or one for another architecture.
    """
    expect(path, "lora")
    pairs = _pairs(read_tensors(path))
    layers = {name: module for name, module in unet.named_modules() if hasattr(module, "weight")}
    by_kohya = {f"lora_unet_{name.replace('.', '_')}": name for name in layers}
    changed, problems = 0, []
    for key, pair in pairs.items():
        if key.startswith(_TEXT) or "attn2" in key:
            continue
        name = by_kohya.get(key, key.removeprefix("unet."))
        weight = getattr(layers.get(name), "weight", None)
        if weight is None:
            problems.append(f"{key} is unknown")
        elif not pair.fits(weight):
            shapes = f"{list(pair.up.shape)} x {list(pair.down.shape)}"
            problems.append(f"{key} changes {shapes}, not {list(weight.shape)}")
        else:
            with torch.no_grad():
                merged = weight.float() + pair.delta().to(weight.device)
                weight.copy_(merged.to(weight.dtype))
            changed += 1
    check_fit("the UNet", path, problems)
    if not changed:
        raise WeightsError(f"{path} changes nothing in this UNet", hint="is it for SD-1.5?")
    return changed


def _pairs(tensors: Mapping[str, Tensor]) -> dict[str, _Pair]:
    """Return layer name -> pair."""
    pairs = {}
    for key, down in tensors.items():
        match = _DOWN.match(key)
        if match is None:
            continue
        old = next(word for word in _UP if f".{word}." in key)
        up = tensors.get(key.replace(f".{old}.", f".{_UP[old]}."))
        if up is None:
            raise WeightsError(f"LoRA layer {match[1]} has no second half")
        alpha = tensors.get(f"{match[1]}.alpha")
        if alpha is None:
            alpha = torch.tensor(float(down.shape[0] if down.ndim else 1))
        numbers = down, up, alpha
        if alpha.numel() != 1 or not all(t.isfinite().all() for t in numbers):
            raise WeightsError(f"LoRA layer {match[1]} holds values that are not finite")
        pairs[match[1]] = _Pair(down, up, float(alpha))
    return pairs
