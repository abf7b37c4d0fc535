"""Files and folders that appear whole or not at all, and the hashes of files."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NAME_BYTES = 255
"""Of a file's name, on every file system in use."""


def fitting_name(stem: str, ending: str) -> str:
    """Return `stem` + `ending`; where that is too long, `stem` is cut and a hash of it put in."""
    data, room = os.fsencode(stem), NAME_BYTES - len(os.fsencode(ending))
    if len(data) <= room:
        return stem + ending
    tag = hashlib.sha256(data).hexdigest()[:8]
    return f"{data[: room - 9].decode('utf-8', 'ignore')}-{tag}{ending}"


def partial_name(path: Path) -> Path:
    """Return a new hidden name beside `path` to write under: `.clip.0d5e61fa.partial.mp4`.

    It ends as `path` does: writers that choose a format by the suffix choose the same.
    """
    ending = f".{secrets.token_hex(4)}.partial{path.suffix}"
    return path.with_name(fitting_name(f".{path.stem}", ending))


def sweep_partial(path: Path) -> None:
    """Remove what killed processes left half-written for `path`, which nobody is writing."""
    head, _, tail = partial_name(path).name.rpartition(".partial")
    left = re.compile(rf"{re.escape(head[:-8])}[0-9a-f]{{8}}\.partial{re.escape(tail)}")
    for other in path.parent.iterdir():
        if left.fullmatch(other.name):
            remove(other)


def remove(path: Path) -> None:
    """Remove a file or a folder, or what is left of it."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


@contextmanager
def write_atomically(path: Path) -> Iterator[Path]:
    """Yield a name beside `path` for a file or folder to be made; at the end of the block it takes
    the place of `path`, after an exception it is removed.

    Raises:
        OSError: it cannot be renamed.
    """
    fresh = partial_name(path)
    try:
        yield fresh
        if fresh.is_dir() and path.is_dir():
            old = path.rename(partial_name(path))
            fresh.rename(path)
            shutil.rmtree(old, ignore_errors=True)
        else:
            fresh.replace(path)
    finally:
        remove(fresh)


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """Yield a folder that is removed at the end of the block."""
    with tempfile.TemporaryDirectory(prefix="fapvideo-") as folder:
        yield Path(folder)


def write_text(path: Path, text: str) -> None:
    """Write a text file, whole or not at all.

    Raises:
        OSError: it cannot be written.
    """
    with write_atomically(path) as fresh:
        fresh.write_text(text, "utf-8")


def sha256_file(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
