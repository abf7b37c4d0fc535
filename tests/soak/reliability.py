"""`benchmarks/results/reliability.json`: what the soak tests found, written as they go."""

from __future__ import annotations

import fcntl
import json
import os
import platform
import time
from pathlib import Path
from typing import Any

from fapvideo.evaluation.report.benchmark import commit

ROOT = Path(__file__).resolve().parents[2]
RESULT = ROOT / "benchmarks" / "results" / "reliability.json"
WHAT = (
    "Kills at random moments of `fapvideo run`, each followed by a run to the end whose output is "
    "compared packet by packet with that of an undisturbed one; damaged files of all kinds that "
    "are read, each of which has to end in a result or in an error of the package, in less than "
    "20 s and 1 GB. Seconds are of a machine shared with many other jobs. Each part names the "
    "commit that it was found at."
)


def record(section: str, values: dict[str, Any]) -> None:
    """Put values in the place of those of the same names in a section; tests run side by side."""
    with RESULT.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        kept = json.loads(RESULT.read_text("utf-8")) if RESULT.exists() else {}
        head = {
            "what": WHAT,
            "command": "pytest -m soak tests/soak",
            "machine": {"processor": platform.machine(), "cores": os.cpu_count()},
            "date": time.strftime("%Y-%m-%d"),
            "commit": commit() or "unknown",
        }
        rest = {name: value for name, value in kept.items() if name not in head}
        rest[section] = {**rest.get(section, {}), **values}
        text = json.dumps({**head, **rest}, indent=1)
        RESULT.write_text(text + "\n", "utf-8")
    RESULT.with_suffix(".lock").unlink(missing_ok=True)
