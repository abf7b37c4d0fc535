"""What every file of results says of itself beside its figures."""

from __future__ import annotations

import datetime
import os
import platform
from typing import Any

from fapvideo.evaluation.report.benchmark import commit


def about(what: str, command: str) -> dict[str, Any]:
    """Return what was measured, by which command, when, on which commit and machine."""
    return {
        "what": what,
        "command": command,
        "date": datetime.date.today().isoformat(),
        "commit": commit(),
        "machine": f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores",
    }
