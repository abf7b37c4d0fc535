"""The embedded bundle's manifest, and its networks put together for training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn

from fapvideo.config.bundle import (
    AdapterSpec,
    BundleManifest,
    CodecSpec,
    EncoderSpec,
    SamplerSpec,
    UnetSpec,
)
from fapvideo.config.train import OptimConfig, TrainPreset
from fapvideo.denoise.sampler import FLOW_TIME_SCALE
from fapvideo.nets.adapter import Adapter
from fapvideo.nets.inputs import conditioning, fill_hole
from fapvideo.nets.mobilenet import MobileNetV2Tokens
from fapvideo.training.learning.task import TrainedNetwork
from fapvideo.weights.bundle import build_networks


def embedded_manifest(preset: TrainPreset) -> BundleManifest:
    """Return the manifest of the bundle that `preset` trains."""
    model = preset.model
    mask = model.factor**2
    channels = 3 * mask
    inputs = channels * (3 if model.guide else 2) + mask
    down = ["DownBlock2D"] * (len(model.channels) - 1) + ["AttnDownBlock2D"]
    up = ["AttnUpBlock2D"] + ["UpBlock2D"] * (len(model.channels) - 1)
    return BundleManifest(
        name=preset.name,
        description=preset.description,
        resolution=model.resolution,
        guide_channels=model.guide,
        hole_fill=(-1.0, -1.0, -1.0),
        codec=CodecSpec(kind="space_to_depth", factor=model.factor, channels=channels),
        encoder=EncoderSpec(
            kind="mobilenet_v2",
            file="encoder.safetensors",
            image_size=MobileNetV2Tokens.image_size,
            grid=MobileNetV2Tokens.grid,
            width=MobileNetV2Tokens.width,
        ),
        unet=UnetSpec(
            kind="unet2d",
            file="unet.safetensors",
            config={
                "sample_size": model.resolution // model.factor,
                "in_channels": inputs,
                "out_channels": channels,
                "layers_per_block": model.layers,
                "block_out_channels": list(model.channels),
                "norm_num_groups": 16,
                "attention_head_dim": 32,
                "down_block_types": down,
                "up_block_types": up,
            },
        ),
        adapter=AdapterSpec(variant="A", file="adapter.safetensors"),
        sampler=SamplerSpec(
            kind="flow", steps=1, strength=1.0, noise=preset.optim.noise, residual=True
        ),
    )


def for_sampling(manifest: BundleManifest) -> BundleManifest:
    """Return the manifest with which an embedded bundle that was trained is used.

    Half of the noise and nine tenths of the correction: what the guide shows well stays as it is.
    On 87 held-out swaps likeness to the person's own part 0.798 -> 0.806 (guide alone 0.804), PSNR
    26.36 -> 26.42 dB, LPIPS 0.068 -> 0.072 (guide 0.139).
    """
    given = manifest.sampler
    sampler = given.model_copy(update={"noise": given.noise / 2, "correction": 0.9})
    return manifest.model_copy(update={"sampler": sampler})


class FlowNetwork(TrainedNetwork):
    """UNet and adapter A as one trainable module that predicts the end point of the flow.

    The same arithmetic as `Denoiser` with a `flow` sampler, in a form that takes gradients and
    one time per sample.
    """

    def __init__(self, manifest: BundleManifest) -> None:
        """Build with random weights; the correction and the injection start at zero."""
        super().__init__()
        networks = build_networks(manifest, zero_init=True)
        self.codec, self.unet, self.adapter = networks.codec, networks.unet, networks.adapter
        for parameter in self.unet.get_submodule("conv_out").parameters():
            nn.init.zeros_(parameter)
        self.noise = manifest.sampler.noise
        self.fill = manifest.hole_fill
        self.guided = manifest.guide_channels
        side = manifest.resolution // self.codec.factor
        self.latent_shape = (self.codec.channels, side, side)
        self.adapter.inject()

    def forward(
        self,
        target: Tensor,
        guide: Tensor,
        core: Tensor,
        tokens: Tensor,
        time: Tensor,
        noise: Tensor,
        injected: Tensor,
    ) -> Tensor:
        """Return the predicted picture [B, 3, R, R].

        Args:
            target: [B, 3, R, R] the truth in [-1, 1].
            guide: [B, 3, R, R] where the flow starts.
            core: [B, 1, R, R] the hole.
            tokens: [B, G*G, C] fused tokens.
            time: [B] in (0, 1]; 1 is the start of the flow.
            noise: [B, c, h, w] standard normal.
            injected: [B] 1 where the tokens are injected, 0 where they are dropped.
        """
        known = self.codec.encode(fill_hole(target, core, self.fill))
        start, end = self.codec.encode(guide), self.codec.encode(target)
        t = time.view(-1, 1, 1, 1)
        state = torch.lerp(end, start + self.noise * noise, t)
        given = conditioning(known, self.codec.mask(core), start if self.guided else None)
        keep = injected.view(-1, 1, 1, 1)
        maps = {name: value * keep for name, value in self.adapter.project(tokens).items()}
        x = torch.cat([state, given], 1)
        change = self.adapter.predict(self.unet, x, time * FLOW_TIME_SCALE, maps)
        return self.codec.decode(start + change.float())

    def files(self) -> dict[str, dict[str, Tensor]]:
        """See `TrainedNetwork`: in bfloat16, which is what they are trained and run in."""
        return {
            "unet.safetensors": stored(self.unet.state_dict(), torch.bfloat16),
            "adapter.safetensors": stored(self.adapter.state_dict(), torch.bfloat16),
        }


class Ema:
    """Exponential moving average of what is trained in a network."""

    def __init__(self, network: TrainedNetwork, decay: float) -> None:
        """Start from a copy."""
        self.decay = decay
        self.state = {k: v.detach().clone().float() for k, v in network.trained_state().items()}

    @torch.no_grad()
    def update(self, network: TrainedNetwork, step: int) -> None:
        """Move towards the network; early steps move faster, so that the start is forgotten."""
        decay = min(self.decay, (1 + step) / (10 + step))
        for name, value in network.trained_state().items():
            self.state[name].lerp_(value.float(), 1.0 - decay)


def tune(unet: nn.Module, adapter: Adapter, optim: OptimConfig) -> None:
    """Prepare a UNet for training as `[optim]` asks: less memory, compiled."""
    if optim.checkpointing:
        cast(Any, unet).enable_gradient_checkpointing(adapter.checkpointed)
    if optim.compile:
        unet.compile()


def stored(state: Mapping[str, Tensor], dtype: torch.dtype) -> dict[str, Tensor]:
    """Return `state` in the number format it is stored in."""
    return {
        name: value.to(dtype) if value.is_floating_point() else value
        for name, value in state.items()
    }
