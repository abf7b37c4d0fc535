"""People who must not be touched: a list of what their faces look like, encrypted on this machine.

The list holds names and embeddings, no pictures: of `track.identity`, which is always there, and,
where the extra `identity` was installed when a photo was added, of `trust.recognition`, which knows
people on photos of another day. Where both sides have the latter it decides, else the former, so a
list works on either kind of machine. It is encrypted (Fernet: AES-128-CBC with HMAC-SHA-256) with
a key of its own file that only the user may read, or of `$FAPVIDEO_PROTECT_KEY`, so that a copy of
the list alone tells nothing.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import platformdirs

from fapvideo.errors import ConsentError, FapVideoError
from fapvideo.ops.files import sha256_file, write_atomically
from fapvideo.structs import Bytes, Floats
from fapvideo.track.identity import Looks, apart
from fapvideo.trust.keys import write_private
from fapvideo.trust.recognition import IdentityEmbedding, available, recognised_apart

if TYPE_CHECKING:
    from cryptography.fernet import Fernet

FOLDER_VARIABLE, KEY_VARIABLE = "FAPVIDEO_PROTECT", "FAPVIDEO_PROTECT_KEY"
NEAR = 0.65
"""A face nearer than this to one on the list is taken for that person (docs/responsible-use.md has
the curve): missing somebody is worse here than leaving a stranger alone."""
NEAR_FACE = 0.6
"""The same for `trust.recognition`, where both sides have it."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What a face looks like, by one network or two."""

    looks: Floats
    """[D] by `track.identity`."""
    face: Floats | None = None
    """[128] by `trust.recognition`, where that was installed."""

    def gap(self, other: Seen) -> float:
        """Return how far two faces are apart, in shares of the distance that counts as near."""
        if self.face is not None and other.face is not None:
            return recognised_apart(self.face, other.face) / NEAR_FACE
        return apart(self.looks, other.looks) / NEAR


@dataclass(frozen=True, slots=True)
class Protected:
    """One person of the list."""

    name: str
    photos: tuple[Seen, ...]


def protect_folder() -> Path:
    """Return where list and key lie: `$FAPVIDEO_PROTECT`, else a folder of the user's data."""
    given = os.environ.get(FOLDER_VARIABLE)
    return Path(given) if given else platformdirs.user_data_path("fapvideo") / "protect"


def list_file() -> Path:
    """Return the list's file."""
    return protect_folder() / "people.bin"


def protected_version() -> str:
    """Return a text that changes when the list does, or who looks; empty where there is none."""
    path = list_file()
    return f"{sha256_file(path)} {available()}" if path.exists() else ""


def is_recognised() -> bool:
    """Tell whether faces are to be looked at by `trust.recognition`: somebody is on the list."""
    return available() and bool(read_protected())


def read_protected() -> tuple[Protected, ...]:
    """Return the list; empty where there is none.

    Raises:
        ConsentError: it is there and cannot be read: then nobody can be left alone for sure.
    """
    path = list_file()
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise _unreadable(error.strerror or str(error)) from None
    from cryptography.fernet import InvalidToken

    try:
        rows = json.loads(_cipher(make=False).decrypt(data))
        people = [_person(row) for row in rows]
    except InvalidToken:
        raise _unreadable("the key is not this list's, or the list was changed") from None
    except (ValueError, KeyError, TypeError) as error:
        raise _unreadable(str(error)) from None
    return tuple(people)


def write_protected(people: Sequence[Protected]) -> None:
    """Write the list, whole or not at all.

    Raises:
        OSError: it cannot be written.
    """
    path = list_file()
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [
        {
            "name": one.name,
            "looks": [photo.looks.astype(float).tolist() for photo in one.photos],
            "faces": [
                None if photo.face is None else photo.face.astype(float).tolist()
                for photo in one.photos
            ],
        }
        for one in people
    ]
    token = _cipher(make=True).encrypt(json.dumps(rows).encode())
    with write_atomically(path) as fresh:
        write_private(fresh, token)


def _person(row: Mapping[str, Any]) -> Protected:
    """Return a row of the list; the first lists had no `faces`."""
    looks = [np.array(one, np.float32) for one in row["looks"]]
    faces = [
        None if one is None else np.array(one) for one in row.get("faces", [None] * len(looks))
    ]
    pairs = zip(looks, faces, strict=True)
    return Protected(str(row["name"]), tuple(Seen(look, face) for look, face in pairs))


