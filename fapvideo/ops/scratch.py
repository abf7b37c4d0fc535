"""Rows of numbers in files of a scratch folder: room on the disk is reserved before it is used.

A mapped file of which the disk has no room for a page ends the program with a bus error; so pages
are there before anything is mapped, and a full disk is an error that says what to do.
"""

from __future__ import annotations

import errno
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from fapvideo.errors import VideoWriteError
from fapvideo.ops.memory import release
from fapvideo.structs import Array, Floats

log = logging.getLogger(__name__)

FIRST_BLOCK, LARGEST_BLOCK = 1 << 15, 1 << 25
"""Bytes that are reserved at first, and at most at once: twice as many every time."""
WORTH_TELLING = 1 << 30
"""Bytes from which on scratch is told about as a warning."""
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def scratch_error(folder: Path, size: int, error: OSError) -> VideoWriteError:
    """Return what to say where `size` bytes cannot be written to a scratch folder."""
    if error.errno in FULL:
        return _no_room(folder, size, error.strerror)
    return VideoWriteError(
        f"scratch folder {folder}: {size} bytes cannot be written: {error.strerror or error}",
        hint="set TMPDIR to a folder that stays, and can be written to",
    )


def _no_room(folder: Path, size: int, reason: str | None) -> VideoWriteError:
    return VideoWriteError(
        f"scratch folder {folder}: no room for {size} bytes ({size / 2**20:.2f} MiB): {reason}",
        hint="free space there, or set TMPDIR to a folder on a larger disk",
    )


def disk_error(error: BaseException) -> VideoWriteError | None:
    """Return what to say where a disk is full, and nobody nearer has said it; None otherwise."""
    if not isinstance(error, OSError) or error.errno not in FULL:
        return None
    where = f"{error.filename}: " if error.filename else ""
    return VideoWriteError(
        f"{where}a disk is full: {error.strerror}",
        hint=f"free space beside the output, and in the scratch folder {tempfile.gettempdir()}"
        " (TMPDIR names another)",
    )


def check_room(folder: Path, needed: int) -> None:
    """Say how much scratch will be needed, as far as that is known; see that there is room for it.

    Raises:
        VideoWriteError: there is not; names the bytes and TMPDIR.
    """
    if not needed:
        return
    free = shutil.disk_usage(folder).free
    level = logging.WARNING if needed >= WORTH_TELLING else logging.INFO
    log.log(level, "%s: scratch of %.0f MiB for each face that is there all the time, %.0f free",
            folder, needed / 2**20, free / 2**20)  # fmt: skip
    if needed > free:
        raise _no_room(folder, needed, f"{free} bytes are free")


def reserve(path: Path, start: int, stop: int) -> None:
    """Make a file `stop` bytes long, with room on the disk from `start` on.

    Raises:
        VideoWriteError: the disk is full, or its quota is, or the folder is gone.
    """
    try:
        with path.open("r+b" if path.exists() else "w+b") as file:
            _allocate(file.fileno(), start, stop)
    except OSError as error:
        raise scratch_error(path.parent, stop - start, error) from None


def _allocate(handle: int, start: int, stop: int) -> None:
    if hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(handle, start, stop - start)
        except OSError as error:  # some file systems cannot, under some C libraries
            if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS):
                raise
        else:
            return
    os.lseek(handle, start, os.SEEK_SET)
    for at in range(start, stop, 1 << 20):
        left = memoryview(bytes(min(1 << 20, stop - at)))
        while left:
            left = left[os.write(handle, left) :]


class Rows:
    """Float32 arrays of one shape in a file, one after the other."""

    def __init__(self, path: Path, shape: tuple[int, ...]) -> None:
        """Begin without rows and without a file; a row is of `shape`."""
        self.path, self.shape = path, shape
        self.count = 0
        self._bytes = 4 * int(np.prod(shape))
        self._reserved = 0

    def append(self, row: Floats) -> None:
        """Add a row.

        Raises:
            VideoWriteError: the disk is full, or the folder is gone.
        """
        end = (self.count + 1) * self._bytes
        if end > self._reserved:
            block = min(max(FIRST_BLOCK, self._reserved), LARGEST_BLOCK)
            stop = max(end, self._reserved + block)
            reserve(self.path, self._reserved, stop)
            self._reserved = stop
        self.count += 1
        self.replace_last(row)

    def replace_last(self, row: Floats) -> None:
        """Put another row in the place of the last one."""
        data = np.ascontiguousarray(row, np.float32).tobytes()
        try:
            with self.path.open("r+b") as file:
                file.seek((self.count - 1) * self._bytes)
                file.write(data)
        except OSError as error:  # it is reserved, but some file systems copy what is changed
            raise scratch_error(self.path.parent, len(data), error) from None

    def mapped(self, count: int) -> Array:
        """Return the first `count` rows [count, ...]; what is written to them goes to the file."""
        return np.memmap(self.path, np.float32, "r+", shape=(count, *self.shape))


class LastRow:
    """Takes rows like `Rows`, and keeps the last one."""

    def __init__(self) -> None:
        """Begin without any."""
        self.row: Floats | None = None

    def append(self, row: Floats) -> None:
        """Add a row."""
        self.row = row

    def replace_last(self, row: Floats) -> None:
        """Put another row in the place of the last one."""
        self.row = row


def mapped_file(path: Path, shape: tuple[int, ...]) -> Array:
    """Return a new file as a float32 array of zeros, with room on the disk for all of it.

    Raises:
        VideoWriteError: there is none.
    """
    reserve(path, 0, 4 * int(np.prod(shape)))
    return np.memmap(path, np.float32, "r+", shape=shape)


def in_passing(rows: Array, step: int = 1024) -> Iterator[Array]:
    """Yield the rows of an array in order; of a mapped file few are in memory at a time."""
    for start in range(0, len(rows), step):
        yield from rows[start : start + step]
        release(rows)
