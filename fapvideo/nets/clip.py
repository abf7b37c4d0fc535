"""CLIP image tokens: the output of the last but one layer of a vision tower, CLS first.

Two ways to the tower's input: `ClipTokens.forward` resizes tensors (differentiable, on the
device, antialiased bicubic in one go) and is what runs and trains; `pil_pixels` does what the
published inference did, with Pillow's 8-bit bicubic twice, for parity. They differ by rounding and
by the second resize.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from fapvideo.nets.open_clip_tower import to_transformers
from fapvideo.ops.torchvision_shim import load_library

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
PREPROCESSING = "clip-bicubic-antialias-1"
"""Part of the reference cache's key: change it when `ClipTokens.preprocess` changes."""

VIT_H_14: dict[str, Any] = {
    "hidden_size": 1280,
    "intermediate_size": 5120,
    "num_hidden_layers": 32,
    "num_attention_heads": 16,
    "image_size": 224,
    "patch_size": 14,
    "projection_dim": 1024,
    "hidden_act": "gelu",
}
"""OpenCLIP ViT-H/14, the tower FuseAnyPart uses (docs/fuseanypart.md, 1.1)."""


class TransformersTower(nn.Module):
    """transformers' CLIP vision tower without its last layer, which penultimate tokens don't need.

    Attributes:
        image_size, grid, width: side of the input, tokens per side, channels of a token.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        """Build from the arguments of `CLIPVisionConfig`; random weights unless on `meta`."""
        super().__init__()
        layers = int(config["num_hidden_layers"])
        transformers = load_library("transformers")
        self.vision = transformers.CLIPVisionModel(
            transformers.CLIPVisionConfig(**{**config, "num_hidden_layers": layers - 1})
        )
        self.vision.post_layernorm = nn.Identity()
        self.dropped = f"encoder.layers.{layers - 1}."
        self.image_size = int(config["image_size"])
        self.grid = self.image_size // int(config["patch_size"])
        self.width = int(config["hidden_size"])

    def forward(self, pixels: Tensor) -> Tensor:
        """Return [B, 1 + grid*grid, width] of normalised pixels [B, 3, S, S]."""
        return self.vision(pixel_values=pixels).last_hidden_state

    def select(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return what this tower takes from `state`, in transformers' or open_clip's layout.

        The last layer, the final norm and the projection are left out.
        """
        if "embeddings.class_embedding" in state:  # as transformers 5 saves a tower on its own
            state = {f"vision_model.{key}": value for key, value in state.items()}
        skipped = (self.dropped, "post_layernorm.", "visual_projection.")
        names = {k.removeprefix("vision_model."): v for k, v in to_transformers(state).items()}
        return {f"vision.{k}": v for k, v in names.items() if not k.startswith(skipped)}


class ClipTokens(nn.Module):
    """Images [B, 3, H, W] in [0, 1] -> penultimate tokens [B, 1 + G*G, C], CLS first."""

    mean: Tensor
    std: Tensor

    def __init__(self, tower: nn.Module, image_size: int) -> None:
        """Wrap a tower that takes normalised pixels."""
        super().__init__()
        self.tower = tower
        self.image_size = image_size
        self.register_buffer("mean", _channels(CLIP_MEAN), persistent=False)
        self.register_buffer("std", _channels(CLIP_STD), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Preprocess and encode."""
        return self.tower(self.preprocess(images).to(self._dtype()))

    def preprocess(self, images: Tensor) -> Tensor:
        """Return normalised pixels [B, 3, S, S]; differentiable."""
        size = (self.image_size, self.image_size)
        if images.shape[-2:] != size:
            images = functional.interpolate(
                images, size=size, mode="bicubic", antialias=True, align_corners=False
            ).clamp(0, 1)
        return (images - self.mean) / self.std

    def unconditional(self) -> Tensor:
        """Return [1, 1 + G*G, C]: tokens of the all-zero *pixel tensor*, which is the mean colour.

        Neither a black picture nor zero tokens (tests/goldens/PARITY.md, 9).
        """
        size = (1, 3, self.image_size, self.image_size)
        return self.tower(torch.zeros(size, device=self.mean.device, dtype=self._dtype()))

    def _dtype(self) -> torch.dtype:
        return next(self.tower.parameters()).dtype


def pil_pixels(images: Sequence[Image.Image], size: int = 224, first: int | None = 256) -> Tensor:
    """Return [B, 3, size, size] pixels as the published inference computes them.

    Pillow's bicubic to `first` x `first` (None: as in training, straight to `size`), again to
    `size`, then /255 and CLIP's mean and deviation. Square pictures.

    Source: tests/goldens/PARITY.md, 1.
    """
    rows = []
    for image in images:
        picture = image.convert("RGB")
        if first is not None:
            picture = picture.resize((first, first), Image.Resampling.BICUBIC)
        picture = picture.resize((size, size), Image.Resampling.BICUBIC)
        rows.append(torch.from_numpy(np.array(picture)).permute(2, 0, 1))
    pixels = torch.stack(rows).float() / 255
    return (pixels - _channels(CLIP_MEAN)) / _channels(CLIP_STD)


def _channels(values: tuple[float, float, float]) -> Tensor:
    return torch.tensor(values).view(1, 3, 1, 1)
