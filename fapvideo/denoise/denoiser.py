"""The denoising stage: crops, guides, holes and fused tokens in, finished crops out.

One code path serves every bundle; the manifest says what differs:

| | embedded | sd15 |
|---|---|---|
| latents | space-to-depth | VAE, posterior mean |
| UNet input | noisy, target with hole, guide, mask | noisy, target with hole, mask |
| inside the hole | `hole_fill` | noise |
| prediction | end point of a rectified flow | noise |
| start | guide + noise | guide noised to `strength`, or pure noise (`published`) |
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal, cast

import torch
from torch import Tensor

from fapvideo.config.schema import DenoiseConfig, FuseConfig
from fapvideo.denoise.sampler import (
    Callback,
    Model,
    add_noise,
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
from fapvideo.errors import DeviceError, PresetError
from fapvideo.nets.adapter import Maps, both_branches
from fapvideo.nets.inputs import conditioning, fill_hole
from fapvideo.ops.portions import Portions
from fapvideo.weights.bundle import Bundle


@dataclass(frozen=True, slots=True)
class Sampling:
    """How latents are sampled."""

    kind: Literal["flow", "ddim", "unipc", "dpm++", "lcm"]
    steps: int
    strength: float
    guidance: float
    from_noise: bool = False
    """Start from noise alone, whatever the guide is."""

    @classmethod
    def recommended(cls, bundle: Bundle) -> Sampling:
        """Return what a bundle's manifest says."""
        spec = bundle.manifest.sampler
        return cls(spec.kind, spec.steps, spec.strength, spec.guidance)

    def merged(self, bundle: Bundle, config: DenoiseConfig) -> Sampling:
        """Return this with what the preset says instead.

        Raises:
            PresetError: a sampler that does not fit the bundle's prediction.
        """
        trained_for, kind = bundle.manifest.sampler.kind, config.sampler or self.kind
        if (kind == "flow") != (trained_for == "flow"):
            raise PresetError(
                f"denoise.sampler = {kind!r} does not fit bundle {bundle.manifest.name}, which was"
                f" trained for {'flow' if trained_for == 'flow' else 'noise prediction'}",
                hint="leave denoise.sampler unset to take what the bundle recommends",
            )
        given = {name: getattr(config, name) for name in ("steps", "strength", "guidance")}
        known = {name: value for name, value in given.items() if value is not None}
        return replace(self, kind=kind, **known)


