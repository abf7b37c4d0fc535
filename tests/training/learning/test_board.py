"""TensorBoard shows what the log says, once, and is not missed where it is not installed."""

from __future__ import annotations

import time
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from training_setup import first_of, tiny_preset

from fapvideo.training.learning import board
from fapvideo.training.learning.board import FOLDER, Board
from fapvideo.training.learning.loop import Trainer
from fapvideo.training.learning.records import read_log
from fapvideo.training.samples.pool import Pool

CPU = torch.device("cpu")


@pytest.fixture
def tensorboard() -> ModuleType:
    return pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")


def trainer(folder: Path, pool: Pool, **optim: Any) -> Trainer:
    return Trainer(tiny_preset(**optim), folder, pool, first_of(pool, 12), None, CPU)


@pytest.mark.slow
def test_a_resumed_run_has_one_curve(pool: Pool, tmp_path: Path, tensorboard: ModuleType) -> None:
    """Stopped at step 12, saved at step 10: what came after is forgotten and written again."""
    some = {"steps": 20, "eval_steps": 5, "sheet_steps": 20, "batch_size": 1}
    asked = iter(range(100))
    trainer(tmp_path, pool, **some).run(stop=lambda: next(asked) >= 10)
    time.sleep(1.1)  # TensorBoard reads files in the order of their names, which hold seconds
    ahead = Board(tmp_path, 10)
    ahead.metrics(12, {"psnr": 99.0})
    ahead.close()
    time.sleep(1.1)
    trainer(tmp_path, pool, **some).run()
    found = tensorboard.EventAccumulator(str(tmp_path / FOLDER)).Reload()
    curve = {event.step: event.value for event in found.Scalars("heldout/psnr")}
    rows = read_log(tmp_path / "log.csv")
    assert list(curve) == [0, 5, 10, 15, 20] == [int(row["step"]) for row in rows]
    assert [f"{value:.5g}" for value in curve.values()] == [row["psnr"] for row in rows]
    assert [event.step for event in found.Scalars("loss/loss")] == [10, 20]
    (picture,) = found.Images("sheet")
    assert (picture.step, picture.width, picture.height) == (20, 12 * 64, 6 * 64)


def test_without_tensorboard_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(board, "find_spec", lambda name: None)
    one = Board(tmp_path, 0)
    one.losses(10, {"loss": torch.ones(())})
    one.metrics(10, {"psnr": 1.0})
    one.sheet(10, np.zeros((8, 8, 3), np.uint8))
    one.close()
    assert list(tmp_path.iterdir()) == []
