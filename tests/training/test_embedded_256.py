"""The 256 px recipe: a step on a CPU, an export, one result; within its size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fapvideo.config.schema import DenoiseConfig, FuseConfig
from fapvideo.config.train import load_train_preset
from fapvideo.denoise.denoiser import Denoiser
from fapvideo.nets.mobilenet import MobileNetV2Tokens
from fapvideo.training.faces.prepare import FaceSet
from fapvideo.training.learning.export import encoder_file, export_bundle
from fapvideo.training.learning.loop import Trainer
from fapvideo.training.samples.pool import PoolRecipe, build_pool
from fapvideo.weights.bundle import load_bundle

CPU = torch.device("cpu")
MOST = 60_000_000
"""Bytes a bundle of the package may have."""


@pytest.mark.slow
@pytest.mark.parametrize("adversarial_start", [0.0, pytest.param(1.0, marks=pytest.mark.slow)])
def test_a_step_an_export_and_a_result_at_256_px(
    faces_folder: Path,
    faces: FaceSet,
    recipe: PoolRecipe,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    adversarial_start: float,
) -> None:
    few: dict[str, Any] = {
        "optim.batch_size": 2,
        "optim.steps": 1,
        "optim.perceptual_weight": 0,
        "optim.adversarial_weight": 0.3,
        "optim.adversarial_start": adversarial_start,
    }
    preset = load_train_preset("embedded_256", few)
    encoder = recipe.encoder
    assert isinstance(encoder, MobileNetV2Tokens)
    chosen = tuple(faces.indices(heldout=False))
    drawn = PoolRecipe(faces_folder, chosen, 1, 256, preset.data, encoder)
    pool = build_pool(tmp_path / "pool", drawn, 2)
    run = Trainer(preset, tmp_path / "work", pool, pool, None, CPU)
    monkeypatch.setattr(run, "_record_start", lambda: None)
    run.run()
    assert ("discriminator" in run.losses) == (adversarial_start == 0)
    assert all(torch.isfinite(value) for value in run.losses.values())

    network = run.averaged()
    licences = dict.fromkeys((*network.files(), *encoder_file(encoder)), "CC0")
    bundle = tmp_path / "bundle"
    export_bundle(bundle, run.manifest, network, encoder_file(encoder), licences, "# card")
    assert sum(path.stat().st_size for path in bundle.iterdir()) < MOST
    denoiser = Denoiser(load_bundle(bundle), DenoiseConfig(steps=1), FuseConfig())
    target, guide, core, tokens = pool.batch(np.arange(1), CPU)
    noise = torch.zeros(1, *denoiser.noise_shape)
    assert denoiser.noise_shape == (48, 64, 64)
    painted = denoiser(target, guide, core, tokens, noise)
    assert painted.shape == (1, 3, 256, 256)
    assert float((painted - guide).abs().mean()) < 0.1  # it has barely begun to leave the guide
