"""Codecs and the published mask."""

from __future__ import annotations

import hashlib

import pytest
import torch
from diffusers import AutoencoderTiny
from golden_vectors import golden, golden_manifest, manifest_of

from fapvideo.nets.codec import SpaceToDepth, VaeCodec, build_codec, published_hole


def test_published_masks_exactly() -> None:
    data = golden("pixel_mask")
    for number, boxes in enumerate(data["boxes"]):
        for size in (64, 32):
            assert torch.equal(
                published_hole(boxes, size)[0, 0], data[f"mask{size}"][number].float()
            )
        whole = published_hole(boxes, 1024).to(torch.uint8)
        assert whole.sum() == data["area"][number]
        digest = hashlib.sha256(whole.numpy().tobytes()).hexdigest()
        assert digest == manifest_of("pixel_mask")["full_mask_sha256"][number]
        first = published_hole(boxes[:3], 64)[0, 0]
        assert torch.equal(first, data["first3_mask64"][number].float())


def test_mask_edge_cases() -> None:
    for case in golden_manifest()["mask_edge_cases"]:
        boxes = torch.tensor(case["boxes"])
        if case["case"] == "start slightly negative":
            continue  # erases the box upstream; we clamp
        assert published_hole(boxes, 1024).sum() == case["pixels"], case["case"]
        assert published_hole(boxes, 64).sum() == case["cells64"], case["case"]
    assert published_hole(torch.tensor([[-0.01, 0.2, 0.3, 0.4]]), 64).sum() > 0


@pytest.mark.parametrize("mistake", ["area", "floor", "swapped"])
def test_typical_mask_mistakes_are_seen(mistake: str) -> None:
    data = golden("pixel_mask")
    wrong = []
    for boxes in data["boxes"]:
        if mistake == "area":
            full = published_hole(boxes, 1024)
            wrong.append((torch.nn.functional.adaptive_avg_pool2d(full, 64) > 0).float()[0, 0])
        elif mistake == "floor":
            wrong.append(published_hole((boxes * 64).floor() / 64, 64)[0, 0])
        else:
            wrong.append(published_hole(boxes[:, [1, 0, 3, 2]], 64)[0, 0])
    assert not torch.equal(torch.stack(wrong), data["mask64"].float())


@pytest.mark.parametrize("factor", [2, 4, 8])
def test_space_to_depth_loses_nothing(factor: int) -> None:
    codec = SpaceToDepth(factor)
    images = torch.rand(2, 3, 32, 32) * 2 - 1
    latents = codec.encode(images)
    assert latents.shape == (2, codec.channels, 32 // factor, 32 // factor)
    assert torch.equal(codec.decode(latents), images)
    hole = (torch.rand(2, 1, 32, 32) > 0.5).float()
    assert codec.mask(hole).shape == (2, codec.mask_channels, 32 // factor, 32 // factor)
    assert codec.mask(hole).sum() == hole.sum()


def test_autoencoder_tiny_as_the_fast_codec() -> None:
    torch.manual_seed(0)
    config = {
        "encoder_block_out_channels": (8, 8, 8, 8),
        "decoder_block_out_channels": (8, 8, 8, 8),
        "num_encoder_blocks": (1, 1, 1, 1),
        "num_decoder_blocks": (1, 1, 1, 1),
    }
    codec = build_codec("autoencoder_tiny", factor=8, scaling=1.0, config=config)
    assert isinstance(codec, VaeCodec)
    assert isinstance(codec.vae, AutoencoderTiny)
    images = torch.rand(1, 3, 64, 64) * 2 - 1
    with torch.no_grad():
        latents = codec.encode(images)
        assert (codec.factor, codec.channels) == (8, 4)
        assert latents.shape == (1, 4, 8, 8)
        assert codec.decode(latents).shape == images.shape


def test_vae_takes_the_mean_and_repeats() -> None:
    torch.manual_seed(0)
    codec = build_codec(
        "autoencoder_kl",
        factor=8,
        scaling=0.5,
        config={"block_out_channels": (8, 8), "norm_num_groups": 4, "layers_per_block": 1}
        | {"down_block_types": ("DownEncoderBlock2D",) * 2}
        | {"up_block_types": ("UpDecoderBlock2D",) * 2},
    )
    images = torch.rand(1, 3, 32, 32) * 2 - 1
    with torch.no_grad():
        assert torch.equal(codec.encode(images), codec.encode(images))
        assert codec.encode(images).shape == (1, 4, 16, 16)
    assert codec.mask(torch.ones(1, 1, 32, 32)).shape == (1, 1, 16, 16)
