"""Frechet distances: the formula, its floor, and what they notice in real faces."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from broken_results import pairs
from scipy import linalg

from fapvideo.errors import WeightsError
from fapvideo.evaluation.metrics.distribution import (
    BASIS,
    EVERY,
    FEWEST,
    Distribution,
    FeatureBank,
    distances,
    face_vectors,
    floor,
    frechet,
    read_frechet_basis,
    zone_weights,
)
from fapvideo.evaluation.views import FaceView
from fapvideo.nets.mobilenet import MobileNetV2Tokens
from fapvideo.structs import Floats
from fapvideo.weights.embedded import embedded_tower


@cache
def tower() -> MobileNetV2Tokens:
    return embedded_tower()


def cloud(count: int, seed: int, mean: float = 0.0, dimensions: int = 8) -> Floats:
    rng = np.random.default_rng(seed)
    mixing = np.random.default_rng(99).normal(size=(dimensions, dimensions))
    return rng.normal(size=(count, dimensions)) @ mixing + mean


def test_the_formula_is_the_one_with_the_matrix_root() -> None:
    a, b = cloud(200, 0), 1.3 * cloud(150, 1, mean=0.4)
    covariances = np.cov(a.T), np.cov(b.T)
    root = linalg.sqrtm(covariances[0] @ covariances[1])
    gap = a.mean(axis=0) - b.mean(axis=0)
    expected = gap @ gap + np.trace(covariances[0] + covariances[1] - 2 * root.real)
    assert frechet(a, b) == pytest.approx(expected, rel=1e-9)


def test_equal_clouds_are_at_distance_zero_even_with_fewer_samples_than_dimensions() -> None:
    rows = cloud(5, 0, dimensions=40)
    assert frechet(rows, rows) == pytest.approx(0.0, abs=1e-9)
    assert frechet(rows, rows + 0.5) == pytest.approx(40 * 0.25)


def test_the_floor_shrinks_with_the_samples_and_is_what_equal_kinds_give() -> None:
    small, large = floor(cloud(40, 0)), floor(cloud(1200, 0))
    assert 0 < large < small / 20
    assert floor(cloud(400, 0)) == pytest.approx(frechet(cloud(200, 1), cloud(200, 2)), rel=0.5)


def test_zones_are_the_whole_face_the_parts_and_their_border() -> None:
    hole = pairs()[0].faces[0].hole
    zones = zone_weights(hole)
    assert zones["mobilenet"].min() == 1.0
    assert np.array_equal(zones["mask"], hole)
    far_inside = cv2.erode((hole > 0).astype(np.uint8), np.ones((31, 31))) > 0
    assert far_inside.any()
    assert not zones["focal"][far_inside].any()
    edge = cv2.Laplacian((hole > 0).astype(np.float32), cv2.CV_32F) != 0
    assert zones["focal"][edge].all()


def with_result(view: FaceView, result: Floats) -> FaceView:
    return replace(view, result=np.clip(np.rint(result), 0, 255).astype(np.uint8))


def test_each_zone_sees_its_own_fault() -> None:
    """A tint inside the parts moves `mask` most; a line along the border moves `focal`."""
    view = pairs()[0].faces[0]
    zones = zone_weights(view.hole)
    inner = (view.hole > 0.95)[..., None] * np.float32([60, -40, -40])
    border = cv2.Laplacian((view.hole > 0.5).astype(np.float32), cv2.CV_32F)[..., None]
    line = (border != 0) * np.float32([90, 90, 90])
    moved = {}
    for name, change in (("inner", inner), ("line", line)):
        changed = with_result(view, view.source + change).result
        before, after = face_vectors(tower(), np.stack([view.source, changed]), zones)
        moved[name] = {zone: float(np.linalg.norm(after[zone] - before[zone])) for zone in zones}
    assert moved["line"]["focal"] > moved["line"]["mobilenet"]
    assert moved["inner"]["mask"] > moved["inner"]["mobilenet"]
    ratio = {name: values["mask"] / values["focal"] for name, values in moved.items()}
    assert ratio["inner"] > ratio["line"]


def test_one_frame_in_a_few_is_collected_and_every_photo() -> None:
    metric, photos = Distribution(tower()), Distribution(tower())
    for pair in pairs()[: 2 * EVERY + 1]:
        assert metric.update(pair) == {}
    for pair in pairs()[:3]:
        photos.update(replace(pair, first_of_shot=True))
    assert metric.real.count("mask") == metric.result.count("focal") == 3
    assert photos.real.count("mobilenet") == 3
    assert metric.summary() == {}, "too few samples say nothing"


@pytest.mark.slow
def test_doing_nothing_is_at_distance_zero_and_blur_is_not() -> None:
    same, blurred = Distribution(tower()), Distribution(tower())
    for index in range(FEWEST):
        pair = replace(pairs()[index % 12], first_of_shot=True)
        same.update(pair)
        faces = tuple(
            with_result(view, cv2.GaussianBlur(view.source, (0, 0), 3)) for view in pair.faces
        )
        blurred.update(replace(pair, faces=faces))
    for zone in ("mobilenet", "mask", "focal"):
        assert same.summary()[f"frechet.{zone}"] == pytest.approx(0.0, abs=1e-6)
        assert blurred.summary()[f"frechet.{zone}"] > 2 * same.summary()[f"frechet.floor.{zone}"]
    assert same.summary()["frechet.samples"] == FEWEST
    assert np.array_equal(blurred.real["mask"], same.real["mask"]), "real is the source"
    assert np.array_equal(same.result["mask"], same.real["mask"])
    assert not np.array_equal(blurred.result["mask"], blurred.real["mask"])
    for key in same.summary():
        assert sum(one.fits(key) for one in Distribution.definitions) == 1


def test_banks_of_several_clips_are_joined_and_kept(tmp_path: Path) -> None:
    first, second = FeatureBank(), FeatureBank()
    for row in cloud(FEWEST, 0):
        first.add("mask", row)
    for row in cloud(FEWEST, 1, mean=1.0):
        second.add("mask", row)
    both = FeatureBank.joined([first, second])
    assert both.count("mask") == 2 * FEWEST
    first.save(tmp_path / "bank.npz")
    again = FeatureBank.load(tmp_path / "bank.npz")
    assert np.array_equal(again["mask"], first["mask"])
    assert set(distances(first, second)) == {
        "frechet.mask", "frechet.floor.mask", "frechet.samples",
    }  # fmt: skip
    assert distances(again, both)["frechet.mask"] < distances(first, second)["frechet.mask"]


class TinyInception(torch.nn.Module):
    """Takes what NVIDIA's file takes."""

    def forward(self, images: torch.Tensor, return_features: bool = False) -> torch.Tensor:
        features = images.float().mean(dim=(2, 3))
        return features if return_features else features[:, :1]


@pytest.mark.slow
def test_fid_where_the_user_has_inception(tmp_path: Path) -> None:
    path = tmp_path / "inception.pt"
    torch.jit.script(TinyInception()).save(str(path))
    metric = Distribution(tower(), inception=path)
    for index in range(FEWEST):
        metric.update(replace(pairs()[index % 12], first_of_shot=True))
    assert metric.real["inception"].shape == (FEWEST, 3)
    assert metric.summary()["frechet.inception"] == pytest.approx(0.0, abs=1e-6)


def test_a_file_that_is_no_network_is_named(tmp_path: Path) -> None:
    path = tmp_path / "wrong.pt"
    path.write_bytes(b"no network")
    with pytest.raises(WeightsError, match=r"wrong\.pt is no TorchScript file"):
        Distribution(tower(), inception=path)


def test_the_packaged_directions_have_one_length() -> None:
    for mean, components in read_frechet_basis(BASIS).values():
        assert mean.shape == (96,)
        assert components.shape == (96, 16)
