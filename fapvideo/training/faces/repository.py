"""Files of a public git repository at one commit, each checked by its SHA-256."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from fapvideo.errors import WeightsError
from fapvideo.ops.files import sha256_file

ASK_NOBODY = {"GIT_TERMINAL_PROMPT": "0", "GIT_LFS_SKIP_SMUDGE": "1"}
"""A repository that wants a password is none that anyone may read."""


def read_hashes(text: str) -> dict[str, str]:
    """Return path -> SHA-256 of the lines `SHA-256  path`, as `sha256sum` writes them."""
    lines = (line.split("  ", 1) for line in text.splitlines() if line)
    return {path: digest for digest, path in lines}


def check_out(
    repository: str, commit: str, files: Mapping[str, str], clone: Path, output: Path
) -> None:
    """Put `files`, path -> SHA-256, of `repository` at `commit` into `output`, without folders.

    Only that commit is fetched, and of it, where the server can, only these files.

    Args:
        repository: its address, as git takes it.
        commit: 40 hexadecimal digits.
        files: what is wanted of it; file names differ.
        clone: an empty or absent folder for git's own files.
        output: a folder.

    Raises:
        WeightsError: there is no git, the repository or commit is not to be had, or a file is
            absent or another one than pinned.
    """
    clone.mkdir(parents=True, exist_ok=True)
    _git(clone, repository, "init", "--quiet")
    _git(clone, repository, "remote", "add", "origin", repository)
    only = ("--depth=1", "--filter=blob:none", "--no-tags", "--quiet")
    _git(clone, repository, "fetch", *only, "origin", commit)
    listed = "\0".join(files)
    paths = ("--pathspec-from-file=-", "--pathspec-file-nul")
    _git(clone, repository, "--literal-pathspecs", "checkout", commit, *paths, given=listed)
    for path, digest in files.items():
        found = sha256_file(clone / path)
        if found != digest:
            raise WeightsError(
                f"{path} of {repository} has SHA-256 {found}, pinned is {digest}",
                hint="the file is not the one this was made with: it is not used",
            )
        (clone / path).rename(output / Path(path).name)


def _git(clone: Path, repository: str, *arguments: str, given: str | None = None) -> None:
    """Run git in `clone`."""
    program = shutil.which("git")
    if program is None:
        raise WeightsError(
            f"{repository} cannot be fetched: there is no git", hint="install it; or --data DIR"
        )
    command = [program, "-C", str(clone), "-c", "core.autocrlf=false", *arguments]
    environment = os.environ | ASK_NOBODY
    done = subprocess.run(
        command, input=given, capture_output=True, text=True, check=False, env=environment
    )
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise WeightsError(
            f"git could not fetch {repository}: {reason}",
            hint="the repository has to be reachable, once; or train on --data DIR",
        )
