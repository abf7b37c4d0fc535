"""On which device, and in which number format, the networks compute."""

from __future__ import annotations

from typing import Literal

import torch

from fapvideo.errors import DeviceError

Precision = Literal["auto", "fp32", "bf16", "fp16"]

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def resolve_dtype(precision: Precision, device: torch.device | str) -> torch.dtype:
    """Return the dtype of `precision` on `device`.

    `auto` is bfloat16 where the hardware multiplies it natively (CUDA from Ampere on, CPUs with
    AVX512-BF16 or AMX: twice to four times as fast there), else float32.

    Raises:
        DeviceError: float16 on a CPU, which has no fast path for it.
    """
    kind = torch.device(device).type
    if precision == "fp16" and kind == "cpu":
        raise DeviceError(
            "precision fp16 is not for CPUs",
            hint="use --set denoise.precision=auto, bf16 or fp32",
        )
    if precision != "auto":
        return _DTYPES[precision]
    native = kind == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.bfloat16 if native or (kind == "cpu" and cpu_has_bf16()) else torch.float32


def cpu_has_bf16() -> bool:
    """Return whether this CPU multiplies bfloat16 natively, and torch may use what it has."""
    if torch.backends.cpu.get_cpu_capability() in ("DEFAULT", "AVX2"):  # by ATEN_CPU_CAPABILITY too
        return False
    # Private names, absent in some builds: then bfloat16 would be emulated and slow.
    checks = (
        getattr(torch.cpu, name, None)
        for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    )
    return any(bool(check()) for check in checks if check is not None)


def mixed_precision(device: torch.device) -> torch.autocast:
    """Return the context in which networks are trained on `device`.

    bfloat16 where the hardware multiplies it natively. Elsewhere float32: emulated bfloat16 takes
    ten times as long.
    """
    dtype = resolve_dtype("auto", device)
    return torch.autocast(device.type, torch.bfloat16, enabled=dtype == torch.bfloat16)


def resolve_device(name: str) -> torch.device:
    """Return the device called `name`; `auto` prefers CUDA, then Apple's, then the CPU.

    Raises:
        DeviceError: it does not exist here.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise DeviceError(
            f"device {name!r} cannot be used: {reason}", hint="use --device auto or --device cpu"
        ) from None
    return device
