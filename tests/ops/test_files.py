"""Files and folders appear whole or not at all."""

import hashlib
import os
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import numpy as np
import pytest

from fapvideo.ops.files import (
    partial_name,
    scratch_folder,
    sha256_file,
    write_atomically,
    write_text,
)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_has_its_name_only_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with write_atomically(path) as fresh:
        fresh.write_text("ne")
        assert path.read_text() == "old"
        assert fresh.parent == tmp_path, "a rename across file systems is a copy"
        fresh.write_text("new")
    assert path.read_text() == "new"
    assert names(tmp_path) == ["a.txt"]


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_after_a_failure_there_is_what_was_there(
    tmp_path: Path, error: type[BaseException]
) -> None:
    (tmp_path / "old.txt").write_text("old")
    for name in ("old.txt", "none.txt"):
        with pytest.raises(error), write_atomically(tmp_path / name) as fresh:
            fresh.write_text("half")
            raise error
    with pytest.raises(error), write_atomically(tmp_path / "nothing was written"):
        raise error
    assert names(tmp_path) == ["old.txt"]
    assert (tmp_path / "old.txt").read_text() == "old"


def test_a_folder_replaces_the_whole_one_before(tmp_path: Path) -> None:
    path = tmp_path / "v1.5"
    for kept, made in (([], "a"), (["a"], "b")):
        with write_atomically(path) as fresh:
            fresh.mkdir()
            (fresh / made).write_text(made)
            assert (names(path) if path.exists() else []) == kept
        assert names(path) == [made]
    with pytest.raises(OSError, match="full"), write_atomically(path) as fresh:
        fresh.mkdir()
        (fresh / "c").write_text("half")
        raise OSError("full")
    assert (names(tmp_path), names(path)) == (["v1.5"], ["b"])


def test_a_file_does_not_replace_a_folder(tmp_path: Path) -> None:
    (tmp_path / "kept" / "inside").mkdir(parents=True)
    with pytest.raises(OSError, match="kept"):
        write_text(tmp_path / "kept", "text")
    assert (names(tmp_path), names(tmp_path / "kept")) == (["kept"], ["inside"])


@pytest.mark.parametrize("umask", [0o022, 0o077])
def test_a_file_gets_the_permissions_that_the_umask_leaves(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        write_text(tmp_path / "a.json", "{}")
    finally:
        os.umask(before)
    assert (tmp_path / "a.json").stat().st_mode & 0o777 == 0o666 & ~umask


def test_the_name_until_then_is_hidden_and_ends_alike(tmp_path: Path) -> None:
    name = partial_name(tmp_path / "clip.MP4").name
    assert (name[:6], name[-12:]) == (".clip.", ".partial.MP4")
    with write_atomically(tmp_path / "a.npy") as fresh:
        np.save(fresh, np.arange(3))  # numpy adds .npy to other names
    assert np.load(tmp_path / "a.npy").tolist() == [0, 1, 2]


def test_two_writers_of_one_file_do_not_meet(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    texts = [str(number) * 100_000 for number in range(4)]
    threads = [threading.Thread(target=write_text, args=(path, text)) for text in texts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert path.read_text() in texts
    assert names(tmp_path) == ["a.txt"]


def test_the_hash_of_a_file(tmp_path: Path) -> None:
    data = bytes(range(256)) * 5000
    (tmp_path / "a.bin").write_bytes(data)
    assert sha256_file(tmp_path / "a.bin") == hashlib.sha256(data).hexdigest()


def test_scratch_of_killed_processes_is_swept_and_that_of_living_ones_is_not(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    code = (
        "import os, sys, time; from fapvideo.ops.files import scratch_folder\n"
        "with scratch_folder() as folder:\n"
        "    (folder / 'rows').write_bytes(b'x'); print(folder, flush=True)\n"
        "    sys.stdin.read() if sys.argv[1] == 'live' else os._exit(9)"
    )

    def start(how):
        return subprocess.Popen(
            [sys.executable, "-c", code, how],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={**os.environ, "TMPDIR": str(tmp_path)},
        )  # fmt: skip

    with start("live") as living, start("die") as dead:
        here, gone = Path(living.stdout.readline().strip()), Path(dead.stdout.readline().strip())
        dead.wait()
        assert gone.is_dir() or not gone.exists()
        with scratch_folder() as mine:
            assert sorted(tmp_path.iterdir()) == sorted([here, mine])
        living.stdin.close()
        living.wait()
    assert list(tmp_path.iterdir()) == []
