"""Small random Grounding DINOs in both packages' layouts, as folders on disk.

transformers' has 0.3 M parameters. groundingdino-py has the width 256 fixed in its code
(`num_pos_feats=256` of the text's position embedding), so the pair for parity has 3 M.
"""

from __future__ import annotations

import json
import re
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

WORDS = ("eyes", "eyebrows", "nose", "mouth", "face", "glasses", "beard", "hat", "a", "red")
SWIN: dict[str, Any] = {"embed_dim": 12, "depths": [1, 1, 2, 1], "num_heads": [1, 2, 3, 6]}
WINDOW = 4
HIDDEN, PY_HIDDEN = 32, 256
HEADS, FFN, QUERIES, LAYERS = 4, 64, 16, 2
BERT: dict[str, Any] = {
    "vocab_size": 1100,
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 48,
    "max_position_embeddings": 300,
}
SIDES = (96, 160)
"""Short and long side to which pictures are resized."""

PY_SETTINGS: dict[str, Any] = {
    "backbone": "swin_T_224_1k",
    "position_embedding": "sine",
    "pe_temperatureH": 20,
    "pe_temperatureW": 20,
    "return_interm_indices": [1, 2, 3],
    "backbone_freeze_keywords": None,
    "enc_layers": LAYERS,
    "dec_layers": LAYERS,
    "pre_norm": False,
    "dim_feedforward": FFN,
    "hidden_dim": PY_HIDDEN,
    "dropout": 0.0,
    "nheads": HEADS,
    "num_queries": QUERIES,
    "query_dim": 4,
    "num_patterns": 0,
    "num_feature_levels": 4,
    "enc_n_points": 4,
    "dec_n_points": 4,
    "two_stage_type": "standard",
    "two_stage_bbox_embed_share": False,
    "two_stage_class_embed_share": False,
    "transformer_activation": "relu",
    "dec_pred_bbox_embed_share": True,
    "dn_box_noise_scale": 1.0,
    "dn_label_noise_ratio": 0.5,
    "dn_labelbook_size": 2000,
    "embed_init_tgt": True,
    "max_text_len": 256,
    "text_encoder_type": "bert-base-uncased",
    "use_text_enhancer": True,
    "use_fusion_layer": True,
    "use_text_cross_attention": True,
    "text_dropout": 0.0,
    "fusion_dropout": 0.0,
    "fusion_droppath": 0.1,
    "sub_sentence_present": True,
    "short_side": SIDES[0],
    "long_side": SIDES[1],
}


def randomise(model: torch.nn.Module) -> None:
    """Give every parameter random values: fresh heads are zero and would hide a wrong key.

    Box heads stay small, so that boxes stay clear of 0 and 1: there the packages clamp the inverse
    sigmoid at different values (1e-3 and 1e-5).
    """
    generator = torch.Generator().manual_seed(7)
    for name, parameter in model.named_parameters():
        norm = "norm" in name.lower()
        spread = 0.02 if "bbox_embed" in name else 0.05 if norm else 0.1
        noise = torch.randn(parameter.shape, generator=generator) * spread
        parameter.data = noise + 1.0 if norm and name.endswith("weight") else noise


def write_tokenizer(folder: Path) -> None:
    """A toy vocabulary that keeps bert-base-uncased's ids of the special tokens."""
    folder.mkdir(parents=True, exist_ok=True)
    tokens = [f"[unused{i}]" for i in range(BERT["vocab_size"])]
    special = {0: "[PAD]", 100: "[UNK]", 101: "[CLS]", 102: "[SEP]", 103: "[MASK]"}
    for index, token in {**special, 1012: ".", 1029: "?"}.items():
        tokens[index] = token
    tokens[200 : 200 + len(WORDS)] = WORDS
    (folder / "vocab.txt").write_text("\n".join(tokens) + "\n")
    settings = {"tokenizer_class": "BertTokenizer", "do_lower_case": True}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))


def hf_model(hidden: int = HIDDEN) -> Any:
    from transformers import (
        BertConfig,
        GroundingDinoConfig,
        GroundingDinoForObjectDetection,
        SwinConfig,
    )

    config = GroundingDinoConfig(
        backbone_config=SwinConfig(**SWIN, window_size=WINDOW, out_indices=[2, 3, 4]),
        text_config=BertConfig(**BERT),
        d_model=hidden,
        encoder_layers=LAYERS,
        decoder_layers=LAYERS,
        encoder_attention_heads=HEADS,
        decoder_attention_heads=HEADS,
        encoder_ffn_dim=FFN,
        decoder_ffn_dim=FFN,
        num_queries=QUERIES,
        dropout=0.0,
    )
    return GroundingDinoForObjectDetection(config).eval()


def write_hf_folder(folder: Path, state: dict[str, Tensor] | None = None) -> Path:
    """Save a model as `save_pretrained` does; random unless `state` is given."""
    from transformers.models.grounding_dino.image_processing_pil_grounding_dino import (
        GroundingDinoImageProcessorPil,
    )

    model = hf_model(HIDDEN if state is None else PY_HIDDEN)
    if state is None:
        randomise(model)
    else:
        missing, unexpected = model.load_state_dict(state, strict=False)
        # The backbone's last norm is made by transformers, but no stage reads it.
        assert [k for k in missing if "swin.layernorm" not in k] == []
        assert unexpected == []
    write_tokenizer(folder)
    model.save_pretrained(folder)
    size = {"shortest_edge": SIDES[0], "longest_edge": SIDES[1]}
    GroundingDinoImageProcessorPil(size=size).save_pretrained(folder)
    return folder


