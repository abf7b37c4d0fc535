"""The published model: its manifest and the exact tensors of its files.

fap.bin was not seen; its layout is derived from the classes (docs/fuseanypart.md, 4),
and a test compares it with the recorded one key by key and shape by shape.
"""

from __future__ import annotations

from functools import cache

import torch

from fapvideo.config.bundle import (
    PUBLISHED_FILL,
    AdapterSpec,
    BundleManifest,
    CodecSpec,
    EncoderSpec,
    SamplerSpec,
    UnetSpec,
)
from fapvideo.nets.adapter import AttentionAdapter
from fapvideo.nets.clip import VIT_H_14
from fapvideo.nets.projector import MlpProjector, Resampler
from fapvideo.nets.unet import SD15_CONFIG, build_unet
from fapvideo.weights.state import shapes_of

Shapes = dict[str, tuple[int, ...]]

SD15_VAE = {
    "block_out_channels": [128, 256, 512, 512],
    "down_block_types": ["DownEncoderBlock2D"] * 4,
    "up_block_types": ["UpDecoderBlock2D"] * 4,
    "layers_per_block": 2,
    "latent_channels": 4,
    "sample_size": 512,
    "scaling_factor": 0.18215,
}
"""SD-1.5's AutoencoderKL; the rest are diffusers' defaults."""


def sd15_manifest() -> BundleManifest:
    """Return the manifest of bundle `sd15`, without file hashes.

    Its sampler defaults are for video: from the guide, few steps, mild guidance.
    `denoise.mode = "published"` takes the published ones.
    """
    return BundleManifest(
        name="sd15",
        description="FuseAnyPart's published weights (variant B) on SD-1.5 and OpenCLIP ViT-H/14.",
        resolution=512,
        hole_fill=PUBLISHED_FILL,
        hole_noise=True,
        codec=CodecSpec(
            kind="autoencoder_kl", file="codec.safetensors", scaling=0.18215, config=SD15_VAE
        ),
        encoder=EncoderSpec(kind="clip", file="encoder.safetensors", config=VIT_H_14),
        unet=UnetSpec(kind="unet2d_condition", file="unet.safetensors", config=SD15_CONFIG),
        adapter=AdapterSpec(
            variant="B", file="adapter.safetensors", projector_file="projector.safetensors"
        ),
        sampler=SamplerSpec(kind="unipc", steps=20, strength=0.6, guidance=3.0),
    )


@cache
def fap_layout() -> dict[str, Shapes]:
    """Return group -> tensor name -> shape of fap.bin: 51, 6 and 718 tensors."""
    with torch.device("meta"):
        unet = build_unet("unet2d_condition", SD15_CONFIG)
        adapter = AttentionAdapter(unet, SD15_CONFIG["cross_attention_dim"])
        projector = MlpProjector(1280, 768)
        resampler = Resampler(
            width=768, depth=4, heads=12, head_width=64, queries=16, in_width=1280, out_width=768
        )
    return {
        "image_proj": shapes_of(resampler.state_dict()),
        "image_proj2": shapes_of(projector.state_dict()),
        "unet": shapes_of(unet.state_dict()) | shapes_of(adapter.state_dict()),
    }
