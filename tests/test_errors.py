"""The error tree is a promise to scripts: classes and exit codes do not change."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from fapvideo import errors
from fapvideo.errors import FapVideoError

CODES = {
    "FapVideoError": 1,
    "PresetError": 2,
    "VideoReadError": 3,
    "VideoWriteError": 4,
    "NoFaceFound": 5,
    "ReferenceImageError": 6,
    "WeightsError": 7,
    "DeviceError": 8,
    "QualityError": 9,
    "BatchError": 10,
    "ProvenanceError": 11,
    "NoCredentials": 12,
    "ConsentError": 13,
    "Cancelled": 130,
}
SOURCES = [
    path
    for path in Path(errors.__file__).resolve().parent.rglob("*.py")
    if path.name != "errors.py"
]


def tree() -> dict[str, int]:
    classes = [FapVideoError, *FapVideoError.__subclasses__()]
    return {cls.__name__: cls.exit_code for cls in classes}


def test_the_codes_are_stable_and_their_own() -> None:
    assert tree() == CODES
    assert len(set(CODES.values())) == len(CODES)
    assert sorted(errors.__all__) == sorted(CODES)


def test_the_table_in_the_docstring_is_the_tree() -> None:
    rows = re.findall(r"^\s+(?:\+-- )?([A-Za-z]+) +(\d+) ", errors.__doc__ or "", re.MULTILINE)
    assert {name: int(code) for name, code in rows} == tree()


def test_every_error_is_raised_somewhere() -> None:
    texts = [path.read_text("utf-8") for path in SOURCES]
    raised = {
        node.exc.func.id if isinstance(node.exc.func, ast.Name) else ""
        for text in texts
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call)
    }
    for name in set(CODES) - {"FapVideoError"}:
        assert name in raised or any(f"-> {name}:" in text for text in texts), name


def test_message_and_hint_are_apart() -> None:
    error = errors.PresetError("what and where", hint="what to do")
    assert str(error) == "what and where"
    assert error.hint == "what to do"
    assert FapVideoError("x").hint == ""
