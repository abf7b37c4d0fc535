"""Files that come with the package and are read by other libraries: checked before, by hash."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

from fapvideo.errors import WeightsError

PACKAGE = Path(__file__).resolve().parents[1]
RECORD = PACKAGE / "packaged.sha256"
"""Lines as `sha256sum` writes them, paths from the package on; `scripts/packaged_hashes.py`."""


@cache
def recorded_hashes() -> dict[str, str]:
    """Return path in the package -> SHA-256 of every file that is checked.

    Raises:
        WeightsError: the record itself is missing or damaged.
    """
    try:
        lines = RECORD.read_text("utf-8").splitlines()
        return {name: digest for digest, name in (line.split("  ", 1) for line in lines)}
    except (OSError, ValueError) as error:
        raise _damaged(RECORD.name, str(error)) from None


def read_packaged(name: str) -> bytes:
    """Return the content of a file of the package, by its path in it, if it is as it was made.

    Raises:
        WeightsError: it is missing, or another.
    """
    try:
        data = (PACKAGE / name).read_bytes()
    except OSError as error:
        raise _damaged(name, error.strerror or str(error)) from None
    if hashlib.sha256(data).hexdigest() != recorded_hashes().get(name):
        raise _damaged(name, "another SHA-256 than recorded")
    return data


def check_if_packaged(path: Path) -> None:
    """Check a file by hash if it is one of the package's.

    Raises:
        WeightsError: it is another than it was.
    """
    if path.parent.name == "assets" and path.is_relative_to(PACKAGE):
        read_packaged(path.relative_to(PACKAGE).as_posix())


def _damaged(name: str, reason: str) -> WeightsError:
    return WeightsError(
        f"{PACKAGE / name} is damaged or was changed ({reason})", hint="reinstall fapvideo"
    )
