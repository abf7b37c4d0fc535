"""Write the tables of all preset keys into the docs, from the models in fapvideo/config/.

python scripts/preset_table.py
"""

from __future__ import annotations

import ast
import inspect
import json
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel

from fapvideo.config.evaluation import EvalPreset
from fapvideo.config.schema import RunPreset
from fapvideo.config.train import TrainPreset

PAGE = Path(__file__).resolve().parent.parent / "docs" / "presets.md"
TRAINING_PAGE = PAGE.with_name("training.md")
EVALUATION_PAGE = PAGE.with_name("evaluation.md")
BEGIN, END = "<!-- keys: begin -->\n", "<!-- keys: end -->\n"


def table(model: type[BaseModel]) -> str:
    """Return the table: one row for each key, in the order of the pipeline."""
    head = "| key | default | values | what it does |\n|---|---|---|---|\n"
    return head + "".join(rows(model, ""))


def rows(model: type[BaseModel], prefix: str) -> Iterator[str]:
    """Yield the rows of one table of the preset."""
    notes = attribute_docstrings(model)
    properties = model.model_json_schema()["properties"]
    for name, field in model.model_fields.items():
        if name == "references" or name == "schema_version":
            continue
        inner = table_of(field.annotation)
        if inner is not None:
            about = (inner.__doc__ or "").partition(": ")[2].replace("\n", " ")
            heading = f"[[{prefix}{name}]]" if get_args(field.annotation) else f"[{prefix}{name}]"
            yield f"| **`{heading}`** | | | {about} |\n"
            yield from rows(inner, f"{prefix}{name}.")
        else:
            value = field.get_default(call_default_factory=True)
            default = "none" if value is None else json.dumps(value, default=str)
            default = "required" if field.is_required() else default
            values = allowed(properties[name])
            yield f"| `{prefix}{name}` | {default} | {values} | {notes.get(name, '')} |\n"


def table_of(annotation: Any) -> type[BaseModel] | None:
    """Return the model of a table, or of each table of a list of them; None for a plain value."""
    model = next(iter(get_args(annotation)), annotation)
    return model if isinstance(model, type) and issubclass(model, BaseModel) else None


def allowed(spec: dict[str, Any]) -> str:
    """Say in words what JSON schema says about a value."""
    if "anyOf" in spec:
        return " or ".join(allowed(item) for item in spec["anyOf"] if item.get("type") != "null")
    if "enum" in spec:
        return ", ".join(spec["enum"])
    if spec.get("type") == "boolean":
        return "true, false"
    words = [spec.get("type", ""), spec.get("format", "")]
    for key, sign in (
        ("minimum", "≥"),
        ("exclusiveMinimum", ">"),
        ("maximum", "≤"),
        ("exclusiveMaximum", "<"),
    ):
        if key in spec and spec[key] < 2**62:
            words.append(f"{sign} {spec[key]:g}")
    return " ".join(word for word in words if word)


def attribute_docstrings(model: type[BaseModel]) -> dict[str, str]:
    """Return field name -> the string that follows the field in the source."""
    tree = ast.parse(inspect.getsource(model).lstrip())
    assert isinstance(tree.body[0], ast.ClassDef)
    found = {}
    body = tree.body[0].body
    for field, note in pairwise(body):
        if isinstance(field, ast.AnnAssign) and isinstance(note, ast.Expr):
            assert isinstance(field.target, ast.Name)
            assert isinstance(note.value, ast.Constant)
            found[field.target.id] = " ".join(str(note.value.value).split())
    return found


def updated(page: str, model: type[BaseModel] = RunPreset) -> str:
    """Return the page with a fresh table between its two marks."""
    before, _, rest = page.partition(BEGIN)
    after = rest.partition(END)[2]
    return f"{before}{BEGIN}\n{table(model)}\n{END}{after}"


if __name__ == "__main__":
    pages = ((PAGE, RunPreset), (TRAINING_PAGE, TrainPreset), (EVALUATION_PAGE, EvalPreset))
    for path, preset in pages:
        path.write_text(updated(path.read_text("utf-8"), preset), "utf-8")
