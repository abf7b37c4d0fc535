"""A report in the form in which it is kept in `benchmarks/results`: small, and traceable."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from typing import Any

import fapvideo
from fapvideo.config.presets import PACKAGE
from fapvideo.evaluation.record import Record

JSON_NAME = "benchmark.json"
KIND = "fapvideo benchmark"


def as_benchmark(record: Record, cpu_s: float, wall_s: float) -> dict[str, Any]:
    """Return a report without what fills pages (curves, pictures), with commit and time taken.

    Args:
        record: the report.
        cpu_s: CPU seconds of this process.
        wall_s: seconds by the clock; both are of work done now, not of what was kept from before.
    """
    definitions = {definition.key: definition for definition in record.definitions}
    return {
        "kind": KIND,
        "what": record.title,
        "command": record.command,
        "date": record.created[:10],
        "commit": commit(),
        "version": fapvideo.__version__,
        "machine": dict(record.machine),
        "seconds": {"cpu": round(cpu_s, 1), "wall": round(wall_s, 1)},
        "notes": list(record.notes),
        "headline": [key for key, item in definitions.items() if item.headline],
        "measurements": [
            {
                "system": found.system,
                "clip": found.clip,
                "parts": list(found.parts),
                "frames": found.frames,
                "face_frames": found.face_frames,
                "values": _rounded(found.values),
                "cpu_s": found.extra.get("cpu_s"),
                "notes": list(found.notes),
            }
            for found in record.measurements
        ],
    }


def commit() -> str:
    """Return the checkout's commit, `+` behind it if files differ; empty outside a checkout."""
    if not (PACKAGE.parent / ".git").exists():
        return ""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(PACKAGE.parent), *arguments]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        except OSError:  # no git here
            return ""
        return done.stdout.strip()

    changed = git("status", "--porcelain", "--untracked-files=no", "--", "fapvideo", "presets")
    return git("rev-parse", "--short=12", "HEAD") + ("+" if changed else "")


def _rounded(values: Mapping[str, float]) -> dict[str, float]:
    """Return values with five significant digits."""
    return {key: float(f"{value:.5g}") for key, value in values.items()}
