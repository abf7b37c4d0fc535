"""Manifests of the tiny random bundles: the real architectures at a few hundred kB, for tests.

`tiny` has the layout of the embedded bundle, `tiny_sd15` that of the published model. Their
networks are built in code with seeded random weights; what they paint is noise.
"""

from __future__ import annotations

from typing import Any

from fapvideo.config.bundle import (
    PUBLISHED_FILL,
    AdapterSpec,
    BundleManifest,
    CodecSpec,
    EncoderSpec,
    SamplerSpec,
    UnetSpec,
)

TINY_SEED = 20
"""Seed of the random weights."""

_CLIP: dict[str, Any] = {
    "hidden_size": 24,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "image_size": 64,
    "patch_size": 4,
    "projection_dim": 16,
    "hidden_act": "gelu",
}


def tiny_manifest() -> BundleManifest:
    """Return the embedded bundle in small: 64 px, space-to-depth, guide channels, adapter A."""
    return BundleManifest(
        name="tiny",
        description="Random weights in the embedded bundle's layout; for tests only.",
        resolution=64,
        guide_channels=True,
        codec=CodecSpec(kind="space_to_depth", factor=4, channels=48),
        encoder=EncoderSpec(kind="clip", image_size=64, grid=16, width=24, config=_CLIP),
        unet=UnetSpec(
            kind="unet2d",
            config={
                "sample_size": 16,
                "in_channels": 160,
                "out_channels": 48,
                "layers_per_block": 1,
                "block_out_channels": [16, 24],
                "norm_num_groups": 8,
                "down_block_types": ["DownBlock2D", "DownBlock2D"],
                "up_block_types": ["UpBlock2D", "UpBlock2D"],
                "add_attention": False,
            },
        ),
        adapter=AdapterSpec(variant="A"),
        sampler=SamplerSpec(kind="flow", steps=2, strength=1.0, noise=0.3),
    )


def tiny_sd15_manifest() -> BundleManifest:
    """Return the published model in small: 128 px, AutoencoderKL, nine channels, adapter B."""
    return BundleManifest(
        name="tiny_sd15",
        description="Random weights in the published model's layout; for tests only.",
        resolution=128,
        hole_fill=PUBLISHED_FILL,
        hole_noise=True,
        codec=CodecSpec(
            kind="autoencoder_kl",
            scaling=0.18215,
            config={
                "block_out_channels": [4, 4, 8, 8],
                "down_block_types": ["DownEncoderBlock2D"] * 4,
                "up_block_types": ["UpDecoderBlock2D"] * 4,
                "layers_per_block": 1,
                "norm_num_groups": 2,
                "latent_channels": 4,
                "sample_size": 128,
            },
        ),
        encoder=EncoderSpec(kind="clip", image_size=64, grid=16, width=24, config=_CLIP),
        unet=UnetSpec(
            kind="unet2d_condition",
            config={
                "sample_size": 16,
                "in_channels": 9,
                "out_channels": 4,
                "layers_per_block": 1,
                "block_out_channels": [8, 16, 16, 16],
                "norm_num_groups": 4,
                "cross_attention_dim": 16,
                "attention_head_dim": 4,
            },
        ),
        adapter=AdapterSpec(variant="B"),
        sampler=SamplerSpec(kind="ddim", steps=4, strength=0.6, guidance=1.0),
    )
