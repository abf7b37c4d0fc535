"""The files of the training data: photos and videos in folders, whose they are, what is in them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from fapvideo.errors import ReferenceImageError

IMAGES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")
VIDEOS = (".mp4", ".mov", ".mkv", ".webm", ".avi")
HASHED = 1 << 16
"""Bytes at either end of a file that are hashed: all of most photos, little of a long video."""


@dataclass(frozen=True, slots=True)
class Source:
    """One photo or video of the training data."""

    name: str
    """`FOLDER/path/in/it.jpg`, with forward slashes: what files are sorted and listed by."""
    path: Path

    @property
    def is_video(self) -> bool:
        """Whether it has several frames."""
        return self.path.suffix.lower() in VIDEOS

    def person(self, *, one_person: bool = False) -> str:
        """Return whose face is in it; empty where nobody says.

        Files in a subfolder are of that subfolder's person. A video that lies directly in the
        folder is a person of its own, a photo there is of somebody unknown; with `one_person`
        both are of the folder's person.
        """
        folders = self.name.split("/")[:-1]
        if len(folders) > 1 or one_person:
            return "/".join(folders[:2])
        return self.name if self.is_video else ""

    def fingerprint(self) -> list[str | int]:
        """Return name, size and a hash of the file's ends: other data have another one.

        Raises:
            ReferenceImageError: the file cannot be read.
        """
        try:
            size = self.path.stat().st_size
            with self.path.open("rb") as file:
                ends = file.read(HASHED)
                file.seek(max(size - HASHED, file.tell()))
                ends += file.read(HASHED)
        except OSError as error:
            raise ReferenceImageError(f"{self.path}: {error.strerror or error}") from None
        return [self.name, size, hashlib.sha256(ends).hexdigest()[:16]]


def sources_in(folders: Iterable[Path]) -> list[Source]:
    """Return all photos and videos below `folders`, hidden ones left out, sorted by name.

    Raises:
        ReferenceImageError: a folder is not there, or there is neither photo nor video in any.
    """
    found = {}
    for folder in folders:
        if not folder.is_dir():
            raise ReferenceImageError(f"{folder} is not a folder", hint="--data takes folders")
        for path in folder.rglob("*"):
            inside = path.relative_to(folder)
            hidden = any(part.startswith(".") for part in inside.parts)
            if path.suffix.lower() in IMAGES + VIDEOS and not hidden:
                found[path.resolve()] = Source(f"{folder.resolve().name}/{inside.as_posix()}", path)
    if not found:
        listed = ", ".join(str(folder) for folder in folders)
        raise ReferenceImageError(
            f"no photos or videos in {listed}",
            hint=f"files ending in {', '.join(IMAGES)} or {', '.join(VIDEOS)}",
        )
    return sorted(found.values(), key=lambda source: (source.name, str(source.path)))
