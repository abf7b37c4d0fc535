"""open_clip's image towers, asked for by name (`encoder.name = "open_clip:ViT-H-14"`).

transformers' CLIP tower is the default and gives the same tokens from the same weights; this one
serves people who train with open_clip_torch (the extra `clip`). Both directions of the key map
are here: pure renaming and reshaping, no weights are changed.

Written for open_clip_torch 3.3. FuseAnyPart fuses the penultimate layer of ViT-H/14
(docs/fuseanypart.md, 1.1).
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from fapvideo.errors import WeightsError
from fapvideo.ops.torchvision_shim import load_library

PREFIX = "open_clip:"

StateDict = Mapping[str, Tensor]

_TOP = {
    "class_embedding": "vision_model.embeddings.class_embedding",
    "positional_embedding": "vision_model.embeddings.position_embedding.weight",
    "conv1.weight": "vision_model.embeddings.patch_embedding.weight",
    "ln_pre.weight": "vision_model.pre_layrnorm.weight",  # spelt so in transformers
    "ln_pre.bias": "vision_model.pre_layrnorm.bias",
    "ln_post.weight": "vision_model.post_layernorm.weight",
    "ln_post.bias": "vision_model.post_layernorm.bias",
}
_LAYER = {
    "ln_1": "layer_norm1",
    "ln_2": "layer_norm2",
    "attn.out_proj": "self_attn.out_proj",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
}
_TOP_BACK = {new: old for old, new in _TOP.items()}
_LAYER_BACK = {new: old for old, new in _LAYER.items()}
_BLOCK = re.compile(r"transformer\.resblocks\.(\d+)\.(.+)\.(weight|bias)$")
_ENCODER = re.compile(r"vision_model\.encoder\.layers\.(\d+)\.(.+)\.(weight|bias)$")
_IN_PROJ = re.compile(r"transformer\.resblocks\.(\d+)\.attn\.in_proj_(weight|bias)$")


class OpenClipTower(nn.Module):
    """An open_clip vision transformer that returns penultimate tokens.

    Build it under `torch.device("meta")` and call `load_clip_state` to skip random weights.

    Attributes:
        visual: open_clip's own `VisionTransformer`.
        image_size: side of the square input, pixels.
        grid: tokens per side.
        width: channels of a token.
    """

    def __init__(self, name: str) -> None:
        """Build the tower of architecture `name`, with or without the `open_clip:` prefix.

        Raises:
            WeightsError: open_clip_torch is not installed, has no such architecture, or the
                architecture is not a vision transformer on a square grid.
        """
        super().__init__()
        open_clip = _import_open_clip()
        name = name.removeprefix(PREFIX)
        config = _model_config(open_clip, name)
        # A private name, but the only way to an image tower without its text tower; the extra is
        # pinned below 4 and a test builds three towers.
        self.visual = open_clip.model._build_vision_tower(
            config["embed_dim"],
            open_clip.CLIPVisionCfg(**config["vision_cfg"]),
            quick_gelu=config.get("quick_gelu", False),
        )
        if not isinstance(self.visual, open_clip.transformer.VisionTransformer):
            raise WeightsError(
                f"encoder {PREFIX}{name} is a {type(self.visual).__name__}, not a vision"
                " transformer: it has no token grid",
                hint="use a ViT, such as open_clip:ViT-H-14",
            )
        rows, columns = self.visual.grid_size
        if rows != columns:
            raise WeightsError(f"encoder {PREFIX}{name} has a {rows}x{columns} grid, not a square")
        self.image_size = int(self.visual.image_size[0])
        self.grid = int(rows)
        self.width = int(self.visual.class_embedding.shape[0])

    def forward(self, pixels: Tensor) -> Tensor:
        """Return the output of the last but one block, before the final layer norm.

        [B, 3, S, S] pixels normalised as CLIP asks, S = `image_size` -> [B, 1 + grid*grid, width],
        the class token first. The same as `hidden_states[-2]` of transformers' tower.
        """
        penultimate = len(self.visual.transformer.resblocks) - 2
        found = self.visual.forward_intermediates(
            pixels,
            indices=[penultimate],
            stop_early=True,
            intermediates_only=True,
            output_fmt="NLC",
            output_extra_tokens=True,
        )
        (prefix,), (patches,) = found["image_intermediates_prefix"], found["image_intermediates"]
        return torch.cat([prefix, patches], dim=1)

    def load_clip_state(self, state: StateDict) -> None:
        """Take the weights from `state`, in open_clip's or transformers' layout.

        What `forward` does not read (the last block, the final norm, the projection) may be absent,
        as it is in imported bundles.

        Raises:
            WeightsError: a tensor is missing, left over or of another shape.
        """
        state = to_open_clip(state)
        own = self.visual.state_dict()
        last = len(self.visual.transformer.resblocks) - 1
        unread = (f"transformer.resblocks.{last}.", "ln_post.", "proj")
        absent = [key for key in own.keys() - state.keys() if key.startswith(unread)]
        state |= {key: torch.zeros(own[key].shape) for key in absent}
        wrong = [
            f"{key}: {tuple(state[key].shape)} instead of {tuple(own[key].shape)}"
            for key in sorted(own.keys() & state.keys())
            if own[key].shape != state[key].shape
        ]
        wrong += [f"{key}: missing" for key in sorted(own.keys() - state.keys())]
        wrong += [f"{key}: unknown" for key in sorted(state.keys() - own.keys())]
        if wrong:
            more = f" (and {len(wrong) - 5} more)" if len(wrong) > 5 else ""
            raise WeightsError(
                f"the image tower's weights do not fit: {'; '.join(wrong[:5])}{more}",
                hint="check that `encoder.name` is the architecture these weights were made for",
            )
        self.visual.load_state_dict(state, assign=True)


def to_transformers(state: StateDict) -> dict[str, Tensor]:
    """Return `state` under the names of transformers' `CLIPVisionModelWithProjection`.

    It is an image tower in open_clip's layout, bare or below `visual.` (a text tower beside it is
    left out), or one that already is in transformers' layout.
    """
    if any(key.startswith("vision_model.") for key in state):
        return _transformers_tower(state)
    result: dict[str, Tensor] = {}
    for key, value in _bare_visual(state).items():
        if match := _IN_PROJ.match(key):
            layer, kind = match.groups()
            for name, third in zip("qkv", value.chunk(3), strict=True):
                result[f"vision_model.encoder.layers.{layer}.self_attn.{name}_proj.{kind}"] = third
        elif match := _BLOCK.match(key):
            layer, name, kind = match.groups()
            result[f"vision_model.encoder.layers.{layer}.{_LAYER.get(name, name)}.{kind}"] = value
        elif key == "proj":
            result["visual_projection.weight"] = value.T
        else:
            result[_TOP.get(key, key)] = value
    return result


def to_open_clip(state: StateDict) -> dict[str, Tensor]:
    """Return `state` under the names of open_clip's `visual`: the inverse of `to_transformers`."""
    if not any(key.startswith("vision_model.") for key in state):
        return _bare_visual(state)
    state = _transformers_tower(state)
    result: dict[str, Tensor] = {}
    for key, value in state.items():
        match = _ENCODER.match(key)
        if match is None:
            back = key == "visual_projection.weight"
            result["proj" if back else _TOP_BACK.get(key, key)] = value.T if back else value
            continue
        layer, name, kind = match.groups()
        block = f"transformer.resblocks.{layer}."
        if name in ("self_attn.k_proj", "self_attn.v_proj"):
            continue  # taken together with q
        if name == "self_attn.q_proj":
            thirds = [key.replace("q_proj", f"{letter}_proj") for letter in "qkv"]
            if all(third in state for third in thirds):
                result[f"{block}attn.in_proj_{kind}"] = torch.cat([state[k] for k in thirds])
        else:
            result[f"{block}{_LAYER_BACK.get(name, name)}.{kind}"] = value
    return result


