"""The denoising stage on the tiny bundles, and the whole published class by its parts."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from torch import Tensor

from fapvideo.config.schema import DenoiseConfig, FuseConfig, RunPreset
from fapvideo.denoise.denoiser import Denoiser
from fapvideo.denoise.noise import track_noise
from fapvideo.errors import DeviceError, PresetError
from fapvideo.paint.published import PUBLISHED, PublishedPainter
from fapvideo.weights.bundle import Bundle, load_bundle

torch.set_num_threads(1)
N = 3


@pytest.fixture(scope="module", params=["tiny", "tiny_sd15"])
def bundle(request: pytest.FixtureRequest) -> Bundle:
    return load_bundle(request.param)


@pytest.fixture(scope="module")
def published() -> Bundle:
    return load_bundle("tiny_sd15")


def inputs(bundle: Bundle, count: int = N) -> dict[str, Tensor]:
    side, generator = bundle.manifest.resolution, torch.Generator().manual_seed(1)
    hole = torch.zeros(count, 1, side, side)
    hole[..., side // 4 : side // 2, side // 4 : side // 2] = 1
    return {
        "target": torch.rand(count, 3, side, side, generator=generator) * 2 - 1,
        "guide": torch.rand(count, 3, side, side, generator=generator) * 2 - 1,
        "hole": hole,
        "tokens": torch.randn(count, 257, bundle.manifest.encoder.width, generator=generator),
    }


def run(bundle: Bundle, given: dict[str, Tensor], scale: float = 1.0, **config: Any) -> Tensor:
    default = PUBLISHED if config.get("mode") == "published" else None
    denoiser = Denoiser(bundle, DenoiseConfig(**config), FuseConfig(scale=scale), default=default)
    noise = torch.stack([track_noise(0, i, denoiser.noise_shape) for i in range(N)])
    result = denoiser(**given, noise=noise[: len(given["target"])])
    denoiser.close()
    return result


def test_the_result_is_a_finite_crop_in_range_and_repeats(bundle: Bundle) -> None:
    given = inputs(bundle)
    result = run(bundle, given)
    assert result.shape == given["target"].shape
    assert result.dtype is torch.float32
    assert torch.isfinite(result).all()
    assert result.abs().max() <= 1
    assert torch.equal(result, run(bundle, given))


def test_samples_do_not_depend_on_their_batch(bundle: Bundle) -> None:
    given = inputs(bundle)
    whole = run(bundle, given, batch_size=N)
    for size in (1, 2):
        assert torch.allclose(run(bundle, given, batch_size=size), whole, rtol=0, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("dtype", "most", "mean"), [(torch.bfloat16, 0.1, 0.01), (torch.float16, 0.02, 0.001)], ids=str
)
def test_half_precision_does_not_depend_on_the_batch_beyond_rounding(
    bundle: Bundle, dtype: torch.dtype, most: float, mean: float
) -> None:
    low = load_bundle(bundle.manifest.name, dtype=dtype)
    given = inputs(bundle)
    one, all_at_once = (run(low, given, batch_size=size) for size in (1, N))
    assert torch.allclose(one, all_at_once, rtol=0, atol=most)
    assert (one - all_at_once).abs().mean() < mean
    assert (one - run(bundle, given)).abs().mean() < 2 * mean  # and it is the same picture


@pytest.mark.slow
@pytest.mark.parametrize(
    "config",
    [
        {"mode": "published", "steps": 4},
        {"sampler": "unipc", "steps": 6, "guidance": 3.0, "guidance_end": 0.6},
        {"sampler": "dpm++", "steps": 4},
        {"sampler": "lcm", "steps": 4, "strength": 1.0},
    ],
    ids=lambda config: config.get("sampler", "published"),
)
def test_float16_paints_the_same_picture_with_its_vae_in_float32(
    published: Bundle, config: dict[str, Any]
) -> None:
    """SD-1.5's VAE overflows in float16; the rest is computed in it."""
    low = load_bundle("tiny_sd15", dtype=torch.float16)
    networks = (low.unet, low.adapter, low.projector, low.encoder.module, low.codec)
    found = [{p.dtype for p in network.parameters()} for network in networks if network is not None]
    assert found == [{torch.float16}] * 4 + [{torch.float32}]
    given = inputs(low)
    error = (run(low, given, **config) - run(published, given, **config)).abs()
    assert error.max() < 0.05  # a third of bfloat16's
    assert 0 < error.mean() < 0.002


def test_what_is_in_the_hole_of_the_target_is_not_looked_at(bundle: Bundle) -> None:
    given = inputs(bundle)
    changed = given | {"target": torch.where(given["hole"] > 0, -1.0, given["target"])}
    assert torch.equal(run(bundle, given), run(bundle, changed))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["guide", "tokens", "target", "hole"])
