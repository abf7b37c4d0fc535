"""The largest memory of this process in a stretch of its time; for Linux."""

from __future__ import annotations

from pathlib import Path


def peak_bytes() -> int:
    """Return the largest resident size since `forget_peak`."""
    return 1024 * status("VmHWM")


def forget_peak() -> int:
    """Begin to measure anew; return the resident size."""
    Path("/proc/self/clear_refs").write_text("5")
    return 1024 * status("VmRSS")


def status(name: str) -> int:
    """Return a number of the process' status."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1])
    raise LookupError(name)
