"""`scripts/make_synthetic_fap.py` beside any torchvision; layouts only, no values."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def test_the_script_knows_the_published_layouts_in_a_process_of_its_own(checkout: Path) -> None:
    """Run alone: the tests' own process has made torchvision importable for everybody."""
    script = checkout / "scripts" / "make_synthetic_fap.py"
    code = (
        "import runpy, sys, torch;"
        "vae, tower = runpy.run_path(sys.argv[1])['layouts']();"
        "print(len(vae), len(tower), sum(torch.Size(shape).numel() for shape in tower.values()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, script], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["248", "520", "632076800"]
