"""`manifest.toml`: the bundles this project knows but does not carry."""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path
from typing import Literal

from pydantic import Field, TypeAdapter

from fapvideo.config.section import Section
from fapvideo.errors import WeightsError

MANIFEST = Path(__file__).with_name("manifest.toml")


class KnownFile(Section):
    """One file to fetch, as its publisher offers it."""

    kind: Literal["fap", "vae", "clip_vision"]
    """What it must turn out to be (`weights.detect`)."""
    repository: str
    """On the Hugging Face hub."""
    revision: str = "main"
    file: str
    size: int | None = None
    """Bytes; None where not known."""
    sha256: str | None = Field(None, pattern=r"^[0-9a-f]{64}$")
    licence: str

    @property
    def origin(self) -> str:
        """`repository@revision/file`, for messages and records."""
        return f"{self.repository}@{self.revision}/{self.file}"


class KnownBundle(Section):
    """One bundle that can be fetched or imported."""

    title: str
    description: str = ""
    files: tuple[KnownFile, ...]

    @property
    def licences(self) -> tuple[str, ...]:
        """`file: licence` of every file, to be shown before use."""
        return tuple(f"{file.origin}: {file.licence}" for file in self.files)


@cache
def known_bundles() -> dict[str, KnownBundle]:
    """Return name -> bundle of `manifest.toml`."""
    data = tomllib.loads(MANIFEST.read_text("utf-8"))
    return TypeAdapter(dict[str, KnownBundle]).validate_python(data)


def known_bundle(name: str) -> KnownBundle:
    """Return one of them.

    Raises:
        WeightsError: there is none of that name.
    """
    found = known_bundles().get(name)
    if found is None:
        raise WeightsError(
            f"no bundle {name!r} can be fetched or imported",
            hint=f"there is: {', '.join(known_bundles())}",
        )
    return found
