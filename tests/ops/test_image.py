from itertools import pairwise

import numpy as np
import pytest

from fapvideo.ops.image import (
    as_rgb,
    blur,
    luma,
    reduced,
    reduction,
    resize,
    signed_distance,
    smoothstep,
    soft_edge,
    window_of,
)

RNG = np.random.default_rng(5)


def star(size, points=9, seed=0):
    """Return a closed polygon that is not convex."""
    rng = np.random.default_rng(seed)
    angles = np.linspace(0, 2 * np.pi, points, endpoint=False)
    radius = size * rng.uniform(0.15, 0.42, points)
    return np.stack([np.cos(angles), np.sin(angles)], -1) * radius[:, None] + size / 2


def brute_force(polygon, size):
    """Sample the outline densely and count crossings of a ray: slow and plain."""
    closed = np.concatenate([polygon, polygon[:1]])
    steps = np.linspace(0, 1, 400)[:, None]
    outline = np.concatenate([a + (b - a) * steps for a, b in pairwise(closed)])
    out = np.empty((size, size))
    for row in range(size):
        for column in range(size):
            p = np.array([column + 0.5, row + 0.5])
            crossings = 0
            for a, b in pairwise(closed):
                if (a[1] > p[1]) != (b[1] > p[1]):
                    x = a[0] + (p[1] - a[1]) / (b[1] - a[1]) * (b[0] - a[0])
                    crossings += x > p[0]
            distance = np.sqrt(((outline - p) ** 2).sum(1).min())
            out[row, column] = -distance if crossings % 2 else distance
    return out


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("direction", [1, -1])
def test_distance_agrees_with_brute_force(seed, direction):
    polygon = star(40, seed=seed)[::direction]
    found = signed_distance([polygon], 40)
    np.testing.assert_allclose(found, brute_force(polygon, 40), atol=0.02)


def test_large_pictures_agree_near_the_outline():
    """Above 64 px the distance is enlarged from a coarse grid."""
    size = 256
    polygon = np.array([[60.3, 70.0], [190.0, 81.0], [170.0, 200.0], [75.0, 180.0]])
    found = signed_distance([polygon], size)
    small = brute_force(polygon / 4, 64) * 4
    assert np.abs(found[2::4, 2::4] - small).max() < 3  # half a coarse cell, other centres
    steps = [np.abs(np.diff(found, axis=axis)).max() for axis in (0, 1)]
    assert max(steps) < 1.6, "a distance grows by about a pixel per pixel"
    edge = found[128] < 0
    left = 60.3 + (128.5 - 70) / 110 * 14.7
    assert np.flatnonzero(edge)[0] == pytest.approx(left, abs=0.75)


@pytest.mark.parametrize("size", [64, 200])
def test_the_area_follows_the_outline_by_fractions_of_a_pixel(size):
    """A polygon that slides by a tenth of a pixel never lets a mask pop."""
    polygon = star(size, 14, seed=1)
    masks = [
        soft_edge(signed_distance([polygon + np.array([0.1, 0.05]) * i], size), 0.0, 0.05 * size)
        for i in range(30)
    ]
    steps = [np.abs(b - a).max() for a, b in pairwise(masks)]
    assert max(steps) < 0.11 * 1.5 * 1.2 / (0.05 * size)  # slope of the S is 1.5 at most
    y, x = np.mgrid[0:size, 0:size] + 0.5
    centres = [np.array([(m * x).sum(), (m * y).sum()]) / m.sum() for m in masks]
    moves = np.diff(centres, axis=0)
    np.testing.assert_allclose(moves, np.tile([0.1, 0.05], (29, 1)), atol=0.02)


def test_union_takes_the_nearer_outline_and_nothing_is_far():
    a, b = star(60, seed=2) * 0.5, star(60, seed=3) * 0.5 + 28
    both = signed_distance([a, b], 60)
    np.testing.assert_allclose(
        both, np.minimum(signed_distance([a], 60), signed_distance([b], 60)), atol=1e-5
    )
    assert signed_distance([], 8).min() > 1e5


@pytest.mark.parametrize("size", [48, 256, 300])
@pytest.mark.parametrize("reach", [0.0, 17.0])
def test_within_reach_nothing_changes_and_beyond_it_is_far(size, reach):
    """Small polygons, one of them half outside the picture, one wholly."""
    small = [star(size, seed=5) * 0.2 + np.array(at) * size for at in ((0.3, 0.2), (0.9, 0.5))]
    polygons = [*small, star(size, seed=6) + 3 * size]
    whole, near = signed_distance(polygons, size), signed_distance(polygons, size, reach)
    within = whole <= reach
    assert 0.01 < within.mean() < 0.7
    np.testing.assert_array_equal(near[within], whole[within])
    assert near[~within].min() > reach


