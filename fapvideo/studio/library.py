"""The studio's folder: clips and photos to pick from, and a folder for each clip that was opened.

FOLDER/                      clips and photos of the user; never written to
FOLDER/studio/<clip>/        everything about one clip
  clip.json                  which file it is of, and its title
  <name>.mp4                 the clip, if it was uploaded
  photos/                    photos that were uploaded
  consent/                   signed consents that were uploaded
  preset.toml                what the page shows
  scan.json people.json people/ ranking.json    what was found; made again where it is missing
  plan/                      of the first pass
  renders/001/               a render: preset, output, report, what is known of its progress
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Any

from fapvideo.config.presets import ASSETS, dump_preset, load_preset, presets_root, read_toml
from fapvideo.config.schema import RunPreset
from fapvideo.errors import FapVideoError, PresetError, VideoReadError
from fapvideo.ops.files import write_text
from fapvideo.run.ranking import PICTURES
from fapvideo.studio.gone import without_gone

VIDEOS = frozenset(
    {".mp4", ".mov", ".mkv", ".webm", ".m4v", ".avi", ".mts", ".m2ts", ".ts", ".mpg", ".mxf"}
)
"""Endings of the files that are offered; whatever FFmpeg reads can be uploaded."""
WORK = "studio"
FIRST_PRESET = "brand_avatar"
EXAMPLE = "talking_portrait.mp4"
PHOTO_PREFIX = "photo-"


def short_id(text: str, length: int = 10) -> str:
    """Return a short name that a text always has."""
    return hashlib.sha256(os.fsencode(text)).hexdigest()[:length]


def shown(name: str) -> str:
    """Return a file's name as pages can have it: bytes that are no text are replaced."""
    return os.fsencode(name).decode("utf-8", "replace")


def slug(name: str) -> str:
    """Return a name that is safe in paths and addresses, and still says what it is of."""
    plain = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    return plain[:40].strip("-") or "clip"


def read_json(path: Path) -> Any:
    """Return what a file holds; None where it is missing or damaged: it is made again then."""
    try:
        return json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return None


def example_clip() -> Path | None:
    """Return the clip that comes with the package or the checkout; None where it does not."""
    packaged = resources.files("fapvideo") / "_examples" / EXAMPLE
    checkout = presets_root().parent / "examples" / EXAMPLE
    return next((p for p in (Path(str(packaged)), checkout) if p.is_file()), None)


@dataclass(frozen=True, slots=True)
class Photo:
    """A photo on the shelf."""

    id: str
    path: str
    """As presets have it."""
    name: str


class Project:
    """The folder of one clip."""

    def __init__(self, folder: Path, source: Path, title: str, first: str) -> None:
        """Take what `clip.json` says; `first` is the preset that it begins from."""
        self.folder, self.source, self.title, self._first = folder, source, title, first

    @property
    def id(self) -> str:
        """Its name in addresses."""
        return self.folder.name

    @cached_property
    def photos_folder(self) -> Path:
        """Where its uploaded photos lie."""
        return self.folder / "photos"

    @cached_property
    def documents_folder(self) -> Path:
        """Where its signed consents lie."""
        return self.folder / "consent"

    def documents(self) -> dict[str, Path]:
        """Return the signed consents by name."""
        there = self.documents_folder.is_dir()
        return {path.name: path for path in _files(self.documents_folder)} if there else {}

    def preset(self) -> RunPreset:
        """Return what the page shows; files that have gone are left out of it.

        Raises:
            PresetError: the file was changed by hand, and is wrong.
        """
        return self.preset_and_gone()[0]

    def preset_and_gone(self) -> tuple[RunPreset, list[str]]:
        """Return the preset, and the names of its files that are not there any more.

        Raises:
            PresetError: the file was changed by hand, and is wrong.
        """
        path = self.folder / "preset.toml"
        if not path.is_file():
            return load_preset(self._first), []
        try:
            return load_preset(path), []
        except PresetError:
            try:
                tables, gone = without_gone(read_toml(path))
            except (KeyError, TypeError, AttributeError):  # it has another form
                gone = []
            if not gone:
                raise
            return load_preset(RunPreset(), tables), gone

    def save_preset(self, preset: RunPreset) -> None:
        """Keep what the page shows."""
        write_text(self.folder / "preset.toml", dump_preset(preset, differences=True))

    def read(self, name: str) -> Any:
        """Return what was found about the clip, or None."""
        return read_json(self.folder / name)

    def write(self, name: str, value: Any) -> None:
        """Keep what was found about the clip."""
        write_text(self.folder / name, json.dumps(value, indent=1))


