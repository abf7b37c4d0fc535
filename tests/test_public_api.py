"""`import fapvideo`: exactly these names, and no work."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from fresh import run_fresh

import fapvideo
from fapvideo import errors

NAMES = [
    "BatchError",
    "Cancelled",
    "ConsentError",
    "DeviceError",
    "FapVideoError",
    "FrameBatch",
    "FrameSource",
    "NoCredentials",
    "NoFaceFound",
    "PartMasks",
    "Person",
    "PresetError",
    "Progress",
    "ProvenanceError",
    "QualityError",
    "Reference",
    "ReferenceImageError",
    "RunPreset",
    "RunReport",
    "Session",
    "Track",
    "VideoReadError",
    "VideoSwapper",
    "VideoWriteError",
    "WeightsError",
    "__version__",
    "join_job",
    "list_presets",
    "load_preset",
    "rank_references",
    "stream_info",
]
LIGHT = ["RunPreset", "list_presets", "load_preset", *errors.__all__]


def loaded_after(statement: str) -> set[str]:
    """Return the top-level modules a fresh interpreter has after `statement`."""
    code = f"{statement}\nimport sys\nprint(' '.join({{m.partition('.')[0] for m in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_the_names_are_exactly_these() -> None:
    assert fapvideo.__all__ == NAMES
    assert dir(fapvideo) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_every_name_resolves(name: str) -> None:
    value = getattr(fapvideo, name)
    assert name == "__version__" or value.__name__ == name


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'Swapper'"):
        fapvideo.Swapper  # noqa: B018
    with pytest.raises(ImportError):
        from fapvideo import nothing  # noqa: F401


def test_importing_does_no_work() -> None:
    assert not loaded_after("import fapvideo") & {"torch", "cv2", "av", "numpy", "pydantic"}


def test_the_swapper_loads_no_library_that_it_may_not_need() -> None:
    code = (
        "import fapvideo.swapper, sys\n"
        "print(' '.join({m.partition('.')[0] for m in sys.modules}), *sys.modules)"
    )
    done = run_fresh(code)
    modules = set(done.stdout.split())
    assert not modules & {"diffusers", "transformers", "torchvision", "groundingdino", "open_clip"}
    assert not modules & {"scipy", "matplotlib", "jinja2", "accelerate", "torch._dynamo"}
    assert modules >= {"fapvideo.mask.grounding", "fapvideo.mask.grounding_py"}


def test_presets_and_errors_need_neither_torch_nor_opencv() -> None:
    modules = loaded_after(f"from fapvideo import {', '.join(LIGHT)}")
    assert not modules & {"torch", "cv2", "av", "diffusers", "transformers"}


def test_the_version_is_the_projects(checkout: Path) -> None:
    project = tomllib.loads((checkout / "pyproject.toml").read_text("utf-8"))["project"]
    assert fapvideo.__version__ == project["version"]
    assert (Path(fapvideo.__file__).parent / "py.typed").is_file()
