"""Validation that reports every problem at once, in the words of the file it came from."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeGuard, TypeVar

from pydantic import BaseModel, ValidationError

from fapvideo.errors import PresetError

Model = TypeVar("Model", bound=BaseModel)


SHOWN = 40
"""Problems that are put into words: a file of 10,000 unknown keys is no preset."""


class Problem(NamedTuple):
    """One thing that is wrong: the dotted key, and what about it."""

    key: str
    what: str

    def __str__(self) -> str:
        """`denoise.steps: Input should be ...`."""
        return f"{self.key}: {self.what}" if self.key else self.what


def validate(model: type[Model], data: Mapping[str, Any]) -> tuple[Model | None, list[Problem]]:
    """Validate `data`, strictly as to types; return the model, or every problem.

    The detour over JSON is what makes pydantic strict (no `"12"` or `true` for 12) and still
    accept a list for a tuple and a string for a path.
    """
    try:
        return model.model_validate_json(json.dumps(data, default=str), strict=True), []
    except ValidationError as error:
        found = error.errors()
        problems = [_translate(model, dict(item)) for item in found[:SHOWN]]
        if len(found) > SHOWN:
            problems.append(Problem("", f"and {len(found) - SHOWN} more problems"))
        return None, problems
    except (TypeError, ValueError, RecursionError) as error:  # what JSON has no form for
        return None, [Problem("", str(error))]


def raise_problems(source: str, problems: Sequence[Problem], *, hint: str = "") -> None:
    """Raise one `PresetError` that lists all `problems` of `source`; nothing if there are none."""
    if len(problems) == 1:
        raise PresetError(f"{source}: {problems[0]}", hint=hint)
    if problems:
        lines = "".join(f"\n  {problem}" for problem in problems)
        raise PresetError(f"{source}: {len(problems)} problems{lines}", hint=hint)


def did_you_mean(word: str, known: Sequence[str]) -> str:
    """Return `, did you mean X?`, or an empty string where nothing is near."""
    if len(word) > 80:  # its time goes with the length squared
        return ""
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    return f", did you mean {near[0]}?" if near else ""


def dotted_keys(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Yield every settable key of `model`, in the order of the schema: `denoise.steps`."""
    for name, field in model.model_fields.items():
        if _is_model(field.annotation):
            yield from dotted_keys(field.annotation, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


def _translate(model: type[BaseModel], error: dict[str, Any]) -> Problem:
    """Say pydantic's error in the reader's words."""
    loc = [str(part)[:80] for part in error["loc"] if part != "[key]"]
    key = ".".join(loc)
    if error["type"] == "extra_forbidden":
        return Problem(key, f"unknown key{_nearest_key(model, loc)}")
    if error["type"] == "missing":
        return Problem(key, "is required")
    shown = re.sub(r"^(Value error, |\w+ (?=should ))", "", error["msg"])
    if error["type"] == "value_error":
        return Problem(key, shown)
    if error["type"] == "literal_error" and isinstance(error["input"], str):
        choices = error["ctx"]["expected"].replace(" or ", ", ").replace("'", "").split(", ")
        shown += did_you_mean(error["input"], choices)
    return Problem(key, f"{shown} (got {_short(error['input'])})")


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:200]}..."


def _nearest_key(model: type[BaseModel], loc: Sequence[str]) -> str:
    """Suggest a key of the same table, else the key of another table with that name."""
    table, prefix = model, ""
    for part in loc[:-1]:
        field = table.model_fields.get(part)
        if field is None or not _is_model(field.annotation):
            break
        table, prefix = field.annotation, f"{prefix}{part}."
    here = [f"{prefix}{name}" for name in table.model_fields]
    suggestion = did_you_mean(f"{prefix}{loc[-1]}", here)
    # A long prefix makes everything look alike: the last word alone has to be near too.
    if suggestion and difflib.get_close_matches(loc[-1], list(table.model_fields), n=1):
        return suggestion
    leaves = {key.rpartition(".")[2]: key for key in reversed(list(dotted_keys(model)))}
    near = difflib.get_close_matches(loc[-1], list(leaves), n=1, cutoff=0.8)
    return f", did you mean {leaves[near[0]]}?" if near else ""


def _is_model(annotation: Any) -> TypeGuard[type[BaseModel]]:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)
