"""What a preset may change about a bundle when it is loaded: resolution, fast codec, LoRA."""

from __future__ import annotations

from torch import nn

from fapvideo.config.bundle import BundleFile, BundleManifest
from fapvideo.config.schema import DenoiseConfig
from fapvideo.errors import WeightsError
from fapvideo.nets.codec import SpaceToDepth, VaeCodec, build_codec
from fapvideo.ops.files import sha256_file
from fapvideo.weights.detect import expect
from fapvideo.weights.lora import merge_lora
from fapvideo.weights.state import load_into, read_tensors


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


def with_options(
    unet: nn.Module, codec: SpaceToDepth | VaeCodec, name: str, options: DenoiseConfig
) -> tuple[SpaceToDepth | VaeCodec, tuple[BundleFile, ...]]:
    """Merge the preset's LoRA into the UNet of bundle `name`.

    Returns:
        The codec to use, which is the preset's fast one where it names one, and the files read.

    Raises:
        WeightsError: a file that is not what it should be, or of no use for this bundle.
    """
    added = []
    if options.lora_file is not None:
        merge_lora(unet, options.lora_file)
        added.append(options.lora_file)
    if options.codec_file is not None:
        expect(options.codec_file, "taesd")
        fast = build_codec("autoencoder_tiny", factor=8, scaling=1.0, config={})
        if (fast.channels, fast.factor) != (codec.channels, codec.factor):
            raise WeightsError(f"{options.codec_file} does not fit bundle {name}")
        assert isinstance(fast, VaeCodec)
        tensors = read_tensors(options.codec_file)
        load_into(fast.vae, tensors, "AutoencoderTiny", options.codec_file)
        weight = next(unet.parameters())
        codec = nn.Module.to(fast, weight.device, weight.dtype).eval().requires_grad_(False)
        added.append(options.codec_file)
    entries = tuple(
        BundleFile(path=path.name, sha256=sha256_file(path), licence="of a local file: not known")
        for path in added
    )
    return codec, entries
