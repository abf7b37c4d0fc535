"""The docs' tables and the shipped JSON schemas name every key, as the models have it."""

from __future__ import annotations

import importlib.util
import json
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from fapvideo.config.casting import PersonConfig
from fapvideo.config.evaluation import load_eval_preset
from fapvideo.config.presets import list_presets, load_preset
from fapvideo.config.problems import dotted_keys
from fapvideo.config.schema import RunPreset, SpanConfig
from fapvideo.config.train import load_train_preset

LOADERS = {"run": load_preset, "train": load_train_preset, "eval": load_eval_preset}
KINDS = pytest.mark.parametrize("kind", LOADERS)
RERUN = "run: python scripts/preset_table.py"


@pytest.fixture(scope="module")
def script(checkout: Path) -> ModuleType:
    path = checkout / "scripts" / "preset_table.py"
    spec = importlib.util.spec_from_file_location("preset_table", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def schema(script: ModuleType, kind: str) -> dict[str, Any]:
    return json.loads((script.SCHEMAS / f"{kind}.json").read_text("utf-8"))


@KINDS
def test_the_table_of_keys_and_the_schema_are_up_to_date(script: ModuleType, kind: str) -> None:
    model, path = script.KINDS[kind]
    page = path.read_text("utf-8")
    assert page == script.updated(page, model), RERUN
    assert (script.SCHEMAS / f"{kind}.json").read_text("utf-8") == script.schema_text(model), RERUN


def test_the_table_has_every_key_of_a_run(script: ModuleType) -> None:
    page = script.PAGE.read_text("utf-8")
    keys = set(dotted_keys(RunPreset)) - {"references", "people", "spans", "schema_version"}
    keys |= {f"spans.{key.removesuffix('_s')}" for key in dotted_keys(SpanConfig)}
    keys |= {f"people.{key}" for key in dotted_keys(PersonConfig)} - {"people.references"}
    assert [key for key in keys if f"| `{key}` |" not in page] == []


@KINDS
def test_every_key_is_described(schema: dict[str, Any], kind: str) -> None:
    for name, table in {kind: schema, **schema["$defs"]}.items():
        assert table["description"], name
        for key, spec in table["properties"].items():
            assert spec.get("description") or "$ref" in spec, f"{name}.{key}"


@KINDS
def test_shipped_presets_name_their_schema_and_keep_to_it(
    script: ModuleType, schema: dict[str, Any], kind: str
) -> None:
    for entry in list_presets(kind):
        text = entry.path.read_text("utf-8")
        named = text.partition("\n")[0].removeprefix("#:schema ")
        assert (entry.path.parent / named).samefile(script.SCHEMAS / f"{kind}.json")
        assert list(strangers(tomllib.loads(text), schema, schema["$defs"])) == []
        LOADERS[kind](entry.path)
    assert list(strangers({"bad": 1}, schema, schema["$defs"])) == ["bad"]


def strangers(value: Any, spec: dict[str, Any], tables: dict[str, Any]) -> Iterator[str]:
    """Yield the keys in `value` that an editor with this schema would mark as unknown."""
    for item in value if isinstance(value, list) else ():
        yield from strangers(item, spec["items"], tables)
    if isinstance(value, dict):
        spec = tables[spec["$ref"].rpartition("/")[2]] if "$ref" in spec else spec
        for key, inner in value.items():
            known = spec.get("properties", {}).get(key, spec.get("additionalProperties"))
            if not known:
                yield key
            elif known is not True and "anyOf" not in known:
                yield from strangers(inner, known, tables)
