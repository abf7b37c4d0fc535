"""Write the JSON schemas of presets, and the tables of all their keys into the docs.

Both come from the models in fapvideo/config/.

python scripts/preset_table.py
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from fapvideo.config.evaluation import EvalPreset
from fapvideo.config.schema import RunPreset
from fapvideo.config.train import TrainPreset

ROOT = Path(__file__).resolve().parent.parent
SCHEMAS = ROOT / "presets" / "schema"
PAGE = ROOT / "docs" / "presets.md"
TRAINING_PAGE = PAGE.with_name("training.md")
EVALUATION_PAGE = PAGE.with_name("evaluation.md")
KINDS: dict[str, tuple[type[BaseModel], Path]] = {
    "run": (RunPreset, PAGE),
    "train": (TrainPreset, TRAINING_PAGE),
    "eval": (EvalPreset, EVALUATION_PAGE),
}
BEGIN, END = "<!-- keys: begin -->\n", "<!-- keys: end -->\n"

Spec = dict[str, Any]


def schema_text(model: type[BaseModel]) -> str:
    """Return the JSON schema of a preset as it is shipped."""
    return json.dumps(model.model_json_schema(), indent=1, ensure_ascii=False) + "\n"


def table(model: type[BaseModel]) -> str:
    """Return the table: one row for each key, in the order of the pipeline."""
    head = "| key | default | values | what it does |\n|---|---|---|---|\n"
    schema = model.model_json_schema()
    return head + "".join(rows(schema, schema["$defs"], ""))


def rows(table: Spec, tables: Spec, prefix: str) -> Iterator[str]:
    """Yield the rows of one table of the preset; `tables` are the schema's definitions."""
    for name, spec in table["properties"].items():
        if name == "references" or name == "schema_version":
            continue
        inner = {**spec, **spec.get("items", {})}.get("$ref")
        if inner is not None:
            below = tables[inner.rpartition("/")[2]]
            about = below["description"].partition(": ")[2]
            heading = f"[{prefix}{name}]" if "$ref" in spec else f"[[{prefix}{name}]]"
            yield f"| **`{heading}`** | | | {words(about)} |\n"
            yield from rows(below, tables, f"{prefix}{name}.")
        else:
            value = spec.get("default", {})
            default = "none" if value is None else json.dumps(value)
            default = "required" if name in table.get("required", ()) else default
            about = words(spec["description"])
            yield f"| `{prefix}{name}` | {default} | {allowed(spec)} | {about} |\n"


def words(text: str) -> str:
    """Return a docstring as one line."""
    return " ".join(text.split())


def allowed(spec: Spec) -> str:
    """Say in words what JSON schema says about a value."""
    if "anyOf" in spec:
        return " or ".join(allowed(item) for item in spec["anyOf"] if item.get("type") != "null")
    if "enum" in spec:
        return ", ".join(spec["enum"])
    if spec.get("type") == "boolean":
        return "true, false"
    said = [spec.get("type", ""), spec.get("format", "")]
    for key, sign in (
        ("minimum", "≥"),
        ("exclusiveMinimum", ">"),
        ("maximum", "≤"),
        ("exclusiveMaximum", "<"),
    ):
        if key in spec and spec[key] < 2**62:
            said.append(f"{sign} {spec[key]:g}")
    return " ".join(word for word in said if word)


def updated(page: str, model: type[BaseModel] = RunPreset) -> str:
    """Return the page with a fresh table between its two marks."""
    before, _, rest = page.partition(BEGIN)
    after = rest.partition(END)[2]
    return f"{before}{BEGIN}\n{table(model)}\n{END}{after}"


if __name__ == "__main__":
    for kind, (model, page) in KINDS.items():
        page.write_text(updated(page.read_text("utf-8"), model), "utf-8")
        (SCHEMAS / f"{kind}.json").write_text(schema_text(model), "utf-8")
