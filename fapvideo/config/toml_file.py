"""Reading TOML that somebody else wrote: bounded in size, depth and numbers."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

MAX_BYTES = 2**16
MAX_DEPTH = 16
"""Of tables and lists in each other; ours have four."""
INTEGER = 2**63
"""TOML's integers have 64 bits."""

_SEGMENT = r"""(?:[\w-]++|"[^"\n]*+"|'[^'\n]*+')"""
_LONG_KEY = re.compile(rf"(?<![\w-]){_SEGMENT}(?:[ \t]*+\.[ \t]*+{_SEGMENT}){{{2 * MAX_DEPTH}}}")
"""A dotted key so deep that tomllib takes minutes: its time goes with the depth squared."""


class TomlError(ValueError):
    """What is wrong with a file or a table, in one line."""


def read_toml_file(path: Path) -> dict[str, Any]:
    """Read a TOML file, with or without a byte order mark.

    Raises:
        TomlError: too large, not UTF-8, not TOML, or as `check_tables`.
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise TomlError(f"larger than {MAX_BYTES >> 10} KiB")
    try:
        return parse_toml(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise TomlError(str(error)) from None


def parse_toml(text: str) -> dict[str, Any]:
    """Read a TOML document.

    Raises:
        TomlError: not TOML (with line and column), or as `check_tables`.
    """
    if _LONG_KEY.search(text):
        raise TomlError("a dotted key is nested too deeply")
    try:
        tables = tomllib.loads(text)
    except RecursionError:
        raise TomlError("nested too deeply") from None
    except ValueError as error:  # tomllib's own is one; so is that of integers of 4300 digits
        raise TomlError(str(error)) from None
    check_tables(tables)
    return tables


def check_tables(tables: Mapping[str, Any]) -> None:
    """Check what no schema looks at before it is too late.

    Raises:
        TomlError: nested more than `MAX_DEPTH` deep, an integer of more than 64 bits, NUL
            or what is not UTF-8 in a text; names the key.
    """
    level: list[tuple[str, Any]] = [("", tables)]
    for _ in range(MAX_DEPTH):
        inner: list[tuple[str, Any]] = []
        for key, value in level:
            if isinstance(value, Mapping):
                inner += ((f"{key}.{name}" if key else str(name), v) for name, v in value.items())
            elif isinstance(value, list | tuple):
                inner += ((f"{key}.{number}", v) for number, v in enumerate(value))
            elif isinstance(value, int) and not -INTEGER <= value < INTEGER:
                raise TomlError(f"{key[:200]}: an integer of more than 64 bits")
            for text in (key, value) if isinstance(value, str) else (key,):
                if "\0" in text or not _encodes(text):
                    raise TomlError(f"{key[:200]!r}: NUL or not UTF-8 ({text[:200]!r})")
        if not inner:
            return
        level = inner
    raise TomlError(f"nested more than {MAX_DEPTH} deep")


def _encodes(text: str) -> bool:
    """Return whether it is text; Python keeps the bytes of a file name that is none in it."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
