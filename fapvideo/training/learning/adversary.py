"""The adversary of the last part of training: what makes one-step results sharp.

A regression loss is least for the mean of all plausible pictures, which is soft. The patch
discriminator tells painted parts from photographed ones, and the network is moved to where it
cannot. Only samples that start at full time take part: their prediction is the one-step result.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from fapvideo.config.train import OptimConfig
from fapvideo.nets.discriminator import PatchDiscriminator
from fapvideo.ops.precision import mixed_precision
from fapvideo.training.learning.processes import Processes

LEARNING_RATE = 2e-4
RISE = 0.1
"""Share of its stretch in which it only learns, and of the one after, in which its weight rises."""
RIM = 9
"""Side of the square by which the hole is widened, per 128 px of picture: the seam is judged."""


class Adversary:
    """A discriminator, what it learns from, and its say in the network's loss."""

    def __init__(
        self, optim: OptimConfig, seed: int, device: torch.device, processes: Processes
    ) -> None:
        """Start with random weights drawn from `seed`."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.network = PatchDiscriminator()
        self.network.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.optimizer = torch.optim.AdamW(
            self.network.parameters(), LEARNING_RATE, betas=(0.5, 0.99), weight_decay=0.0
        )
        self.optim, self.processes = optim, processes
        self._seen: tuple[Tensor, Tensor, Tensor] | None = None

    def weight(self, step: int) -> float:
        """Return its weight in the loss at `step`, which rises from zero once it has learnt."""
        start = self.optim.adversarial_start * self.optim.steps
        rise = max(1.0, RISE * (self.optim.steps - start))
        return self.optim.adversarial_weight * min(1.0, max(0.0, (step + 1 - start) / rise - 1.0))

    def acts(self, step: int) -> bool:
        """Return whether it learns at `step`."""
        return step >= self.optim.adversarial_start * self.optim.steps

    def judge(self, predicted: Tensor, target: Tensor, core: Tensor, judged: Tensor) -> Tensor:
        """Return how unreal the painted parts look, to be made small; gradients reach `predicted`.

        The discriminator's spectral norms bound them: it cannot drown the other losses, and while
        it has learnt nothing it says next to nothing.

        `predicted` and `target`, the truth, are [B, 3, R, R], `core` [B, 1, R, R] the hole,
        `judged` the indices of the samples that take part; at least one.
        """
        real, hole = target[judged], core[judged]
        painted = torch.lerp(real, predicted[judged], hole)
        self._seen = (real, painted.detach(), hole)
        self.network.requires_grad_(False)  # it learns later, from a pass of its own
        logits = self.network(painted, hole).float()
        return -(logits * spread(widened(hole), logits)).sum()

    def learn(self) -> dict[str, Tensor]:
        """Learn from the pictures last judged, if that was not done yet: hinge loss."""
        if self._seen is None:
            return {}
        real, painted, core = self._seen
        self._seen = None
        self.network.requires_grad_(True)
        with mixed_precision(real.device):
            both = self.network(torch.cat([real, painted]), torch.cat([core, core]))
        first, second = both.float().chunk(2)
        near = spread(widened(core), first)
        missed = functional.relu(1 - first) + functional.relu(1 + second)
        loss = (missed * near).sum()
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.processes.average_gradients(self.network)
        self.optimizer.step()
        return {"discriminator": loss.detach()}

    def state(self) -> dict[str, Any]:
        """Return what `load_state` takes."""
        return {"network": self.network.state_dict(), "optimizer": self.optimizer.state_dict()}

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on where `state` was taken."""
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])


def widened(core: Tensor) -> Tensor:
    """Return the hole [B, 1, R, R] and a rim around it."""
    reach = max(1, round(RIM * core.shape[-1] / 256))
    return functional.max_pool2d(core, 2 * reach + 1, 1, reach)


def spread(near: Tensor, logits: Tensor) -> Tensor:
    """Return weights of `logits` [B, 1, h, w] that sum to 1: patches that touch `near`."""
    where = functional.adaptive_max_pool2d(near, logits.shape[-2:])
    return where / where.sum().clamp_min(1e-6)
