"""The checks behind `fapvideo doctor`. Each says what it found, and what to do if that is bad."""

from __future__ import annotations

import importlib
import os
import platform
import tempfile
from collections.abc import Callable
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Final, Literal, NamedTuple

import platformdirs
import psutil

import fapvideo
from fapvideo.config.presets import check_preset, list_presets

REQUIRED: Final = {
    "torch": "torch",
    "diffusers": "diffusers",
    "transformers": "transformers",
    "av": "av",
    "opencv-python-headless": "cv2",
    "numpy": "numpy",
}
"""Distribution -> module."""

EXTRAS: Final = {
    "clip": "open_clip",
    "groundingdino": "groundingdino",
    "decord": "decord",
    "fast": "onnxruntime",
    "ray": "ray",
}
"""Extra -> module."""


class Check(NamedTuple):
    """One line of the doctor's table."""

    name: str
    state: Literal["ok", "note", "fail"]
    found: str
    hint: str = ""


def run_checks() -> list[Check]:
    """Run every check; one that breaks is a failed check, not an error."""
    return [_guarded(name, check) for name, check in CHECKS.items()]


def _guarded(name: str, check: Callable[[], Check]) -> Check:
    try:
        return check()
    except Exception as error:  # a broken install may raise anything at all
        hint = getattr(error, "hint", "") or "reinstall fapvideo"
        return Check(name, "fail", f"{type(error).__name__}: {error}", hint)


def _python() -> Check:
    found = f"fapvideo {fapvideo.__version__}, Python {platform.python_version()}"
    return Check("program", "ok", f"{found}, {platform.system()} {platform.machine()}")


def _libraries() -> Check:
    found, broken = [], []
    for distribution, module in REQUIRED.items():
        try:
            importlib.import_module(module)
            found.append(f"{module} {metadata.version(distribution)}")
        except Exception as error:  # ImportError, or whatever a half-installed library raises
            broken.append(f"{module}: {error}")
    if broken:
        hint = "; ".join(broken)
        if any("libGL" in line for line in broken):
            hint += "; pip install --force-reinstall --no-deps opencv-python-headless"
        return Check("libraries", "fail", ", ".join(found), hint)
    return Check("libraries", "ok", ", ".join(found))


def _device() -> Check:
    import torch

    from fapvideo.ops.precision import resolve_dtype

    names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    kind = "cuda" if names else "cpu"
    dtype = str(resolve_dtype("auto", kind)).removeprefix("torch.")
    where = ", ".join(names) or f"CPU, {torch.get_num_threads()} threads"
    hint = ""
    if metadata.version("torch").endswith("+cpu") and Path("/dev/nvidia0").exists():
        hint = "there is an NVIDIA GPU, but torch is a CPU build: see docs/install.md"
    return Check("device", "note" if hint else "ok", f"{where}, computes in {dtype}", hint)


def _memory() -> Check:
    memory = psutil.virtual_memory()
    found = f"{memory.available / 2**30:.1f} of {memory.total / 2**30:.1f} GiB free"
    if memory.available < 2 * 2**30:
        return Check("memory", "note", found, "a run takes about 2 GiB: close other programs")
    return Check("memory", "ok", found)


def _encoders() -> Check:
    from fapvideo.video.support import ENCODERS, ffmpeg_versions, missing_encoders

    missing = missing_encoders()
    if missing:
        return Check("encoders", "fail", f"missing: {', '.join(missing)}", "reinstall av from PyPI")
    names = ", ".join(ENCODERS.values())
    return Check("encoders", "ok", f"{names} (libavcodec {ffmpeg_versions()['libavcodec']})")


def _extras() -> Check:
    here = [extra for extra, module in EXTRAS.items() if find_spec(module) is not None]
    absent = [extra for extra in EXTRAS if extra not in here]
    found = f"installed: {', '.join(here) or 'none'}; not installed: {', '.join(absent) or 'none'}"
    return Check("extras", "ok", found)


def _presets() -> Check:
    entries = list_presets()
    bad = [f"{entry.name}: {problem}" for entry in entries for problem in check_preset(entry.path)]
    if bad or not entries:
        return Check("presets", "fail", f"{len(entries)} found", "; ".join(bad) or "reinstall")
    return Check("presets", "ok", ", ".join(entry.name for entry in entries))


def _weights() -> Check:
    from fapvideo.weights.bundle import bundle_folder
    from fapvideo.weights.store import list_bundles, verify_bundle

    names = ["embedded", *(bundle.name for bundle in list_bundles() if bundle.installed)]
    bad = [
        f"{name}: {check.path.name}: {check.problem}"
        for name in names
        for check in verify_bundle(bundle_folder(name))
        if check.problem
    ]
    if bad:
        hint = "reinstall fapvideo, or remove and fetch the bundle again"
        return Check("weights", "fail", "; ".join(bad), hint)
    return Check("weights", "ok", ", ".join(names))


def _packaged() -> Check:
    """Check the face nets and the pictures that came with the package."""
    from fapvideo.ops.packaged import read_packaged, recorded_hashes

    names = recorded_hashes()
    for name in names:
        read_packaged(name)  # raises, with the hint
    return Check("packaged files", "ok", f"{len(names)} nets and pictures as they were made")


def _writable(name: str, folder: Path) -> Check:
    """Check `folder`, or where it will be made, for the right to write."""
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    if not os.access(existing, os.W_OK):
        return Check(name, "fail", str(folder), f"{existing} is not writable")
    free = psutil.disk_usage(str(existing)).free / 2**30
    hint = "less than 1 GiB is free there" if free < 1 else ""
    return Check(name, "note" if hint else "ok", f"{folder}, {free:.0f} GiB free", hint)


CHECKS: Final[dict[str, Callable[[], Check]]] = {
    "program": _python,
    "libraries": _libraries,
    "device": _device,
    "memory": _memory,
    "encoders": _encoders,
    "extras": _extras,
    "presets": _presets,
    "weights": _weights,
    "packaged files": _packaged,
    "cache folder": lambda: _writable(
        "cache folder", Path(platformdirs.user_cache_dir("fapvideo"))
    ),
    "temporary folder": lambda: _writable("temporary folder", Path(tempfile.gettempdir())),
}
