"""Real-ESRGAN x4plus: small photos of faces made four times larger, before they are trained on.

Network: RRDBNet of Wang et al., "Real-ESRGAN", ICCVW 2021, arXiv 2107.10833. Weights are those of
ncnn's port: what its file says of a convolution is in the order in which it is applied.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from fapvideo.structs import Floats

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
            seen.append(functional.leaky_relu(conv(torch.cat(seen, 1)), 0.2))
        return x + 0.2 * self.convs[-1](torch.cat(seen, 1))


class RRDBNet(nn.Module):
    """Four times larger: [B, 3, H, W] in [0, 1] -> [B, 3, 4H, 4W]."""

    def __init__(self, groups: int = 23) -> None:
        """Build `groups` of three dense blocks with random weights."""
        super().__init__()

        def conv(channels: int = 64, out: int = 64) -> nn.Conv2d:
            return nn.Conv2d(channels, out, 3, 1, 1)

        self.first = conv(3)
        self.groups = nn.ModuleList(
            nn.Sequential(DenseBlock(), DenseBlock(), DenseBlock()) for _ in range(groups)
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
            y = functional.interpolate(y, scale_factor=2) if number < 2 else y
            y = functional.leaky_relu(conv(y), 0.2)
        return self.last(y)

    def load_ncnn(self, data: bytes) -> None:
        """Take the weights of an ncnn `.bin` file.

        Raises:
            ValueError: they are another network's.
        """
        at = 0
        for conv in (module for module in self.modules() if isinstance(module, nn.Conv2d)):
            assert conv.bias is not None
            kind = np.float16 if int.from_bytes(data[at : at + 4], "little") == HALF else np.float32
            weight, at = _read(data, kind, conv.weight.numel(), at + 4)
            bias, at = _read(data, np.float32, conv.bias.numel(), at)
            conv.weight.data = torch.from_numpy(weight).view_as(conv.weight)
            conv.bias.data = torch.from_numpy(bias)
        if at != len(data):
            raise ValueError(f"{len(data) - at} bytes are left over")

    @torch.inference_mode()
    def enlarge(self, rgb: Floats) -> Floats:
        """Return [4H, 4W, 3] for [H, W, 3], both RGB in [0, 1]."""
        here = next(self.parameters()).device
        x = torch.from_numpy(np.ascontiguousarray(rgb, np.float32)).to(here)
        x = x.permute(2, 0, 1)[None]
        with torch.autocast(here.type, torch.bfloat16, enabled=here.type == "cuda"):
            y = self(x.contiguous(memory_format=torch.channels_last))
        return y.float()[0].clamp(0, 1).permute(1, 2, 0).cpu().numpy()


def _read(
    data: bytes, kind: type[np.floating[Any]], count: int, at: int
) -> tuple[NDArray[np.float32], int]:
    """Return `count` numbers of a file from `at`, and where they end: at a multiple of four."""
    end = at + -(-count * np.dtype(kind).itemsize // 4) * 4
    return np.frombuffer(data, kind, count, at).astype(np.float32), end
