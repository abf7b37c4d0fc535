"""The weights store: bundles that are not in the package, on this machine.

    <store>/<name>/            a finished bundle: bundle.toml and its safetensors
    <store>/<name>.partial/    what was imported so far, until nothing is missing
    <store>/downloads/<name>/  what is being fetched
    <store>/seen.toml          SHA-256 of every source file at its first sight

The store is `$FAPVIDEO_WEIGHTS`, else a folder of the user's data. Nothing here uses the network.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from fapvideo.config.bundle import MANIFEST_NAME, load_manifest
from fapvideo.config.presets import is_file
from fapvideo.errors import WeightsError
from fapvideo.ops.files import sha256_file
from fapvideo.progress import OnProgress, Progress
from fapvideo.weights.known import known_bundle, known_bundles

BUILT_IN = ("embedded", "tiny", "tiny_sd15")


@dataclass(frozen=True, slots=True)
class BundleStatus:
    """One line of `fapvideo weights list`."""

    name: str
    title: str
    installed: bool
    folder: Path
    size: int
    """Bytes on this machine."""
    licences: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FileCheck:
    """One line of `fapvideo weights verify`."""

    path: Path
    licence: str
    problem: str
    """Empty where the file is what it should be."""


def store_folder() -> Path:
    """Return the store's folder, existing or not."""
    given = os.environ.get("FAPVIDEO_WEIGHTS")
    return Path(given) if given else platformdirs.user_data_path("fapvideo") / "weights"


def list_bundles() -> tuple[BundleStatus, ...]:
    """Return every bundle that can be fetched or imported, and whether it is here."""
    return tuple(
        BundleStatus(
            name=name,
            title=known.title,
            installed=is_installed(name),
            folder=store_folder() / name,
            size=_size(store_folder() / name),
            licences=known.licences,
        )
        for name, known in known_bundles().items()
    )


def is_installed(name: str) -> bool:
    """Return whether the bundle is in the store, whole."""
    return is_file(store_folder() / name / MANIFEST_NAME)


def installed_folder(name: str) -> Path:
    """Return the folder of bundle `name` in the store.

    Raises:
        WeightsError: the name is unknown, or the bundle is not installed.
    """
    if is_installed(name):
        return store_folder() / name
    if name in known_bundles():
        raise WeightsError(
            f"the weights of bundle {name} are not on this machine",
            hint=f"run `fapvideo weights fetch {name}`, or `fapvideo weights import {name} PATH`"
            " with files you have",
        )
    raise WeightsError(
        f"there is no bundle {name!r}: neither a folder nor one of"
        f" {', '.join((*BUILT_IN, *known_bundles()))}",
        hint="`fapvideo weights list` shows the bundles",
    )


def verify_bundle(folder: Path, progress: OnProgress = lambda now: None) -> tuple[FileCheck, ...]:
    """Compare every file of a bundle with its recorded SHA-256.

    Raises:
        WeightsError: there is no bundle in `folder`.
    """
    checks = []
    for entry in load_manifest(folder).files:
        path = folder / entry.path
        problem = "missing"
        if is_file(path):
            progress(Progress(f"checking {entry.path}", 0, path.stat().st_size))
            same = sha256_file(path) == entry.sha256
            problem = "" if same else "damaged or changed: another SHA-256"
        checks.append(FileCheck(path, entry.licence, problem))
    return tuple(checks)


def remove_bundle(name: str) -> int:
    """Delete a bundle, what was imported of it and what was downloaded; return the bytes freed.

    Raises:
        WeightsError: the name is unknown, or nothing of it is here.
    """
    known_bundle(name)
    store = store_folder()
    folders = [store / name, partial_folder(name), downloads_folder(name)]
    freed = sum(_size(folder) for folder in folders)
    found = [folder for folder in folders if folder.exists()]
    if not found:
        raise WeightsError(f"nothing of bundle {name} is in {store}")
    for folder in found:
        shutil.rmtree(folder)
    return freed


def partial_folder(name: str) -> Path:
    """Return where an incomplete import of `name` is kept."""
    return store_folder() / f"{name}.partial"


def downloads_folder(name: str) -> Path:
    """Return where files of `name` are downloaded to."""
    return store_folder() / "downloads" / name


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
