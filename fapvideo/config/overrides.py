"""`--set denoise.steps=12`: single values put over a preset before it is validated."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from fapvideo.config.problems import Problem, raise_problems
from fapvideo.config.toml_file import MAX_DEPTH, TomlError, parse_toml
from fapvideo.errors import PresetError

Tables = dict[str, Any]


def parse_overrides(items: Iterable[str]) -> dict[str, Any]:
    """Turn `["denoise.steps=12", "track.faces=all"]` into `{"denoise.steps": 12, ...}`.

    Raises:
        PresetError: an item has no `=` or no key; all such items are named.
    """
    parsed: dict[str, Any] = {}
    problems = []
    for item in items:
        key, equals, text = item.partition("=")
        if not equals or not key.strip():
            problems.append(Problem(repr(item), "expected KEY=VALUE"))
        else:
            parsed[key.strip()] = parse_value(text.strip())
    raise_problems("--set", problems, hint="for example: --set denoise.steps=12")
    return parsed


def parse_value(text: str) -> Any:
    """Read `text` as a TOML value; what is no TOML value is a string, `none` unsets a key."""
    if text == "none":
        return None
    try:
        document = parse_toml(f"value = {text}")
    except TomlError:
        return text
    return document["value"] if len(document) == 1 else text


def nest(overrides: Mapping[str, Any]) -> Tables:
    """Turn dotted keys into tables: `{"mask.dilate": 0.1}` into `{"mask": {"dilate": 0.1}}`.

    Raises:
        PresetError: a key of far too many dots.
    """
    tables: Tables = {}
    for key, value in overrides.items():
        if key.count(".") > MAX_DEPTH:
            raise PresetError(f"unknown key {key[:80]}...", hint="for example: denoise.steps")
        for name in reversed(key.split(".")):
            value = {name: value}
        tables = merge(tables, value)
    return tables


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> Tables:
    """Return `base` with `over` laid on top: tables are merged, everything else is replaced."""
    merged = dict(base)
    for key, value in over.items():
        below = merged.get(key)
        both = isinstance(below, Mapping) and isinstance(value, Mapping)
        merged[key] = merge(below, value) if both else value  # type: ignore[arg-type]
    return merged
