"""The line between the lips: the target's own, and none of the reference's."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from portrait import posed

from fapvideo.guide.lips import draw_line, without_line
from fapvideo.ops import mesh
from fapvideo.structs import Floats

SIZE = 256
SKIN, LIPS, LINE = (0.8, 0.6, 0.5), (0.7, 0.35, 0.35), (0.25, 0.1, 0.1)
EVERYWHERE = np.ones((SIZE, SIZE), np.float32)


def face(*, parted: float = 0.0) -> Floats:
    """Return [478, 3] a face whose lips are so many inter-ocular distances apart."""
    points = posed(scale=90.0, at=(128.0, 100.0))
    upper, lower = points[list(mesh.LIPS_INNER)][1:10], points[list(mesh.LIPS_INNER)][11:][::-1]
    middle = (upper + lower) / 2
    apart = np.array([0.0, parted * 90.0 / 2, 0.0], np.float32)
    ring = list(mesh.LIPS_INNER)
    points[ring[1:10]], points[ring[11:][::-1]] = middle - apart, middle + apart
    return points


def painted(points: Floats, *, line: bool, beyond: float = 0.08) -> Floats:
    """Return a picture of it, with a dark line from beyond one corner to beyond the other."""
    picture = np.empty((SIZE, SIZE, 3), np.float32)
    picture[:] = SKIN
    outer = np.round(points[list(mesh.LIPS_OUTER), :2] * 16).astype(np.int32)
    cv2.fillPoly(picture, [outer], LIPS, cv2.LINE_AA, 4)
    if line:
        inner = points[list(mesh.LIPS_INNER)][:11, :2]
        left, right = points[61, :2], points[291, :2]
        reach = beyond * 90.0 * (right - left) / np.linalg.norm(right - left)
        way = np.concatenate([[left - reach], inner, [right + reach]])
        cv2.polylines(picture, [np.round(way * 16).astype(np.int32)], False, LINE, 2,
                      cv2.LINE_AA, 4)  # fmt: skip
    return picture


def along(picture: Floats, points: Floats, offset: float) -> Floats:
    """Return the darkest colour across the line at a corner, `offset` inter-ocular beyond it."""
    x, y = points[291, :2] + [offset * 90.0, 0.0]
    column = picture[round(y) - 6 : round(y) + 7, round(x)]
    return column[column.sum(axis=1).argmin()]


def test_a_photo_loses_its_line_and_keeps_its_lips() -> None:
    points = face()
    bare = without_line(painted(points, line=True), points)
    wanted = painted(points, line=False)
    assert np.abs(bare - wanted).max() < 0.25
    assert along(bare, points, 0.05).min() > 0.9 * SKIN[2]
    far = np.abs(np.arange(SIZE) - points[13, 1]) > 0.2 * 90
    np.testing.assert_array_equal(bare[far], painted(points, line=True)[far])


def test_a_photo_without_a_line_stays_as_it_is() -> None:
    points = face()
    plain = painted(points, line=False)
    assert np.abs(without_line(plain, points) - plain).mean() < 2e-3


@pytest.mark.parametrize("offset", [-0.4, 0.05])
def test_lips_that_touch_get_the_targets_line_up_to_beyond_the_corners(offset: float) -> None:
    points = face()
    guide = painted(points, line=False)
    before = along(guide, points, offset).sum()
    draw_line(guide, painted(points, line=True), points, EVERYWHERE, 90.0)
    assert along(guide, points, offset).sum() < 0.65 * before
    assert np.isfinite(guide).all()


def test_open_lips_get_it_at_the_corners_alone() -> None:
    points = face(parted=0.3)
    guide = painted(points, line=False)
    given = guide.copy()
    draw_line(guide, painted(points, line=True), points, EVERYWHERE, 90.0)
    x = points[13, 0]
    middle = slice(round(x - 10), round(x + 10))
    np.testing.assert_array_equal(guide[:, middle], given[:, middle])
    assert along(guide, points, 0.05).sum() < 0.75 * sum(SKIN)


def test_nothing_is_drawn_where_the_guide_is_not_shown() -> None:
    points = face()
    guide = painted(points, line=False)
    given = guide.copy()
    draw_line(guide, painted(points, line=True), points, 0 * EVERYWHERE, 90.0)
    np.testing.assert_array_equal(guide, given)


def test_where_the_warp_makes_stairs_there_is_a_soft_edge() -> None:
    """Two lips that read far-off places meet in whole pixels."""
    points = face()
    stairs = painted(points, line=False)
    y = round(float(points[13, 1]))
    stairs[y:, 100:150] = 0.9
    stairs[:y, 100:150] = 0.3
    target = painted(points, line=False)
    soft = stairs.copy()
    draw_line(soft, target, points, EVERYWHERE, 90.0)
    steps = [
        np.abs(np.diff(one[y - 5 : y + 5, 110:140, 0], axis=0)).max() for one in (stairs, soft)
    ]
    assert steps[1] < 0.75 * steps[0]