def clip_vision_config(name: str) -> dict[str, Any]:
    """Return the arguments of transformers' `CLIPVisionConfig` for open_clip's architecture `name`.

    Raises:
        WeightsError: as `OpenClipTower`, or the architecture has parts that CLIP's has not.
    """
    open_clip = _import_open_clip()
    name = name.removeprefix(PREFIX)
    config = _model_config(open_clip, name)
    given = dict(config["vision_cfg"])
    plain = {"layers", "width", "head_width", "mlp_ratio", "patch_size", "image_size"}
    defaults = dataclasses.asdict(open_clip.CLIPVisionCfg())
    odd = {key for key in given.keys() - plain if given[key] != defaults.get(key)}
    if odd:
        raise WeightsError(
            f"encoder {PREFIX}{name} is no plain CLIP tower ({', '.join(sorted(odd))})",
            hint=f'ask for it by name: encoder.name = "{PREFIX}{name}"',
        )
    vision = defaults | given
    return {
        "hidden_size": vision["width"],
        "intermediate_size": int(vision["width"] * vision["mlp_ratio"]),
        "num_hidden_layers": vision["layers"],
        "num_attention_heads": vision["width"] // vision["head_width"],
        "image_size": vision["image_size"],
        "patch_size": vision["patch_size"],
        "projection_dim": config["embed_dim"],
        "hidden_act": "quick_gelu" if config.get("quick_gelu", False) else "gelu",
    }


def _bare_visual(state: StateDict) -> dict[str, Tensor]:
    """Return the image tower of a whole open_clip model, or a copy of a bare one."""
    inside = {k.removeprefix("visual."): v for k, v in state.items() if k.startswith("visual.")}
    return inside or dict(state)


def _transformers_tower(state: StateDict) -> dict[str, Tensor]:
    """Return the image tower of a whole CLIP model, without the index buffer of old files."""
    return {
        key: value
        for key, value in state.items()
        if key.startswith(("vision_model.", "visual_projection."))
        and not key.endswith("position_ids")
    }


def _model_config(open_clip: Any, name: str) -> dict[str, Any]:
    """Look up an architecture in open_clip's list."""
    config: dict[str, Any] | None = open_clip.get_model_config(name)
    if config is None:
        raise WeightsError(
            f"open_clip has no architecture {name!r}",
            hint="`python -c 'import open_clip; print(open_clip.list_models())'` lists them",
        )
    return config


def _import_open_clip() -> Any:
    """Import open_clip on request only: it brings torchvision and timm."""
    try:
        return load_library("open_clip")
    except ModuleNotFoundError as error:
        raise WeightsError(
            f"an encoder {PREFIX}NAME needs open_clip_torch: {error}",
            hint="pip install 'fapvideo[clip]', or leave `encoder.name` empty to use"
            " transformers' tower with the same weights",
        ) from None
