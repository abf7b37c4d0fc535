"""A preset whose files are not all there any more: what is left of it, and what has gone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fapvideo.config.presets import local_path
from fapvideo.errors import PresetError

Tables = dict[str, Any]


def without_gone(tables: Mapping[str, Any]) -> tuple[Tables, list[str]]:
    """Return the tables of a preset without files that are not there, and those files' names.

    Photos of parts, photos of people and the signed consent are looked for; their paths are
    absolute. Whoever has nothing any more is left out, or left as filmed if that is everybody.
    """
    gone: dict[str, None] = {}
    left = {**tables}
    if "references" in left:
        left["references"] = _present(left["references"], gone)
    if left.get("people"):
        people = [_person(one, gone) for one in left["people"]]
        everyone = {"who": {"everyone_else": True}, "keep": True}
        left["people"] = [one for one in people if one is not None] or [everyone]
    consent = left.get("consent", {})
    if consent.get("document") and _is_gone(consent["document"], gone):
        hidden = ("document", "document_sha256")
        left["consent"] = {key: consent[key] for key in consent if key not in hidden}
    return left, list(gone)


def _person(one: Mapping[str, Any], gone: dict[str, None]) -> Tables | None:
    photo = one["who"].get("photo")
    if photo and _is_gone(photo, gone):
        return None
    if not one.get("references"):
        return dict(one)
    given = _present(one["references"], gone)
    parts = {part: own for part, own in one.get("parts", {}).items() if part in given}
    return {**one, "references": given, "parts": parts} if given else None


def _present(references: Mapping[str, Any], gone: dict[str, None]) -> Tables:
    found = {
        part: [source for source in sources if not _is_gone(source["path"], gone)]
        for part, sources in references.items()
    }
    return {part: sources for part, sources in found.items() if sources}


def _is_gone(path: str, gone: dict[str, None]) -> bool:
    try:
        there = Path(local_path(path)).is_file()
    except (OSError, PresetError):
        there = False
    if not there:
        gone[Path(path).name] = None
    return not there
