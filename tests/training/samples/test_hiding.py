"""Samples for the net that sees occluders: the labels are what was drawn, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from portrait import astronaut, astronaut_face

from fapvideo.ops import mesh
from fapvideo.ops.geometry import transform, warp
from fapvideo.ops.pose import crop_matrix, head_pose
from fapvideo.training.samples.hiding import KINDS, Portrait, filmed, veil

SIZE = 128


def portrait(glasses: bool = False) -> Portrait:
    matrix = crop_matrix(head_pose(astronaut_face().landmarks), SIZE)
    crop = warp(astronaut(), matrix, (SIZE, SIZE))
    return Portrait(crop, transform(matrix, astronaut_face().landmarks), glasses)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_labelled_is_what_was_drawn(kind: str) -> None:
    face = portrait()
    for seed in range(3):
        sample = veil(np.random.default_rng(seed), face, [face], kind)
        hidden = sample.kept > 0.5
        if kind == "none":
            assert not hidden.any()
            continue
        changed = np.abs(sample.picture.astype(int) - face.crop).max(axis=-1) > 3
        if kind != "person":  # who is the same person here
            assert hidden.any()
            assert (changed[hidden]).mean() > 0.6
        assert (sample.worn > 0.5).any() == (kind == "eyewear") or kind == "eyewear"
        again = filmed(np.random.default_rng(seed), sample)
        assert again.picture.shape == (SIZE, SIZE, 3)
        assert again.picture.dtype == np.uint8


def test_lenses_do_not_hide_an_eye() -> None:
    """Frames do; most glasses let most of the eyes be seen."""
    face, seen = portrait(), []
    irises = np.round(face.points[[mesh.RIGHT_IRIS[0], mesh.LEFT_IRIS[0]], :2]).astype(int)
    for seed in range(24):
        sample = veil(np.random.default_rng(seed), face, [face], "eyewear")
        assert sample.kept.max() > 0.3
        seen += [float(sample.kept[y, x]) < 0.5 for x, y in irises]
    assert np.mean(seen) > 0.7


def test_real_glasses_are_neither_skin_nor_glasses() -> None:
    worn, bare = (portrait(glasses) for glasses in (True, False))
    x, y = np.round(bare.points[168, :2]).astype(int)
    rng = np.random.default_rng
    assert veil(rng(0), bare, [bare], "none").weight[y, x] > 0.9
    assert veil(rng(0), worn, [worn], "none").weight[y, x] == 0.0
    mouth = np.round(bare.points[14, :2]).astype(int)
    assert veil(rng(0), worn, [worn], "none").weight[mouth[1], mouth[0]] > 0.9
