"""What tests of the studio share: clips of drawn faces, networks that cost next to nothing."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from starlette.testclient import TestClient

from fapvideo.studio.guard import TOKEN_HEADER
from fapvideo.studio.server import Studio, application

PRESET = """
schema_version = 1
bundle = "tiny"
[references]
mouth = "pkg:brand_face.png"
[denoise]
mode = "off"
[video]
speed = "ultrafast"
[composite]
max_size = 64
"""
HOST = "http://127.0.0.1:8760"
WAITS_S = 240.0


def until(condition: Callable[[], Any], seconds: float = WAITS_S) -> Any:
    """Wait until something is true; return it."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "that took too long"
        time.sleep(0.05)
    return found


def studio_in(folder: Path, **more: Any) -> Studio:
    """Return a studio over a folder; its workers are not begun."""
    return Studio(folder, str(folder / "tiny.toml"), "cpu", **more)


def client_of(studio: Studio) -> TestClient:
    """Return a page of a studio."""
    client = TestClient(application(studio), base_url=HOST, follow_redirects=True)
    client.get(f"/?token={studio.token}")
    client.headers[TOKEN_HEADER] = studio.token
    return client
