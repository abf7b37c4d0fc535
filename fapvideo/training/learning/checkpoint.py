"""`checkpoint.pt`: everything that a run goes on from, whole or not there."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from fapvideo.errors import WeightsError
from fapvideo.ops.files import write_atomically

CHECKPOINT = "checkpoint.pt"

UNFIT = (OSError, RuntimeError, ValueError, EOFError, KeyError, pickle.UnpicklingError)
"""What reading a file, and putting its content into networks and optimisers, may raise."""


def write_checkpoint(path: Path, state: Mapping[str, Any]) -> None:
    """Write it whole or not at all.

    Raises:
        WeightsError: it cannot be written; the last one stays.
    """
    try:
        with write_atomically(path) as fresh:
            torch.save(dict(state), fresh)
    except (OSError, RuntimeError) as error:  # torch's writer raises either
        raise WeightsError(
            f"{path} cannot be written: {error}", hint="make space; the same command goes on"
        ) from None


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Return the state, on the CPU; raises one of `UNFIT` where the file is damaged."""
    return torch.load(path, map_location="cpu", weights_only=True)


def unfit(path: Path, error: BaseException) -> WeightsError:
    """Return the error to raise where a checkpoint is damaged or of another network."""
    return WeightsError(
        f"{path} is damaged or of another network ({str(error).splitlines()[0]})",
        hint="--fresh begins anew",
    )
