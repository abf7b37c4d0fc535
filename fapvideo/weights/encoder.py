"""The image encoder as the stages see it: pictures in, tokens out, and a name for the cache."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Self

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from fapvideo.config.bundle import EncoderSpec
from fapvideo.nets.clip import ClipTokens, pil_pixels
from fapvideo.nets.mobilenet import MobileNetV2Tokens

PICTURES_AT_ONCE = 2
"""For MobileNet on a CPU, whose caches hold what two become: 14 ms a picture, and 18 to 25 in
eights, which take 180 MB more."""


class ImageEncoder:
    """Callable: images [B, 3, H, W] in [0, 1] -> tokens [B, G*G, C], or with CLS [B, 1 + G*G, C].

    Attributes:
        grid, width, image_size: G, C, and the side pictures are brought to.
        identity: changes when the weights, the preprocessing or the number format do; the
            reference cache keys on it.
        module: the network.
    """

    def __init__(self, module: nn.Module, spec: EncoderSpec, identity: str) -> None:
        """Wrap `module`, which takes pictures in [0, 1] of any size and resizes them itself."""
        self.module = module
        self.grid, self.width, self.image_size = spec.grid, spec.width, spec.image_size
        self.identity = identity
        self._compute: Callable[[Tensor], Tensor] | None = None

    def computed_by(self, compute: Callable[[Tensor], Tensor]) -> Self:
        """Return this with another function for what a MobileNet makes of resized pictures.

        It must say the same within rounding: `identity` stays.
        """
        other = copy.copy(self)
        other._compute = compute
        return other

    def __call__(self, images: Tensor) -> Tensor:
        """Encode pictures of any square size; float32 result."""
        device = next(self.module.parameters()).device
        images = images.to(device, torch.float32)
        if device.type == "cpu" and isinstance(self.module, MobileNetV2Tokens):
            compute = self._compute or self.module
            parts = map(self.module.resized, images.split(PICTURES_AT_ONCE))
            return torch.cat([compute(part) for part in parts]).float()
        tokens: Tensor = self.module(images)
        return tokens.float()

    def as_published(self, images: Tensor) -> Tensor:
        """Encode as the published program does: 8-bit pictures, resized twice by Pillow.

        Raises:
            TypeError: the encoder is no CLIP tower.
        """
        if not isinstance(self.module, ClipTokens):
            raise TypeError("only CLIP towers are encoded as published")
        rows = (images.permute(0, 2, 3, 1).clamp(0, 1) * 255).round().to(torch.uint8).cpu()
        pictures = [Image.fromarray(np.ascontiguousarray(row.numpy())) for row in rows]
        parameter = next(self.module.parameters())
        pixels = pil_pixels(pictures, self.image_size).to(parameter.device, parameter.dtype)
        tokens: Tensor = self.module.tower(pixels)
        return tokens.float()

    def unconditional(self) -> Tensor:
        """Return [1, N, C], the tokens of CLIP's all-zero pixel tensor.

        Raises:
            TypeError: the encoder is no CLIP tower.
        """
        if not isinstance(self.module, ClipTokens):
            raise TypeError("only CLIP towers have an unconditional picture")
        return self.module.unconditional().float()
