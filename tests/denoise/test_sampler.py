"""Samplers against the recorded runs of the published pipeline, and against exact answers."""

from __future__ import annotations

import pytest
import torch
from golden_vectors import golden
from published_toy import toy_b
from torch import Tensor

from fapvideo.denoise.sampler import (
    FLOW_TIME_SCALE,
    add_noise,
    alphas_cumprod,
    ddim_timesteps,
    flow_start,
    flow_times,
    make_scheduler,
    sample_ddim,
    sample_flow,
    sample_lcm,
    sample_scheduler,
    scheduler_timesteps,
)
from fapvideo.nets.adapter import both_branches

torch.set_num_threads(1)
TOLERANCE = 6e-4
"""tests/goldens/PARITY.md, 11."""


def published_run(
    steps: int, guidance: float, *, swapped: bool = False, factor: float = 0.18215
) -> list[Tensor]:
    """Return the latents after each step of the recorded sampling run, computed by our parts."""
    data = golden("sampling_b")
    unet, adapter = toy_b()
    adapter.inject()
    mask = data["mask"].float()
    known = data["masked_target_latents"] * (1 - mask) + data["hole_noise"] * mask
    conditioning = torch.cat([known, mask], 1)
    branches = [adapter.project(data[name][:, -256:]) for name in ("uncond", "cond")]
    if swapped:
        branches.reverse()
    guided = guidance > 1
    maps = both_branches(*branches) if guided else branches[1]

    def model(x: Tensor, time: float) -> Tensor:
        sample = torch.cat([x, conditioning], 1)
        if not guided:
            return adapter.predict(unet, sample, time, maps)
        empty, full = adapter.predict(unet, sample.repeat(2, 1, 1, 1), time, maps).chunk(2)
        return empty + guidance * (full - empty)

    seen: list[Tensor] = []
    start = data["init_noise"] * factor
    with torch.no_grad():
        sample_ddim(model, start, ddim_timesteps(steps), lambda _step, x: seen.append(x))
    return seen


def test_schedule_is_the_published_one_exactly() -> None:
    data = golden("sampling_b")
    assert torch.equal(alphas_cumprod(), data["alphas_cumprod"])
    assert ddim_timesteps(6) == data["timesteps"].tolist()
    for steps in (20, 30, 50):
        assert ddim_timesteps(steps) == data[f"timesteps_{steps}"].tolist()


@pytest.mark.slow
def test_six_guided_steps_match_after_each_step() -> None:
    data = golden("sampling_b")
    latents = published_run(6, 7.5)
    assert torch.allclose(torch.cat(latents), data["latents"], rtol=0, atol=TOLERANCE)


@pytest.fixture(scope="module")
def unguided() -> Tensor:
    """Return the latents after each of six steps without guidance."""
    return torch.cat(published_run(6, 1.0))


def test_six_steps_without_guidance_match(unguided: Tensor) -> None:
    data = golden("sampling_b")
    assert torch.allclose(unguided, data["latents_no_guidance"], rtol=0, atol=TOLERANCE)


@pytest.mark.slow
def test_fifty_guided_steps_match() -> None:
    wanted = golden("sampling_b")["latents_50steps_final"]
    assert torch.allclose(published_run(50, 7.5)[-1], wanted, rtol=0, atol=TOLERANCE)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("mistake", "least"),
    [
        ({"guidance": 7.4}, 0.01),
        pytest.param({"swapped": True}, 10.0, marks=pytest.mark.slow),
        pytest.param({"factor": 1.0}, 10.0, marks=pytest.mark.slow),
    ],
)
def test_typical_sampling_mistakes_are_seen(mistake: dict[str, float], least: float) -> None:
    run = published_run(6, **{"guidance": 7.5, **mistake})
    assert (run[-1] - golden("sampling_b")["latents"][-1:]).abs().max() > least


