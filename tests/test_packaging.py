"""What is shipped: the wheel's content, an install away from the checkout, the tested pins."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

EXTRAS = (
    "open_clip",
    "groundingdino",
    "decord",
    "onnx",
    "onnxruntime",
    "torchvision",
    "tensorboard",
    "ray",
    "kubernetes_validate",
)


@pytest.fixture(scope="module")
def wheel(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel from the checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=checkout, check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the wheel, without its dependencies, into a folder away from the checkout."""
    folder = tmp_path_factory.mktemp("installed")
    command = [sys.executable, "-m", "pip", "install", "--no-deps", "--no-index", "--quiet"]
    subprocess.run([*command, "--target", folder, wheel], check=True, capture_output=True)
    return folder


def run_installed(installed: Path, *arguments: str, cwd: Path) -> str:
    """Run Python on the installed package, in `cwd`, and return what it prints."""
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(installed), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_wheel_holds_the_package_its_data_and_nothing_else(wheel: Path, checkout: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert {name.partition("/")[0] for name in names} == {"fapvideo", "fapvideo-0.1.0.dist-info"}
    tracked = subprocess.run(
        ["git", "ls-files", "fapvideo"], cwd=checkout, check=True, capture_output=True, text=True
    )
    assert set(tracked.stdout.split()) <= names
    presets = {
        f"fapvideo/_{path.relative_to(checkout)}"
        for pattern in ("*.toml", "*.json")
        for path in checkout.glob(f"presets/**/{pattern}")
    }
    assert presets
    assert presets <= names
    assert "fapvideo/_examples/talking_portrait.mp4" in names
    for licence in ("LICENSE", "NOTICE"):
        assert f"fapvideo-0.1.0.dist-info/licenses/{licence}" in names
    assert not [name for name in names if "__pycache__" in name or name.endswith(".pyc")]


def test_an_installed_copy_uses_its_own_presets(installed: Path, tmp_path: Path) -> None:
    where = run_installed(
        installed, "-c", "import fapvideo; print(fapvideo.__file__)", cwd=tmp_path
    )
    assert Path(where.strip()).is_relative_to(installed)
    listed = run_installed(installed, "-m", "fapvideo", "presets", "list", "--json", cwd=tmp_path)
    assert str(installed / "fapvideo" / "_presets" / "run" / "brand_avatar.toml") in listed
    shown = run_installed(
        installed, "-m", "fapvideo", "presets", "show", "brand_avatar", cwd=tmp_path
    )
    assert str(installed / "fapvideo" / "assets") in shown


@pytest.mark.slow
def test_an_installed_copy_swaps_two_seconds(
    installed: Path, checkout: Path, tmp_path: Path
) -> None:
    clip = tmp_path / "talk.mp4"
    clip.symlink_to(checkout / "examples" / "talking_portrait.mp4")
    arguments = ("run", str(clip), "--preset", "preview", "--end", "2", "--json")
    report = json.loads(run_installed(installed, "-m", "fapvideo", *arguments, cwd=tmp_path))
    assert report["bundle"]["name"] == "embedded"
    assert report["frames"]["total"] == 50
    assert report["frames"]["swapped"] > 0
    assert report["outside_changed_samples"] == 0
    assert (tmp_path / "talk.swapped.mp4").is_file()


@pytest.fixture(scope="module")
def pins(checkout: Path) -> dict[str, str]:
    """Return the versions in constraints.txt."""
    lines = (checkout / "constraints.txt").read_text("utf-8").splitlines()
    rows = [line.split("==") for line in lines if line and not line.startswith(("#", "--"))]
    return {canonicalize_name(name): version for name, version in rows}


@pytest.fixture(scope="module")
def project(checkout: Path) -> dict[str, Any]:
    return tomllib.loads((checkout / "pyproject.toml").read_text("utf-8"))["project"]


def test_every_requirement_has_a_tested_pin(project: dict[str, Any], pins: dict[str, str]) -> None:
    extras = project["optional-dependencies"]
    texts = [*project["dependencies"], *(text for group in extras.values() for text in group)]
    for requirement in map(Requirement, texts):
        if requirement.name != "fapvideo":
            assert pins[canonicalize_name(requirement.name)] in requirement.specifier, requirement


def test_all_is_every_extra_but_those_for_developers_and_clusters(project: dict[str, Any]) -> None:
    extras = project["optional-dependencies"]
    (everything,) = extras["all"]
    assert Requirement(everything).extras == set(extras) - {"all", "dev", "ray"}


def test_torch_and_torchvision_are_capped_together(project: dict[str, Any]) -> None:
    extras = project["optional-dependencies"]
    texts = [*project["dependencies"], *extras["clip"], *extras["groundingdino"]]
    wanted = {r.name: r.specifier for r in map(Requirement, texts)}
    assert "2.14.0" not in wanted["torch"]
    assert "0.29.0" not in wanted["torchvision"], "torchvision 0.29 replaces torch"
    base = {Requirement(text).name for text in project["dependencies"]}
    assert "torchvision" not in base


@pytest.fixture(scope="module")
def alias(checkout: Path) -> ModuleType:
    """Load the script that builds the stand-in for opencv-python."""
    script = checkout / "third_party" / "opencv_alias" / "build.py"
    spec = importlib.util.spec_from_file_location("opencv_alias", script)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_opencv_stand_in_is_what_its_script_builds(
    alias: ModuleType, pins: dict[str, str], tmp_path: Path
) -> None:
    rebuilt = alias.build(tmp_path / alias.WHEEL.name)
    assert rebuilt.read_bytes() == alias.WHEEL.read_bytes()
    with zipfile.ZipFile(rebuilt) as archive:
        assert all(".dist-info/" in name for name in archive.namelist()), "it must hold no code"
    assert pins["opencv-python"] == pins["opencv-python-headless"] == alias.VERSION


def test_there_is_one_cv2_and_it_needs_no_window_system() -> None:
    import cv2

    assert set(metadata.packages_distributions()["cv2"]) == {"opencv-python-headless"}
    gui = re.search(r"GUI: *(\S+)", cv2.getBuildInformation())
    assert gui is not None
    assert gui[1] == "NONE"
    assert callable(cv2.dnn.readNetFromTFLite)


@pytest.mark.skipif(os.environ.get("CI") != "true", reason="only CI must have every extra")
def test_ci_has_every_extra_so_that_none_of_their_tests_is_skipped() -> None:
    assert [name for name in EXTRAS if importlib.util.find_spec(name) is None] == []
