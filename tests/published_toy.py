"""The toy-sized published networks with their recorded random weights, built from our own parts."""

from __future__ import annotations

from diffusers import UNet2DConditionModel
from golden_vectors import golden, manifest_of

from fapvideo.fuse.adapter import AttentionAdapter, ResnetAdapter


def toy_b() -> tuple[UNet2DConditionModel, AttentionAdapter]:
    """Return the UNet of variant B and its adapter, not injected."""
    unet = UNet2DConditionModel(**manifest_of("unet_b_state")["config"]).eval()
    adapter = AttentionAdapter(unet, 48).eval()
    _load_split(unet, adapter, "unet_b_state")
    return unet, adapter


def toy_a() -> tuple[UNet2DConditionModel, ResnetAdapter]:
    """Return the UNet of variant A and its adapter, not injected."""
    unet = UNet2DConditionModel(**manifest_of("unet_a_state")["config"]).eval()
    adapter = ResnetAdapter(unet, 1280).eval()
    _load_split(unet, adapter, "unet_a_state")
    return unet, adapter


def _load_split(unet, adapter, name: str) -> None:
    state = golden(name)
    own = adapter.state_dict().keys()
    adapter.load_state_dict({k: v for k, v in state.items() if k in own})
    unet.load_state_dict({k: v for k, v in state.items() if k not in own})
