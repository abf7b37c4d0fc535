"""The adapters against the recorded numbers of the published code, and their coming off again."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
import torch
from diffusers import UNet2DConditionModel, UNet2DModel
from golden_vectors import GOLDENS, golden, golden_manifest, manifest_of
from published_toy import toy_a, toy_b
from torch import Tensor, nn
from torch.nn import functional

from fapvideo.nets.adapter import AttentionAdapter, ResnetAdapter, both_branches
from fapvideo.nets.sites import published_resnets, resnets_up_to

torch.set_num_threads(1)
TOLERANCE_B, TOLERANCE_A = 3e-5, 1e-4
"""tests/goldens/PARITY.md, 11."""


def run_b(
    unet: nn.Module, adapter: AttentionAdapter, case: dict[str, Tensor], scale: float
) -> Tensor:
    """Predict the noise of one golden case; only the last 256 context tokens are looked at."""
    with torch.no_grad():
        maps = adapter.project(case["context"][:, -256:], scale)
        return adapter.predict(unet, case["sample"], case["timestep"], maps)


def case_of(tensors: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    return {key.removeprefix(f"{name}."): v for key, v in tensors.items() if key.startswith(name)}


def quick(case: str, *values: float) -> Any:
    """Return a parameter; cases of 64 x 64 latents are slow."""
    return pytest.param(case, *values, marks=pytest.mark.slow if "_64_" in case else ())


B_CASES = [quick(c["case"], c["attn2_scale"]) for c in manifest_of("unet_b_cases")["cases"]]
A_CASES = [quick(c["case"]) for c in manifest_of("unet_a_cases")["cases"]]


@pytest.mark.parametrize(("name", "scale"), B_CASES)
def test_variant_b_predicts_the_published_noise(name: str, scale: float) -> None:
    unet, adapter = toy_b()
    case = case_of(golden("unet_b_cases"), name)
    with_hooks = run_b(unet, adapter.inject(), case, scale)
    assert torch.allclose(with_hooks, case["noise_pred"], rtol=0, atol=TOLERANCE_B)


def test_variant_b_block_outputs_match_the_published_taps() -> None:
    unet, adapter = toy_b()
    adapter.inject()
    case = case_of(golden("unet_b_cases"), "c1_b1_32_t501")
    seen: dict[str, Tensor] = {}
    handles = [
        unet.get_submodule(key.removeprefix("tap.")).register_forward_hook(
            lambda _m, _i, out, key=key: seen.__setitem__(
                key, out if isinstance(out, Tensor) else out[0]
            )
        )
        for key in case
        if key.startswith("tap.")
    ]
    run_b(unet, adapter, case, 1.0)
    for handle in handles:
        handle.remove()
    assert len(seen) == sum(key.startswith("tap.") for key in case) > 15
    for key, value in seen.items():
        assert torch.allclose(value, case[key], rtol=0, atol=TOLERANCE_B), key


def test_one_cross_attention_at_every_size_scale_and_context() -> None:
    tensors, manifest = golden("attn2_b"), manifest_of("attn2_b")
    linear = nn.Linear(48, 16)
    linear.load_state_dict(
        {k: tensors[f"state.processor.image_projector.{k}"] for k in ("weight", "bias")}
    )
    unet, adapter = toy_b()
    site = "down_blocks.0.attentions.0.transformer_blocks.0.attn2"
    attention = unet.get_submodule(site)
    attention.to_out[0].load_state_dict(
        {k: tensors[f"state.to_out.0.{k}"] for k in ("weight", "bias")}
    )
    adapter.get_submodule(f"{site}.processor.image_projector").load_state_dict(linear.state_dict())
    adapter.inject()
    for number, case in enumerate(manifest["cases"]):
        name, batch = case["context"].split("[:")
        context = tensors[name][: int(batch[:-1]), -256:]
        factor = case["scale"] * case["image_feature_scale"]
        with torch.no_grad(), adapter._running(adapter.project(context, factor)):
            output = attention(tensors[f"case{number:02}.hidden"])
        wanted = tensors[f"case{number:02}.output"]
        assert torch.allclose(output, wanted, rtol=0, atol=5e-6), case
    assert len(manifest["cases"]) == 18


@pytest.mark.parametrize("name", A_CASES)
def test_variant_a_predicts_the_published_noise(name: str) -> None:
    unet, adapter = toy_a()
    tensors = golden("unet_a_cases")
    case = case_of(tensors, name)
    first = tensors["image_feature0"]
    features = torch.cat([first, (-0.5 * first.roll(37, 1)).half().float()])[: len(case["sample"])]
    adapter.inject()
    with torch.no_grad():
        arguments = case["sample"], case["timestep"], adapter.project(features)
        output = adapter.predict(unet, *arguments, case["context"][:, -16:])
    assert torch.allclose(output, case["noise_pred"], rtol=0, atol=TOLERANCE_A)


def test_variant_a_without_maps_adds_nothing_and_with_zero_tokens_adds_the_bias() -> None:
    unet, adapter = toy_a()
    case = case_of(golden("unet_a_cases"), "a1_b1_32_t500")
    adapter.inject()
    sample, time, context = case["sample"], case["timestep"], case["context"][:, -16:]
    with torch.no_grad():
        plain = unet(sample, time, context).sample
        assert torch.equal(adapter.predict(unet, sample, time, {}, context), plain)
        nothing = adapter.project(torch.zeros(1, 256, 1280))
        zeros = adapter.predict(unet, sample, time, nothing, context)
    wanted = case["noise_pred_without_image_feature"]
    assert torch.allclose(plain, wanted, rtol=0, atol=TOLERANCE_A)
    effect = manifest_of("unet_a_cases")["effect_max_abs"]["zero_features_vs_none"]
    assert (zeros - plain).abs().max().item() == pytest.approx(effect, abs=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("make", [toy_a, toy_b])
def test_eject_leaves_the_unet_exactly_as_it_was(make) -> None:
    unet, adapter = make()
    before = repr(unet), list(unet.state_dict()), unet.attn_processors, _hooks(unet)
    x, context = torch.randn(1, 9, 32, 32), torch.randn(1, 4, 48)
    with torch.no_grad():
        plain = unet(x, 7, context).sample
        tokens = torch.randn(1, 256, adapter.width)
        adapter.inject().inject()
        assert adapter.injected
        assert torch.equal(unet(x, 7, context).sample, plain)  # no maps: no effect
        assert (repr(unet), list(unet.state_dict())) == before[:2]
        maps = adapter.project(tokens)
        assert not torch.equal(adapter.predict(unet, x, 7, maps, context), plain)
        assert torch.equal(unet(x, 7, context).sample, plain)  # nothing is left of the call
        adapter.eject()
        assert torch.equal(unet(x, 7, context).sample, plain)
        assert torch.equal(adapter.predict(unet, x, 7, maps, context), plain)
    assert (repr(unet), list(unet.state_dict()), unet.attn_processors, _hooks(unet)) == before
    assert not adapter.injected
    adapter.eject()


def _hooks(unet: nn.Module) -> dict[str, int]:
    return {n: len(m._forward_hooks) + len(m._forward_pre_hooks) for n, m in unet.named_modules()}


def test_state_names_are_the_published_ones() -> None:
    layout = json.loads((GOLDENS / "fap_bin_layout.json").read_text())
    published_b = {k for k in layout["unet"] if "processor.image_projector" in k}
    published_a = set(json.loads((GOLDENS / "train_path_new_tensors.json").read_text())["new"])
    unet_a, adapter_a = toy_a()
    unet_b, adapter_b = toy_b()
    assert set(adapter_a.state_dict()) == published_a
    assert len(published_a) == 48
    assert set(adapter_b.state_dict()) == published_b
    assert len(published_b) == 32
    assert not set(unet_a.state_dict()) & published_a
    assert set(unet_b.state_dict()) | published_b == set(layout["unet"])
    assert set(published_resnets(unet_a)) == set(
        manifest_of("unet_a_state")["blocks_with_injection"]
    )
    assert golden_manifest()["layout_counts"]["unet"]["tensors"] == 718


def small_unet() -> UNet2DModel:
    torch.manual_seed(0)
    return UNet2DModel(
        sample_size=64,
        in_channels=3,
        out_channels=3,
        layers_per_block=1,
        block_out_channels=(8, 16, 16),
        norm_num_groups=4,
        down_block_types=("DownBlock2D",) * 3,
        up_block_types=("UpBlock2D",) * 3,
    ).eval()


def test_blocks_are_a_choice_and_zero_init_starts_at_the_plain_unet() -> None:
    unet = small_unet()
    names = resnets_up_to(unet, latent=64, grid=32)
    assert names
    assert not any(name.startswith("down_blocks.0") for name in names)
    assert "mid_block.resnets.1" in names
    adapter = ResnetAdapter(unet, 12, names, zero_init=True).inject()
    x = torch.randn(2, 3, 64, 48)  # not square
    tokens = torch.randn(2, 64, 12)
    with torch.no_grad():
        plain = unet(x, 3).sample
        assert torch.equal(adapter.predict(unet, x, 3, adapter.project(tokens)), plain)
        torch.nn.init.normal_(adapter.get_submodule(names[0]).conv1d.weight)
        assert not torch.equal(adapter.predict(unet, x, 3, adapter.project(tokens)), plain)
    with pytest.raises(ValueError, match=r"down_blocks\.9"):
        ResnetAdapter(unet, 12, ["down_blocks.9.resnets.0"])


def test_gradients_reach_tokens_projection_and_alpha_also_with_checkpointing() -> None:
    unet = small_unet().train()
    adapter = ResnetAdapter(unet, 12, resnets_up_to(unet, 64)).inject()
    tokens = torch.randn(1, 64, 12, requires_grad=True)
    x = torch.randn(1, 3, 64, 64)
    kept = []
    for checkpointing in (False, True):
        if checkpointing:
            unet.enable_gradient_checkpointing(adapter.checkpointed)
        adapter.predict(unet, x, 3, adapter.project(tokens)).square().mean().backward()
        assert tokens.grad is not None
        for name, parameter in adapter.named_parameters():
            assert parameter.grad is not None, name
            assert parameter.grad.abs().sum() > 0, name
        kept.append([tokens.grad, *(p.grad for p in (*adapter.parameters(), *unet.parameters()))])
        for value in (tokens, *adapter.parameters(), *unet.parameters()):
            value.grad = None
    assert all(torch.equal(*pair) for pair in zip(*kept, strict=True))


def test_maps_of_the_other_variant_or_with_cls_are_refused() -> None:
    unet, adapter_a = toy_a()
    _, adapter_b = toy_b()
    with pytest.raises(ValueError, match="CLS"):
        adapter_b.project(torch.zeros(1, 257, 48))
    with pytest.raises(ValueError, match="do not fit"):
        maps = adapter_b.project(torch.zeros(1, 256, 48))
        adapter_a.predict(unet, torch.zeros(1, 9, 32, 32), 5, maps)


@pytest.mark.slow
@pytest.mark.parametrize("make", [toy_a, toy_b])
def test_the_doubled_batch_of_guidance_holds_both_branches(make) -> None:
    unet, adapter = make()
    adapter.inject()
    x, context = torch.randn(2, 9, 32, 32), torch.randn(2, 4, 48)
    tokens, empty = torch.randn(2, 256, adapter.width), torch.randn(1, 256, adapter.width)
    with torch.no_grad():
        maps, unconditional = adapter.project(tokens, 0.7), adapter.project(empty, 0.7)
        doubled = x.repeat(2, 1, 1, 1), 5, both_branches(unconditional, maps)
        both = adapter.predict(unet, *doubled, context.repeat(2, 1, 1))
        for half, given in zip(both.chunk(2), (unconditional, maps), strict=True):
            alone = adapter.predict(unet, x, 5, given, context)
            assert torch.allclose(half, alone, atol=2e-5)


def test_variant_b_refuses_a_latent_that_is_not_square() -> None:
    unet, adapter = toy_b()
    adapter.inject()
    with torch.no_grad(), pytest.raises(ValueError, match="square"):
        maps = adapter.project(torch.randn(1, 256, 48))
        adapter.predict(unet, torch.randn(1, 9, 32, 64), 5, maps)


CONTROLS = manifest_of("unet_b_cases")["effect_max_abs"]["negative_controls_case_c1"]


@pytest.mark.slow
@pytest.mark.parametrize("mistake", sorted(CONTROLS))
def test_each_typical_mistake_is_seen(mistake: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """tests/goldens/PARITY.md, 11: the comparison must fail, by about the recorded amount."""
    unet, adapter = toy_b()
    adapter.inject()
    case = copy.copy(case_of(golden("unet_b_cases"), "c1_b1_32_t501"))
    sample, features = case["sample"], case["context"][:, -256:]
    noisy, masked, mask = sample[:, :4], sample[:, 4:8], sample[:, 8:]
    if mistake == "mask_before_masked_latent":
        case["sample"] = torch.cat([noisy, mask, masked], 1)
    elif mistake == "masked_latent_first":
        case["sample"] = torch.cat([masked, noisy, mask], 1)
    elif mistake == "mask_inverted":
        case["sample"] = torch.cat([noisy, masked, 1 - mask], 1)
    elif mistake == "timestep_off_by_one":
        case["timestep"] = case["timestep"] - 1
    elif mistake == "feature_grid_transposed":
        case["context"] = features.unflatten(1, (16, 16)).transpose(1, 2).flatten(1, 2)
    elif mistake == "features_shifted_by_one_token":
        case["context"] = features.roll(1, 1)
    else:
        mode = mistake.removeprefix("resize_")
        monkeypatch.setattr(
            "fapvideo.nets.adapter.enlarge",
            lambda value, size: functional.interpolate(value, size=size, mode=mode),
        )
    wrong = run_b(unet, adapter, case, 1.0)
    error = (wrong - case["noise_pred"]).abs().max().item()
    assert error > 1000 * TOLERANCE_B
    assert error == pytest.approx(CONTROLS[mistake], rel=0.35)


@pytest.mark.slow
@pytest.mark.parametrize(
    "mistake",
    [
        "grid transposed",
        "shifted",
        "before norm2",
        "no alpha",
        "bias alone",
        "nearest-exact",
        "area",
    ],
)
def test_each_typical_mistake_in_variant_a_is_seen(
    mistake: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """tests/goldens/PARITY.md, 6: where the map goes, what scales it, which token is where."""
    unet, adapter = toy_a()
    tensors = golden("unet_a_cases")
    case, features = case_of(tensors, "a1_b1_32_t500"), tensors["image_feature0"]
    if mistake == "grid transposed":
        features = features.unflatten(1, (16, 16)).transpose(1, 2).flatten(1, 2)
    elif mistake == "shifted":
        features = features.roll(1, 1)
    elif mistake == "bias alone":
        features = torch.zeros_like(features)
    elif mistake == "no alpha":
        for name in adapter.site_names():
            torch.nn.init.ones_(adapter.get_submodule(name).alpha)
    elif mistake in ("nearest-exact", "area"):
        monkeypatch.setattr(
            "fapvideo.nets.adapter.enlarge",
            lambda value, size: functional.interpolate(value, size=size, mode=mistake),
        )
    if mistake == "before norm2":
        for name, resnet in adapter._sites.items():
            resnet.conv1.register_forward_hook(adapter._hook(name))
    else:
        adapter.inject()
    with torch.no_grad():
        arguments = case["sample"], case["timestep"], adapter.project(features)
        wrong = adapter.predict(unet, *arguments, case["context"][:, -16:])
    error = (wrong - case["noise_pred"]).abs().max().item()
    assert error > 100 * TOLERANCE_A
    if mistake == "grid transposed":
        recorded = manifest_of("unet_a_cases")["effect_max_abs"]["grid_transposed"]
        assert error == pytest.approx(recorded, rel=0.35)


def test_toy_state_dict_is_what_the_unet_and_adapter_hold() -> None:
    unet, adapter = toy_b()
    assert isinstance(unet, UNet2DConditionModel)
    total = sum(p.numel() for p in (*unet.parameters(), *adapter.parameters()))
    assert total == manifest_of("unet_b_state")["n_params"]
