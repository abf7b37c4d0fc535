"""What the loop trains, as the loop sees it."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Protocol, Self

import numpy as np
import torch
from torch import Tensor, nn

from fapvideo.config.bundle import BundleManifest
from fapvideo.nets.adapter import Adapter
from fapvideo.structs import Bytes
from fapvideo.training.learning.adversary import Adversary
from fapvideo.training.learning.draws import Draws
from fapvideo.training.samples.pool import Batch
from fapvideo.training.samples.resident import Samples


class TrainedNetwork(nn.Module):
    """A network that becomes a bundle: some parameters are trained, others may be frozen."""

    adapter: Adapter

    def trained_state(self) -> dict[str, Tensor]:
        """Return what training changes, by name: what is averaged and saved."""
        parameters = self.named_parameters()
        return {name: value.detach() for name, value in parameters if value.requires_grad}

    def load_trained_state(self, state: Mapping[str, Tensor]) -> None:
        """Take over what `trained_state` of such a network returned.

        Raises:
            KeyError: a name is missing or unknown.
            RuntimeError: a shape differs.
        """
        odd = sorted(state.keys() ^ self.trained_state().keys())
        if odd:
            raise KeyError(f"parameters differ, first {odd[0]}")
        self.load_state_dict(dict(state), strict=False)

    def averaged(self, state: Mapping[str, Tensor]) -> Self:
        """Return a frozen copy with the averaged parameters `state`; both are injected."""
        self.adapter.eject()
        other = copy.deepcopy(self)
        self.adapter.inject()
        other.load_trained_state(state)
        other.adapter.inject()
        return other.eval().requires_grad_(False)

    def files(self) -> dict[str, dict[str, Tensor]]:
        """Return the tensors of the bundle's files, as they are stored."""
        raise NotImplementedError


class Task(Protocol):
    """A network, its loss, and how it is measured."""

    manifest: BundleManifest
    """Of the bundle that comes of it."""
    adversary: Adversary | None

    @property
    def network(self) -> TrainedNetwork:
        """What is trained."""
        ...

    def loss(
        self, batch: Batch, draws: Draws, step: int, places: Tensor | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return a scalar to differentiate, and the numbers to log; `loss` is one of them.

        With `places`, of `Pool.places`, rows 2k and 2k + 1 are two moments of one swap.
        """
        ...

    def measure(self, network: TrainedNetwork, heldout: Samples) -> dict[str, float]:
        """Return metrics on held-out samples; training's own numbers are not drawn from."""
        ...

    def sheet(self, network: TrainedNetwork, heldout: Samples) -> Bytes:
        """Return a picture [H, W, 3]: a column for each of some held-out samples."""
        ...


def contact_sheet(rows: list[Tensor]) -> Bytes:
    """Return [H, W, 3] uint8 of rows of pictures [N, 3, R, R] in [-1, 1]."""
    picture = torch.cat([torch.cat(list(row.float().cpu()), -1) for row in rows], -2)
    pixels = ((picture.clamp(-1, 1) + 1) * 127.5).round().byte().permute(1, 2, 0)
    return np.ascontiguousarray(pixels.numpy())
