"""`benchmarks/results/reliability.json`: what the soak tests found, written as they go."""

from __future__ import annotations

import fcntl
import json
import os
import platform
import subprocess
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
RESULT = ROOT / "benchmarks" / "results" / "reliability.json"
WHAT = (
    "Kills at random moments of `fapvideo run`, each followed by a run to the end whose output is "
    "compared packet by packet with that of an undisturbed one; damaged files of seven kinds, each "
    "of which has to end in a result or in an error of the package, in less than 20 s and 1 GB."
)


def record(section: str, values: Any) -> None:
    """Put a section in the place of the last one of that name; tests run side by side."""
    with RESULT.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        kept = json.loads(RESULT.read_text("utf-8")) if RESULT.exists() else {}
        head = {
            "what": WHAT,
            "command": "pytest -m soak tests/soak",
            "machine": {"processor": platform.machine(), "cores": os.cpu_count()},
            "date": time.strftime("%Y-%m-%d"),
            "commit": _commit(),
        }
        text = json.dumps({**head, **{k: v for k, v in kept.items() if k not in head},
                           section: values}, indent=1)  # fmt: skip
        RESULT.write_text(text + "\n", "utf-8")
    RESULT.with_suffix(".lock").unlink(missing_ok=True)


def _commit() -> str:
    command = ["git", "-C", str(ROOT), "rev-parse", "--short=12", "HEAD"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"
