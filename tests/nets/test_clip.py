"""Penultimate CLIP tokens: which layer, which layout of the weights, which pixels."""

from __future__ import annotations

import pytest
import torch
from PIL import Image
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from fapvideo.nets.clip import CLIP_MEAN, CLIP_STD, ClipTokens, TransformersTower, pil_pixels
from fapvideo.nets.open_clip_tower import to_open_clip

torch.set_num_threads(1)
CONFIG = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 4,
    "num_attention_heads": 2,
    "image_size": 28,
    "patch_size": 7,
    "projection_dim": 8,
    "hidden_act": "gelu",
}


@pytest.fixture(scope="module")
def whole() -> CLIPVisionModelWithProjection:
    torch.manual_seed(0)
    return CLIPVisionModelWithProjection(CLIPVisionConfig(**CONFIG)).eval()


@pytest.mark.parametrize("layout", ["transformers", "open_clip", "open_clip below visual."])
def test_tokens_are_the_second_to_last_hidden_state(whole, layout: str) -> None:
    state = whole.state_dict()
    if layout != "transformers":
        state = to_open_clip(state)
    if layout == "open_clip below visual.":
        state = {f"visual.{k}": v for k, v in state.items()} | {"logit_scale": torch.ones(())}
    tower = TransformersTower(CONFIG).eval()
    tower.load_state_dict(tower.select(state))
    pixels = torch.randn(2, 3, 28, 28)
    with torch.no_grad():
        states = whole(pixel_values=pixels, output_hidden_states=True).hidden_states
        tokens = tower(pixels)
    assert (tower.grid, tower.width) == (4, 16)
    assert torch.allclose(tokens, states[-2], atol=1e-5)
    assert not torch.allclose(tokens, states[-1], atol=1e-2)


def test_preprocessing_is_differentiable_and_near_pillows() -> None:
    clip = ClipTokens(TransformersTower(CONFIG), 28)
    rows = torch.linspace(0, 1, 61)
    picture = torch.stack([rows[:, None].expand(61, 61), rows.expand(61, 61), rows.outer(rows)])
    picture = (picture * 255).round() / 255
    images = picture[None].clone().requires_grad_()
    pixels = clip.preprocess(images)
    pixels.sum().backward()
    assert images.grad is not None
    as_pil = Image.fromarray((picture * 255).to(torch.uint8).permute(1, 2, 0).numpy())
    wanted = pil_pixels([as_pil], 28, first=None)
    assert torch.allclose(pixels, wanted, atol=1.5 / 255 / min(CLIP_STD))


def test_right_size_is_not_resized_and_zero_pixels_are_the_mean_colour() -> None:
    clip = ClipTokens(TransformersTower(CONFIG).eval(), 28)
    mean = torch.tensor(CLIP_MEAN).view(1, 3, 1, 1).expand(1, 3, 28, 28)
    assert clip.preprocess(mean).abs().max() < 1e-6
    with torch.no_grad():
        assert torch.allclose(clip(mean), clip.unconditional(), atol=1e-6)
        assert not torch.allclose(clip(torch.zeros(1, 3, 28, 28)), clip.unconditional(), atol=1e-3)
