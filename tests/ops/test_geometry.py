import cv2
import numpy as np
import pytest

from fapvideo.ops.geometry import (
    fit_similarity,
    invert,
    iou,
    scale_of,
    similarity_matrix,
    transform,
    warp,
)

RNG = np.random.default_rng(3)


def turned(degrees, scale, shift):
    """Return a [2, 3] similarity."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[scale * c, -scale * s, shift[0]], [scale * s, scale * c, shift[1]]])


def texture(height=48, width=64, channels=3):
    """Return a smooth random picture in [0, 1]."""
    noise = RNG.uniform(size=(height, width, channels)).astype(np.float32)
    return cv2.GaussianBlur(noise, (0, 0), 2.0) * 4 - 1.5


@pytest.mark.parametrize("degrees", [-170, -90, 0, 3, 45, 179])
def test_a_known_similarity_is_recovered(degrees):
    matrix = turned(degrees, 1.7, (12, -5))
    source = RNG.normal(size=(9, 2))
    found = similarity_matrix(source, transform(matrix, source))
    np.testing.assert_allclose(found, matrix, atol=1e-5)


def test_a_known_similarity_in_space_is_recovered():
    turn = cv2.Rodrigues(np.array([0.3, -0.8, 0.4]))[0]
    source = RNG.normal(size=(20, 3))
    scale, rotation, shift = fit_similarity(source, 0.6 * source @ turn.T + [1, 2, 3])
    assert scale == pytest.approx(0.6)
    np.testing.assert_allclose(rotation, turn, atol=1e-9)
    np.testing.assert_allclose(shift, [1, 2, 3], atol=1e-9)


@pytest.mark.parametrize("dimensions", [2, 3])
def test_a_mirrored_target_never_gives_a_reflection(dimensions):
    source = RNG.normal(size=(30, dimensions))
    mirrored = source * np.array([-1.0] + [1.0] * (dimensions - 1))
    _, rotation, _ = fit_similarity(source, mirrored)
    assert np.linalg.det(rotation) == pytest.approx(1)


def test_a_point_of_no_weight_has_no_say():
    matrix = turned(20, 2, (3, 4))
    source = RNG.normal(size=(12, 2))
    target = transform(matrix, source)
    target[5] += 100
    weights = np.ones(12)
    weights[5] = 0
    np.testing.assert_allclose(similarity_matrix(source, target, weights), matrix, atol=1e-5)
    assert not np.allclose(similarity_matrix(source, target), matrix, atol=1)


def test_inverse_and_scale():
    matrix = turned(33, 1.7, (12, -5))
    points = RNG.normal(size=(7, 2)) * 50
    np.testing.assert_allclose(
        transform(invert(matrix), transform(matrix, points)), points, atol=1e-4
    )
    assert scale_of(matrix) == pytest.approx(1.7)


def test_depth_is_scaled_and_not_shifted():
    moved = transform(turned(90, 2.0, (10, 20)), np.array([[1.0, 0.0, 5.0]]))
    np.testing.assert_allclose(moved, [[10, 22, 10]], atol=1e-6)


# ----------------------------------------------------------------------------------- warp


def test_identity_returns_the_very_picture():
    image = texture()
    np.testing.assert_array_equal(warp(image, turned(0, 1, (0, 0)), (64, 48)), image)


@pytest.mark.parametrize("shift", [(5, 3), (-4, 7), (0, -2)])
def test_a_shift_by_whole_pixels_is_exact(shift):
    image = (texture() * 255).clip(0, 255).astype(np.uint8)
    moved = warp(image, turned(0, 1, shift), (64, 48), border=cv2.BORDER_CONSTANT)
    dx, dy = shift
    rows, columns = np.mgrid[0:48, 0:64]
    inside = (rows - dy >= 0) & (rows - dy < 48) & (columns - dx >= 0) & (columns - dx < 64)
    expected = np.where(inside[..., None], np.roll(image, (dy, dx), (0, 1)), 0)
    np.testing.assert_array_equal(moved, expected)


def test_a_quarter_turn_is_exact():
    """About the corner of a pixel: the origin is there, not in a pixel's middle."""
    image = texture(48, 48)
    turned_picture = warp(image, turned(90, 1, (48, 0)), (48, 48))
    np.testing.assert_allclose(turned_picture, np.rot90(image, -1), atol=1e-5)


def test_doubling_puts_each_pixel_on_four():
    """With the origin in the corner, pixel (x, y) covers [2x, 2x + 2): nearest shows it."""
    image = np.arange(12, dtype=np.float32).reshape(3, 4)
    double = warp(image, turned(0, 2, (0, 0)), (8, 6), interpolation=cv2.INTER_NEAREST)
    np.testing.assert_array_equal(double, image.repeat(2, 0).repeat(2, 1))


def test_up_and_down_again_comes_back():
    image = texture()
    up = turned(7, 3, (40, 30))
    large = warp(image, up, (280, 240), interpolation=cv2.INTER_CUBIC)
    back = warp(large, invert(up), (64, 48))
    assert np.abs(back - image)[6:-6, 6:-6].max() < 0.03


@pytest.mark.parametrize("scale", [0.45, 0.3, 0.2, 0.11])
def test_shrinking_averages_and_stays_in_place(scale):
    """Fine stripes go to grey instead of aliasing, and an edge stays where it was."""
    stripes = np.zeros((400, 401, 1), np.float32)
    stripes[:, ::2] = 1
    small = warp(stripes, turned(0, scale, (0, 0)), (round(400 * scale), round(400 * scale)))
    assert np.abs(small[2:-2, 2:-2] - 0.5).max() < 0.12
    step = np.zeros((400, 401), np.float32)
    step[:, 150:] = 1
    size = round(400 * scale)
    row = warp(step, turned(0, scale, (0, 0)), (size, size))[size // 2]
    assert size - row.sum() == pytest.approx(150 * scale, abs=0.3)


def test_intersection_over_union():
    a = [(0, 0, 10, 10)]
    b = [(0, 0, 10, 10), (5, 0, 15, 10), (20, 20, 30, 30), (2, 2, 4, 4), (9, 9, 9, 9)]
    b += [(10, 0, 20, 10), (2, 2, 7, 6), (3, 3, 3, 3)]
    want = [1, 1 / 3, 0, 0.04, 0, 0, 0.2, 0]
    for dtype in (np.float32, np.float64):
        found = iou(np.array(a, dtype), np.array(b, dtype))
        np.testing.assert_allclose(found, [want], rtol=1e-6, atol=1e-12)
        np.testing.assert_array_equal(iou(b, a), iou(a, b).T)
    assert iou(a, []).shape == (1, 0)
