"""Two processes with half a batch each train what one with the whole batch trains."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fresh import run_fresh
from torch import Tensor
from training_setup import TINY, hand_on, tiny_preset

from fapvideo.errors import PresetError
from fapvideo.training.learning.checkpoint import CHECKPOINT
from fapvideo.training.learning.draws import Draws
from fapvideo.training.learning.loop import Trainer
from fapvideo.training.learning.processes import Processes
from fapvideo.training.learning.records import read_log
from fapvideo.training.samples.pool import Pool
from fapvideo.training.samples.resident import ResidentPool, on_device
from fapvideo.training.train import check_share, train
from fapvideo.training.work import work_folder
from fapvideo.weights.bundle import load_bundle

CPU = torch.device("cpu")
SETTINGS = {**TINY, "data.pool": 16, "data.heldout_pool": 2, "optim.eval_steps": 3}


def test_processes_share_what_one_would_draw() -> None:
    state = torch.Generator().manual_seed(4).get_state()
    whole = Draws(state, CPU)
    halves = [Draws(state, CPU, rank, 2) for rank in (0, 1)]
    for draw in (
        lambda draws, rows: draws.uniform(rows),
        lambda draws, rows: draws.integers(1000, rows),
        lambda draws, rows: draws.normal(rows, 3, 2),
    ):
        together = torch.stack([draw(half, 3) for half in halves], 1).flatten(0, 1)
        assert torch.equal(draw(whole, 6), together)


@pytest.mark.slow
@pytest.mark.parametrize("adversarial_weight", [0.0, pytest.param(0.3, marks=pytest.mark.slow)])
def test_two_processes_train_what_one_trains(
    photos: Path, tmp_path: Path, adversarial_weight: float
) -> None:
    settings = {
        **SETTINGS,
        "optim.adversarial_weight": adversarial_weight,
        "optim.adversarial_start": 0.3,
    }
    optim = {k.removeprefix("optim."): v for k, v in settings.items() if k.startswith("optim.")}
    preset = tiny_preset(**optim)
    data = preset.data.model_copy(update={"pool": 16, "heldout_pool": 2})
    train(preset.model_copy(update={"data": data}), [photos], tmp_path / "one")
    if adversarial_weight == 0:
        hand_on(tmp_path / "one", tmp_path / "two")
        printed = forked(photos, tmp_path / "two", settings)
    else:  # with a launcher's processes, and the first of them makes the samples
        printed, second = launched(photos, tmp_path / "two", settings)
        assert second == ""
    assert json.loads(printed)["finished"]
    one, two = (weights(tmp_path / name) for name in ("one", "two"))
    moved = difference(one, start_of(preset, tmp_path))
    # In bfloat16 sums over half a batch are rounded where those over a whole one are not.
    assert difference(one, two) < (0.06 if adversarial_weight == 0 else 0.35) * moved
    rows = read_log(work_folder(tmp_path / "two") / "log.csv")
    assert [row["step"] for row in rows] == ["0", "3", "6"]
    assert load_bundle(tmp_path / "two").manifest.name == "debug"


def command_of(photos: Path, output: Path, settings: dict[str, Any]) -> list[str]:
    """Return the command of both processes."""
    command = ["train", "-p", "debug", "--data", str(photos), "-o", str(output), "--workers=1"]
    settled = [f"--set={key}={value}" for key, value in settings.items()]
    return [*command, "--device=cpu", "--json", *settled]


def place() -> dict[str, str]:
    """Return what a launcher tells both processes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    return {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}


def forked(photos: Path, output: Path, settings: dict[str, Any]) -> str:
    """Run the command in two processes that share their imports; return what both print.

    A bundle is loaded for what that imports, which takes longer than the training.
    """
    done = run_fresh(
        "import os, signal, sys, fapvideo.training.train\n"
        "from fapvideo.cli.main import run_program\n"
        "from fapvideo.weights.bundle import load_bundle\n"
        "load_bundle('tiny')\n"
        "other = os.fork()\n"
        "signal.alarm(600)\n"
        f"os.environ |= {place()!r}\n"
        "os.environ['RANK'] = os.environ['LOCAL_RANK'] = str(int(not other))\n"
        f"code = run_program({command_of(photos, output, settings)!r}, as_json=True)\n"
        "sys.stdout.flush()\n"
        "os._exit(code or (os.waitpid(other, 0)[1] if other else 0))"
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def launched(photos: Path, output: Path, settings: dict[str, Any]) -> list[str]:
    """Run the command in two processes, as a launcher does; return what each prints."""
    command = [sys.executable, "-m", "fapvideo", *command_of(photos, output, settings)]
    told = place()
    running = [
        subprocess.Popen(
            command,
            env={**os.environ, **told, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in (0, 1)
    ]
    printed = [process.communicate(timeout=600) for process in running]
    assert [process.returncode for process in running] == [0, 0], printed
    return [out for out, _ in printed]


def weights(output: Path) -> dict[str, Tensor]:
    state = torch.load(work_folder(output) / CHECKPOINT, weights_only=True)
    found: dict[str, Tensor] = state["network"]
    return found


def start_of(preset: Any, folder: Path) -> dict[str, Tensor]:
    pools: Any = None
    return Trainer(preset, folder / "new", pools, pools, None, CPU).network.trained_state()


def difference(first: dict[str, Tensor], second: dict[str, Tensor]) -> float:
    assert first.keys() == second.keys()
    return float(sum((first[name] - second[name]).square().sum() for name in first)) ** 0.5


def test_a_batch_that_cannot_be_shared_is_named() -> None:
    preset = tiny_preset(batch_size=6)
    check_share(preset, Processes(1, 3))
    with pytest.raises(PresetError, match="batch_size = 6 cannot be shared by 4 processes"):
        check_share(preset, Processes(0, 4))


def test_a_pool_on_the_device_gives_the_same_batches(pool: Pool) -> None:
    assert on_device(pool, CPU) is pool  # on a CPU there is nothing to gain
    resident = ResidentPool(pool, CPU)
    assert len(resident) == len(pool)
    assert np.array_equal(resident.ready(), pool.ready())
    rows = np.array([3, 0, 11])
    for given, expected in zip(resident.batch(rows, CPU), pool.batch(rows, CPU), strict=True):
        assert torch.equal(given, expected)
