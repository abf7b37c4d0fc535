"""The processes that train together, one for each device; usually there is one.

    accelerate launch --multi_gpu --num_processes 4 -m fapvideo train ...      or torchrun

Each draws its share of every batch (`draws.py`), gradients are averaged, and the first one prepares
the data and writes all files.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
from torch import distributed, nn

PATIENCE = timedelta(days=1)
"""How long processes wait for the first one, which makes the samples."""


@dataclass(frozen=True, slots=True)
class Processes:
    """This process's place among them, and what they do together."""

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
        distributed.all_reduce(flat)
        parts = (flat / self.count).split([gradient.numel() for gradient in gradients])
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view_as(gradient))

    def any(self, flag: bool, device: torch.device) -> bool:
        """Return whether `flag` is true in any process; all of them have to ask."""
        if self.count == 1:
            return flag
        shared = torch.tensor(float(flag), device=device)
        distributed.all_reduce(shared)
        return bool(shared > 0)

    @contextmanager
    def first_alone(self) -> Iterator[None]:
        """Let the first process do something, then the others, who find it done."""
        if self.count > 1 and not self.writes:
            distributed.barrier()
        yield
        if self.count > 1 and self.writes:
            distributed.barrier()


ALONE = Processes()


def leads() -> bool:
    """Return whether this process is the first, or alone: the one that talks to people."""
    return os.environ.get("RANK", "0") == "0"


@contextmanager
def joined(device: torch.device) -> Iterator[tuple[Processes, torch.device]]:
    """Join the processes that a launcher started; yield this one's place and its device.

    Alone, where the launcher's environment variables are not set.
    """
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        yield ALONE, device
        return
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(device)
    backend = "nccl" if device.type == "cuda" else "gloo"
    distributed.init_process_group(backend, timeout=PATIENCE)
    try:
        yield Processes(distributed.get_rank(), count), device
    finally:
        distributed.destroy_process_group()
