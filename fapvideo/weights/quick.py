"""Loading a bundle whose graphs an earlier run kept, without torch's UNet.

Importing diffusers takes most of a program's start, and ONNX Runtime needs none of it: what is left
of torch's networks is the adapter, which makes maps of tokens, and the small image tower.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path

import torch

from fapvideo.config.bundle import load_manifest
from fapvideo.config.schema import DenoiseConfig
from fapvideo.nets.adapter import ResnetAdapter
from fapvideo.nets.codec import SpaceToDepth
from fapvideo.weights.bundle import (
    Bundle,
    bundle_folder,
    encoder_identity,
    load_bundle,
    verify_files,
)
from fapvideo.weights.embedded import load_tower
from fapvideo.weights.encoder import ImageEncoder
from fapvideo.weights.options import resized_manifest
from fapvideo.weights.runtimes import kept_networks, may_export
from fapvideo.weights.state import load_into, read_tensors

PROJECTION = ".conv1d.weight"
"""How the names of an adapter's projections end, after that of their place in the UNet."""


def kept_bundle(
    name: str,
    device: torch.device,
    dtype: torch.dtype,
    options: DenoiseConfig,
    graphs: Path | None = None,
) -> Bundle | None:
    """Return a bundle as ONNX Runtime computes it; None where its graphs are not kept.

    Also None for whatever is not like the embedded bundle: `load_bundle` loads it, or says why not.
    The UNet in torch is built when `Bundle.unet` is asked for.

    Args:
        name: of the bundle, or its folder.
        device: where torch's networks are.
        dtype: of theirs.
        options: of the preset.
        graphs: keeps them; by default in the user's cache folder.

    Raises:
        WeightsError: unknown name; missing, damaged or unfitting file.
    """
    plain = options.codec_file is None and options.lora_file is None
    exact = device.type == "cpu" and dtype is torch.float32
    if not (plain and exact and may_export(options)) or name in ("tiny", "tiny_sd15"):
        return None
    folder = bundle_folder(name)
    manifest = resized_manifest(load_manifest(folder), options)
    kinds = manifest.unet.kind, manifest.encoder.kind, manifest.codec.kind, manifest.adapter.variant
    if kinds != ("unet2d", "mobilenet_v2", "space_to_depth", "A") or not manifest.adapter.file:
        return None
    verify_files(folder, manifest)
    path = folder / manifest.adapter.file
    tensors = read_tensors(path)
    places = _places(tensors)
    exported = kept_networks(manifest, tuple(places), graphs)
    if exported is None:
        return None
    unet = cache(lambda: load_bundle(name, device, dtype, options=options).unet)
    with torch.random.fork_rng(devices=[]):
        adapter = ResnetAdapter.for_places(places, manifest.encoder.width, unet)
    load_into(adapter, tensors, "the adapter", path)
    adapter.to(dtype).eval().requires_grad_(False)
    tower = load_tower(folder / str(manifest.encoder.file))
    encoder = ImageEncoder(tower, manifest.encoder, encoder_identity(manifest, dtype))
    return Bundle(
        manifest=manifest,
        folder=folder,
        codec=SpaceToDepth(manifest.codec.factor),
        encoder=encoder.computed_by(exported.tokens),
        torch_unet=unet,
        adapter=adapter,
        projector=None,
        files=manifest.files,
        device=device,
        dtype=dtype,
        exported=exported,
    )


def _places(tensors: Mapping[str, torch.Tensor]) -> dict[str, int]:
    """Return the places in the UNet that an adapter's projections feed, and their channels."""
    return {
        key.removesuffix(PROJECTION): value.shape[0]
        for key, value in tensors.items()
        if key.endswith(PROJECTION)
    }
