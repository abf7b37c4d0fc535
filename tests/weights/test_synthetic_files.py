"""`scripts/make_synthetic_fap.py` beside any torchvision; layouts only, no values."""

from __future__ import annotations

from pathlib import Path

import pytest
from fresh import run_fresh


@pytest.mark.slow
def test_the_script_knows_the_published_layouts_in_a_process_of_its_own(checkout: Path) -> None:
    """Run alone: the tests' own process has made torchvision importable for everybody."""
    script = checkout / "scripts" / "make_synthetic_fap.py"
    code = (
        "import runpy, torch;"
        f"vae, tower = runpy.run_path({str(script)!r})['layouts']();"
        "print(len(vae), len(tower), sum(torch.Size(shape).numel() for shape in tower.values()))"
    )
    done = run_fresh(code)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["248", "520", "632076800"]