def add_protected(name: str, photos: Iterable[Seen]) -> tuple[Protected, ...]:
    """Put somebody on the list, or more photos of somebody who is; return the list.

    Raises:
        FapVideoError: the name is empty.
        ConsentError: the list cannot be read.
        OSError: it cannot be written.
    """
    name = name.strip()
    if not name:
        raise FapVideoError("a person on the list needs a name", hint='--name "somebody"')
    people = {one.name: one for one in read_protected()}
    known = people[name].photos if name in people else ()
    people[name] = Protected(name, (*known, *photos))
    write_protected(list(people.values()))
    return tuple(people.values())


def remove_protected(name: str) -> None:
    """Take somebody off the list.

    Raises:
        FapVideoError: there is nobody of that name.
        ConsentError: the list cannot be read.
        OSError: it cannot be written.
    """
    people = read_protected()
    if name not in {one.name for one in people}:
        names = ", ".join(one.name for one in people) or "nobody"
        raise FapVideoError(f"{name!r} is not on the list", hint=f"on it: {names}")
    write_protected([one for one in people if one.name != name])


def recognised(seen: Seen, people: Sequence[Protected]) -> str:
    """Return the name of whom a face is nearest to; empty where nobody is near."""
    gaps = [(seen.gap(photo), person.name) for person in people for photo in person.photos]
    gap, name = min(gaps, default=(np.inf, ""))
    return name if gap < 1.0 else ""


def found_among(
    looks: Mapping[int, Floats], people: Mapping[int, int], faces: Mapping[int, Floats]
) -> dict[int, str]:
    """Return track -> name of the protected; all tracks of one person count if one of them does.

    So does a track of whom nobody knows what they look like, as "somebody unknown".

    Args:
        looks: track -> [D].
        people: track -> person.
        faces: track -> [128] by `trust.recognition`, of those that it has looked at.

    Raises:
        ConsentError: the list cannot be read.
    """
    listed = read_protected()
    if not listed:
        return {}
    names: dict[int, str] = {}
    for track, person in people.items():
        if track not in looks:
            continue
        name = recognised(Seen(looks[track], faces.get(track)), listed)
        if name:
            names.setdefault(person, name)
    known = {person for track, person in people.items() if track in looks}
    names |= {person: "somebody unknown" for person in people.values() if person not in known}
    return {track: names[person] for track, person in people.items() if person in names}


def check_references(photos: Iterable[tuple[str, Floats, Floats]]) -> None:
    """See that no reference shows somebody who is protected.

    Args:
        photos: path, crop [S, S, 3] in [0, 1] and landmarks [478, 3] of each.

    Raises:
        ConsentError: one does, or the list cannot be read.
    """
    listed = read_protected()
    if not listed:
        return
    look = Looker()
    for path, crop, landmarks in photos:
        name = recognised(look(crop, landmarks), listed)
        if name:
            raise ConsentError(
                f"the reference {path} looks like {name}, who is protected",
                hint="take another photo; `fapvideo protect list` shows who is on the list",
            )


class Looker:
    """Looks at photos with all networks that there are."""

    def __init__(self) -> None:
        """Load them."""
        self._looks = Looks()
        self._recognition = IdentityEmbedding() if available() else None

    def __call__(self, crop: Floats, landmarks: Floats) -> Seen:
        """Return what a face looks like: crop [S, S, 3] in [0, 1], landmarks [478, 3] in it."""
        pixels: Bytes = np.round(np.clip(crop, 0.0, 1.0) * 255).astype(np.uint8)
        face = self._recognition(pixels, landmarks) if self._recognition is not None else None
        return Seen(self._looks.of_faces([(pixels, landmarks)]), face)


def _cipher(*, make: bool) -> Fernet:
    """Return the cipher with the list's key; with `make` a key is made where there is none."""
    from cryptography.fernet import Fernet

    given = os.environ.get(KEY_VARIABLE)
    path = protect_folder() / "key"
    if not given and make and not path.exists():
        write_private(path, Fernet.generate_key())
    try:
        return Fernet(given.encode() if given else path.read_bytes())
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        where = f"${KEY_VARIABLE}" if given else str(path)
        raise _unreadable(f"its key, {where}: {reason}") from None


def _unreadable(reason: str) -> ConsentError:
    return ConsentError(
        f"the list of protected people {list_file()} cannot be read: {reason}",
        hint="put its key back; without the list nobody can be left alone for sure, so nothing "
        "is swapped. Who wants to do without the list removes the file",
    )
