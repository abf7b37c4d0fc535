"""The training loop: one readable program, resumable, bounded by steps and minutes.

    for every step: draw a batch -> noise it along the flow -> predict -> loss -> AdamW -> average

Everything a resumed run needs is in one checkpoint file, written to a temporary name and renamed.
On one machine a resumed run equals a straight one to the bit: all that is drawn comes from one
generator, whose state is saved, and nothing depends on the clock but when to save and to stop.
"""

from __future__ import annotations

import logging
import pickle
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from fapvideo.config.train import OptimConfig, TrainPreset
from fapvideo.errors import WeightsError
from fapvideo.nets.perceptual import PerceptualDistance
from fapvideo.structs import Array
from fapvideo.training.losses import hole_psnr, restoration_loss
from fapvideo.training.network import Ema, TrainingNetwork, averaged_copy, embedded_manifest
from fapvideo.training.pool import Pool
from fapvideo.training.records import append_log, cut_log, read_log
from fapvideo.weights.bundle import Bundle

log = logging.getLogger(__name__)

CHECKPOINT, LOG = "checkpoint.pt", "log.csv"
FULL_TIME = 0.6
"""Share of the batch that starts at t = 1, where one-step sampling starts."""


@dataclass(frozen=True, slots=True)
class Progress:
    """What the callback hears after every step."""

    step: int
    steps: int
    losses: dict[str, float]
    samples_per_s: float