@contextmanager
def small_swin() -> Iterator[None]:
    """groundingdino-py has four Swin sizes fixed in its code; stand a tiny one in for Swin-T."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from groundingdino.models.GroundingDINO.backbone import backbone
        from groundingdino.models.GroundingDINO.backbone.swin_transformer import SwinTransformer

    def build(name: str, pretrain_img_size: int, **rest: Any) -> Any:
        return SwinTransformer(
            pretrain_img_size=pretrain_img_size, window_size=WINDOW, **SWIN, **rest
        )

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(backbone, "build_swin_transformer", build)
        yield


def py_model(bert: Path) -> Any:
    """Build groundingdino-py's network, random, within `small_swin`; `bert` is written."""
    from transformers import BertConfig

    from fapvideo.mask.grounding_py import build_model

    write_tokenizer(bert)
    BertConfig(**BERT).save_pretrained(bert)
    model = build_model(PY_SETTINGS, bert)
    randomise(model)
    return model


def write_py_folder(folder: Path, model: Any, bert: Path) -> Path:
    """Write a folder as the docs describe it, with the checkpoint in the authors' layout."""
    shutil.copytree(bert, folder / "bert")
    (folder / "config.json").write_text(json.dumps(PY_SETTINGS))
    state = {f"module.{key}": value for key, value in model.state_dict().items()}
    torch.save({"model": state}, folder / "groundingdino_tiny.pth")
    return folder


_PY_TO_HF = [
    (r"^backbone\.0\.norm(\d)", lambda m: f"{_SWIN}hidden_states_norms.stage{int(m[1]) + 1}"),
    (r"^backbone\.0\.patch_embed\.proj", r"@swin.embeddings.patch_embeddings.projection"),
    (r"^backbone\.0\.patch_embed\.norm", r"@swin.embeddings.norm"),
    (r"^backbone\.0\.layers", r"@swin.encoder.layers"),
    (r"(@.*)\.norm1\.", r"\1.layernorm_before."),
    (r"(@.*)\.norm2\.", r"\1.layernorm_after."),
    (r"(@.*)\.attn\.proj", r"\1.attention.o_proj"),
    (r"(@.*)\.attn\.relative", r"\1.attention.relative_position_bias.relative"),
    (r"(@.*)\.attn\.", r"\1.attention."),
    (r"^@", lambda m: _SWIN),
    (r"^input_proj", "model.input_proj_vision"),
    (r"^bert", "model.text_backbone"),
    (r"^feat_map", "model.text_projection"),
    (r"^transformer\.tgt_embed", "model.query_position_embeddings"),
    (r"^transformer\.enc_out_bbox_embed", "model.encoder_output_bbox_embed"),
    (r"^transformer\.decoder\.norm", "model.decoder.layer_norm"),
    (r"^transformer\.decoder\.ref_point_head", "model.decoder.reference_points_head"),
    (r"^transformer\.encoder\.text_layers\.(\d+)", r"T.layers.\1.text_enhancer_layer"),
    (r"^transformer\.encoder\.fusion_layers\.(\d+)", r"F.layers.\1.fusion_layer"),
    (r"^transformer\.encoder\.layers\.(\d+)", r"E.layers.\1.deformable_layer"),
    (r"^transformer\.decoder\.layers", "D.layers"),
    (r"^transformer", "model"),
    (r"^(T.*)\.norm1", r"\1.layer_norm_before"),
    (r"^(T.*)\.norm2", r"\1.layer_norm_after"),
    (r"^(E.*)\.norm1", r"\1.self_attn_layer_norm"),
    (r"^(E.*)\.norm2", r"\1.final_layer_norm"),
    (r"^(D.*)\.norm1", r"\1.encoder_attn_layer_norm"),
    (r"^(D.*)\.norm2", r"\1.self_attn_layer_norm"),
    (r"^(D.*)\.norm3", r"\1.final_layer_norm"),
    (r"^(D.*)\.cross_attn", r"\1.encoder_attn"),
    (r"^(D.*)\.ca_text", r"\1.encoder_attn_text"),
    (r"^(D.*)\.catext_norm", r"\1.encoder_attn_text_layer_norm"),
    (r"^([ED].*|T.*)\.linear(\d)", r"\1.fc\2"),
    (r"^(F.*)gamma_v", r"\1vision_param"),
    (r"^(F.*)gamma_l", r"\1text_param"),
    (r"^(F.*)layer_norm_v\.", r"\1layer_norm_vision."),
    (r"^(F.*)layer_norm_l\.", r"\1layer_norm_text."),
    (r"^(F.*)_v_proj", r"\1_vision_proj"),
    (r"^(F.*)_l_proj", r"\1_text_proj"),
    (r"^(F.*attn)\.v_proj", r"\1.vision_proj"),
    (r"^(F.*attn)\.l_proj", r"\1.text_proj"),
    (r"^[TFE]\.", "model.encoder."),
    (r"^D\.", "model.decoder."),
]
_SWIN = "model.backbone.conv_encoder.model."


def to_transformers(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename groundingdino-py's state dict key by key to transformers 5's."""
    result: dict[str, Tensor] = {}
    for key, value in state.items():
        if key.startswith("bert.pooler") or key.endswith("relative_position_index"):
            continue
        name = key
        for pattern, replacement in _PY_TO_HF:
            name = re.sub(pattern, replacement, name)
        if ".qkv." in name:
            names = [name.replace("qkv", f"{letter}_proj") for letter in "qkv"]
        elif "in_proj_" in name:
            names = [name.replace("in_proj_", f"{n}.") for n in ("query", "key", "value")]
        else:
            names = [name]
        for part, chunk in zip(names, value.chunk(len(names)), strict=True):
            result[part] = chunk.clone()
    return result
