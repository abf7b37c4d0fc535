"""What a preset may change about a bundle when it is loaded: resolution, fast codec, LoRA."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from torch import nn

from fapvideo.config.bundle import BundleFile, BundleManifest
from fapvideo.config.schema import DenoiseConfig
from fapvideo.errors import WeightsError
from fapvideo.nets.codec import VaeCodec, build_codec
from fapvideo.ops.files import sha256_file
from fapvideo.weights.detect import expect
from fapvideo.weights.lora import merge_lora
from fapvideo.weights.state import load_into, read_tensors

if TYPE_CHECKING:
    from fapvideo.weights.bundle import Bundle


def resized_manifest(manifest: BundleManifest, options: DenoiseConfig | None) -> BundleManifest:
    """Return the manifest at the resolution the preset asks for.

    Raises:
        WeightsError: the bundle works at one resolution only.
    """
    asked = None if options is None else options.resolution
    if asked in (None, manifest.resolution):
        return manifest
    if manifest.codec.kind == "space_to_depth":
        raise WeightsError(
            f"bundle {manifest.name} works at {manifest.resolution} px only, not at {asked}",
            hint="leave denoise.resolution unset",
        )
    return manifest.model_copy(update={"resolution": asked})


def with_options(bundle: Bundle, options: DenoiseConfig) -> Bundle:
    """Return the bundle with the preset's LoRA merged and its fast codec in place.

    Raises:
        WeightsError: a file that is not what it should be, or of no use for this bundle.
    """
    added = []
    if options.lora_file is not None:
        merge_lora(bundle.unet, options.lora_file)
        added.append(options.lora_file)
    if options.codec_file is not None:
        expect(options.codec_file, "taesd")
        codec = build_codec("autoencoder_tiny", factor=8, scaling=1.0, config={})
        if (codec.channels, codec.factor) != (bundle.codec.channels, bundle.codec.factor):
            raise WeightsError(f"{options.codec_file} does not fit bundle {bundle.manifest.name}")
        assert isinstance(codec, VaeCodec)
        tensors = read_tensors(options.codec_file)
        load_into(codec.vae, tensors, "AutoencoderTiny", options.codec_file)
        nn.Module.to(codec, bundle.device, bundle.dtype).eval().requires_grad_(False)
        bundle = replace(bundle, codec=codec)
        added.append(options.codec_file)
    entries = tuple(
        BundleFile(path=path.name, sha256=sha256_file(path), licence="of a local file: not known")
        for path in added
    )
    return replace(bundle, files=(*bundle.files, *entries))
