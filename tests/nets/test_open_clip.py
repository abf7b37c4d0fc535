"""open_clip's towers against transformers' tower: equal names, shapes and tokens."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest
import torch
from fresh import run_fresh

from fapvideo.errors import WeightsError
from fapvideo.nets.open_clip_tower import (
    OpenClipTower,
    clip_vision_config,
    to_open_clip,
    to_transformers,
)
from fapvideo.ops.torchvision_shim import make_torchvision_importable

make_torchvision_importable()
open_clip = pytest.importorskip("open_clip")  # of the extra `clip`

FULL = {"ViT-H-14": (16, 1280, 632_076_800), "ViT-L-14": (16, 1024, 303_966_208)}
FULL["ViT-B-32"] = (7, 768, 87_849_216)


@pytest.fixture(scope="module", params=[False, True], ids=["gelu", "quick_gelu"])
def tiny(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The name of a three-layer architecture that open_clip now knows."""
    name = f"fapvideo-tiny-{request.param}"
    vision = {"layers": 3, "width": 32, "head_width": 8, "patch_size": 14, "image_size": 56}
    config = {
        "embed_dim": 24,
        "quick_gelu": request.param,
        "vision_cfg": vision,
        "text_cfg": {"context_length": 4, "vocab_size": 8, "width": 8, "heads": 1, "layers": 1},
    }
    path = tmp_path_factory.mktemp("configs") / f"{name}.json"
    path.write_text(json.dumps(config))
    open_clip.add_model_config(path)
    return name


def transformers_tower(name: str) -> Any:
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    return CLIPVisionModelWithProjection(CLIPVisionConfig(**clip_vision_config(name))).eval()


def randomised(name: str) -> OpenClipTower:
    """A tower whose every parameter is random: a new one has zeros that hide a wrong key."""
    torch.manual_seed(0)
    tower = OpenClipTower(name).eval()
    for parameter in tower.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return tower


def test_tokens_equal_transformers(tiny: str) -> None:
    ours, theirs = randomised(tiny), transformers_tower(tiny)
    theirs.load_state_dict(to_transformers(ours.visual.state_dict()))
    pixels = torch.randn(2, 3, 56, 56)
    with torch.no_grad():
        tokens = ours(pixels)
        output = theirs(pixels, output_hidden_states=True)
        pooled = ours.visual(pixels)
    assert tokens.shape == (2, 1 + 4 * 4, 32)
    assert (ours.grid, ours.width, ours.image_size) == (4, 32, 56)
    scale = tokens.abs().max()
    torch.testing.assert_close(tokens / scale, output.hidden_states[-2] / scale, atol=1e-5, rtol=0)
    # The last block, the final norm and the projection are mapped rightly too.
    torch.testing.assert_close(pooled, output.image_embeds, atol=1e-4, rtol=1e-4)


def test_either_layout_loads_into_a_meta_tower(tiny: str) -> None:
    source = randomised(tiny)
    whole = {f"visual.{key}": value for key, value in source.visual.state_dict().items()}
    whole["logit_scale"] = torch.zeros(())
    renamed = to_transformers(whole) | {
        "vision_model.embeddings.position_ids": torch.arange(17)[None],
        "text_model.final_layer_norm.bias": torch.zeros(8),
    }
    pixels = torch.randn(1, 3, 56, 56)
    with torch.no_grad():
        want = source(pixels)
        for state in (source.visual.state_dict(), whole, renamed):
            with torch.device("meta"):
                tower = OpenClipTower(tiny)
            tower.load_clip_state(state)
            assert torch.equal(tower.eval()(pixels), want)


@pytest.mark.parametrize("name", FULL)
def test_key_map_at_full_size(name: str) -> None:
    """Every key and shape of the real architectures, without their gigabytes."""
    with torch.device("meta"):
        ours, theirs = OpenClipTower(f"open_clip:{name}"), transformers_tower(name)
    mine = {key: value.shape for key, value in ours.visual.state_dict().items()}
    other = {key: value.shape for key, value in theirs.state_dict().items()}
    assert {k: v.shape for k, v in to_transformers(ours.visual.state_dict()).items()} == other
    assert {k: v.shape for k, v in to_open_clip(theirs.state_dict()).items()} == mine
    assert (ours.grid, ours.width, sum(p.numel() for p in ours.parameters())) == FULL[name]


def test_round_trip_keeps_every_value(tiny: str) -> None:
    state = randomised(tiny).visual.state_dict()
    back = to_open_clip(to_transformers(state))
    assert back.keys() == state.keys()
    assert all(torch.equal(back[key], state[key]) for key in state)


def test_wrong_weights_are_named(tiny: str) -> None:
    tower = randomised(tiny)
    state = to_transformers(tower.visual.state_dict())
    del state["vision_model.encoder.layers.1.self_attn.k_proj.weight"]
    state["vision_model.post_layernorm.bias"] = torch.zeros(7)
    with pytest.raises(WeightsError) as caught:
        tower.load_clip_state(state)
    assert "ln_post.bias: (7,) instead of (32,)" in str(caught.value)
    assert "transformer.resblocks.1.attn.in_proj_weight: missing" in str(caught.value)
    assert "encoder.name" in caught.value.hint


@pytest.mark.parametrize(
    ("name", "message"), [("ViT-X-99", "no architecture 'ViT-X-99'"), ("RN50", "no token grid")]
)
def test_unfit_architectures_are_refused(name: str, message: str) -> None:
    with torch.device("meta"), pytest.raises(WeightsError, match=message):
        OpenClipTower(name)


def test_only_plain_towers_have_a_transformers_twin() -> None:
    with pytest.raises(WeightsError, match="no plain CLIP tower"):
        clip_vision_config("coca_ViT-B-32")


@pytest.mark.slow
def test_import_leaves_open_clip_alone() -> None:
    code = (
        "import sys, fapvideo.nets.open_clip_tower;"
        "print([m for m in ('open_clip', 'timm') if m in sys.modules])"
    )
    done = run_fresh(code)
    assert done.stdout.strip() == "[]", done.stderr


def test_missing_extra_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "open_clip", None)
    with pytest.raises(WeightsError, match="needs open_clip_torch") as caught:
        OpenClipTower("ViT-B-32")
    assert "fapvideo[clip]" in caught.value.hint
