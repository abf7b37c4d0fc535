"""Every promise of docs/promises.md names tests, and they exist."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

GONE = "tests/test_" + "gone.py"
NAMED = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")


@cache
def names_in(path: Path) -> set[str]:
    """Return the names of a file's tests."""
    body = ast.parse(path.read_text("utf-8")).body if path.is_file() else []
    return {item.name for item in body if isinstance(item, ast.FunctionDef)}


def unkept(page: str, root: Path) -> list[str]:
    """Return promises without a test, and tests that are not there."""
    promises = re.split(r"^- ", page, flags=re.MULTILINE)[1:]
    without = [text.split("**")[1] for text in promises if not NAMED.search(text)]
    absent = [f"{path}::{name}" for path, name in NAMED.findall(page)
              if name not in names_in(root / path)]  # fmt: skip
    return without + absent


def test_every_promise_is_kept_by_tests_that_exist(checkout: Path) -> None:
    page = (checkout / "docs" / "promises.md").read_text("utf-8")
    assert page.count("\n- **") > 30
    assert unkept(page, checkout) == []


def test_a_promise_that_nothing_keeps_is_noticed(checkout: Path) -> None:
    page = (
        "- **One.** `tests/test_promises.py::test_a_promise_that_nothing_keeps_is_noticed`\n"
        "- **Two.** Nobody looks.\n"
        f"- **Three.** `tests/test_promises.py::test_nothing`, `{GONE}::test_x`\n"
    )
    gone = ["tests/test_promises.py::test_nothing", f"{GONE}::test_x"]
    assert unkept(page, checkout) == ["Two.", *gone]
