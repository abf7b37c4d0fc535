"""A report in the form in which it is kept in `benchmarks/results`: small, and traceable."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from typing import Any

import fapvideo
from fapvideo.config.presets import PACKAGE
from fapvideo.evaluation.metrics.bins import by_condition
from fapvideo.evaluation.report.record import Record

JSON_NAME = "benchmark.json"
KIND = "fapvideo benchmark"


def as_benchmark(record: Record, cpu_s: float, wall_s: float) -> dict[str, Any]:
    """Return a report without what fills pages (curves, pictures), with commit and time taken.

    The seconds are of work done now by this process, not of what was kept from before.
    """
    headline = [definition for definition in record.definitions if definition.headline]
    curves = [definition.key for definition in headline if definition.curve]
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
        "headline": [definition.key for definition in headline],
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
        "conditions": {system: _conditions(record, system, curves) for system in record.systems},
    }


def _conditions(record: Record, system: str, keys: Sequence[str]) -> list[dict[str, Any]]:
    """Return the means of a system's curves by head turn and occlusion, over all its clips."""
    own = [found for found in record.measurements if found.system == system]
    return [
        {
            "condition": each.condition,
            "range": each.label,
            "frames": each.frames,
            **_rounded({key: value for key, value in each.means.items() if key in keys}),
        }
        for each in by_condition(own)
    ]


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
