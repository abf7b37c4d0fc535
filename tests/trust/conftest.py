"""Small clips, and a data folder of its own for every test: keys and lists are made there."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import clips
import pytest


@pytest.fixture(autouse=True)
def own_data(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let nothing of this machine, and nothing of another test, decide."""
    folder = tmp_path_factory.mktemp("data")
    monkeypatch.setenv("XDG_DATA_HOME", str(folder))
    for name in ("CERTIFICATE", "KEY", "SITE_CONFIG", "PROTECT", "PROTECT_KEY"):
        monkeypatch.delenv(f"FAPVIDEO_{name}", raising=False)
    return folder


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return the path of a named clip without faces, made once."""
    folder = tmp_path_factory.mktemp("clips")
    return cache(lambda name: clips.make_clip(folder, name))
