"""The image encoder as the stages see it: pictures in, tokens out, and a name for the cache."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from fapvideo.config.bundle import EncoderSpec
from fapvideo.nets.clip import ClipTokens, pil_pixels


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

    def __call__(self, images: Tensor) -> Tensor:
        """Encode pictures of any square size; float32 result."""
        parameter = next(self.module.parameters())
        tokens: Tensor = self.module(images.to(parameter.device, torch.float32))
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
