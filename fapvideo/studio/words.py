"""All words of the studio: one file, for the pages and for their scripts."""

from __future__ import annotations

import tomllib
from functools import cache
from importlib import resources
from typing import Any


@cache
def words() -> dict[str, Any]:
    """Return the tables of `words.toml`."""
    text = (resources.files("fapvideo.studio") / "words.toml").read_text("utf-8")
    return tomllib.loads(text)


def say(key: str, **values: object) -> str:
    """Return the text of a dotted key, with `{name}` filled in."""
    found: Any = words()
    for name in key.split("."):
        found = found[name]
    return str(found).format(**values)
