"""A pool whose samples lie on the device: a small network is not kept waiting for them."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from fapvideo.structs import Array
from fapvideo.training.samples.pool import Batch, Pool, as_batch

SHARE = 0.4
"""Of the free memory of a GPU that the samples of one pool may take."""


class ResidentPool:
    """The finished samples of a pool, as they are stored, on a device."""

    def __init__(self, pool: Pool, device: torch.device) -> None:
        """Copy them."""

        def copied(array: Array) -> Tensor:
            kind = torch.from_numpy(array[:1]).dtype
            whole = torch.empty((len(rows), *array.shape[1:]), dtype=kind, device=device)
            for place, row in enumerate(rows):  # never all of it in the host's memory
                whole[place] = torch.from_numpy(np.array(array[row]))
            return whole

        rows = pool.ready()
        self._arrays = [copied(a) for a in (pool.target, pool.guide, pool.core, pool.tokens)]
        self._elsewhere = copied(pool.elsewhere)

    def ready(self) -> Array:
        """Return the rows: all there are."""
        return np.arange(len(self))

    def batch(self, rows: Array, device: torch.device) -> Batch:
        """Return these rows, as `Pool.batch` does."""
        where = torch.from_numpy(np.asarray(rows)).to(device)
        target, guide, core, tokens = (array[where] for array in self._arrays)
        return as_batch(target, guide, core, tokens)

    def places(self, rows: Array, device: torch.device) -> Tensor:
        """Return where in the other moment these rows' places are, as `Pool.places` does."""
        return self._elsewhere[torch.from_numpy(np.asarray(rows)).to(device)].float()

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self._arrays[0])


Samples = Pool | ResidentPool
"""A pool of samples, on disk or on the device."""


def on_device(pool: Samples, device: torch.device) -> Samples:
    """Return the pool on `device`, if that is a GPU with room for it, else as it is."""
    if device.type != "cuda" or not isinstance(pool, Pool):
        return pool
    needed = sum(array.nbytes for array in (pool.target, pool.guide, pool.core, pool.tokens))
    free, _ = torch.cuda.mem_get_info(device)
    return ResidentPool(pool, device) if needed < SHARE * free else pool
