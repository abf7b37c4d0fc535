"""Samples: a function of (seed, index); the guide differs from the truth in the hole only."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest
from training_setup import tiny_preset

from fapvideo.training.faces import FaceSet
from fapvideo.training.samples import PARTS, Sample, SampleMaker

SIZE = 64


@pytest.fixture(scope="module")
def maker(faces: FaceSet) -> SampleMaker:
    return SampleMaker(faces, faces.indices(heldout=False), tiny_preset().data, SIZE)


@pytest.fixture(scope="module")
def samples(maker: SampleMaker) -> list[Sample]:
    return [maker.make(3, index) for index in range(12)]


def same(a: Sample, b: Sample) -> bool:
    return all(np.array_equal(getattr(a, f.name), getattr(b, f.name)) for f in fields(Sample))


def test_a_sample_depends_on_seed_and_index_alone(
    maker: SampleMaker, samples: list[Sample]
) -> None:
    assert same(maker.make(3, 7), samples[7])
    assert not same(maker.make(4, 7), samples[7])
    assert not np.array_equal(samples[6].guide, samples[7].guide)


def test_the_guide_is_the_truth_outside_the_hole(samples: list[Sample]) -> None:
    for sample in samples:
        outside = sample.core == 0
        assert outside.any()
        np.testing.assert_array_equal(sample.guide[outside], sample.target[outside])
        inside = sample.core == 1
        assert np.abs(sample.guide[inside] - sample.target[inside]).mean() > 0.005


def test_ranges_and_shapes(samples: list[Sample]) -> None:
    for sample in samples:
        for picture in (sample.target, sample.guide, sample.reference):
            assert picture.shape == (SIZE, SIZE, 3)
            assert picture.dtype == np.float32
            assert picture.min() >= 0
            assert picture.max() <= 1
        assert set(np.unique(sample.core)) == {0, 1}
        assert sample.parts.shape == (len(PARTS), SIZE, SIZE)
        # Parts lie in the hole, and their boxes in the picture.
        assert sample.parts.max(axis=0)[sample.core == 0].max() == 0
        assert (sample.sources[:, :2] < sample.sources[:, 2:]).all()


def test_all_parts_or_a_choice_of_them(samples: list[Sample]) -> None:
    counts = {int(sample.parts.any(axis=(1, 2)).sum()) for sample in samples}
    assert 0 not in counts
    assert len(PARTS) in counts
    assert len(counts) > 1


def test_only_chosen_faces_are_drawn(faces: FaceSet) -> None:
    data = tiny_preset().data
    crop = faces.face(5)[0]
    alone = SampleMaker(faces, [5], data, SIZE)
    for index in range(3):
        target = alone.make(0, index).target
        assert np.array_equal(target, crop) or np.array_equal(target, crop[:, ::-1])
