"""What the machine can do: floors that figures of different machines are compared by."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable
from typing import Any

import torch

from fapvideo.ops.precision import resolve_dtype

REPEATS_S = 0.5
"""Each rate is the best of all tries within this time."""
MATMUL, MATMUL_CUDA = 1024, 8192
"""Side of the matrices."""
CONVOLUTION = (8, 128, 32, 32)
"""Faces, channels and sides of the picture that is convolved 3 x 3: a middle level of a UNet."""


def machine_rates(device: torch.device) -> dict[str, Any]:
    """Return what the machine is, and its measured GFLOP/s: matrix product and convolution.

    On a GPU both in the number format that networks compute in there; on a CPU in float32, with one
    thread and with all that torch uses.
    """
    rates: dict[str, Any] = {
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "torch": torch.__version__,
    }
    if device.type == "cuda":
        rates["device"] = torch.cuda.get_device_name(device)
        rates |= _rates(device, resolve_dtype("auto", device))
        return rates
    rates["instructions"] = torch.backends.cpu.get_cpu_capability()
    all_threads = torch.get_num_threads()
    for threads in sorted({1, all_threads}):
        torch.set_num_threads(threads)
        found = _rates(device, torch.float32)
        rates[f"{threads} thread{'s' if threads > 1 else ''}"] = found
    return rates


def _rates(device: torch.device, dtype: torch.dtype) -> dict[str, float]:
    side = MATMUL_CUDA if device.type == "cuda" else MATMUL
    left, right = (torch.ones(side, side, device=device, dtype=dtype) for _ in range(2))
    faces, channels, height, width = CONVOLUTION
    picture = torch.ones(CONVOLUTION, device=device, dtype=dtype)
    picture = picture.to(memory_format=torch.channels_last)
    convolution = torch.nn.Conv2d(channels, channels, 3, padding=1, device=device, dtype=dtype)
    with torch.inference_mode():
        matmul_s = _fastest(lambda: left @ right, device)
        convolution_s = _fastest(lambda: convolution(picture), device)
    convolution_flop = 2 * 9 * faces * channels**2 * height * width
    return {
        "matmul_gflops": round(2e-9 * side**3 / matmul_s, 1),
        "convolution_gflops": round(1e-9 * convolution_flop / convolution_s, 1),
    }


def _fastest(work: Callable[[], object], device: torch.device) -> float:
    """Return the seconds of the quickest of some calls, the first of which does not count."""
    work()
    best, end = float("inf"), time.perf_counter() + REPEATS_S
    while time.perf_counter() < end or best == float("inf"):
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        started = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        best = min(best, time.perf_counter() - started)
    return best
