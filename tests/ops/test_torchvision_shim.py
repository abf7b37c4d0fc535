"""The shim against a broken, a healthy, an otherwise broken and an absent torchvision.

Each case runs in a process of its own: what is imported and which operators are declared is
state of the process. The stand-in package fails exactly as the CUDA-linked wheel does.
"""

from __future__ import annotations

import importlib.util
import subprocess
from pathlib import Path

import pytest
from fresh import run_fresh

CALL = """
from fapvideo.ops.torchvision_shim import make_torchvision_importable
print(make_torchvision_importable(), make_torchvision_importable())
import torchvision
print(torchvision.MARK)
"""

BROKEN = """
import torch
from torchvision import early  # imported before the failure, as in the real package

@torch.library.register_fake("torchvision::nms")
def fake(dets, scores, iou_threshold):
    return scores

MARK = early.MARK
"""


def run(code: str, path: Path | None = None) -> subprocess.CompletedProcess[str]:
    lines = "import sys, warnings; warnings.simplefilter('error')\n"
    return run_fresh(lines + (f"sys.path.insert(0, {str(path)!r})\n" if path else "") + code)


def package(folder: Path, init: str) -> Path:
    (folder / "torchvision").mkdir()
    (folder / "torchvision" / "__init__.py").write_text(init)
    (folder / "torchvision" / "early.py").write_text("import torchvision\nMARK = 'ready'\n")
    return folder


def test_broken_torchvision_becomes_importable(tmp_path: Path) -> None:
    done = run(CALL, package(tmp_path, BROKEN))
    assert done.stdout.split() == ["True", "False", "ready"], done.stderr


def test_stand_in_is_broken_without_the_shim(tmp_path: Path) -> None:
    done = run("import torchvision", package(tmp_path, BROKEN))
    assert "RuntimeError: operator torchvision::nms does not exist" in done.stderr


def test_healthy_torchvision_is_left_alone(tmp_path: Path) -> None:
    check = CALL + "import torch; print(hasattr(torch.ops.torchvision, 'nms'))"
    done = run(check, package(tmp_path, "MARK = 'healthy'"))
    assert done.stdout.split() == ["False", "False", "healthy", "False"], done.stderr


def test_another_fault_is_not_hidden(tmp_path: Path) -> None:
    done = run(CALL, package(tmp_path, "raise RuntimeError('different CUDA major versions')"))
    assert done.returncode == 1
    assert "different CUDA major versions" in done.stderr


def test_absent_torchvision_needs_nothing() -> None:
    hide = "import importlib.util; importlib.util.find_spec = lambda name: None\n"
    done = run(hide + CALL.replace("import torchvision\nprint(torchvision.MARK)", ""))
    assert done.stdout.split() == ["False", "False"], done.stderr


def imports(lines: list[str]) -> None:
    """Run the lines after the call, as one program; what they import may warn."""
    done = run(
        "from fapvideo.ops.torchvision_shim import make_torchvision_importable\n"
        "make_torchvision_importable()\n"
        "import warnings; warnings.simplefilter('default')\n"
        + "".join(f"{line}; print('ok')\n" for line in lines)
    )
    assert done.stdout.split() == ["ok"] * len(lines), done.stderr


CORE = [
    "from transformers import CLIPVisionModelWithProjection",
    "from diffusers import UNet2DConditionModel",
]
EXTRAS = ["torchvision.transforms", "open_clip", "groundingdino.models"]


@pytest.mark.slow
def test_core_and_extras_import_together() -> None:
    """With or without torchvision installed, the libraries of the core import after the call."""
    there = [name for name in EXTRAS if importlib.util.find_spec(name.partition(".")[0])]
    imports([*CORE, *(f"import {name}" for name in there)])


@pytest.mark.slow
def test_the_core_imports_alone() -> None:
    imports(CORE)


@pytest.mark.slow
@pytest.mark.parametrize("module", EXTRAS)
def test_real_packages_of_the_extras_import(module: str) -> None:
    top = module.partition(".")[0]
    if importlib.util.find_spec(top) is None:
        pytest.skip(f"the extra with {top} is not installed")
    imports([f"import {module}"])