def test_every_input_matters(bundle: Bundle, name: str) -> None:
    given = inputs(bundle)
    changed = given | {name: given[name].flip(-1) if name != "tokens" else given[name].flip(1)}
    assert (run(bundle, given) - run(bundle, changed)).abs().max() > 1e-4


@pytest.mark.slow
def test_scale_and_strength_and_steps_matter(bundle: Bundle) -> None:
    given = inputs(bundle)
    plain = run(bundle, given)
    for change in ({"scale": 0.3}, {"strength": 0.3}, {"steps": 5}):
        assert not torch.allclose(plain, run(bundle, given, **change), atol=1e-4), change


def test_cls_is_dropped(bundle: Bundle) -> None:
    given = inputs(bundle)
    without = given | {"tokens": given["tokens"][:, 1:]}
    assert torch.equal(run(bundle, given), run(bundle, without))


def test_off_shows_the_guide(bundle: Bundle) -> None:
    given = inputs(bundle)
    assert torch.equal(run(bundle, given, mode="off"), given["guide"])


def test_close_takes_the_adapter_off(bundle: Bundle) -> None:
    denoiser = Denoiser(bundle, DenoiseConfig(), FuseConfig())
    assert bundle.adapter.injected
    denoiser.close()
    assert not bundle.adapter.injected


@pytest.mark.slow
@pytest.mark.parametrize("sampler", ["ddim", "unipc", "dpm++", "lcm"])
def test_every_sampler_of_the_published_model_runs_guided(published: Bundle, sampler: str) -> None:
    given = inputs(published)
    settings: dict[str, Any] = {"sampler": sampler, "steps": 4, "guidance": 3.0}
    result = run(published, given, **settings)
    assert torch.isfinite(result).all()
    alone = run(
        published, {k: v[:1] for k, v in given.items()}, sampler=sampler, steps=4, guidance=3.0
    )
    assert torch.allclose(result[:1], alone, rtol=0, atol=1e-4)


def test_guidance_only_in_its_stretch_of_the_steps(published: Bundle) -> None:
    given = inputs(published)
    settings: dict[str, Any] = {"steps": 4, "strength": 1.0, "guidance": 4.0}
    plain = run(published, given, **settings | {"guidance": 1.0})
    whole = run(published, given, **settings)
    half = run(published, given, **settings, guidance_end=0.5)
    none = run(published, given, **settings, guidance_start=1.0)
    assert torch.equal(none, plain)
    assert not torch.allclose(half, whole, atol=1e-4)
    assert not torch.allclose(half, plain, atol=1e-4)


def test_guidance_costs_nothing_outside_its_stretch(published: Bundle) -> None:
    sizes: list[int] = []
    handle = published.unet.register_forward_pre_hook(lambda _m, given: sizes.append(len(given[0])))
    run(published, inputs(published), steps=4, strength=1.0, guidance=4.0, guidance_end=0.5)
    handle.remove()
    assert sizes == [2 * N, 2 * N, N, N]


def test_maps_are_computed_once_per_crop_at_the_token_grid(published: Bundle) -> None:
    """Not at every step, and not at every resolution: 16 x 16, then enlarged."""
    grids: list[tuple[int, ...]] = []
    linears = [m for name, m in published.adapter.named_modules() if name.endswith("projector")]
    assert len(linears) == len(published.adapter.site_names())
    handles = [
        linear.register_forward_hook(lambda _m, _i, out: grids.append(tuple(out.shape[:2])))
        for linear in linears
    ]
    run(published, inputs(published), steps=4, strength=1.0, guidance=4.0)
    for handle in handles:
        handle.remove()
    assert sorted(grids) == sorted([(N, 256), (1, 256)] * len(linears))  # tokens, and none


def test_attention_is_torchs_fused_one(published: Bundle) -> None:
    """SDPA in the UNet, in the VAE and in the image tower."""
    adapter = published.adapter.inject()
    processors = published.unet.attn_processors
    own = {type(p).__name__ for name, p in processors.items() if "attn1" in name}
    adapter.eject()
    assert own == {"AttnProcessor2_0"}
    assert {type(p).__name__ for p in published.codec.vae.attn_processors.values()} == own
    assert published.encoder.module.tower.vision.config._attn_implementation == "sdpa"


def test_published_mode_ignores_the_guide_and_takes_the_published_settings(
    published: Bundle,
) -> None:
    denoiser = Denoiser(published, DenoiseConfig(), FuseConfig(), default=PUBLISHED)
    plan = denoiser.sampling
    assert (plan.kind, plan.steps, plan.guidance, plan.strength) == ("ddim", 50, 7.5, 1.0)
    given = inputs(published)
    flipped = given | {"guide": given["guide"].flip(-1)}
    settings = {"mode": "published", "steps": 3}
    assert torch.equal(run(published, given, **settings), run(published, flipped, **settings))


