"""Training the embedded network: rectified flow from guide-plus-noise to the truth."""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from fapvideo.config.train import TrainPreset
from fapvideo.nets.mobilenet import MobileNetV2Tokens
from fapvideo.nets.perceptual import PerceptualDistance
from fapvideo.ops.precision import mixed_precision
from fapvideo.structs import Bytes
from fapvideo.training.learning.adversary import Adversary
from fapvideo.training.learning.draws import Draws
from fapvideo.training.learning.losses import (
    held_out_metrics,
    restoration_loss,
    temporal_distance,
)
from fapvideo.training.learning.network import FlowNetwork, embedded_manifest, tune
from fapvideo.training.learning.processes import Processes
from fapvideo.training.learning.task import TrainedNetwork, contact_sheet
from fapvideo.training.samples.pool import Batch
from fapvideo.training.samples.resident import Samples
from fapvideo.weights.bundle import Bundle

FULL_TIME = 0.6
"""Share of the batch that starts at t = 1, where one-step sampling starts."""
FIRST_TIME = 0.02
"""Smallest time: at 0 there is nothing left to predict."""
SHOWN = 12
"""Samples on a sheet."""


class FlowTask:
    """The embedded network; see `Task`."""

    def __init__(
        self,
        preset: TrainPreset,
        perceptual: PerceptualDistance | None,
        device: torch.device,
        start: Bundle | None,
        processes: Processes,
        tower: MobileNetV2Tokens | None = None,
    ) -> None:
        """Build with random weights, or with those of `start`, a bundle of this architecture.

        `tower` is the image tower that made the samples' tokens, for `optim.token_weight`.
        """
        self.optim, self.device = preset.optim, device
        self.manifest = embedded_manifest(preset)
        self.network = FlowNetwork(self.manifest)
        if start is not None:
            self.network.unet.load_state_dict(start.unet.state_dict())
            self.network.adapter.load_state_dict(start.adapter.state_dict())
        self.network.to(device)
        self.network.unet.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        tune(self.network.unet, self.network.adapter, preset.optim)
        self.perceptual = None if perceptual is None else perceptual.to(device)
        self.tower = None
        if tower is not None and preset.optim.token_weight > 0:
            self.tower = copy.deepcopy(tower).to(device)
        self.adversary = None
        if preset.optim.adversarial_weight > 0:
            self.adversary = Adversary(preset.optim, preset.seed + 1, device, processes)

    def loss(
        self, batch: Batch, draws: Draws, step: int, places: Tensor | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """See `Task`."""
        optim = self.optim
        target, guide, core, tokens = batch
        # Two moments of one swap are drawn alike: in a video both have the same noise.
        alike = 1 if places is None else 2
        count = len(target) // alike
        dropped = draws.uniform(count) < optim.guide_dropout
        injected = (draws.uniform(count) >= optim.injection_dropout) | dropped
        full, time = draws.uniform(count) < FULL_TIME, draws.uniform(count)
        adversary = self.adversary if self.adversary and self.adversary.acts(step) else None
        if adversary is not None:
            full[0] = True  # so that there always is something to judge
        time = torch.where(full, 1.0, time.clamp_min(FIRST_TIME))
        dropped, injected, full, time, noise = (
            drawn.repeat_interleave(alike, 0)
            for drawn in (dropped, injected, full, time, self._noise(draws, count))
        )
        rows = self._indices(dropped)
        guide[rows] = blank(target[rows], core[rows])
        sent = time.to(self.device), noise, injected.float().to(self.device)
        predicted = self.network(target, guide, core, tokens, *sent)
        loss, parts = restoration_loss(predicted, target, core, optim, self.perceptual, self.tower)
        if places is not None:
            apart = temporal_distance(predicted, target, core, places)
            loss = loss + optim.temporal_weight * apart
            parts["temporal"] = apart.detach()
        if adversary is not None:
            unreal = adversary.judge(predicted, target, core, self._indices(full))
            loss = loss + adversary.weight(step) * unreal
            parts["unreal"] = unreal.detach()
        return loss, {"loss": loss.detach(), **parts}

    def _noise(self, draws: Draws, count: int) -> Tensor:
        return draws.normal(count, *self.network.latent_shape)

    @torch.no_grad()
    def measure(self, network: TrainedNetwork, heldout: Samples) -> dict[str, float]:
        """Return hole PSNR (dB), LPIPS and sharpness of guide, one-step result, and no injection.

        Sharpness is the mean edge in the hole, 1 where the result is as sharp as the truth.
        """
        sums: dict[str, list[Tensor]] = {}
        rows = heldout.ready()
        generator = torch.Generator().manual_seed(0)
        for start in range(0, len(rows), 32):
            batch = heldout.batch(rows[start : start + 32], self.device)
            target, guide, core, _ = batch
            with mixed_precision(self.device):
                full = self._one_step(network, batch, 1.0, generator)
                bare = self._one_step(network, batch, 0.0, generator)
            for form, picture in (("guide_{}", guide), ("{}", full), ("{}_no_injection", bare)):
                pasted = torch.lerp(target, picture.float(), core)
                found = held_out_metrics(pasted, target, core, self.perceptual)
                for name, values in found.items():
                    sums.setdefault(form.format(name), []).append(values)
        return {name: float(torch.cat(values).mean()) for name, values in sums.items()}

    @torch.no_grad()
    def sheet(self, network: TrainedNetwork, heldout: Samples) -> Bytes:
        """Return hole, guide, result, result without injection, result without guide, truth."""
        batch = heldout.batch(heldout.ready()[:SHOWN], self.device)
        target, guide, core, tokens = batch
        generator = torch.Generator().manual_seed(0)
        full = self._one_step(network, batch, 1.0, generator)
        bare = self._one_step(network, batch, 0.0, generator)
        unguided = (target, blank(target, core), core, tokens)
        blind = self._one_step(network, unguided, 1.0, generator)
        pasted = [torch.lerp(target, image, core) for image in (full, bare, blind)]
        return contact_sheet([target * (1 - core) - core, guide, *pasted, target])

    def _indices(self, chosen: Tensor) -> Tensor:
        """Return which rows are chosen, on the device: a mask there would have to be waited for."""
        return chosen.nonzero()[:, 0].to(self.device)

    def _one_step(
        self, network: TrainedNetwork, batch: Batch, injected: float, generator: torch.Generator
    ) -> Tensor:
        target, guide, core, tokens = batch
        ones = torch.ones(len(target), device=self.device)
        noise = torch.randn((len(target), *self.network.latent_shape), generator=generator)
        noise = noise.to(self.device)
        return network(target, guide, core, tokens, ones, noise, injected * ones)


def blank(target: Tensor, core: Tensor) -> Tensor:
    """Return a guide that says nothing about the part: its surroundings spread into the hole."""
    known = 1.0 - core
    filled, weight = target * known, known
    kernel = 2 * (target.shape[-1] // 8) + 1
    for _ in range(2):
        filled, weight = _box_blur(filled, kernel), _box_blur(weight, kernel)
    return torch.lerp(target, filled / weight.clamp_min(1e-4), core)


def _box_blur(image: Tensor, kernel: int) -> Tensor:
    """Average over a square, one axis after the other: a whole square at once is far slower."""
    rows = torch.nn.functional.avg_pool2d(image, (kernel, 1), 1, (kernel // 2, 0))
    return torch.nn.functional.avg_pool2d(rows, (1, kernel), 1, (0, kernel // 2))
