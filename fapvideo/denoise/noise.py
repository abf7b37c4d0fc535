"""One seeded noise field per track, fixed in the aligned face frame: noise moves with the face."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch
from torch import Tensor


def track_noise(seed: int, track_id: int, shape: Sequence[int]) -> Tensor:
    """Return the standard normal field of one track: float32 on the CPU, `shape` as asked.

    It depends on (seed, track_id, shape) alone: not on device, batch, frame or what else ran.
    `Denoiser.noise_shape` is the shape it should have.
    """
    # Python's hash is salted per process; SHA-256 of the decimal text is the same everywhere.
    digest = hashlib.sha256(f"fapvideo noise {seed} {track_id}".encode()).digest()
    generator = torch.Generator("cpu").manual_seed(int.from_bytes(digest[:8], "big") >> 1)
    return torch.randn(tuple(shape), generator=generator, dtype=torch.float32)
