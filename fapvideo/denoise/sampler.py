"""Samplers as plain functions, in k-diffusion's manner: `sample_x(model, x, times, callback=None)`.

`model(x, t)` is the network with everything else bound to it; `callback(step, x)` sees the latent
after each step (from 0). The state is kept in the dtype of `x` (float32 in `Denoiser`), whatever
precision the network computes in. Two families:

* rectified flow with x-prediction, for bundles trained from the guide: `sample_flow`;
* noise prediction on SD-1.5's schedule: `sample_ddim`, as published, and `sample_scheduler` for
  the faster solvers of diffusers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, Literal

import torch
from torch import Tensor

from fapvideo.ops.torchvision_shim import load_library

Model = Callable[[Tensor, float], Tensor]
"""(x [N, C, h, w], time) -> prediction of the same shape."""
Callback = Callable[[int, Tensor], None]

TRAIN_TIMESTEPS = 1000
FLOW_TIME_SCALE = 1000.0
"""A flow network is told t * 1000, so that its sinusoidal embedding resolves t in [0, 1]."""
SCHEDULE: dict[str, Any] = {
    "num_train_timesteps": TRAIN_TIMESTEPS,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "prediction_type": "epsilon",
}
"""SD-1.5's noise schedule under diffusers' names (tests/goldens/PARITY.md, 10)."""


# ---------------------------------------------------------------------------- rectified flow


def flow_times(steps: int, strength: float = 1.0) -> list[float]:
    """Return steps + 1 times from `strength` down to 0, evenly spaced."""
    return [strength * (steps - i) / steps for i in range(steps + 1)]


def flow_start(guide: Tensor, noise: Tensor, sigma: float, strength: float) -> Tensor:
    """Return the state at t = strength, with the guide standing in for the unknown result.

    The path is x_t = (1 - t) * target + t * (guide + sigma * noise); with target = guide that is
    guide + t * sigma * noise.
    """
    return guide + strength * sigma * noise


def sample_flow(
    model: Model, x: Tensor, times: Sequence[float], callback: Callback | None = None
) -> Tensor:
    """Integrate a rectified flow from times[0] to times[-1] = 0 by Euler steps.

    The network predicts the end point x_hat, so one step of length dt moves
    x + (x_hat - x) * dt / t, and the last one lands on x_hat exactly.

    Source: Liu et al. 2022, arXiv 2209.03003; x-prediction form of the velocity (x_hat - x) / t.
    """
    for step, (time, following) in enumerate(pairwise(times)):
        predicted = model(x, time * FLOW_TIME_SCALE)
        x = predicted if following == 0 else torch.lerp(x, predicted, (time - following) / time)
        if callback is not None:
            callback(step, x)
    return x


# --------------------------------------------------------------------------- noise prediction


def alphas_cumprod() -> Tensor:
    """Return [1000] cumulative products of 1 - beta, float32 (tests/goldens/PARITY.md, 10)."""
    start, end = math.sqrt(SCHEDULE["beta_start"]), math.sqrt(SCHEDULE["beta_end"])
    betas = torch.linspace(start, end, TRAIN_TIMESTEPS, dtype=torch.float32).square()
    return torch.cumprod(1.0 - betas, 0)


def ddim_timesteps(steps: int, strength: float = 1.0) -> list[int]:
    """Return the published timesteps, descending: "leading" spacing, offset 1.

    A `strength` below 1 keeps only the last `round(steps * strength)` of them, at least one.
    """
    ratio = TRAIN_TIMESTEPS // steps
    times = [i * ratio + 1 for i in reversed(range(steps))]
    return times[steps - kept_steps(steps, strength) :]


def kept_steps(steps: int, strength: float) -> int:
    """Return how many of `steps` are done when the start is noised to `strength`, at least one."""
    return max(1, round(steps * strength))


def add_noise(x: Tensor, noise: Tensor, timestep: int) -> Tensor:
    """Return sqrt(a_t) * x + sqrt(1 - a_t) * noise."""
    alpha = alphas_cumprod()[timestep].item()
    return math.sqrt(alpha) * x + math.sqrt(1.0 - alpha) * noise


def sample_ddim(
    model: Model,
    x: Tensor,
    timesteps: Sequence[int],
    callback: Callback | None = None,
    *,
    steps: int | None = None,
) -> Tensor:
    """Run deterministic DDIM (eta 0) exactly as the published inference does.

    Args:
        model: predicts the noise.
        x: start latent.
        timesteps: of `ddim_timesteps`.
        steps: the number of steps of the full schedule, where `timesteps` is only its end.

    The step behind the last one has a[0], not 1; predictions are not clipped.

    Source: Song et al. 2020, arXiv 2010.02502; tests/goldens/PARITY.md, 10.
    """
    alphas = alphas_cumprod().to(x.device)
    ratio = TRAIN_TIMESTEPS // (steps or len(timesteps))
    for step, time in enumerate(timesteps):
        a, a_next = alphas[time], alphas[max(time - ratio, 0)]
        noise = model(x, float(time))
        clean = (x - (1 - a).sqrt() * noise) / a.sqrt()
        x = a_next.sqrt() * clean + (1 - a_next).sqrt() * noise
        if callback is not None:
            callback(step, x)
    return x


def make_scheduler(kind: Literal["unipc", "dpm++", "lcm"]) -> Any:
    """Return a fresh diffusers scheduler on SD-1.5's schedule.

    `unipc`: UniPC, arXiv 2302.04867. `dpm++`: DPM-Solver++(2M) with Karras sigmas, arXiv
    2211.01095. `lcm`: latent consistency, arXiv 2310.04378, for UNets with an LCM-LoRA.
    """
    diffusers = load_library("diffusers")
    if kind == "unipc":
        settings = {"steps_offset": 1, "timestep_spacing": "leading"}
        return diffusers.UniPCMultistepScheduler(**SCHEDULE, **settings)
    if kind == "dpm++":
        return diffusers.DPMSolverMultistepScheduler(**SCHEDULE, use_karras_sigmas=True)
    return diffusers.LCMScheduler(**SCHEDULE, steps_offset=1)


def scheduler_timesteps(scheduler: Any, steps: int, strength: float = 1.0) -> list[int]:
    """Prepare `scheduler` for `steps` and return the timesteps to run.

    Below strength 1 these are the last `round(steps * strength)`; LCM, made for a handful of
    steps, does all of `steps` within the shorter stretch instead.
    """
    if isinstance(scheduler, load_library("diffusers").LCMScheduler):
        most = int(scheduler.config.original_inference_steps * strength)
        scheduler.set_timesteps(max(1, min(steps, most)), strength=max(strength, 0.02))
        return [int(t) for t in scheduler.timesteps]
    scheduler.set_timesteps(steps)
    begin = (steps - kept_steps(steps, strength)) * scheduler.order
    scheduler.set_begin_index(begin)
    return [int(t) for t in scheduler.timesteps[begin:]]


def sample_scheduler(
    model: Model,
    x: Tensor,
    timesteps: Sequence[int],
    callback: Callback | None = None,
    *,
    scheduler: Any,
) -> Tensor:
    """Run a deterministic diffusers scheduler prepared by `scheduler_timesteps`."""
    for step, time in enumerate(timesteps):
        x = scheduler.step(model(x, float(time)), time, x, return_dict=False)[0]
        if callback is not None:
            callback(step, x)
    return x


def sample_lcm(
    model: Model,
    x: Tensor,
    timesteps: Sequence[int],
    callback: Callback | None = None,
    *,
    scheduler: Any,
    noise: Tensor,
) -> Tensor:
    """Run latent consistency sampling, noising again with `noise` between the steps.

    diffusers draws fresh noise there, which would flicker; the track's own field moves with the
    face and makes a sample independent of its batch.
    """
    unused = torch.Generator(x.device).manual_seed(0)
    for step, time in enumerate(timesteps):
        x = scheduler.step(model(x, float(time)), time, x, generator=unused).denoised
        if step + 1 < len(timesteps):
            x = add_noise(x, noise, timesteps[step + 1])
        if callback is not None:
            callback(step, x)
    return x
