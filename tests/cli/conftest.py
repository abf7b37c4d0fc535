"""The command line in this process, on a swapper that does no swapping."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
from fake_swapper import FakeSwapper

from fapvideo.cli.main import run_program


class Result(NamedTuple):
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.err.splitlines()]


@pytest.fixture
def fapvideo(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that runs one command: `fapvideo("run", "in.mp4")`."""
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments: str | Path, debug: bool = False) -> Result:
        texts = [str(argument) for argument in arguments]
        capfd.readouterr()
        code = run_program(texts, debug=debug, as_json="--json" in texts)
        return Result(code, *capfd.readouterr())

    return run


@pytest.fixture
def swapper(monkeypatch: pytest.MonkeyPatch) -> type[FakeSwapper]:
    """Put the fake in the place of the real swapper."""
    fake = type("Fake", (FakeSwapper,), {"opened": []})
    monkeypatch.setitem(sys.modules, "fapvideo.swapper", SimpleNamespace(VideoSwapper=fake))
    return fake


@pytest.fixture
def preset(tmp_path: Path) -> Path:
    """Write a valid preset with an image of its own."""
    (tmp_path / "face.png").touch()
    path = tmp_path / "mine.toml"
    path.write_text('[references]\neyes = "face.png"\nnose = "face.png"\n', "utf-8")
    return path


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = tmp_path / "talk.mp4"
    path.touch()
    return path
