"""The published model at its full size, with random weights: slow, several gigabytes."""

from __future__ import annotations

import itertools
import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from fapvideo.config.schema import DenoiseConfig, FuseConfig
from fapvideo.denoise.denoiser import Denoiser
from fapvideo.denoise.noise import track_noise
from fapvideo.weights.bundle import load_bundle
from fapvideo.weights.importer import import_bundle
from fapvideo.weights.store import verify_bundle


def run_once(device: str, steps: int) -> dict[str, float | str]:
    """Import nothing, load `sd15` in bfloat16, denoise one crop; return times and memory."""
    times = {"start": time.perf_counter()}
    bundle = load_bundle("sd15", device, torch.bfloat16)
    times["load_s"] = time.perf_counter()
    side = bundle.manifest.resolution
    image = torch.rand(1, 3, side, side)
    with torch.no_grad():
        tokens = bundle.encoder(image)
    times["encode_s"] = time.perf_counter()
    config = DenoiseConfig(mode="published", steps=steps, guidance=1.0)
    denoiser = Denoiser(bundle, config, FuseConfig())
    hole = torch.zeros(1, 1, side, side)
    hole[..., 200:350, 160:360] = 1
    noise = track_noise(0, 0, denoiser.noise_shape)[None]
    result = denoiser(image * 2 - 1, image * 2 - 1, hole, tokens, noise)
    times["denoise_s"] = time.perf_counter()
    assert torch.isfinite(result).all()
    assert result.shape == (1, 3, side, side)
    assert tokens.shape == (1, 257, 1280)
    marks = list(times)
    spans = {b: round(times[b] - times[a], 2) for a, b in itertools.pairwise(marks)}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    if device == "cuda":
        peak = torch.cuda.max_memory_allocated()
    return {"device": device, "steps": steps, **spans, "peak_bytes": peak}


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory, checkout: Path) -> Path:
    """Return the folder of the full-size bundle, imported from synthetic published files."""
    folder = tmp_path_factory.mktemp("full")
    script = checkout / "scripts" / "make_synthetic_fap.py"
    subprocess.run([sys.executable, script, folder / "source"], check=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FAPVIDEO_WEIGHTS", str(folder / "store"))
        done = import_bundle("sd15", folder / "source")
    assert done.missing == ()
    assert not [check for check in verify_bundle(done.folder) if check.problem]
    return done.folder


@pytest.mark.soak
@pytest.mark.parametrize(
    ("device", "times"), [("cpu", 1), pytest.param("cuda", 20, marks=pytest.mark.gpu)]
)
def test_a_full_size_forward_in_bfloat16(
    installed: Path, monkeypatch: pytest.MonkeyPatch, device: str, times: int
) -> None:
    monkeypatch.setenv("FAPVIDEO_WEIGHTS", str(installed.parent))
    print(json.dumps(run_once(device, times)))  # noqa: T201 (shown by -s, for benchmarks/results)
