"""Settings for tests of training: everything small, nothing downloaded."""

from __future__ import annotations

from typing import Any

from fapvideo.config.train import TrainPreset, load_train_preset

TINY: dict[str, Any] = {
    "model.channels": [32],
    "optim.batch_size": 4,
    "optim.steps": 6,
    "optim.warmup": 2,
    "optim.eval_steps": 1000,
    "optim.sheet_steps": 1000,
}


def tiny_preset(**optim: Any) -> TrainPreset:
    """Return the packaged debug preset, even smaller."""
    changes = {f"optim.{name}": value for name, value in optim.items()}
    return load_train_preset("debug", TINY | changes)
