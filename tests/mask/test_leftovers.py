"""What of old parts lies beside their outlines is found and covered; hair of the head is not."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from portrait import posed

from fapvideo.config.schema import MaskConfig
from fapvideo.mask.leftovers import SIZE, LeftoverSearch, grown
from fapvideo.mask.parts import part_masks
from fapvideo.ops import mesh
from fapvideo.ops.geometry import transform
from fapvideo.ops.pose import CROP_INTEROCULAR, crop_matrix, head_pose
from fapvideo.structs import Bytes, Floats

IOD = CROP_INTEROCULAR * SIZE
SKIN, HAIR = (206, 170, 150), (60, 44, 36)
PARTS = ("eyes", "brows", "mouth")


@pytest.fixture(scope="module")
def landmarks() -> Floats:
    shape = posed().astype(np.float32)
    return transform(crop_matrix(head_pose(shape), SIZE), shape)


def bare(landmarks: Floats) -> Bytes:
    """Return a face of skin, with brows as wide as the mesh draws them."""
    picture = np.full((SIZE, SIZE, 3), SKIN, np.uint8)
    for ring in mesh.outlines("brows"):
        cv2.fillPoly(picture, [np.round(landmarks[list(ring), :2]).astype(np.int32)], HAIR)
    return picture


def outer_end(landmarks: Floats) -> Floats:
    """Return where the right brow, on the picture's left, ends."""
    ring = landmarks[list(mesh.outlines("brows")[0]), :2]
    return ring[ring[:, 0].argmin()]


def with_tail(landmarks: Floats, length: float) -> Bytes:
    """Return that face with a tail on the right brow, `length` inter-ocular distances long."""
    picture, (x, y) = bare(landmarks), outer_end(landmarks)
    end = round(float(x - length * IOD)), round(float(y + 0.1 * length * IOD))
    cv2.line(picture, (round(float(x)) + 2, round(float(y))), end, HAIR, round(0.06 * IOD))
    return picture


def holes(picture: Bytes, landmarks: Floats) -> tuple[Floats, Floats]:
    """Return the holes of the brows without and with what was found."""
    search = LeftoverSearch(PARTS)
    for index in range(3):
        search.look(index, picture, landmarks)
    lines = grown(landmarks, search.finish(), IOD)
    found = [
        part_masks([landmarks], ["brows"], MaskConfig(), SIZE, IOD, beyond).hole
        for beyond in ({}, lines)
    ]
    return found[0], found[1]


def test_a_strong_brow_is_covered_to_its_upper_edge(landmarks: Floats) -> None:
    picture = bare(landmarks)
    ring = landmarks[list(mesh.outlines("brows")[0]), :2]
    for up in np.linspace(0.0, 0.12, 8):
        raised = np.round(ring - np.array([0.0, up * IOD])).astype(np.int32)
        cv2.fillPoly(picture, [raised], HAIR)
    plain, covered = holes(picture, landmarks)
    top = ring[ring[:, 1].argmin()] - np.array([0.0, 0.12 * IOD])
    at = round(float(top[1])), round(float(top[0]))
    assert covered[at] > 0.9
    assert plain[at] < 0.6
    half = SIZE // 2
    assert np.abs(covered - plain)[:, half + 10 :].max() < 0.3, "the left brow is a weak one"


def test_brows_as_the_mesh_draws_them_stay_as_they_are(landmarks: Floats) -> None:
    plain, covered = holes(bare(landmarks), landmarks)
    assert np.abs(covered - plain).mean() < 0.004


def test_hair_that_does_not_end_is_no_brow(landmarks: Floats) -> None:
    plain, covered = holes(with_tail(landmarks, 0.6), landmarks)
    x, y = outer_end(landmarks) - np.array([0.2, -0.02]) * IOD
    assert covered[round(float(y)), round(float(x))] == plain[round(float(y)), round(float(x))]


def test_what_is_there_in_few_frames_is_none_of_the_face(landmarks: Floats) -> None:
    search = LeftoverSearch(("brows",))
    for index in range(5):
        search.look(index, with_tail(landmarks, 0.1) if index == 2 else bare(landmarks), landmarks)
    often = LeftoverSearch(("brows",))
    often.look(0, with_tail(landmarks, 0.1), landmarks)
    assert search.finish()["brows"].max() < 0.5 * often.finish()["brows"].max()