@pytest.mark.slow
def test_final_alpha_one_is_seen(unguided: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    """`set_alpha_to_one=True`, diffusers' default, is not what was published."""
    table = alphas_cumprod()
    table[0] = 1.0
    monkeypatch.setattr("fapvideo.denoise.sampler.alphas_cumprod", lambda: table)
    assert (published_run(6, 1.0)[-1] - unguided[-1:]).abs().max() > TOLERANCE


# ---------------------------------------------------------------------------- rectified flow


@pytest.mark.parametrize("steps", [1, 2, 3, 7])
@pytest.mark.parametrize("strength", [1.0, 0.4])
def test_flow_with_a_perfect_network_lands_on_the_target(steps: int, strength: float) -> None:
    target, guide, noise = torch.randn(3, 2, 4, 8, 8)
    seen: list[float] = []

    def model(x: Tensor, time: float) -> Tensor:
        seen.append(time / FLOW_TIME_SCALE)
        return target

    start = flow_start(guide, noise, 0.5, strength)
    result = sample_flow(model, start, flow_times(steps, strength))
    assert torch.equal(result, target)
    assert seen == pytest.approx(flow_times(steps, strength)[:-1])


def test_flow_walks_the_straight_line() -> None:
    target, start = torch.randn(2, 1, 4, 8, 8)
    states: list[Tensor] = []
    sample_flow(lambda x, t: target, start, flow_times(4), lambda _i, x: states.append(x))
    for state, t in zip(states, (0.75, 0.5, 0.25, 0.0), strict=True):
        assert torch.allclose(state, (1 - t) * target + t * start, atol=1e-6)


def test_flow_start_without_noise_is_the_guide() -> None:
    guide, noise = torch.randn(2, 1, 4, 8, 8)
    assert torch.equal(flow_start(guide, noise, 0.0, 1.0), guide)


# ----------------------------------------------------------------------- diffusers' solvers


def gaussian_model(mean: float, spread: float):
    """Return the exact noise prediction for data drawn from N(mean, spread^2)."""
    alphas = alphas_cumprod()

    def model(x: Tensor, time: float) -> Tensor:
        a = alphas[int(time)]
        variance = a * spread**2 + 1 - a
        return (1 - a).sqrt() * (x - a.sqrt() * mean) / variance

    return model


@pytest.mark.parametrize("kind", ["unipc", "dpm++"])
def test_solvers_reach_what_many_ddim_steps_reach(kind) -> None:
    x = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    model = gaussian_model(0.7, 0.5)
    wanted = sample_ddim(model, x, ddim_timesteps(500))
    scheduler = make_scheduler(kind)
    few = sample_scheduler(model, x, scheduler_timesteps(scheduler, 16), scheduler=scheduler)
    assert (few - wanted).abs().max() < 0.25
    assert (few - wanted).abs().mean() < 0.06


@pytest.mark.parametrize("kind", ["unipc", "dpm++"])
def test_solvers_start_in_the_middle_by_strength(kind) -> None:
    model, clean, noise = (
        gaussian_model(0.7, 0.1),
        torch.full((1, 4, 8, 8), 0.7),
        torch.randn(1, 4, 8, 8),
    )
    scheduler = make_scheduler(kind)
    times = scheduler_timesteps(scheduler, 10, 0.5)
    assert len(times) == 5
    start = add_noise(clean, noise, times[0])
    assert (sample_scheduler(model, start, times, scheduler=scheduler) - 0.7).abs().max() < 0.4


def test_ddim_by_strength_keeps_the_end_of_the_same_schedule() -> None:
    assert ddim_timesteps(10, 0.3) == ddim_timesteps(10)[-3:]
    assert ddim_timesteps(10, 0.001) == ddim_timesteps(10)[-1:]
    model, x = gaussian_model(0.7, 0.5), torch.randn(1, 4, 8, 8)
    states: list[Tensor] = []
    whole = sample_ddim(model, x, ddim_timesteps(10), lambda _i, s: states.append(s))
    rest = sample_ddim(model, states[6], ddim_timesteps(10, 0.3), steps=10)
    assert torch.equal(rest, whole)


def test_lcm_uses_the_given_noise_and_no_global_state() -> None:
    model, x, noise = gaussian_model(0.7, 0.05), torch.randn(2, 4, 8, 8), torch.randn(1, 4, 8, 8)
    state = torch.get_rng_state()

    def run(rows: slice) -> Tensor:
        scheduler = make_scheduler("lcm")
        times = scheduler_timesteps(scheduler, 4)
        assert len(times) == 4
        return sample_lcm(model, x[rows], times, scheduler=scheduler, noise=noise)

    both = run(slice(0, 2))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.allclose(both[1:], run(slice(1, 2)), atol=1e-6)
    assert (both - 0.7).abs().max() < 0.4
    scheduler = make_scheduler("lcm")
    assert scheduler_timesteps(scheduler, 4, 0.5)[0] < 500
    assert len(scheduler_timesteps(make_scheduler("lcm"), 8, 0.04)) == 2
