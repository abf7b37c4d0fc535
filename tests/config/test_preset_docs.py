"""docs/presets.md names every key, as the schema has it."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from fapvideo.config.problems import dotted_keys
from fapvideo.config.schema import RunPreset


def test_the_table_of_keys_is_up_to_date(checkout: Path) -> None:
    script = checkout / "scripts" / "preset_table.py"
    spec = importlib.util.spec_from_file_location("preset_table", script)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    page = module.PAGE.read_text("utf-8")
    assert page == module.updated(page), "run: python scripts/preset_table.py"
    keys = set(dotted_keys(RunPreset)) - {"references", "schema_version"}
    assert [key for key in keys if f"| `{key}` |" not in page] == []
