"""From published files to a bundle's safetensors: checked key by key, renamed, split, once."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from fapvideo.config.bundle import BundleManifest
from fapvideo.errors import WeightsError
from fapvideo.nets.clip import ClipTokens, TransformersTower
from fapvideo.nets.unet import dead_keys
from fapvideo.weights.bundle import Networks, build_networks
from fapvideo.weights.detect import Detected, Kind, detect_keys
from fapvideo.weights.foreign import read_foreign
from fapvideo.weights.sd15 import Shapes, fap_layout
from fapvideo.weights.state import check_fit, differences, finite_or_raise, shapes_of

States = dict[str, dict[str, Tensor]]
"""File name in the bundle -> its tensors."""

ROLES: dict[Kind, tuple[str, ...]] = {
    "fap": ("unet.safetensors", "adapter.safetensors", "projector.safetensors"),
    "vae": ("codec.safetensors",),
    "clip_vision": ("encoder.safetensors",),
}
"""What each published file becomes in bundle `sd15`."""

_OLD_ATTENTION = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}


def convert_file(path: Path, manifest: BundleManifest) -> tuple[Detected, States]:
    """Return what `path` is and its tensors under the bundle's file names.

    Raises:
        WeightsError: unreadable, of no use for this bundle, or not fitting it; the message lists
            what is missing, misshapen or unknown.
    """
    tensors = read_foreign(path)
    found = detect_keys(shapes_of(tensors))
    networks = build_networks(manifest, empty=True)
    if found.kind == "fap":
        states = split_fap(tensors, path)
    elif found.kind == "vae":
        states = {"codec.safetensors": rename_vae(tensors)}
    elif found.kind == "clip_vision":
        tower = _transformers_tower(networks).select(tensors)
        states = {"encoder.safetensors": {_saved_name(k): v for k, v in tower.items()}}
    else:
        raise WeightsError(
            f"{path} is of no use for bundle {manifest.name}; it is: {found}",
            hint="it needs fap.bin, an SD-1.5 VAE and the image tower OpenCLIP ViT-H/14",
        )
    for name, state in states.items():
        check_fit(name, path, differences(shapes_of(state), _wanted(name, networks)))
        finite_or_raise(state.items(), path)
    return found, states


def split_fap(
    tensors: Mapping[str, Tensor], path: Path, layout: Mapping[str, Shapes] | None = None
) -> States:
    """Check the groups of fap.bin against the layout and split them into the bundle's files.

    The resampler (`image_proj`) and the UNet's dead tensors are checked and left out: they have no
    effect in variant B (tests/goldens/PARITY.md, 5).

    Raises:
        WeightsError: with a list of what is missing, misshapen or unknown.
    """
    layout = fap_layout() if layout is None else layout
    wanted = {f"{group}.{k}": v for group, keys in layout.items() for k, v in keys.items()}
    check_fit("fap.bin", path, differences(shapes_of(tensors), wanted))
    unet = _below("unet.", tensors)
    dead = dead_keys(unet)
    alive = {k: v for k, v in unet.items() if k not in dead}
    return {
        "unet.safetensors": {k: v for k, v in alive.items() if ".processor." not in k},
        "adapter.safetensors": {k: v for k, v in unet.items() if ".processor." in k},
        "projector.safetensors": _below("image_proj2.", tensors),
    }


def rename_vae(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return an AutoencoderKL's tensors under today's names.

    Files from before diffusers 0.18 call the attention's layers query, key, value and proj_attn,
    and some store them as 1x1 convolutions.
    """
    result = {}
    for key, value in tensors.items():
        match = re.fullmatch(r"(.*\.attentions\.0)\.(query|key|value|proj_attn)\.(.*)", key)
        name = f"{match[1]}.{_OLD_ATTENTION[match[2]]}.{match[3]}" if match else key
        if ".attentions.0.to_" in name and value.ndim == 4:
            value = value.flatten(1)
        result[name] = value
    return result


def _saved_name(key: str) -> str:
    return f"vision_model.{key.removeprefix('vision.')}"


def _transformers_tower(networks: Networks) -> TransformersTower:
    if not isinstance(networks.encoder, ClipTokens) or not isinstance(
        networks.encoder.tower, TransformersTower
    ):
        raise WeightsError("this bundle has no CLIP tower of transformers")
    return networks.encoder.tower


def _wanted(name: str, networks: Networks) -> Shapes:
    """Return the tensors that file `name` of the bundle must hold."""
    if name == "encoder.safetensors":
        tower = _transformers_tower(networks)
        return {_saved_name(k): v for k, v in shapes_of(tower.state_dict()).items()}
    module = {
        "unet.safetensors": networks.unet,
        "adapter.safetensors": networks.adapter,
        "projector.safetensors": networks.projector,
        "codec.safetensors": getattr(networks.codec, "vae", networks.codec),
    }[name]
    return {} if module is None else shapes_of(module.state_dict())


def _below(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
