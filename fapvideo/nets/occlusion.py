"""What stands in front of a face: a decoder on four maps of the packaged image tower."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import fuse_conv_bn_eval

from fapvideo.nets.mobilenet import MobileNetV2Tokens
from fapvideo.structs import Bytes, Floats

SIZE = 128
"""Side of the aligned crop that is looked at, pixels."""
BLOCKS = (1, 3, 6, 10)
"""Of the tower, whose outputs are used: strides 2, 4, 8 and 16."""
_SEEN = (16, 24, 32, 64)
_WIDTHS = (28, 40, 56)
"""Channels of the decoder at 64, 32 and 16 pixels."""


def _block(channels: int, out: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(channels, out, 3, padding=1, bias=False), nn.BatchNorm2d(out), nn.ReLU(True)
    )


class OcclusionNet(nn.Module):
    """A U-Net whose way down is the frozen tower; a fifth of a million parameters of its own.

    Two maps come out: whatever is in front of the face, and the frames of glasses among it. The
    finest layer works on blocks of 2 x 2 pixels of the picture, and says four pixels at a time.
    """

    def __init__(self) -> None:
        """Build with random weights."""
        super().__init__()
        half, quarter, eighth = _WIDTHS
        self.deep = nn.Sequential(_block(_SEEN[3], 64), _block(64, 64))
        self.whole = nn.Linear(64, 64)
        self.up8 = nn.Sequential(_block(64 + _SEEN[2], eighth), _block(eighth, eighth))
        self.up4 = nn.Sequential(_block(eighth + _SEEN[1], quarter), _block(quarter, quarter))
        self.up2 = _block(quarter + _SEEN[0] + 12, half)
        self.out = nn.Conv2d(half, 8, 3, padding=1)

    def forward(self, picture: Tensor, maps: Sequence[Tensor]) -> Tensor:
        """Return logits [B, 2, S, S].

        Args:
            picture: [B, 3, S, S] in [-1, 1].
            maps: what `BLOCKS` of the tower make of it.
        """
        x = self.deep(maps[3])
        x = x + self.whole(x.mean((2, 3)))[..., None, None]
        fine = torch.cat([maps[0], functional.pixel_unshuffle(picture, 2)], 1)
        for layer, skipped in ((self.up8, maps[2]), (self.up4, maps[1]), (self.up2, fine)):
            x = layer(torch.cat([_doubled(x), skipped], 1))
        return functional.pixel_shuffle(self.out(x), 2)


def _doubled(x: Tensor) -> Tensor:
    return functional.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


def folded(net: OcclusionNet) -> OcclusionNet:
    """Put every batch normalisation of `net`, which is done learning, into the layer before it."""
    net.eval()
    for block in net.modules():
        if isinstance(block, nn.Sequential):
            for i in range(len(block) - 1):
                filtered, normal = block[i], block[i + 1]
                if isinstance(filtered, nn.Conv2d) and isinstance(normal, nn.BatchNorm2d):
                    block[i], block[i + 1] = fuse_conv_bn_eval(filtered, normal), nn.Identity()
    return net


class OccluderNet(nn.Module):
    """The decoder behind the tower, as one function from pictures to chances."""

    def __init__(self, net: OcclusionNet, tower: MobileNetV2Tokens) -> None:
        """Take both, done learning; the tower folded or not."""
        super().__init__()
        self._net, self._tower = net, tower

    def forward(self, pictures: Tensor) -> Tensor:
        """Return probabilities [B, 2, S, S] of aligned crops [B, 3, S, S] in [0, 1]."""
        seen = self._tower.block_outputs(pictures, BLOCKS)
        return torch.as_tensor(self._net(pictures * 2 - 1, seen).sigmoid())


@torch.inference_mode()
def seen_by(net: Callable[[Tensor], Tensor], crop: Bytes) -> Floats:
    """Return [2, SIZE, SIZE] probabilities for one aligned crop uint8 [SIZE, SIZE, 3].

    `net` is an `OccluderNet`, or what computes the same.
    """
    pixels = np.ascontiguousarray(crop.transpose(2, 0, 1)[None], np.float32) / 255
    return np.asarray(net(torch.from_numpy(pixels))[0].numpy())
