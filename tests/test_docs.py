"""What code and pages cite is there: a file of this repository, a paper or a public repository."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from test_architecture import ORDER, PACKAGE

FOLDERS = ("benchmarks", "docs", "examples", "fapvideo", "presets", "scripts", "tests")
TEXT = {".md", ".py", ".toml", ".html"}
ENDINGS = "css|html|jpg|js|json|md|mp4|npy|png|py|safetensors|tflite|toml"
PATHS = re.compile(rf"(?<![\w./{{}}-])(?:{'|'.join(FOLDERS)})/[\w./-]*?\.(?:{ENDINGS})\b")
MADE_ELSEWHERE = re.compile(r"/NAME\.|^fapvideo/_examples/")
"""A place for any name, and the folder that only a wheel has."""
LINKS = re.compile(r"\]\(([^)#:\s]+)(?:#[^)\s]*)?\)")
ABSENT = {
    "notes of its makers": re.compile(r"(?<![\w./-])(?:shared|facts)/|\bDESIGN\b"),
    "the numbers' page by a bare name": re.compile(r"(?<!tests/goldens/)\bPARITY\b"),
}
"""What readers do not have, or do not find."""
BESIDE_THE_NUMBERS = "tests/goldens"


def wrong_citations(path: Path, text: str, root: Path) -> Iterator[str]:
    """Yield what a file of the repository cites and a reader does not find."""
    names = (name for name in PATHS.findall(text) if not MADE_ELSEWHERE.search(name))
    yield from (name for name in names if not (root / name).is_file())
    if path.suffix == ".md":
        targets = LINKS.findall(text)
        yield from (name for name in targets if not (root / path.parent / name).exists())
    for what, pattern in ABSENT.items():
        if pattern.search(text) and not path.is_relative_to(BESIDE_THE_NUMBERS):
            yield what


def test_everything_cited_is_in_the_repository(checkout: Path) -> None:
    files = [path for name in FOLDERS for path in sorted((checkout / name).rglob("*"))]
    files += sorted(checkout.glob("*"))
    wrong = {}
    for file in files:
        if file.suffix in TEXT and file != Path(__file__).resolve():
            path = file.relative_to(checkout)
            wrong[str(path)] = sorted(wrong_citations(path, file.read_text("utf-8"), checkout))
    assert len(wrong) > 200, "the files are found"
    assert {path: names for path, names in wrong.items() if names} == {}


def test_the_architecture_page_shows_the_house_as_it_is(checkout: Path) -> None:
    page = (checkout / "docs" / "architecture.md").read_text("utf-8")
    tree = set(re.findall(r"^      ([a-z_]+(?:\.py|/))  ", page, re.MULTILINE))
    folders = {f"{path.parent.name}/" for path in PACKAGE.glob("*/__init__.py")}
    assert tree == folders | {path.name for path in PACKAGE.glob("[!_]*.py")}
    (floors,) = re.findall(r"^    (errors < .+(?:\n +< .+)*)", page, re.MULTILINE)
    assert [set(re.findall("[a-z]+", floor)) for floor in floors.split("<")] == list(ORDER)


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("docs/method.md and fapvideo/structs.py, [a page](method.md#training)", []),
        ("docs/nowhere.md", ["docs/nowhere.md"]),
        ("Source: fapvideo/fuse/gone.py.", ["fapvideo/fuse/gone.py"]),
        ("[a page](gone.md)", ["gone.md"]),
        ("shared/facts/x.md", ["notes of its makers"]),
        ("(DESIGN section 4.1)", ["notes of its makers"]),
        ("PARITY section 5", ["the numbers' page by a bare name"]),
        ("tests/goldens/PARITY.md, 5", []),
    ],
)
def test_it_notices(text: str, wrong: list[str], checkout: Path) -> None:
    assert list(wrong_citations(Path("docs/x.md"), text, checkout)) == wrong
