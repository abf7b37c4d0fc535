"""All that training draws: from generators of its own, whose state is saved."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class Draws:
    """Random numbers for this process's share of every batch.

    Each process draws for the whole batch and keeps every `count`-th row, so that two processes
    with half a batch each see what one with the whole batch sees. Decisions come from a generator
    on the CPU, noise from one on the device; on a CPU the two are one.
    """

    def __init__(self, state: Tensor, device: torch.device, rank: int = 0, count: int = 1) -> None:
        """Start from the state of a CPU generator."""
        self.device, self.rank, self.count = device, rank, count
        self._decisions = torch.Generator()
        self._decisions.set_state(state)
        self._noise = self._decisions
        if device.type != "cpu":
            self._noise = torch.Generator(device)
            self._noise.manual_seed(self._decisions.initial_seed())

    def uniform(self, rows: int) -> Tensor:
        """Return [rows] numbers in [0, 1), on the CPU."""
        return self._mine(torch.rand(rows * self.count, generator=self._decisions))

    def integers(self, limit: int, rows: int) -> Tensor:
        """Return [rows] integers in [0, limit), on the CPU."""
        return self._mine(torch.randint(limit, (rows * self.count,), generator=self._decisions))

    def normal(self, rows: int, *shape: int) -> Tensor:
        """Return [rows, *shape] standard normal numbers, on the device."""
        size = (rows * self.count, *shape)
        return self._mine(torch.randn(size, generator=self._noise, device=self.device))

    def state(self) -> dict[str, Any]:
        """Return what `load_state` takes."""
        noise = None if self._noise is self._decisions else self._noise.get_state()
        return {"rng": self._decisions.get_state(), "device_rng": noise}

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on where `state` was taken; on another device noise begins anew."""
        self._decisions.set_state(state["rng"])
        if self._noise is not self._decisions and state.get("device_rng") is not None:
            self._noise.set_state(state["device_rng"])

    def _mine(self, drawn: Tensor) -> Tensor:
        return drawn[self.rank :: self.count]
