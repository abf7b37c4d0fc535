"""The published small networks between CLIP tokens and the UNet: MLP projector and Resampler.

Module names are those of the published checkpoint (tests/goldens/PARITY.md, 3;
tests/goldens/fap_bin_layout.json), so its groups load as they are.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class MlpProjector(nn.Module):
    """`LN(W2 gelu(W1 t + b1) + b2)`: tokens [..., in_width] -> features [..., out_width].

    The checkpoint's group `image_proj2`; used by variant B before the per-layer projections.
    """

    def __init__(self, in_width: int, out_width: int) -> None:
        """Create the two linear layers and the norm; exact (erf) gelu, eps 1e-5."""
        super().__init__()
        self.proj = nn.Sequential(
            nn.Linear(in_width, in_width),
            nn.GELU(),
            nn.Linear(in_width, out_width),
            nn.LayerNorm(out_width),
        )

    def forward(self, tokens: Tensor) -> Tensor:
        """Project the last dimension."""
        return self.proj(tokens)


class Resampler(nn.Module):
    """Learned queries attend to all tokens including CLS: [B, N, in_width] -> [B, queries, out].

    Variant A feeds the result to the UNet's cross-attention, where it matters; in variant B it has
    no effect at all and is not loaded. The checkpoint's group `image_proj`.

    Source: the Perceiver resampler of IP-Adapter-Plus (arXiv 2308.06721), as
    tests/goldens/PARITY.md, 3, writes it down.
    """

    def __init__(
        self,
        width: int,
        depth: int,
        heads: int,
        head_width: int,
        queries: int,
        in_width: int,
        out_width: int,
        ff_mult: int = 4,
    ) -> None:
        """Create `depth` layers of attention and feed-forward around `queries` latents."""
        super().__init__()
        self.latents = nn.Parameter(torch.randn(1, queries, width) / width**0.5)
        self.proj_in = nn.Linear(in_width, width)
        self.proj_out = nn.Linear(width, out_width)
        self.norm_out = nn.LayerNorm(out_width)
        self.layers = nn.ModuleList(
            nn.ModuleList([_LatentAttention(width, heads, head_width), _mlp(width, ff_mult)])
            for _ in range(depth)
        )

    def forward(self, tokens: Tensor) -> Tensor:
        """Return [B, queries, out_width]."""
        image = self.proj_in(tokens)
        latents = self.latents.expand(len(tokens), -1, -1)
        for layer in self.layers:
            attention, feed_forward = layer.children()
            latents = latents + attention(image, latents)
            latents = latents + feed_forward(latents)
        return self.norm_out(self.proj_out(latents))


class _LatentAttention(nn.Module):
    """Attention of latents to [image tokens; latents]; keys are the first half of `to_kv`."""

    def __init__(self, width: int, heads: int, head_width: int) -> None:
        super().__init__()
        inner = heads * head_width
        self.heads = heads
        self.norm1 = nn.LayerNorm(width)
        self.norm2 = nn.LayerNorm(width)
        self.to_q = nn.Linear(width, inner, bias=False)
        self.to_kv = nn.Linear(width, 2 * inner, bias=False)
        self.to_out = nn.Linear(inner, width, bias=False)

    def forward(self, image: Tensor, latents: Tensor) -> Tensor:
        image, latents = self.norm1(image), self.norm2(latents)
        query = self.to_q(latents)
        key, value = self.to_kv(torch.cat([image, latents], 1)).chunk(2, -1)
        query, key, value = (
            x.unflatten(-1, (self.heads, -1)).transpose(1, 2) for x in (query, key, value)
        )
        out = functional.scaled_dot_product_attention(query, key, value)
        return self.to_out(out.transpose(1, 2).flatten(2))


def _mlp(width: int, mult: int) -> nn.Sequential:
    return nn.Sequential(
        nn.LayerNorm(width),
        nn.Linear(width, width * mult, bias=False),
        nn.GELU(),
        nn.Linear(width * mult, width, bias=False),
    )
