import cv2
import numpy as np
import pytest
from portrait import astronaut, astronaut_face

from fapvideo.guide.sharpness import fineness, match_sharpness
from fapvideo.ops.geometry import warp
from fapvideo.ops.image import blur, luma
from fapvideo.ops.pose import CROP_INTEROCULAR, crop_matrix, head_pose

SIZE = 160
IOD = CROP_INTEROCULAR * SIZE


@pytest.fixture(scope="module")
def face():
    """The astronaut's aligned crop, sharp for its size, with some grain."""
    matrix = crop_matrix(head_pose(astronaut_face().landmarks), SIZE)
    crop = warp(
        astronaut().astype(np.float32) / 255, matrix, (SIZE, SIZE), interpolation=cv2.INTER_CUBIC
    )
    grain = np.random.default_rng(0).normal(0, 0.02, (SIZE, SIZE, 1))
    return (crop + grain).astype(np.float32)


@pytest.fixture(scope="module")
def weights():
    y, x = np.mgrid[0:SIZE, 0:SIZE] / SIZE - 0.5
    return (np.hypot(x, y) < 0.3).astype(np.float32)


@pytest.mark.parametrize("sigma", [0.8, 1.5, 2.5])
def test_a_soft_frame_gets_a_part_as_soft(face, weights, sigma):
    """The very face, blurred: the reference is blurred about as much."""
    target = blur(face, sigma)
    matched = match_sharpness(face, target, weights, 1.0, IOD)
    inside = weights > 0
    assert np.abs(matched - target)[inside].mean() < 0.45 * np.abs(face - target)[inside].mean()


def test_a_larger_crop_is_blurred_by_more_pixels(face, weights):
    """Everything is measured in eye distances."""

    def larger(picture):
        return cv2.resize(picture, None, fx=3, fy=3, interpolation=cv2.INTER_CUBIC)

    target = larger(blur(face, 2.0))
    matched = match_sharpness(larger(face), target, larger(weights), 1.0, 3 * IOD)
    inside = larger(weights) > 0.5
    assert (
        np.abs(matched - target)[inside].mean() < 0.5 * np.abs(larger(face) - target)[inside].mean()
    )


def test_a_sharp_frame_leaves_the_reference_alone(face, weights):
    soft = blur(face, 1.5)
    assert match_sharpness(soft, face, weights, 1.0, IOD) is soft
    np.testing.assert_array_equal(match_sharpness(face, face, weights, 1.0, IOD), face)


def test_amount_zero_changes_nothing_and_half_less(face, weights):
    target = blur(face, 2.0)
    none, half, full = (match_sharpness(face, target, weights, a, IOD) for a in (0.0, 0.5, 1.0))
    np.testing.assert_array_equal(none, face)
    change = [np.abs(picture - face).mean() for picture in (half, full)]
    assert 0 < change[0] < change[1]


def test_contrast_and_brightness_do_not_count_as_softness(face, weights):
    """A dark, flat frame is not a soft one."""
    dull = 0.3 + 0.25 * face
    matched = match_sharpness(face, dull, weights, 1.0, IOD)
    assert np.abs(matched - face).mean() < 0.004


def test_fineness_falls_with_blur_and_not_with_scale(face, weights):
    grey = luma(face)
    found = [fineness(blur(grey, sigma), weights, 1.0) for sigma in (0.0, 0.7, 1.4, 2.8)]
    assert found == sorted(found, reverse=True)
    assert fineness(0.1 * grey, weights, 1.0) == pytest.approx(found[0], rel=1e-3)
    assert fineness(np.zeros_like(grey), weights, 1.0) == 0
