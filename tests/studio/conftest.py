"""A studio over a folder of a user."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import cv2
import face_clips
import pytest
from portrait import headshot
from starlette.testclient import TestClient
from studio_setup import PRESET, client_of, studio_in, until

from fapvideo.studio.server import Studio


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of a user: a clip of two people, a photo, a preset."""
    folder = tmp_path_factory.mktemp("user")
    face_clips.face_clip(folder, "two_faces", frames=14)
    (folder / "photos").mkdir()
    picture = cv2.cvtColor(headshot(), cv2.COLOR_RGB2BGR)
    cv2.imwrite(str(folder / "photos" / "astronaut.png"), picture)
    cv2.imwrite(str(folder / "photos" / "nobody.png"), picture[:40, :40])
    (folder / "photos" / "broken.jpg").write_bytes(b"no picture")
    shutil.copyfile(face_clips.BRAND, folder / "brand.png")
    (folder / "tiny.toml").write_text(PRESET, "utf-8")
    return folder


@pytest.fixture(scope="module")
def studio(folder: Path) -> Iterator[Studio]:
    studio = studio_in(folder)
    studio.start()
    yield studio
    studio.close()


@pytest.fixture(scope="module")
def client(studio: Studio) -> TestClient:
    return client_of(studio)


@pytest.fixture(scope="module")
def clip(client: TestClient, studio: Studio) -> str:
    """Return the address of the opened clip, when it is followed and photos are ranked."""
    address = client.post("/open", json={"name": "two_faces-frames-14.mp4"}).json()["address"]
    project = studio.library.project(address.split("/")[-1])
    assert project is not None
    known = studio.following.of(project)
    until(lambda: not known.stage)
    assert not known.problem
    return str(address)
