"""What every file of results says of itself beside its figures."""

from __future__ import annotations

import datetime
import os
import platform
import subprocess
from typing import Any


def about(what: str, command: str) -> dict[str, Any]:
    """Return what was measured, by which command, when, on which commit and machine."""
    git = ["git", "rev-parse", "--short=12", "HEAD"]
    done = subprocess.run(git, capture_output=True, text=True, check=False)
    return {
        "what": what,
        "command": command,
        "date": datetime.date.today().isoformat(),
        "commit": done.stdout.strip(),
        "machine": f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores",
    }
