"""Pages about quality say what the files of results and the code say, and nothing else."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

from fapvideo.config.evaluation import ClipConfig, EvalPreset


def load_script(checkout: Path, name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, checkout / "scripts" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def script(checkout: Path) -> ModuleType:
    return load_script(checkout, "benchmarks_page")


def test_the_page_of_benchmarks_is_up_to_date(script: ModuleType) -> None:
    page = script.PAGE.read_text("utf-8")
    assert page == script.benchmarks_page(), "run: python scripts/benchmarks_page.py"


def test_the_tables_of_other_pages_are_up_to_date(script: ModuleType, checkout: Path) -> None:
    page = script.EVALUATION_PAGE.read_text("utf-8")
    assert page == script.evaluation_page(page), "run: python scripts/benchmarks_page.py"
    readme = script.README.read_text("utf-8")
    assert readme == script.readme_page(readme), "run: python scripts/benchmarks_page.py"
    card = script.CARD.read_text("utf-8")
    assert card == script.card_page(card), "run: python scripts/benchmarks_page.py"
    keys = load_script(checkout, "preset_table")
    assert page == keys.updated(page, EvalPreset), "run: python scripts/preset_table.py"
    for name in set(ClipConfig.model_fields) - {"references"}:
        assert f"| `clips.{name}` |" in page


def test_every_result_says_how_where_and_when_it_was_found(script: ModuleType) -> None:
    for path in script.RESULTS.glob("*.json"):
        result = json.loads(path.read_text("utf-8"))
        assert not [key for key in script.REQUIRED if not result.get(key)], path.name


def test_a_suite_becomes_a_table_with_the_best_in_bold(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(script, "ROOT", tmp_path)
    values = {"noop": (0.5, 1.0), "paste": (0.75, 3.0)}
    result = {
        "kind": script.KIND,
        "what": "two systems",
        "command": "fapvideo eval",
        "date": "2026-01-01",
        "commit": "abc",
        "machine": {"cores": 2},
        "notes": ["a note"],
        "headline": ["success", "temporal.warp.mask"],
        "measurements": [
            {
                "system": system,
                "clip": clip,
                "frames": 4,
                "values": {"success": success, "temporal.warp.mask": warp},
                "cpu_s": 1.5,
            }
            for system, (success, warp) in values.items()
            for clip in ("one", "pairs")
        ],
    }
    path = tmp_path / "standard_suite.json"
    path.write_text(json.dumps(result), "utf-8")
    text = script.section(path)
    assert "| Swap success ↑ (`success`) |  | 0.500 | **0.750** |" in text
    assert "| Warp error, mask → 1 (`temporal.warp.mask`) |  | **1.000** | 3.000 |" in text
    assert "### one (4 frames)" in text
    assert "### pairs (4 photos)" in text
    assert "| paste | 1.500 | 1.500 |" in text
    assert "- a note" in text


def test_any_other_result_is_shown_as_well(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(script, "ROOT", tmp_path)
    found = {"parts": {"eyes": {"auc": 0.93}, "nose": {"auc": 0.6}}, "pairs": 120, "names": ["a"]}
    head = dict.fromkeys(script.REQUIRED, "x")
    path = tmp_path / "validation.json"
    path.write_text(json.dumps({**head, **found}), "utf-8")
    text = script.section(path)
    assert "| eyes | 0.930 |" in text
    assert "- pairs: 120" in text
    assert "- names: a" in text
