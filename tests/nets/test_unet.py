"""Silent cross-attention is what zeros make of it."""

from __future__ import annotations

import copy

import torch

from fapvideo.nets.tiny import tiny_sd15_manifest
from fapvideo.nets.unet import build_unet, silence_cross_attention


def test_silent_cross_attention_equals_a_context_of_zeros() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        spec = tiny_sd15_manifest().unet
        unet = build_unet(spec.kind, spec.config).eval().requires_grad_(False)
    x = torch.randn(2, 9, 16, 16, generator=torch.Generator().manual_seed(0))
    silent = copy.deepcopy(unet)
    silence_cross_attention(silent)
    context = torch.zeros(2, 5, 16)
    expected = unet(x, 300.0, context).sample
    torch.testing.assert_close(silent(x, 300.0, None).sample, expected)
    assert not torch.allclose(unet(x, 300.0, context + 1).sample, expected, atol=1e-3)
    assert len(silent.state_dict()) < len(unet.state_dict())
