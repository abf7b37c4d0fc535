"""Fetching published weights: the only place in the package that uses the network."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

from fapvideo.errors import WeightsError
from fapvideo.ops.files import sha256_file
from fapvideo.progress import OnProgress, Progress
from fapvideo.weights.detect import expect
from fapvideo.weights.importer import Imported, check_first_sight, import_files, recorded_sources
from fapvideo.weights.known import KnownFile, known_bundle
from fapvideo.weights.store import downloads_folder, is_installed

OFFLINE = "FAPVIDEO_OFFLINE"


def fetch_bundle(
    name: str,
    *,
    accept_licences: bool,
    progress: OnProgress = lambda now: None,
    endpoint: str | None = None,
) -> Imported:
    """Download, check and convert a bundle's files; interrupted downloads go on where they were.

    Kinds that were imported from files of the user's own are not downloaded.

    Args:
        name: a bundle of `manifest.toml`.
        accept_licences: the user has seen `known_bundle(name).licences` and agrees.
        progress: told about every file.
        endpoint: another hub than huggingface.co.

    Raises:
        WeightsError: offline, not accepted, not found, broken off for good, of a wrong size or
            content; nothing half-made is left in the store's bundles.
    """
    known = known_bundle(name)
    if is_installed(name):
        raise WeightsError(
            f"bundle {name} is already installed",
            hint=f"`fapvideo weights verify {name}` checks it, `remove` deletes it",
        )
    if os.environ.get(OFFLINE, "") not in ("", "0"):
        raise WeightsError(
            f"{OFFLINE} forbids fetching bundle {name}",
            hint=f"unset it, or `fapvideo weights import {name} PATH` with files you have",
        )
    if not accept_licences:
        raise WeightsError(
            f"the licences of bundle {name} were not accepted: {'; '.join(known.licences)}",
            hint="read them, then say yes (--yes)",
        )
    folder, own = downloads_folder(name), recorded_sources(name)
    paths = []
    for file in known.files:
        if file.kind not in own:
            paths.append(_download(file, folder, progress, endpoint))
            _check(file, paths[-1])
    imported = import_files(name, paths, progress)
    shutil.rmtree(folder, ignore_errors=True)
    return imported


def _check(file: KnownFile, path: Path) -> None:
    """Check a downloaded file: size, SHA-256, and that it is what it should be.

    Raises:
        WeightsError: and the file is deleted, so that the next attempt starts afresh.
    """
    try:
        size = path.stat().st_size
        if file.size is not None and size != file.size:
            raise WeightsError(f"{file.origin} has {size} bytes, not {file.size}")
        if file.sha256 is not None and sha256_file(path) != file.sha256:
            raise WeightsError(f"{file.origin} has another SHA-256 than recorded")
        expect(path, file.kind)
        check_first_sight(file.origin, path)
    except WeightsError:
        path.unlink(missing_ok=True)
        raise


def _download(file: KnownFile, folder: Path, progress: OnProgress, endpoint: str | None) -> Path:
    """Download one file through huggingface_hub, which resumes and retries.

    Raises:
        WeightsError: with the reason in one line.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, HTTPError, LocalEntryNotFoundError

    try:
        path = hf_hub_download(
            file.repository,
            file.file,
            revision=file.revision,
            local_dir=folder,
            endpoint=endpoint,
            tqdm_class=_bar(file.file, progress),
        )
    except LocalEntryNotFoundError as error:
        raise _failed(file, error, "check the connection; a second attempt goes on") from None
    except HfHubHTTPError as error:
        hint = "the file may have moved, or need a login (`hf auth login`)"
        raise _failed(file, error, hint) from None
    except (HTTPError, OSError, ValueError) as error:
        hint = "run the same command again: it goes on where it broke off"
        raise _failed(file, error, hint) from None
    return Path(path)


def _failed(file: KnownFile, error: Exception, hint: str) -> WeightsError:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return WeightsError(f"{file.origin} could not be fetched: {lines[0]}", hint=hint)


def _bar(name: str, progress: OnProgress) -> Any:
    """Return a tqdm class that tells `progress` instead of drawing."""
    from huggingface_hub.utils import tqdm

    class Bar(tqdm):
        def __init__(self, *args: Any, **options: Any) -> None:
            self._done = int(options.get("initial") or 0)
            self._total = int(options.get("total") or 0)
            super().__init__(*args, **{**options, "disable": True})

        def update(self, n: float | None = 1) -> bool | None:
            self._done += int(n or 0)
            progress(Progress(f"fetching {name}", self._done, self._total))
            return None

    return Bar
