"""Codecs: how pixels become latents and back.

All share one interface: images [N, 3, R, R] in [-1, 1] <-> latents [N, channels, R/factor,
R/factor], and `mask`, which brings a pixel mask to the latent grid as the bundle's UNet expects it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from fapvideo.ops.torchvision_shim import load_library


class SpaceToDepth(nn.Module):
    """Pixel (un)shuffle: lossless, no weights; a `factor` x `factor` block becomes channels."""

    def __init__(self, factor: int = 4) -> None:
        """Take the block size."""
        super().__init__()
        self.factor = factor
        self.channels = 3 * factor**2
        self.mask_channels = factor**2

    def encode(self, images: Tensor) -> Tensor:
        """Return [N, 3*f*f, R/f, R/f]."""
        return functional.pixel_unshuffle(images, self.factor)

    def decode(self, latents: Tensor) -> Tensor:
        """Return [N, 3, R, R]; the exact inverse."""
        return functional.pixel_shuffle(latents, self.factor)

    def mask(self, hole: Tensor) -> Tensor:
        """Return [N, f*f, R/f, R/f]: the mask at full resolution, nothing is lost."""
        return functional.pixel_unshuffle(hole, self.factor)


class VaeCodec(nn.Module):
    """A diffusers `AutoencoderKL` or `AutoencoderTiny`.

    Latents are the posterior's mean (never a sample: that would flicker) times `scaling`.
    """

    mask_channels = 1

    def __init__(self, vae: nn.Module, scaling: float) -> None:
        """Wrap `vae`; `scaling` makes its latents unit size: 0.18215 for SD-1.5, 1 for TAESD."""
        super().__init__()
        self.vae = vae
        self.scaling = scaling
        config: Any = vae.config
        self.channels = int(config.latent_channels)
        blocks = getattr(config, "block_out_channels", None)
        if blocks is None or hasattr(config, "encoder_block_out_channels"):
            blocks = config.encoder_block_out_channels
        self.factor = 2 ** (len(blocks) - 1)

    def encode(self, images: Tensor) -> Tensor:
        """Return the scaled mean latents; float32."""
        vae: Any = self.vae
        found = vae.encode(images.to(vae.dtype))
        mean = found.latents if hasattr(found, "latents") else found.latent_dist.mean
        return mean.float() * self.scaling

    def decode(self, latents: Tensor) -> Tensor:
        """Return images, float32, not clipped."""
        vae: Any = self.vae
        return vae.decode((latents / self.scaling).to(vae.dtype)).sample.float()

    def mask(self, hole: Tensor) -> Tensor:
        """Return [N, 1, h, w] by legacy nearest: the top left pixel of each block decides."""
        size = (hole.shape[2] // self.factor, hole.shape[3] // self.factor)
        return functional.interpolate(hole, size=size, mode="nearest")


def build_codec(
    kind: str, *, factor: int, scaling: float, config: Mapping[str, Any]
) -> SpaceToDepth | VaeCodec:
    """Return the codec of a `CodecSpec`, with random weights where it has any."""
    if kind == "space_to_depth":
        return SpaceToDepth(factor)
    name = "AutoencoderKL" if kind == "autoencoder_kl" else "AutoencoderTiny"
    return VaeCodec(getattr(load_library("diffusers"), name)(**config), scaling)


def published_hole(boxes: Tensor, size: int) -> Tensor:
    """Return the published mask of boxes [K, 4] (y0, x0, y1, x1): [1, 1, size, size] in {0, 1}.

    Corners are truncated at 1024 times the box, a canvas of that size is filled half-open, and
    legacy nearest brings it to `size`. Thin boxes can vanish; values are clamped to [0, 1], where
    the published code lets a slightly negative start erase the box.

    Source: tests/goldens/PARITY.md, 7.
    """
    canvas = torch.zeros(1, 1, 1024, 1024)
    corners = (boxes.to(torch.float32).clamp(0, 1) * 1024).to(torch.int64)
    for top, left, bottom, right in corners.tolist():
        canvas[..., top:bottom, left:right] = 1
    return functional.interpolate(canvas, size=(size, size), mode="nearest")
