"""JSON files with a hash of their content, so that damage is told from what was written."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from fapvideo.ops.files import write_text


def write_sealed(path: Path, content: dict[str, Any]) -> None:
    """Write plain JSON types, whole or not at all.

    Raises:
        OSError: it cannot be written.
    """
    text = json.dumps(content, sort_keys=True)
    write_text(path, json.dumps({"sha256": _hash(text), "content": json.loads(text)}))


def read_sealed(path: Path) -> dict[str, Any]:
    """Return what `write_sealed` wrote.

    Raises:
        OSError: it cannot be read.
        ValueError: it is something else, or damaged.
    """
    try:
        sealed = json.loads(path.read_text("utf-8"))
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if not isinstance(sealed, dict) or set(sealed) != {"sha256", "content"}:
        raise ValueError("it has another form")
    content = sealed["content"]
    if (
        not isinstance(content, dict)
        or _hash(json.dumps(content, sort_keys=True)) != sealed["sha256"]
    ):
        raise ValueError("its content does not have its hash")
    return dict(content)


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8")).hexdigest()
