"""Whether the networks of a manifest fit each other, before any weights are read into them."""

from __future__ import annotations

from typing import Any

from torch import nn

from fapvideo.config.bundle import BundleManifest
from fapvideo.nets.codec import SpaceToDepth, VaeCodec


def misfits(
    manifest: BundleManifest, codec: SpaceToDepth | VaeCodec, unet: nn.Module, encoder: nn.Module
) -> list[str]:
    """Return what of the networks does not fit the others, or what the manifest says of them."""
    size, rest = divmod(manifest.resolution, codec.factor)
    config: Any = unet.config
    halvings = 2 ** (len(config.block_out_channels) - 1)
    tower: Any = getattr(encoder, "tower", encoder)
    channels = codec.channels * (3 if manifest.guide_channels else 2) + codec.mask_channels
    wanted = (
        ("codec.channels", manifest.codec.channels, codec.channels),
        ("unet.config.in_channels", config.in_channels, channels),
        ("unet.config.out_channels", config.out_channels, codec.channels),
        ("resolution: pixels left over", rest + size % halvings, 0),
        ("encoder.grid", manifest.encoder.grid, tower.grid),
        ("encoder.width", manifest.encoder.width, tower.width),
        ("encoder.image_size", manifest.encoder.image_size, tower.image_size),
    )
    return [f"{key} is {said}, not {is_}" for key, said, is_ in wanted if said != is_]
