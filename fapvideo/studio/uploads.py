"""Taking files from a page: of bounded size, under a safe name, checked before they are kept."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

from fapvideo.errors import ReferenceImageError, VideoReadError
from fapvideo.ops.files import remove, write_atomically
from fapvideo.reference.images import read_image
from fapvideo.run.ranking import PICTURES
from fapvideo.studio.library import Library, Project, slug
from fapvideo.studio.words import say
from fapvideo.video.probe import probe

CLIP_BYTES = 8 * 2**30
"""Larger clips are put into the studio's folder by other means."""
PHOTO_BYTES = 64 * 2**20
LONGEST_ENDING = 6


class TooLarge(VideoReadError):
    """More than is taken."""


async def take_clip(
    library: Library, name: str, chunks: AsyncIterator[bytes], most: int = CLIP_BYTES
) -> Project:
    """Keep an uploaded clip in a folder of its own; return it.

    Args:
        library: the studio's folder.
        name: what the file is called where it comes from.
        chunks: its bytes.
        most: how many are taken.

    Raises:
        TooLarge: there are more.
        VideoReadError: it is no video.
    """
    folder = library.new_upload(name)
    try:
        path = folder / _safe(name, ".mp4")
        await _write(path, chunks, most)
        try:
            probe(path)
        except VideoReadError as error:
            raise VideoReadError(
                str(error).replace(str(path), name), hint=say("upload.no_video")
            ) from None
        return library.keep_upload(folder, path, name)
    except BaseException:
        remove(folder)
        raise


async def take_photo(
    project: Project, name: str, chunks: AsyncIterator[bytes], most: int = PHOTO_BYTES
) -> Path:
    """Keep an uploaded photo for a clip; return its file.

    Raises:
        TooLarge: it is larger than `most` bytes.
        ReferenceImageError: it is no picture.
    """
    project.photos_folder.mkdir(parents=True, exist_ok=True)
    path = _free(project.photos_folder / _safe(name, ".png"))
    if path.suffix not in PICTURES:
        raise ReferenceImageError(
            say("upload.no_photo", name=name), hint=", ".join(sorted(PICTURES))
        )
    try:
        await _write(path, chunks, most)
        read_image(path)
    except ReferenceImageError as error:
        remove(path)
        raise ReferenceImageError(str(error).replace(str(path), name), hint=error.hint) from None
    except BaseException:
        remove(path)
        raise
    return path


async def take_document(project: Project, name: str, chunks: AsyncIterator[bytes]) -> Path:
    """Keep a signed consent for a clip, whatever its kind; return its file.

    Raises:
        TooLarge: it is larger than `PHOTO_BYTES`.
    """
    project.documents_folder.mkdir(parents=True, exist_ok=True)
    path = _free(project.documents_folder / _safe(name, ".pdf"))
    await _write(path, chunks, PHOTO_BYTES)
    return path


async def _write(path: Path, chunks: AsyncIterator[bytes], most: int) -> None:
    taken = 0
    with write_atomically(path) as fresh, fresh.open("wb") as file:
        async for chunk in chunks:
            taken += len(chunk)
            check_size(taken, most)
            file.write(chunk)


def check_size(size: int, most: int) -> None:
    """See that an upload is not too large.

    Raises:
        TooLarge: it is.
    """
    if size > most:
        limit = f"{most / 2**30:.3g} GiB" if most >= 2**30 else f"{most / 2**20:.3g} MiB"
        raise TooLarge(say("upload.too_large", most=limit), hint=say("upload.by_hand"))


def _safe(name: str, default: str) -> str:
    """Return a name of letters, digits and dashes with the ending of a name from elsewhere."""
    ending = Path(name).suffix.lower()
    plain = ending[1:].isascii() and ending[1:].isalnum() and len(ending) <= LONGEST_ENDING
    return slug(Path(name).stem) + (ending if plain else default)


def _free(path: Path) -> Path:
    """Return a path at which there is nothing yet."""
    number, free = 2, path
    while free.exists():
        free = path.with_stem(f"{path.stem}-{number}")
        number += 1
    return free
