"""The training loop: one readable program, resumable, bounded by steps and minutes.

    for every step: draw a batch -> predict -> loss -> AdamW -> (adversary) -> average

Everything a resumed run needs is in one checkpoint file, written to a temporary name and renamed.
On one machine a resumed run equals a straight one to the bit: all that is drawn comes from
generators whose state is saved, and nothing depends on the clock but when to save and to stop.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from fapvideo.config.bundle import BundleManifest
from fapvideo.config.train import TrainPreset
from fapvideo.nets.mobilenet import MobileNetV2Tokens
from fapvideo.nets.perceptual import PerceptualDistance
from fapvideo.ops.precision import mixed_precision
from fapvideo.progress import OnProgress, Progress, ShouldStop
from fapvideo.structs import Array
from fapvideo.training.learning.adapter_task import AdapterTask
from fapvideo.training.learning.board import Board
from fapvideo.training.learning.checkpoint import (
    CHECKPOINT,
    UNFIT,
    read_checkpoint,
    unfit,
    write_checkpoint,
)
from fapvideo.training.learning.draws import Draws
from fapvideo.training.learning.flow_task import FlowTask
from fapvideo.training.learning.network import Ema
from fapvideo.training.learning.processes import ALONE, Processes
from fapvideo.training.learning.records import append_log, cut_log, read_log
from fapvideo.training.learning.task import Task, TrainedNetwork
from fapvideo.training.samples.resident import Samples, on_device
from fapvideo.weights.bundle import Bundle

log = logging.getLogger(__name__)

LOG = "log.csv"
TELL = 10
"""Steps between two reports on an accelerator: to read a loss is to wait for it."""


class Trainer:
    """Trains a network on a pool of samples."""

    def __init__(
        self,
        preset: TrainPreset,
        folder: Path,
        pool: Samples,
        heldout: Samples,
        perceptual: PerceptualDistance | None,
        device: torch.device,
        start: Bundle | None = None,
        processes: Processes = ALONE,
        tower: MobileNetV2Tokens | None = None,
    ) -> None:
        """Build the network, or go on from `folder/checkpoint.pt` where there is one.

        A new one has random weights, or those of `start`, a bundle of the same architecture. Of
        several `processes`, each has a Trainer; the first one writes. `tower` made the samples'
        tokens: `optim.token_weight` needs it.

        Raises:
            WeightsError: the checkpoint is damaged, or of another network.
        """
        self.preset, self.folder = preset, folder
        self.pool, self.heldout = on_device(pool, device), on_device(heldout, device)
        self.device, self.processes = device, processes
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(preset.seed)
            self.task: Task
            if preset.model.kind == "sd15_adapter":
                assert start is not None  # the preset was checked
                self.task = AdapterTask(preset, device, start)
            else:
                self.task = FlowTask(preset, perceptual, device, start, processes, tower)
            state = torch.get_rng_state()
        self.draws = Draws(state, device, processes.rank, processes.count)
        optim = preset.optim
        self.optimizer = torch.optim.AdamW(
            [value for value in self.network.parameters() if value.requires_grad],
            optim.learning_rate,
            weight_decay=optim.weight_decay,
        )
        self.ema = Ema(self.network, optim.ema)
        self.step = 0
        self.seconds = 0.0
        self.losses: dict[str, Tensor] = {}
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / CHECKPOINT).is_file():
            self._resume()
        self.board = Board(folder if processes.writes else None, self.step)

    @property
    def manifest(self) -> BundleManifest:
        """Of the bundle that comes of it."""
        return self.task.manifest

    @property
    def network(self) -> TrainedNetwork:
        """The network in training."""
        return self.task.network

    def run(
        self, progress: OnProgress = lambda now: None, stop: ShouldStop = lambda: False
    ) -> None:
        """Train until `optim.steps`, or until `stop()` is true.

        Always ends saved. Metrics of the start are the first row of the log. `progress` is told of
        every step, on an accelerator of every few.
        """
        optim = self.preset.optim
        started = saved = time.monotonic()
        before, told = self.seconds, (self.step, started)
        while self.step < optim.steps:
            now = time.monotonic()
            self.seconds = before + now - started
            if self.processes.any(stop(), self.device):
                break
            if self.step == 0:
                self._record_start()
            if now - saved > 60 * optim.save_minutes:
                self.save()
                saved = now
            self.losses = self._train_step()
            self.step += 1
            self.board.losses(self.step, self.losses)
            if self.device.type == "cpu" or self.step % TELL == 0:
                loss, past, told = float(self.losses["loss"]), told, (self.step, time.monotonic())
                rate = optim.batch_size * (told[0] - past[0]) / max(told[1] - past[1], 1e-6)
                note = f"loss {loss:.3f}, {rate:.1f} samples/s"
                progress(Progress("train", self.step, optim.steps, note=note))
            if self.step % optim.eval_steps == 0:
                self._record()
            if self.step % optim.sheet_steps == 0:
                self._sheet()
        self.seconds = before + time.monotonic() - started
        self.save()
        self.board.close()

    def conclude(self) -> dict[str, str]:
        """Measure and draw the last step, unless that was done; return its row of the log."""
        rows = read_log(self.folder / LOG)
        if not rows or int(rows[-1]["step"]) != self.step:
            self._record()
        if not self._sheet_path().is_file():
            self._sheet()
        self.board.close()
        return read_log(self.folder / LOG)[-1]

    def metrics_at_start(self) -> dict[str, float]:
        """Return the row of step 0; empty where the log has none."""
        rows = read_log(self.folder / LOG)
        return metrics_of(rows[0]) if rows and rows[0]["step"] == "0" else {}

    def averaged(self) -> TrainedNetwork:
        """Return an evaluation copy with the averaged parameters."""
        return self.network.averaged(self.ema.state)

    def evaluate(self, network: TrainedNetwork) -> dict[str, float]:
        """Return held-out metrics; evaluating does not change the course of training."""
        return self.task.measure(network, self.heldout)

    # ----------------------------------------------------------------------------- one step

    def _train_step(self) -> dict[str, Tensor]:
        """Move the network once; return the losses."""
        optim = self.preset.optim
        rate = optim.learning_rate * min(1.0, (self.step + 1) / max(1, optim.warmup))
        rate *= 1.0 - 0.9 * self.step / optim.steps
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        rows = self._rows()
        batch = self.pool.batch(rows, self.device)
        places = self.pool.places(rows, self.device) if optim.temporal_weight > 0 else None
        self.network.train()
        with mixed_precision(self.device):
            loss, parts = self.task.loss(batch, self.draws, self.step, places)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.processes.average_gradients(self.network)
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), optim.grad_clip)
        self.optimizer.step()
        if self.task.adversary is not None:
            parts |= self.task.adversary.learn()
        self.ema.update(self.network, self.step)
        return parts

    def _rows(self) -> Array:
        """Draw rows among the samples that are ready, two by two where moments are compared."""
        ready = self.pool.ready()
        count = self.preset.optim.batch_size // self.processes.count
        if self.preset.optim.temporal_weight == 0:
            return ready[self.draws.integers(len(ready), count).numpy()]
        first = 2 * self.draws.integers(len(ready) // 2, count // 2).numpy()
        return ready[np.stack([first, first + 1], axis=1).ravel()]

    # -------------------------------------------------------------------------- checkpoints

    def save(self) -> None:
        """Write the checkpoint atomically.

        Raises:
            WeightsError: it cannot be written; the last one stays.
        """
        if not self.processes.writes:
            return
        adversary = self.task.adversary
        state = {
            "network": self.network.trained_state(),
            "optimizer": self.optimizer.state_dict(),
            "ema": self.ema.state,
            "adversary": None if adversary is None else adversary.state(),
            "step": self.step,
            "seconds": self.seconds,
            **self.draws.state(),
            "preset": self.preset.model_dump(mode="json"),
        }
        write_checkpoint(self.folder / CHECKPOINT, state)

    def _resume(self) -> None:
        path = self.folder / CHECKPOINT
        try:
            state = read_checkpoint(path)
            self.network.load_trained_state(state["network"])
            self.optimizer.load_state_dict(state["optimizer"])
            if self.task.adversary is not None and state.get("adversary") is not None:
                self.task.adversary.load_state(state["adversary"])
        except UNFIT as error:
            raise unfit(path, error) from None
        for group in self.optimizer.param_groups:
            group["weight_decay"] = self.preset.optim.weight_decay
        self.ema.state = {name: value.to(self.device) for name, value in state["ema"].items()}
        self.step, self.seconds = int(state["step"]), float(state["seconds"])
        self.draws.load_state(state)
        if self.processes.writes:
            cut_log(self.folder / LOG, self.step)
        log.info("resumed at step %d", self.step)

    # ------------------------------------------------------------------------------ records

    def _record_start(self) -> None:
        """Measure what training starts from, once."""
        if not read_log(self.folder / LOG):
            self._record()

    def _record(self) -> None:
        """Append one line to `log.csv`."""
        if not self.processes.writes:
            return
        metrics = self.evaluate(self.averaged())
        losses = {name: float(value) for name, value in self.losses.items()}
        row: dict[str, Any] = {"step": self.step, "minutes": round(self.seconds / 60, 1)}
        append_log(self.folder / LOG, row | metrics | losses)
        self.board.metrics(self.step, metrics)
        log.info("%s", row | metrics | losses)

    def _sheet_path(self) -> Path:
        return self.folder / f"sheet_{self.step:06d}.png"

    def _sheet(self) -> None:
        """Write a picture of held-out samples."""
        if not self.processes.writes:
            return
        picture = self.task.sheet(self.averaged(), self.heldout)
        cv2.imwrite(str(self._sheet_path()), picture[..., ::-1])
        self.board.sheet(self.step, picture)


def metrics_of(row: Mapping[str, str]) -> dict[str, float]:
    """Return the numbers in a row of the log."""
    return {name: float(value) for name, value in row.items() if value}
