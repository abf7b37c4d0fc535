"""Rules for every test: no network, a cache folder of its own, a GPU only if there; a browser."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

# Before anything imports the libraries that read these.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("OMP_NUM_THREADS", "1")  # small nets: threads cost more than they bring
os.environ.setdefault("OPENCV_FOR_THREADS_NUM", "1")
_HOMES = tempfile.TemporaryDirectory(prefix="fapvideo-tests-")
for name in ("XDG_CACHE_HOME", "XDG_DATA_HOME"):
    os.environ[name] = str(Path(_HOMES.name) / name)

from fapvideo.ops.torchvision_shim import make_torchvision_importable  # noqa: E402

make_torchvision_importable()  # before a test imports diffusers or transformers itself

CHROMIUM = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-dev-shm-usage", "--hide-scrollbars",
)  # fmt: skip
"""Flags of a browser that asks nobody anything."""
LONGEST = (
    "test_processes.py",
    "test_suite.py",
    "test_face_clips.py",
    "test_adapter_training.py",
    "test_train.py",
    "test_eval.py",
    "test_temporal.py",
    "test_adapter.py",
    "test_loop.py",
    "test_swapper.py",
    "test_import.py",
    "test_denoiser.py",
    "test_published_run.py",
    "test_grounding_run.py",
    "test_published_class.py",
    "test_fetch.py",
    "test_packaging.py",
)
"""First, and these in this order, so that both workers end at about the same time."""
LOOPBACK = ("127.", "::1", "localhost")


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a test connect to this machine only."""
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: Any) -> None:
        if self.family != socket.AF_UNIX and not str(address[0]).startswith(LOOPBACK):
            raise AssertionError(f"a test tried to reach {address}")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)


@pytest.fixture(autouse=True, scope="session")
def photos_aligned_once() -> Iterator[None]:
    """Align and judge a reference once: hundreds of swappers take the same photo."""
    from fapvideo.plan import references
    from fapvideo.reference.fitness import Judge

    align, judge = references.align_picture, Judge.__call__
    faces: dict[Any, Any] = {}
    judgements: dict[Any, Any] = {}

    def remembered(rgb: Any, digest: str, name: str, find_faces: Any, config: Any) -> Any:
        key = digest, name, rgb.shape, config.model_dump_json()
        if key not in faces:
            faces[key] = align(rgb, digest, name, find_faces, config)
        return faces[key]

    def known(self: Judge, face: Any, parts: Any) -> Any:
        key = face.sha256, face.path, tuple(parts), self._config.model_dump_json()
        if not face.sha256 or key not in judgements:
            judgements[key] = judge(self, face, parts)
        return judgements[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(references, "align_picture", remembered)
        patch.setattr(Judge, "__call__", known)
        yield


@pytest.fixture(scope="session")
def checkout() -> Path:
    """Return the root of the repository."""
    return Path(__file__).resolve().parent.parent


def pytest_configure(config: pytest.Config) -> None:
    """Name the folder of rendered pictures (`renders.py`); pytest's own outlives the run."""
    with suppress(AttributeError, ValueError):  # under nohup it is ignored, and programs heed that
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
    cache = getattr(config, "cache", None)
    folder = _HOMES.name if cache is None else str(cache.mkdir("renders"))
    os.environ.setdefault("FAPVIDEO_TEST_RENDERS", folder)  # workers take the first one's


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the files that take longest first."""
    place = {name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.path.name, len(place)))


def pytest_unconfigure() -> None:
    """Remove the folders made above."""
    _HOMES.cleanup()


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip GPU tests without a GPU; with FAPVIDEO_REQUIRE_GPU=1 let them fail instead."""
    if item.get_closest_marker("gpu") and os.environ.get("FAPVIDEO_REQUIRE_GPU") != "1":
        import torch

        if not torch.cuda.is_available():
            pytest.skip("needs a CUDA device")


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Start Chromium; skip where there is none, unless FAPVIDEO_REQUIRE_BROWSER=1."""
    programs = [shutil.which(name) for name in ("chromium", "chromedriver")]
    required = os.environ.get("FAPVIDEO_REQUIRE_BROWSER") == "1"
    if None in programs and not required:
        pytest.skip("needs chromium and chromedriver (Debian: chromium, chromium-driver)")
    if not required:
        pytest.importorskip("selenium")
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = programs[0]
    for flag in (*CHROMIUM, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    service = webdriver.ChromeService(executable_path=programs[1])
    chromium = webdriver.Chrome(options=options, service=service)
    yield chromium
    chromium.quit()