def test_settings_that_do_not_fit_the_bundle_are_refused() -> None:
    tiny, sd15 = load_bundle("tiny"), load_bundle("tiny_sd15")
    for bundle, config in ((tiny, {"sampler": "ddim"}), (sd15, {"sampler": "flow"})):
        with pytest.raises(PresetError, match=bundle.manifest.name) as caught:
            Denoiser(bundle, DenoiseConfig(**config), FuseConfig())
        assert caught.value.hint
    with pytest.raises(PresetError, match="published") as caught:
        PublishedPainter(RunPreset.model_validate({"denoise": {"mode": "published"}}), tiny)
    assert caught.value.hint


def test_another_device_than_the_bundles_is_refused() -> None:
    with pytest.raises(DeviceError, match="cpu"):
        Denoiser(load_bundle("tiny"), DenoiseConfig(), FuseConfig(), "cuda")


class Full:
    """A UNet's forward pass on a device that holds `room` samples; notes what it was given."""

    def __init__(self, bundle: Bundle, monkeypatch: pytest.MonkeyPatch, room: int) -> None:
        self.seen: list[int] = []
        forward = bundle.unet.forward

        def limited(sample: Tensor, *rest: Any) -> Any:
            self.seen.append(len(sample))
            if len(sample) > room:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return forward(sample, *rest)

        monkeypatch.setattr(bundle.unet, "forward", limited)


def test_a_batch_that_does_not_fit_is_halved_until_it_does(monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = load_bundle("tiny")
    given, size = inputs(bundle, 5), DenoiseConfig(batch_size=4)
    denoiser = Denoiser(bundle, size, FuseConfig())
    noise = torch.stack([track_noise(0, i, denoiser.noise_shape) for i in range(5)])
    whole = denoiser(**given, noise=noise)
    full = Full(bundle, monkeypatch, room=1)
    halved = denoiser(**given, noise=noise)
    torch.testing.assert_close(halved, whole, atol=1e-4, rtol=0)
    steps = denoiser.sampling.steps
    assert full.seen == [4, 2] + [1] * 5 * steps
    first, second = denoiser.portions.warnings
    assert first.startswith("cpu ran out of memory with 4 crops at once: went on with 2")
    assert "denoise.batch_size = 1" in second
    full.seen.clear()
    denoiser(**given, noise=noise)
    assert full.seen == [1] * 5 * steps, "what did not fit is not tried again"


@pytest.mark.parametrize(
    ("error", "where", "hint"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), "cpu ran out", "composite.max_size"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
         "machine ran out", "video.prefetch_batches = 1"),
        (MemoryError(), "machine ran out", "denoise.batch_size = 1"),
    ],
)  # fmt: skip
def test_what_does_not_fit_at_all_says_what_to_set(
    monkeypatch: pytest.MonkeyPatch, error: Exception, where: str, hint: str
) -> None:
    bundle = load_bundle("tiny")

    def fail(*_: Any) -> Tensor:
        raise error

    monkeypatch.setattr(bundle.unet, "forward", fail)
    with pytest.raises(DeviceError, match=where) as caught:
        run(bundle, inputs(bundle), batch_size=8)
    assert hint in caught.value.hint


def test_other_errors_are_not_disguised(monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = load_bundle("tiny")

    def fail(*_: Any) -> Tensor:
        raise RuntimeError("a bug")

    monkeypatch.setattr(bundle.unet, "forward", fail)
    with pytest.raises(RuntimeError, match="a bug"):
        run(bundle, inputs(bundle))


def test_no_crops_give_no_crops(bundle: Bundle) -> None:
    given = {name: value[:0] for name, value in inputs(bundle).items()}
    assert run(bundle, given).shape[0] == 0


@pytest.mark.parametrize("share", [1.0, 0.8])
def test_residual_bundles_correct_the_guide(share: float) -> None:
    """With `residual` a share of the network's output is added to the guide's latents."""
    bundle = load_bundle("tiny")
    sampler = bundle.manifest.sampler.model_copy(update={"residual": True, "correction": share})
    residual = dataclasses.replace(
        bundle, manifest=bundle.manifest.model_copy(update={"sampler": sampler})
    )
    given = inputs(bundle)
    given["guide"] = given["guide"] * 0.2
    change = run(bundle, given, steps=1)
    both = run(residual, given, steps=1)
    error = (both - (given["guide"] + share * change).clamp(-1, 1)).abs()
    assert error[change.abs() < 1].max() < 1e-5


def test_unconditional_branch_of_variant_a_is_the_plain_unet() -> None:
    bundle = load_bundle("tiny")
    given = inputs(bundle)
    plain = run(bundle, given, scale=0.0, steps=1)
    full = run(bundle, given, steps=1)
    guided = run(bundle, given, steps=1, guidance=2.0)
    error = (guided - (plain + 2 * (full - plain)).clamp(-1, 1)).abs()
    assert error[(plain.abs() < 1) & (full.abs() < 1)].max() < 1e-4
    assert (guided - full).abs().max() > 0.01
