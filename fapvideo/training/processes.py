"""The processes that train together, one for each device; usually there is one."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn


@dataclass(frozen=True, slots=True)
class Processes:
    """This process's place among them, and the three things they do together."""

    rank: int = 0
    count: int = 1

    @property
    def writes(self) -> bool:
        """Whether this is the one that writes files."""
        return self.rank == 0

    def average_gradients(self, module: nn.Module) -> None:
        """Replace all gradients by their mean over the processes."""
        if self.count == 1:
            return
        gradients = [p.grad for p in module.parameters() if p.grad is not None]
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        torch.distributed.all_reduce(flat)
        parts = (flat / self.count).split([gradient.numel() for gradient in gradients])
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view_as(gradient))

    def any(self, flag: bool, device: torch.device) -> bool:
        """Return whether `flag` is true in any process; all of them have to ask."""
        if self.count == 1:
            return flag
        shared = torch.tensor(float(flag), device=device)
        torch.distributed.all_reduce(shared)
        return bool(shared > 0)


ALONE = Processes()
