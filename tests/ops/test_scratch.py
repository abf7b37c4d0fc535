"""Rows in scratch files: what was put in comes out, and a full disk is said in time."""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from small_disk import fill, small_disk

from fapvideo.errors import VideoWriteError
from fapvideo.ops import scratch
from fapvideo.ops.memory import release
from fapvideo.ops.scratch import Rows, check_room, in_passing, mapped_file

SHAPE = (478, 3)
ROWS = np.random.default_rng(1).random((300, *SHAPE), np.float32)


def test_rows_come_out_as_they_went_in(tmp_path: Path) -> None:
    rows = Rows(tmp_path / "a", SHAPE)
    for row in ROWS:
        rows.append(np.zeros(SHAPE))
        rows.replace_last(row)
    np.testing.assert_array_equal(rows.mapped(len(ROWS)), ROWS)
    np.testing.assert_array_equal(list(in_passing(rows.mapped(300), 64)), ROWS)
    allocated = (tmp_path / "a").stat().st_blocks * 512
    assert ROWS.nbytes <= allocated < 2.2 * ROWS.nbytes


def test_without_fallocate_room_is_taken_by_writing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(scratch.os, "posix_fallocate")
    array = mapped_file(tmp_path / "a", (100, *SHAPE))
    assert not array.any()
    assert (tmp_path / "a").stat().st_blocks * 512 >= array.nbytes


def test_released_pages_hold_what_was_written(tmp_path: Path) -> None:
    array = mapped_file(tmp_path / "a", ROWS.shape)
    array[:] = ROWS
    release(array[10:20])
    np.testing.assert_array_equal(array, ROWS)
    private = np.memmap(tmp_path / "a", np.float32, "c", shape=ROWS.shape)
    private[0] = 7
    release(private)
    assert (private[0] == 7).all()
    release(ROWS)


def test_of_a_long_file_that_is_gone_through_little_is_in_memory(tmp_path: Path) -> None:
    """Counted by the system, where it does."""
    status = Path("/proc/self/status")
    if not status.exists():
        pytest.skip("no /proc here")

    def of_files() -> int:
        (line,) = (line for line in status.read_text().splitlines() if line.startswith("RssFile"))
        return int(line.split()[1]) << 10

    array = mapped_file(tmp_path / "long", (10_000, *SHAPE))
    before = of_files()
    assert array.sum() == 0
    assert of_files() - before > 0.8 * array.nbytes
    release(array)
    peak = 0
    for number, row in enumerate(in_passing(array)):
        assert row[0, 0] == 0
        if number % 100 == 0:
            peak = max(peak, of_files())
    assert peak - before < 0.2 * array.nbytes


@pytest.mark.parametrize("how", ["disk", "limit"])
def test_a_full_disk_is_said_with_the_bytes_and_no_bus_error(tmp_path: Path, how: str) -> None:
    """In a process of its own: a bus error would end this one."""
    code = """
import resource, sys
from pathlib import Path
import numpy as np
from fapvideo.errors import VideoWriteError
from fapvideo.ops.scratch import Rows, mapped_file
folder = Path(sys.argv[1])
if len(sys.argv) > 2:
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, resource.RLIM_INFINITY))
rows = Rows(folder / "rows", (478, 3))
told = []
try:
    for number in range(300):
        rows.append(np.ones((478, 3)))
except VideoWriteError as error:
    told.append((str(error), error.hint))
assert (rows.mapped(rows.count) == 1).all()
try:
    mapped_file(folder / "smooth", (300, 478, 3))[:] = 1
except VideoWriteError as error:
    told.append((str(error), error.hint))
for message, hint in told:
    print(message, "|", hint)
"""

    def lines(folder: Path, *more: str) -> list[str]:
        command = [sys.executable, "-c", code, str(folder), *more]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    if how == "disk":
        with small_disk(tmp_path, 256) as disk:
            told, folder = lines(disk), disk
    else:
        told, folder = lines(tmp_path, "limit"), tmp_path
    assert len(told) == 2
    for line in told:
        assert line.startswith(f"scratch folder {folder}: no room for ")
        assert "TMPDIR" in line
    assert f"{300 * 478 * 3 * 4} bytes" in told[1]


def test_the_room_is_looked_at_before_and_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        check_room(tmp_path, 1 << 20)
    assert "scratch of 1 MiB" in caplog.text
    with small_disk(tmp_path, 64) as disk:
        check_room(disk, 60 << 10)
        with pytest.raises(VideoWriteError, match="no room for 70000 bytes") as caught:
            check_room(disk, 70_000)
        fill(disk)
        with pytest.raises(VideoWriteError):
            check_room(disk, 5000)
    assert "TMPDIR" in caught.value.hint


def test_a_folder_that_is_gone_is_said_too(tmp_path: Path) -> None:
    with pytest.raises(VideoWriteError, match="none: 32768 bytes cannot be written: No such"):
        Rows(tmp_path / "none" / "a", SHAPE).append(ROWS[0])
