"""The house rules: imports point one way, files are short, the library does not print."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import fapvideo

PACKAGE = Path(fapvideo.__file__).resolve().parent
FILES = sorted(PACKAGE.rglob("*.py"))

STAGES = {"video", "track", "mask", "reference", "guide", "fuse", "denoise", "composite"}
ORDER: tuple[set[str], ...] = (
    {"errors"},
    {"progress", "parts"},
    {"config"},
    {"structs"},
    {"ops"},
    {"nets"},
    {"weights"},  # beside nets in the picture, and allowed to import it
    STAGES,
    {"synth"},
    {"plan"},
    {"paint"},
    {"pipeline"},
    {"run"},
    {"swapper"},
    {"training"},
    {"evaluation"},
    {"cli"},
)
LEVEL = {name: level for level, names in enumerate(ORDER) for name in names}
ONLY_IN = {"av": "video", "typer": "cli", "rich": "cli", "decord": "video"}
NOT_AT_IMPORT = {
    "torchvision",
    "open_clip",
    "groundingdino",
    "decord",
    "dlib",
    "face_recognition_models",
}
"""Extras: a plain install does without them."""

MAX_LINES = 400
MAX_FUNCTION_LINES = 60


def component(path: Path) -> str:
    """Return the stage or module a file belongs to: `fapvideo/fuse/tokens.py` -> `fuse`."""
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def imported(tree: ast.AST) -> Iterator[str]:
    """Yield the dotted names a syntax tree imports, those inside functions too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative import"
            yield node.module or ""
            if node.module == "fapvideo":
                yield from (f"fapvideo.{alias.name}" for alias in node.names)


def imported_at_import(tree: ast.Module) -> Iterator[str]:
    """Yield what loading the module itself imports: neither in functions nor for types only."""
    for node in tree.body:
        guarded = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        if not guarded and not isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield from imported(node)


def violations(path: Path, source: str) -> list[str]:
    """Return what is wrong with the imports of one file."""
    tree, here = ast.parse(source), component(path)
    found = []
    for name in imported(tree):
        top, _, rest = name.partition(".")
        if top in ONLY_IN and ONLY_IN[top] != here:
            found.append(f"{here} imports {top}: only {ONLY_IN[top]} may")
        target = rest.partition(".")[0]
        if top != "fapvideo" or target not in LEVEL or here in {target, "__init__", "__main__"}:
            continue
        if LEVEL[target] >= LEVEL[here]:
            found.append(f"{here} imports {target}: imports point the other way")
    extras = {name.partition(".")[0] for name in imported_at_import(tree)} & NOT_AT_IMPORT
    return found + [f"{here} imports the extra {name} at import" for name in sorted(extras)]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_one_way(path: Path) -> None:
    assert violations(path, path.read_text("utf-8")) == []


def test_libraries_that_need_the_torchvision_shim_come_through_it() -> None:
    shimmed = {"diffusers", "transformers", "open_clip", "groundingdino"}
    for path in FILES:
        tree = ast.parse(path.read_text("utf-8"))
        assert not {name.partition(".")[0] for name in imported(tree)} & shimmed, path
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
                assert not any(name in ast.unparse(node) for name in shimmed), path
    shim = (PACKAGE / "ops" / "torchvision_shim.py").read_text("utf-8")
    assert "    make_torchvision_importable()\n    return importlib.import_module(name)\n" in shim


def test_every_component_has_its_place() -> None:
    places = {component(path) for path in FILES} - {"__init__", "__main__"}
    assert places <= set(LEVEL), (
        "a new component: give it a place in ORDER and docs/architecture.md"
    )
    assert places >= STAGES | {"errors", "structs", "config", "cli"}


@pytest.mark.parametrize(
    ("file", "source", "wrong"),
    [
        ("fuse/x.py", "from fapvideo.track import smoother", "fuse imports track"),
        ("ops/x.py", "def f():\n    import fapvideo.pipeline", "ops imports pipeline"),
        ("track/x.py", "from fapvideo import mask", "track imports mask"),
        ("mask/x.py", "import av", "only video may"),
        ("pipeline.py", "from rich.table import Table", "only cli may"),
        ("nets/x.py", "import open_clip", "the extra open_clip at import"),
        ("cli/x.py", "from fapvideo.pipeline import Pipeline\nimport typer", None),
        ("nets/x.py", "def f():\n    import open_clip\nfrom fapvideo.ops import image", None),
    ],
)
def test_the_import_test_itself(file: str, source: str, wrong: str | None) -> None:
    found = violations(PACKAGE / file, source)
    assert found == [] if wrong is None else len(found) == 1 and wrong in found[0]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_files_and_functions_are_short(path: Path) -> None:
    source = path.read_text("utf-8")
    assert len(source.splitlines()) <= MAX_LINES
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            assert lines <= MAX_FUNCTION_LINES, f"{node.name} has {lines} lines"


@pytest.mark.parametrize(
    "path",
    [path for path in FILES if component(path) != "cli"],
    ids=lambda path: str(path.relative_to(PACKAGE)),
)
def test_the_library_neither_prints_nor_exits(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            assert name not in {"print", "exit", "quit", "sys.exit", "os._exit"}
            assert not name.startswith(("sys.stdout.", "sys.stderr.", "logging.basicConfig"))


def test_there_is_no_drawer_for_odds_and_ends() -> None:
    assert not {path.stem for path in FILES} & {"utils", "util", "helpers", "common", "misc"}


def test_only_main_exits() -> None:
    exits = [path for path in FILES if "sys.exit(" in path.read_text("utf-8")]
    assert exits == [PACKAGE / "cli" / "main.py"]
