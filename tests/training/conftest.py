"""Eight moved copies of one public-domain face, what training makes of them, and a tiny preset."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from portrait import headshot
from renders import drawn
from training_setup import tiny_preset

from fapvideo.structs import Bytes
from fapvideo.synth.motion import Motion
from fapvideo.synth.portrait import AnimatedPortrait
from fapvideo.training.faces.prepare import FaceSet, prepare
from fapvideo.training.faces.sources import sources_in
from fapvideo.training.learning.pretrained import load_encoder
from fapvideo.training.samples.pool import Pool, PoolRecipe, build_pool

MOTIONS = (
    Motion(),
    Motion(mouth_open=0.15),
    Motion(smile=0.8),
    Motion(brows=0.8, zoom=1.1),
    Motion(yaw_deg=8.0),
    Motion(pitch_deg=5.0),
    Motion(roll_deg=8.0),
    Motion(yaw_deg=-8.0, mouth_open=0.08),
)
SIZE = 64


@pytest.fixture(scope="session")
def pictures() -> list[Bytes]:
    """Return the face in eight poses and expressions, 200 px."""
    portrait = AnimatedPortrait(headshot(260), (200, 200))
    return [drawn(portrait, motion)[0] for motion in MOTIONS]


@pytest.fixture(scope="session")
def photos(pictures: list[Bytes], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the pictures as photos `0.png` to `7.png`."""
    folder = tmp_path_factory.mktemp("photos")
    for number, picture in enumerate(pictures):
        cv2.imwrite(str(folder / f"{number}.png"), np.ascontiguousarray(picture[..., ::-1]))
    return folder


@pytest.fixture(scope="session")
def faces_folder(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the cache of the prepared photos: faces 0 and 5 are held out."""
    folder = tmp_path_factory.mktemp("faces")
    prepare(sources_in([photos]), folder, SIZE, tiny_preset().data)
    return folder


@pytest.fixture(scope="session")
def faces(faces_folder: Path, photos: Path) -> FaceSet:
    return prepare(sources_in([photos]), faces_folder, SIZE, tiny_preset().data)


@pytest.fixture(scope="session")
def recipe(faces_folder: Path, faces: FaceSet) -> PoolRecipe:
    """Return how samples of the faces that are trained on are made."""
    preset = tiny_preset()
    encoder = load_encoder(preset, Path("no sets are needed"), None)
    chosen = tuple(faces.indices(heldout=False))
    return PoolRecipe(faces_folder, chosen, 1, SIZE, preset.data, encoder)


@pytest.fixture(scope="session")
def pool(recipe: PoolRecipe, tmp_path_factory: pytest.TempPathFactory) -> Pool:
    """Return sixteen samples, made once for all tests; nobody writes to it."""
    return build_pool(tmp_path_factory.mktemp("pool"), recipe, 16)
