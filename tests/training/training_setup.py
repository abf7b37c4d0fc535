"""Settings for tests of training: everything small, nothing downloaded."""

from __future__ import annotations

import shutil
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from fapvideo.config.train import TrainPreset, load_train_preset
from fapvideo.training.samples.pool import Pool
from fapvideo.training.work import work_folder

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


def first_of(pool: Pool, count: int) -> Pool:
    """Return the first samples of a pool; to measure on few of them is quick."""
    arrays = [field.name for field in fields(Pool) if field.name != "flags"]
    return replace(pool, **{name: getattr(pool, name)[:count] for name in arrays})


def hand_on(output: Path, other: Path) -> None:
    """Give one run's faces and samples to another that would make the same."""
    for name in ("faces", "pool"):
        shutil.copytree(work_folder(output) / name, work_folder(other) / name)
