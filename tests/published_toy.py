"""The toy-sized published networks with their recorded random weights, built from our own parts."""

from __future__ import annotations

from diffusers import UNet2DConditionModel
from golden_vectors import golden, manifest_of
from torch import Tensor

from fapvideo.config.bundle import (
    AdapterSpec,
    BundleManifest,
    CodecSpec,
    EncoderSpec,
    SamplerSpec,
    UnetSpec,
)
from fapvideo.nets.adapter import AttentionAdapter, ResnetAdapter


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


def toy_manifest() -> BundleManifest:
    """Return the manifest of the recorded toy of the whole published class: 256 px, 32 x 32."""
    config = manifest_of("toy_clip_vae_state")
    clip, vae = config["clip_config"], config["vae_config"]
    return BundleManifest(
        name="published_toy",
        resolution=256,
        hole_noise=True,
        codec=CodecSpec(
            kind="autoencoder_kl", file="codec.safetensors", scaling=0.18215, config=vae
        ),
        encoder=EncoderSpec(
            kind="clip", file="encoder.safetensors", width=clip["hidden_size"], config=clip
        ),
        unet=UnetSpec(
            kind="unet2d_condition",
            file="unet.safetensors",
            config=manifest_of("unet_b_state")["config"],
        ),
        adapter=AdapterSpec(
            variant="B", file="adapter.safetensors", projector_file="projector.safetensors"
        ),
        sampler=SamplerSpec(kind="ddim", steps=6, strength=1.0, guidance=7.5),
    )


def toy_states() -> dict[str, dict[str, Tensor]]:
    """Return the recorded weights of the whole class by the file names of `toy_manifest`."""
    both, unet = golden("toy_clip_vae_state"), golden("unet_b_state")
    projector = golden("mlp_proj")
    return {
        "codec.safetensors": _below("vae.", both),
        "encoder.safetensors": _below("clip.", both),
        "unet.safetensors": {k: v for k, v in unet.items() if ".processor." not in k},
        "adapter.safetensors": {k: v for k, v in unet.items() if ".processor." in k},
        "projector.safetensors": _below("state.", projector),
    }


def _below(prefix: str, state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