class Library:
    """All that the studio has to do with on disk."""

    def __init__(self, folder: Path, first: str = FIRST_PRESET) -> None:
        """Use a folder, which exists; clips begin from the preset `first`."""
        self.first = first
        self.folder = folder.resolve()
        self.work = self.folder / WORK

    def videos(self) -> list[Path]:
        """Return the clips in the folder, by name."""
        return [p for p in _files(self.folder) if p.suffix.lower() in VIDEOS]

    def projects(self) -> list[Project]:
        """Return the clips that were opened, the latest first."""
        folders = [p.parent for p in self.work.glob("*/clip.json")]
        known = [self.project(folder.name) for folder in folders]
        found = [one for one in known if one is not None]
        return sorted(found, key=lambda one: -(one.folder / "clip.json").stat().st_mtime)

    def project(self, name: str) -> Project | None:
        """Return the clip of an address."""
        if not re.fullmatch("[a-z0-9-]+", name):  # as `slug` makes them: it leads nowhere else
            return None
        facts = read_json(self.work / name / "clip.json")
        try:
            source = self.work / name / facts["source"]  # a relative one is an upload
            return Project(self.work / name, source, str(facts["title"]), self.first)
        except (KeyError, TypeError):
            return None

    def open(self, source: Path) -> Project:
        """Return the clip of a file, which is opened if it was not."""
        folder = self.work / f"{slug(source.stem)}-{short_id(str(source), 6)}"
        known = self.project(folder.name)
        if known is not None:
            (folder / "clip.json").touch()
            return known
        return self._make(folder, str(source), shown(source.name))

    def new_upload(self, name: str) -> Path:
        """Return a folder for a clip that is about to be uploaded."""
        stem, number = slug(Path(name).stem), 1
        while True:
            folder = self.work / (stem if number == 1 else f"{stem}-{number}")
            with suppress(FileExistsError):
                folder.mkdir(parents=True)
                return folder
            number += 1

    def keep_upload(self, folder: Path, file: Path, title: str) -> Project:
        """Make a clip of what was uploaded into a folder."""
        return self._make(folder, file.name, title)

    def _make(self, folder: Path, source: str, title: str) -> Project:
        folder.mkdir(parents=True, exist_ok=True)
        write_text(folder / "clip.json", json.dumps({"source": source, "title": title}))
        return Project(folder, folder / source, title, self.first)

    def photos(self, project: Project) -> dict[str, Photo]:
        """Return the photos for a clip by their ids: uploaded ones, the folder's, the packaged."""
        inside = [p for p in sorted(self.folder.iterdir()) if _is_plain_folder(p)]
        folders = [project.photos_folder, self.folder, *(p for p in inside if p != self.work)]
        paths = [
            p
            for folder in folders
            if folder.is_dir()
            for p in _files(folder)
            if p.suffix.lower() in PICTURES and shown(str(p)) == str(p)  # presets are text
        ]
        paths += sorted(ASSETS.glob("*.png"))
        found = (Photo(PHOTO_PREFIX + short_id(str(p)), str(p), p.name) for p in paths)
        return {photo.id: photo for photo in found}


def check_known(name: str, known: Sequence[Path]) -> Path:
    """Return one of the files that are offered.

    Raises:
        VideoReadError: it is none of them.
    """
    found = next((one for one in known if shown(one.name) == name), None)
    if found is None:
        raise VideoReadError(f"{name} is not in the studio's folder")
    return found


def problem(error: Exception) -> dict[str, str]:
    """Return an error as the pages show it."""
    known = isinstance(error, FapVideoError)
    message = str(error) if known else f"unexpected {type(error).__name__}: {error}"
    if isinstance(error, OSError):
        message = f"{error.filename or 'a file'}: {error.strerror or error}"
    return {"message": shown(message), "hint": getattr(error, "hint", "") or ""}


def _files(folder: Path) -> Iterator[Path]:
    return (p for p in sorted(folder.iterdir()) if p.is_file() and not p.name.startswith("."))


def _is_plain_folder(path: Path) -> bool:
    return path.is_dir() and not path.name.startswith(".")