class Trainer:
    """Trains the embedded network on a pool of samples."""

    def __init__(
        self,
        preset: TrainPreset,
        folder: Path,
        pool: Pool,
        heldout: Pool,
        perceptual: PerceptualDistance | None,
        device: torch.device,
        start: Bundle | None = None,
    ) -> None:
        """Build the network, or go on from `folder/checkpoint.pt` where there is one.

        A new one has random weights, or those of `start`, a bundle of the same architecture.

        Raises:
            WeightsError: the checkpoint is damaged, or of another network.
        """
        self.preset, self.folder, self.pool, self.heldout = preset, folder, pool, heldout
        self.device = device
        self.manifest = embedded_manifest(preset)
        self.generator = torch.Generator()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(preset.seed)
            self.network = TrainingNetwork(self.manifest)
            self.generator.set_state(torch.get_rng_state())
        if start is not None:
            self.network.unet.load_state_dict(start.unet.state_dict())
            self.network.adapter.load_state_dict(start.adapter.state_dict())
        self.network.to(device)
        memory: Any = {"memory_format": torch.channels_last}
        self.network.unet.to(**memory)
        self.perceptual = None if perceptual is None else perceptual.to(device)
        optim = preset.optim
        self.optimizer = torch.optim.AdamW(
            self.network.parameters(), optim.learning_rate, weight_decay=optim.weight_decay
        )
        self.ema = Ema(self.network, optim.ema)
        self.step = 0
        self.seconds = 0.0
        self.losses: dict[str, float] = {}
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / CHECKPOINT).is_file():
            self._resume()

    def run(
        self,
        max_minutes: float | None = None,
        progress: Callable[[Progress], None] | None = None,
        stop: Callable[[], bool] = lambda: False,
    ) -> None:
        """Train until `optim.steps`, for `max_minutes` of this call, or until `stop()` is true.

        Always ends saved.
        """
        optim = self.preset.optim
        started = saved = time.monotonic()
        before = self.seconds
        while self.step < optim.steps:
            now = time.monotonic()
            self.seconds = before + now - started
            if stop() or (max_minutes is not None and now - started > 60 * max_minutes):
                break
            if now - saved > 60 * optim.save_minutes:
                self.save()
                saved = now
            self.losses = self._train_step(optim)
            self.step += 1
            if progress is not None:
                rate = optim.batch_size / max(time.monotonic() - now, 1e-6)
                progress(Progress(self.step, optim.steps, self.losses, rate))
            if self.step % optim.eval_steps == 0:
                self._record()
            if self.step % optim.sheet_steps == 0:
                self._sheet()
        self.seconds = before + time.monotonic() - started
        self.save()

    def conclude(self) -> dict[str, str]:
        """Measure and draw the last step, unless that was done; return its row of the log."""
        rows = read_log(self.folder / LOG)
        if not rows or int(rows[-1]["step"]) != self.step:
            self._record()
        if not self._sheet_path().is_file():
            self._sheet()
        return read_log(self.folder / LOG)[-1]

    def averaged(self) -> TrainingNetwork:
        """Return an evaluation copy with the averaged parameters."""
        return averaged_copy(self.network, self.ema.state)

    def save(self) -> None:
        """Write the checkpoint atomically.

        Raises:
            WeightsError: it cannot be written; the last one stays.
        """
        state = {
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "ema": self.ema.state,
            "step": self.step,
            "seconds": self.seconds,
            "rng": self.generator.get_state(),
            "preset": self.preset.model_dump(mode="json"),
        }
        path = self.folder / CHECKPOINT
        partial = self.folder / f"{CHECKPOINT}.partial"
        try:
            torch.save(state, partial)
            partial.replace(path)
        except (OSError, RuntimeError) as error:  # torch's writer raises either
            partial.unlink(missing_ok=True)
            raise WeightsError(
                f"{path} cannot be written: {error}", hint="make space; the same command goes on"
            ) from None

    def _resume(self) -> None:
        path = self.folder / CHECKPOINT
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
            self.network.load_state_dict(state["network"])
            self.optimizer.load_state_dict(state["optimizer"])
        except (OSError, RuntimeError, ValueError, EOFError, KeyError, pickle.UnpicklingError) as e:
            raise WeightsError(
                f"{path} is damaged or of another network ({str(e).splitlines()[0]})",
                hint="--fresh begins anew",
            ) from None
        for group in self.optimizer.param_groups:
            group["weight_decay"] = self.preset.optim.weight_decay
        self.ema.state = {name: value.to(self.device) for name, value in state["ema"].items()}
        self.step, self.seconds = int(state["step"]), float(state["seconds"])
        self.generator.set_state(state["rng"])
        cut_log(self.folder / LOG, self.step)
        log.info("resumed at step %d", self.step)

    def _rows(self, count: int) -> Array:
        """Draw rows among the samples that are ready."""
        ready = self.pool.ready()
        drawn: Array = ready[torch.randint(len(ready), (count,), generator=self.generator).numpy()]
        return drawn

    def _train_step(self, optim: OptimConfig) -> dict[str, float]:
        rate = optim.learning_rate * min(1.0, (self.step + 1) / max(1, optim.warmup))
        rate *= 1.0 - 0.9 * self.step / optim.steps
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        target, guide, core, tokens = self.pool.batch(self._rows(optim.batch_size), self.device)
        count = len(target)

        def uniform() -> Tensor:
            return torch.rand(count, generator=self.generator)

        dropped = uniform() < optim.guide_dropout
        where = dropped.to(self.device)
        guide[where] = blank(target[where], core[where])
        injected = (uniform() >= optim.injection_dropout) | dropped
        flow_time = torch.where(uniform() < FULL_TIME, torch.ones(count), uniform())
        self.network.train()
        with torch.autocast(self.device.type, torch.bfloat16):
            predicted = self._predict(
                self.network, target, guide, core, tokens, flow_time, injected, self.generator
            )
            loss, parts = restoration_loss(predicted, target, core, optim, self.perceptual)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), optim.grad_clip)
        self.optimizer.step()
        self.ema.update(self.network, self.step)
        return {"loss": float(loss.detach()), **{name: float(v) for name, v in parts.items()}}

    def _predict(
        self,
        network: TrainingNetwork,
        target: Tensor,
        guide: Tensor,
        core: Tensor,
        tokens: Tensor,
        flow_time: Tensor,
        injected: Tensor,
        generator: torch.Generator,
    ) -> Tensor:
        side = self.preset.model.resolution // self.preset.model.factor
        shape = (len(target), network.codec.channels, side, side)
        noise = torch.randn(shape, generator=generator)
        return network(
            target,
            guide,
            core,
            tokens,
            flow_time.clamp_min(0.02).to(self.device),
            noise.to(self.device),
            injected.float().to(self.device),
        )

    @torch.no_grad()
    def evaluate(self, network: TrainingNetwork) -> dict[str, float]:
        """Return held-out hole PSNR (dB) and LPIPS of the guide and of the one-step result.

        The latter with and without injection. The generator is its own, so evaluating does not
        change the course of training.
        """
        sums: dict[str, list[Tensor]] = {}
        rows = self.heldout.ready()
        generator = torch.Generator().manual_seed(0)
        for start in range(0, len(rows), 32):
            target, guide, core, tokens = self.heldout.batch(rows[start : start + 32], self.device)
            given, ones = (target, guide, core, tokens), torch.ones(len(target))
            with torch.autocast(self.device.type, torch.bfloat16):
                full = self._predict(network, *given, ones, ones, generator)
                bare = self._predict(network, *given, ones, 0 * ones, generator)
            for form, picture in (("guide_{}", guide), ("{}", full), ("{}_no_injection", bare)):
                pasted = torch.lerp(target, picture.float(), core)
                psnr = hole_psnr(pasted, target, core)
                sums.setdefault(form.format("psnr"), []).append(psnr)
                if self.perceptual is not None:
                    distance = self.perceptual(pasted, target, core)
                    sums.setdefault(form.format("lpips"), []).append(distance)
        return {name: float(torch.cat(values).mean()) for name, values in sums.items()}

    def _record(self) -> None:
        """Append one line to `log.csv`."""
        row: dict[str, Any] = {"step": self.step, "minutes": round(self.seconds / 60, 1)}
        row |= self.losses | self.evaluate(self.averaged())
        append_log(self.folder / LOG, row)
        log.info("%s", row)

    def _sheet_path(self) -> Path:
        return self.folder / f"sheet_{self.step:06d}.png"

    @torch.no_grad()
    def _sheet(self) -> None:
        """Write a picture: source with hole, guide, result, result without injection, truth."""
        network = self.averaged()
        target, guide, core, tokens = self.heldout.batch(self.heldout.ready()[:12], self.device)
        ones = torch.ones(len(target))
        generator = torch.Generator().manual_seed(0)
        given = (target, guide, core, tokens)
        full = self._predict(network, *given, ones, ones, generator)
        bare = self._predict(network, *given, ones, 0 * ones, generator)
        unguided = (target, blank(target, core), core, tokens)
        blind = self._predict(network, *unguided, ones, ones, generator)
        paste = [torch.lerp(target, image, core) for image in (full, bare, blind)]
        rows = [target * (1 - core) - core, guide, *paste, target]
        picture = torch.cat([torch.cat(list(row), -1) for row in rows], -2)
        pixels = ((picture.clamp(-1, 1) + 1) * 127.5).round().byte().permute(1, 2, 0).cpu().numpy()
        cv2.imwrite(str(self._sheet_path()), np.ascontiguousarray(pixels[..., ::-1]))


def blank(target: Tensor, core: Tensor) -> Tensor:
    """Return a guide that says nothing about the part: its surroundings spread into the hole."""
    known = 1.0 - core
    filled, weight = target * known, known
    kernel = 2 * (target.shape[-1] // 8) + 1
    for _ in range(2):
        filled, weight = _box_blur(filled, kernel), _box_blur(weight, kernel)
    return torch.lerp(target, filled / weight.clamp_min(1e-4), core)


def _box_blur(image: Tensor, kernel: int) -> Tensor:
    """Average over a square, one axis after the other: a whole square at once is far slower."""
    rows = torch.nn.functional.avg_pool2d(image, (kernel, 1), 1, (kernel // 2, 0))
    return torch.nn.functional.avg_pool2d(rows, (1, kernel), 1, (0, kernel // 2))