def test_a_polygon_that_is_a_line_or_a_point_has_no_inside():
    line = np.array([[5.0, 5.0], [15.0, 10.0], [5.0, 5.0]])
    assert signed_distance([line], 20).min() >= 0
    point = signed_distance([np.full((4, 2), 10.0)], 20)
    assert np.isfinite(point).all()
    assert point.min() >= 0


def test_soft_edge_is_one_then_falls_to_zero():
    distance = np.linspace(-5, 5, 101)
    edge = soft_edge(distance, 1.0, 2.0)
    assert (edge[distance <= 1] == 1).all()
    assert (edge[distance >= 3] == 0).all()
    assert (np.diff(edge) <= 0).all()
    assert soft_edge(np.array([2.0]), 1.0, 2.0)[0] == pytest.approx(0.5)
    hard = soft_edge(np.array([-1e-3, 1e-3]), 0.0, 0.0)
    assert hard.tolist() == [1, 0]


def test_smoothstep_joins_without_a_kink():
    t = np.array([-1, 0, 0.5, 1, 2], float)
    assert smoothstep(t).tolist() == [0, 0, 0.5, 1, 1]
    assert smoothstep(np.array([1e-3]))[0] < 1e-5


def test_blur_keeps_the_sum_and_small_sigmas_do_nothing():
    image = RNG.uniform(size=(30, 40)).astype(np.float32)
    assert blur(image, 0.1) is image
    spot = np.zeros((41, 41), np.float32)
    spot[20, 20] = 1
    soft = blur(spot, 3.0)
    assert soft.sum() == pytest.approx(1, abs=1e-3)
    x = np.arange(41) - 20
    assert (soft * x**2).sum() == pytest.approx(9, rel=0.05)
    assert blur(np.ones((20, 20), np.float32), 5).min() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("sigma", [1.0, 6.0, 20.0])
def test_a_blur_in_a_window_is_that_of_the_whole_picture(sigma):
    """A window starts where a reduced picture's pixel starts, and its margin holds the blur."""
    image = RNG.uniform(size=(384, 320)).astype(np.float32)
    mask = np.zeros_like(image)
    mask[187:230, 149:180] = 0.5
    window = window_of(mask, 4 * sigma + 2 * reduction(sigma, image.shape))
    assert image[window].size < 0.6 * image.size
    seen = mask[window] > 0
    assert seen.sum() == (mask > 0).sum()
    np.testing.assert_allclose(
        blur(image[window], sigma)[seen], blur(image, sigma)[mask > 0], atol=2e-4
    )


def test_a_window_stays_in_the_picture():
    mask = np.zeros((40, 30), np.float32)
    assert mask[window_of(mask, 3)].shape == (40, 30), "nothing to look at: all of it"
    mask[39, 0] = 1
    assert window_of(mask, 5) == (slice(32, 48), slice(0, 16))
    assert mask[window_of(mask, 5)].shape == (8, 16)


def test_a_reduced_picture_shows_the_same_in_fewer_pixels():
    image = RNG.uniform(size=(32, 48, 3)).astype(np.float32)
    np.testing.assert_allclose(
        reduced(image, 4), image.reshape(8, 4, 12, 4, 3).mean(axis=(1, 3)), atol=1e-5
    )
    assert reduced(image[..., 0], 5).shape == (7, 10)
    factors = [reduction(sigma, (256, 256)) for sigma in (1, 4, 4.1, 9, 30, 1e6)]
    assert factors == [1, 1, 2, 4, 8, 32], "eight pixels are always left"


def test_a_plane_as_a_picture():
    plane = RNG.uniform(size=(5, 7)).astype(np.float32)
    np.testing.assert_array_equal(as_rgb(plane), np.repeat(plane[..., None], 3, axis=-1))


def test_luma_is_that_of_bt709():
    colours = np.eye(3, dtype=np.float32)
    np.testing.assert_allclose(luma(colours), [0.2126, 0.7152, 0.0722], atol=1e-6)
    assert luma(np.ones(3, np.float32)) == pytest.approx(1)


def test_resize_averages_down_and_keeps_its_own_size():
    image = RNG.uniform(size=(32, 32, 3)).astype(np.float32)
    assert resize(image, 32) is image
    small = resize(image, 8)
    np.testing.assert_allclose(small, image.reshape(8, 4, 8, 4, 3).mean(axis=(1, 3)), atol=1e-5)
    assert resize(image, 64).shape == (64, 64, 3)
