"""Shift-tolerant LPIPS (AlexNet trunk): a perceptual distance for training and evaluation.

Architecture: Ghildyal & Liu, "Shift-tolerant Perceptual Similarity Metric", ECCV 2022,
arXiv 2207.13686; parameter names fit `alex_shift_tolerant.pth` of stlpips-pytorch 0.0.2 (BSD-2).
"""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn
from torch.nn import functional

CHANNELS = (64, 192, 384, 256, 256)


class BlurPool(nn.Module):
    """Halve the size after a binomial low-pass (Zhang 2019, arXiv 1904.11486)."""

    filt: Tensor

    def __init__(self, channels: int) -> None:
        """Build the fixed 3 x 3 kernel."""
        super().__init__()
        row = torch.tensor([1.0, 2.0, 1.0])
        kernel = row[:, None] * row[None] / 16
        self.register_buffer("filt", kernel.expand(channels, 1, 3, 3).clone())

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, C, H, W] to half the size, padded by two as the weights were trained."""
        padded = functional.pad(x, (2, 2, 2, 2), mode="reflect")
        return functional.conv2d(padded, self.filt.to(x.dtype), stride=2, groups=x.shape[1])


class _Trunk(nn.Module):
    """The five slices under the names the checkpoint uses."""

    def __init__(self) -> None:
        super().__init__()
        layers = [
            nn.Conv2d(3, 64, 11, 1, 2), BlurPool(64), nn.ReLU(),
            nn.MaxPool2d(3, 1), BlurPool(64), nn.Conv2d(64, 192, 5, padding=2), nn.ReLU(),
            nn.MaxPool2d(3, 1), BlurPool(192), nn.Conv2d(192, 384, 3, padding=1), nn.ReLU(),
            nn.Conv2d(384, 256, 3, padding=1), nn.ReLU(),
            nn.Conv2d(256, 256, 3, padding=1), nn.ReLU(),
        ]  # fmt: skip
        bounds = (0, 3, 7, 11, 13, 15)
        for k in range(5):
            part = nn.Sequential()
            for i in range(bounds[k], bounds[k + 1]):
                part.add_module(str(i), layers[i])
            self.add_module(f"slice{k + 1}", part)

    def forward(self, x: Tensor) -> list[Tensor]:
        features = []
        for k in range(5):
            x = self.get_submodule(f"slice{k + 1}")(x)
            features.append(x)
        return features


class _Scaling(nn.Module):
    """ImageNet statistics for inputs in [-1, 1]."""

    shift: Tensor
    scale: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("shift", torch.tensor([-0.030, -0.088, -0.188]).view(1, 3, 1, 1))
        self.register_buffer("scale", torch.tensor([0.458, 0.448, 0.450]).view(1, 3, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return (x - self.shift) / self.scale


class PerceptualDistance(nn.Module):
    """LPIPS of two pictures, 0 = the same; frozen."""

    def __init__(self) -> None:
        """Build with random weights; load `alex_shift_tolerant.pth`'s state before use."""
        super().__init__()
        self.scaling_layer = _Scaling()
        self.net = _Trunk()
        for k, channels in enumerate(CHANNELS):
            weighting = nn.Sequential(nn.Identity(), nn.Conv2d(channels, 1, 1, bias=False))
            self.add_module(f"lin{k}", nn.Sequential(OrderedDict(model=weighting)))
        self.eval().requires_grad_(False)

    def forward(self, a: Tensor, b: Tensor, weight: Tensor | None = None) -> Tensor:
        """Return [B] distances of [B, 3, H, W] in [-1, 1]; gradients flow through `a`.

        `weight` [B, 1, H, W] says where it matters; None weighs all pixels alike.
        """
        first = self.net(self.scaling_layer(a))
        with torch.no_grad():
            second = self.net(self.scaling_layer(b))
        total = torch.zeros(len(a), device=a.device)
        for k, (x, y) in enumerate(zip(first, second, strict=True)):
            x = x / (x.square().sum(1, keepdim=True).sqrt() + 1e-10)
            y = y / (y.square().sum(1, keepdim=True).sqrt() + 1e-10)
            spread = self.get_submodule(f"lin{k}")((x - y).square()).float()
            if weight is None:
                total = total + spread.mean(dim=(1, 2, 3))
            else:
                here = functional.adaptive_avg_pool2d(weight, spread.shape[-2:])
                total = total + (spread * here).sum((1, 2, 3)) / here.sum((1, 2, 3)).clamp_min(1e-6)
        return total