class Denoiser:
    """Runs a bundle on batches of crops; injects its adapter on construction.

    Samples do not depend on the rest of their batch. Between batch *sizes* kernels round
    differently: 1e-4 in float32, 0.1 in bfloat16 (through a VAE; 0.02 without) of [-1, 1] at most.
    """

    def __init__(
        self,
        bundle: Bundle,
        config: DenoiseConfig,
        fuse: FuseConfig,
        device: torch.device | str | None = None,
        default: Sampling | None = None,
    ) -> None:
        """Take a loaded bundle; `device` must be the bundle's own.

        What `config` leaves open is as `default` says, or else as the bundle recommends.

        Raises:
            PresetError: settings that do not fit the bundle.
            DeviceError: the bundle was loaded on another device.
        """
        if device is not None and torch.device(device).type != bundle.device.type:
            raise DeviceError(f"the bundle is on {bundle.device}, not on {device}")
        self.bundle = bundle
        self.sampling = (default or Sampling.recommended(bundle)).merged(bundle, config)
        self._config, self._scale = config, fuse.scale
        self.portions = Portions(bundle.device)
        """What fits the device's memory; shared by all who feed it the same crops."""
        if bundle.exported is not None:
            return
        self._unet = bundle.unet
        bundle.adapter.inject()
        if config.compile:
            self._unet = cast(torch.nn.Module, torch.compile(bundle.unet))

    @property
    def noise_shape(self) -> tuple[int, int, int]:
        """(channels, h, w) of the noise a sample needs.

        The latent's channels; twice as many where the hole has noise of its own: the first half
        starts the sampler, the second fills the hole.
        """
        manifest = self.bundle.manifest
        side = manifest.resolution // self.bundle.codec.factor
        return self.bundle.codec.channels * (2 if manifest.hole_noise else 1), side, side

    def close(self) -> None:
        """Take the adapter off the UNet again."""
        self.bundle.adapter.eject()

    @torch.no_grad()
    def __call__(
        self, target: Tensor, guide: Tensor, hole: Tensor, tokens: Tensor, noise: Tensor
    ) -> Tensor:
        """Fill the holes, `denoise.batch_size` at a time; fewer where the device's memory says so.

        Args:
            target: [N, 3, R, R] in [-1, 1], the crop as it is; its hole is not looked at.
            guide: [N, 3, R, R] in [-1, 1].
            hole: [N, 1, R, R], 1 where the model paints.
            tokens: [N, (1 +) G*G, C] fused tokens.
            noise: [N, *noise_shape] or [1, *noise_shape], of `track_noise`.

        Returns:
            [N, 3, R, R] float32 on the CPU, clipped to [-1, 1]; meaningful inside the hole.

        Raises:
            DeviceError: one crop alone does not fit the memory; says what to set.
        """
        if self._config.mode == "off":
            return guide.float().cpu()
        noise = noise.expand(len(target), -1, -1, -1)
        given = target, guide, hole, tokens, noise

        def filled(rows: slice) -> Tensor:
            batch = [x[rows].to(self.bundle.device) for x in given]
            if self._config.compile:
                batch = [_padded(x, rows.stop - rows.start) for x in batch]
            return self._batch(*batch)[: len(target[rows])]

        results = self.portions.run(len(target), self._config.batch_size, filled)
        return torch.cat(results) if results else target.float().cpu()

    def _batch(
        self, target: Tensor, guide: Tensor, hole: Tensor, tokens: Tensor, noise: Tensor
    ) -> Tensor:
        codec, manifest, hole = self.bundle.codec, self.bundle.manifest, hole.float()
        guided, hole_noise, start = manifest.guide_channels, None, None
        known = codec.encode(fill_hole(target.float(), hole, manifest.hole_fill))
        if guided or not self.sampling.from_noise:
            start = codec.encode(guide.float())
        if manifest.hole_noise:
            noise, hole_noise = noise.chunk(2, 1)
        channels = conditioning(known, codec.mask(hole), start if guided else None, hole_noise)
        maps = self.bundle.project(tokens, self._scale)
        latents = self.sample(None if self.sampling.from_noise else start, channels, maps, noise)
        return codec.decode(latents).float().clamp(-1, 1).cpu()

    def sample(
        self,
        start: Tensor | None,
        channels: Tensor,
        maps: Maps,
        noise: Tensor,
        callback: Callback | None = None,
    ) -> Tensor:
        """Return finished latents [N, c, h, w].

        Args:
            start: the guide's latents; `None` starts from noise alone, as published.
            channels: of `conditioning`.
            maps: of `Bundle.project`.
            noise: [N, c, h, w] standard normal.
            callback: sees the latents after each step.
        """
        plan, spec = self.sampling, self.bundle.manifest.sampler
        if plan.kind == "flow":
            x = flow_start(cast(Tensor, start), noise, spec.noise, plan.strength)
            times = flow_times(plan.steps, plan.strength)
            model = self._model(channels, maps, plan.steps)
            if spec.residual:
                model = _corrects(cast(Tensor, start), model, spec.correction)
            return sample_flow(model, x, times, callback)
        scheduler = None if plan.kind == "ddim" else make_scheduler(plan.kind)
        if scheduler is None:
            timesteps = ddim_timesteps(plan.steps, plan.strength)
        else:
            timesteps = scheduler_timesteps(scheduler, plan.steps, plan.strength)
        if start is None:
            # Not x 1: the published pipeline scales its start noise so
            # (tests/goldens/PARITY.md, 8).
            x = noise * spec.noise_published
        else:
            x = add_noise(start, noise * spec.noise, timesteps[0])
        model = self._model(channels, maps, len(timesteps))
        if scheduler is None:
            return sample_ddim(model, x, timesteps, callback, steps=plan.steps)
        if plan.kind == "lcm":
            return sample_lcm(model, x, timesteps, callback, scheduler=scheduler, noise=noise)
        return sample_scheduler(model, x, timesteps, callback, scheduler=scheduler)

    def _model(self, channels: Tensor, maps: Maps, steps: int) -> Model:
        """Bind everything but (x, t); guidance acts in its stretch of the steps only."""
        bundle, guidance = self.bundle, self.sampling.guidance
        first = round(self._config.guidance_start * steps)
        last = round(self._config.guidance_end * steps)
        doubled = both_branches(self._unconditional, maps) if guidance > 1 and first < last else {}
        step = 0

        def model(x: Tensor, time: float) -> Tensor:
            nonlocal step
            guided = guidance > 1 and first <= step < last
            step += 1
            sample = torch.cat([x, channels], 1).to(bundle.dtype)
            # As a number it would be compiled in, and every batch's second step compile again.
            when = torch.tensor(time, device=sample.device) if self._config.compile else time
            if not guided:
                return self._predict(sample, when, maps)
            both = self._predict(sample.repeat(2, 1, 1, 1), when, doubled)
            without, with_tokens = both.chunk(2)
            return without + guidance * (with_tokens - without)

        return model

    def _predict(self, x: Tensor, time: float | Tensor, maps: Maps) -> Tensor:
        """Ask the UNet in whatever computes it."""
        if self.bundle.exported is not None:
            return self.bundle.exported.predict(x, float(time), maps)
        return self.bundle.adapter.predict(self._unet, x, time, maps).float()

    @cached_property
    def _unconditional(self) -> Maps:
        """The unconditional branch's maps, computed once per model."""
        return self.bundle.unconditional(self._scale)


def _padded(x: Tensor, size: int) -> Tensor:
    """Repeat the last sample up to `size`: a compiled network is built for one batch size."""
    return torch.cat([x, x[-1:].expand(size - len(x), *x.shape[1:])])


def _corrects(start: Tensor, model: Model, share: float) -> Model:
    """Return a model that predicts `start` plus a share of what `model` says."""
    return lambda x, time: start + share * model(x, time)
