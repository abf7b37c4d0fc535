"""Keeping what a suite made: files in a work folder, under a hash of what they were made from."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from fapvideo.config.presets import PACKAGE
from fapvideo.errors import VideoWriteError
from fapvideo.ops.files import sha256_file, write_text

NOT_MEASURING = ("cli", "training")
"""Parts of the package that have no say in a measurement."""
NOT_MAKING = (*NOT_MEASURING, "evaluation", "synth")
"""Parts that have no say in what a system makes."""
CODE = (".py", ".npy", ".npz", ".tflite")
LIBRARIES = ("torch", "numpy", "opencv-python-headless", "av", "scipy")


def digest(*values: Any) -> str:
    """Return 16 hex digits that change with any of the values (plain JSON types)."""
    text = json.dumps(values, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@cache
def code_version(without: tuple[str, ...]) -> str:
    """Return a hash of the package, without some folders, and of the versions of libraries."""
    code = [path for path in sorted(PACKAGE.rglob("*")) if path.suffix in CODE]
    files = [path for path in code if path.relative_to(PACKAGE).parts[0] not in without]
    versions = [metadata.version(name) for name in LIBRARIES]
    return digest([sha256_file(path) for path in files], versions)


class WorkFolder:
    """A folder of finished files, each in a folder of its own kind; others' errors explained."""

    def __init__(self, root: Path) -> None:
        """Keep everything below `root`, which is made when it is needed."""
        self.root = root

    def folder(self, *names: str) -> Path:
        """Return a folder; it exists.

        Raises:
            VideoWriteError: it cannot be made.
        """
        safe = ["".join(c if c.isalnum() or c in "-_." else "_" for c in name) for name in names]
        path = self.root.joinpath(*safe)
        with _explained(path):
            path.mkdir(parents=True, exist_ok=True)
        return path

    def write_json(self, path: Path, value: Any) -> None:
        """Write a file whole or not at all.

        Raises:
            VideoWriteError: it cannot be written.
        """
        with _explained(path):
            write_text(path, json.dumps(value, default=str) + "\n")

    def empty(self, folder: Path) -> None:
        """Remove what an earlier call left in one of the folders."""
        with _explained(folder):
            for path in folder.iterdir():
                if path.is_dir():
                    shutil.rmtree(path)
                else:
                    path.unlink()


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turn the system's errors into `VideoWriteError`."""
    try:
        yield
    except OSError as error:
        raise VideoWriteError(
            f"cannot write {path}: {error.strerror or error}",
            hint="give another folder: --work DIR",
        ) from None
