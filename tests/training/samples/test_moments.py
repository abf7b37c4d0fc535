"""Two moments of one swap, and targets as video shows them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from training_setup import tiny_preset

from fapvideo.config.train import TrainPreset
from fapvideo.structs import Floats
from fapvideo.training.faces.prepare import FaceSet
from fapvideo.training.learning.losses import temporal_distance
from fapvideo.training.samples.filming import filmed
from fapvideo.training.samples.making import Sample, SampleMaker
from fapvideo.training.samples.moments import NOWHERE
from fapvideo.training.train import BARE

SIZE = 64


def maker_of(faces: FaceSet, **data: Any) -> SampleMaker:
    config = tiny_preset().data.model_copy(update={**BARE, **data})
    return SampleMaker(faces, list(range(len(faces))), config, SIZE)


@pytest.fixture(scope="module")
def pairs(faces: FaceSet) -> list[tuple[Sample, Sample]]:
    maker = maker_of(faces, moments=1.0, soft=0.5)
    return [(maker.make(1, 2 * k), maker.make(1, 2 * k + 1)) for k in range(4)]


def test_two_moments_are_one_swap_in_two_expressions(pairs: list[tuple[Sample, Sample]]) -> None:
    for first, second in pairs:
        for name in ("reference", "reference_parts", "sources"):  # one reference
            np.testing.assert_array_equal(getattr(first, name), getattr(second, name))
        np.testing.assert_array_equal(first.parts.any((1, 2)), second.parts.any((1, 2)))
        off = np.linalg.norm((first.landmarks - second.landmarks)[:, :2], axis=1)
        assert 0.2 < off.max() < 0.3 * SIZE
        assert np.abs(first.target - second.target).mean() > 0.002


def test_a_place_is_found_again_in_the_other_moment(faces: FaceSet) -> None:
    """What is seen there is the same skin: the truth itself keeps still, once it is warped."""
    maker = maker_of(faces, moments=1.0)
    warped, plain = [], []
    for k in range(4):
        both = [maker.make(2, index) for index in (2 * k, 2 * k + 1)]
        target = torch.stack([torch.from_numpy(s.target).permute(2, 0, 1) for s in both])
        places = torch.stack([torch.from_numpy(s.elsewhere) for s in both])
        axis = (torch.arange(SIZE // 4) * 4 + 2.5) / (SIZE / 2) - 1
        same = torch.stack(torch.meshgrid(axis, axis, indexing="xy"), dim=-1)
        still = torch.where(places < NOWHERE, same, NOWHERE)
        nothing, everywhere = torch.zeros_like(target), torch.ones(2, 1, SIZE, SIZE)
        for found, where in ((warped, places), (plain, still)):
            found.append(float(temporal_distance(target, nothing, everywhere, where)))
    assert np.mean(warped) < 0.5 * np.mean(plain)
    # An error that moves with the face is no flicker, one that changes is.
    drift = torch.full_like(target, 0.1)
    hole = torch.ones(2, 1, SIZE, SIZE)
    assert temporal_distance(target + drift, target, hole, places) < 1e-6
    drift[1] = -0.1
    assert temporal_distance(target + drift, target, hole, places) == pytest.approx(0.2, abs=1e-3)


def test_samples_without_another_moment_are_as_before_and_say_so(faces: FaceSet) -> None:
    some, none = maker_of(faces, moments=0.5), maker_of(faces)
    paired = [some._paired(0, index) for index in range(40)]
    assert paired[::2] == paired[1::2]
    assert 6 <= sum(paired[::2]) <= 14
    index = paired.index(False)
    assert (some.make(0, index).elsewhere == NOWHERE).all()
    np.testing.assert_array_equal(some.make(0, index).guide, none.make(0, index).guide)


def test_frames_of_one_recording_are_alike_but_for_their_grain(faces: FaceSet) -> None:
    image: Floats = faces.face(0)[0]

    def shown(recording: int, frame: int) -> Floats:
        return filmed(np.random.default_rng(recording), np.random.default_rng(frame), image)

    for recording in range(6):
        first, second = shown(recording, 0), shown(recording, 1)
        assert first.shape == image.shape
        assert np.abs(first - image).mean() < 0.1
        assert np.abs(first - second).mean() < np.abs(first - image).mean()
    assert np.abs(shown(0, 0) - shown(3, 0)).mean() > 0.005


def test_a_temporal_loss_without_moments_is_refused() -> None:
    with pytest.raises(ValueError, match=r"needs data\.moments"):
        TrainPreset.model_validate({"optim": {"temporal_weight": 1.0}})
    with pytest.raises(ValueError, match="even"):
        TrainPreset.model_validate(
            {"data": {"moments": 0.5}, "optim": {"temporal_weight": 1.0, "batch_size": 5}}
        )
