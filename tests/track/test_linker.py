import numpy as np
import pytest

from fapvideo.track.linker import associate


def boxes(*rows):
    return np.array(rows, np.float32).reshape(-1, 4)


def test_the_best_pairing_as_a_whole_is_taken():
    """The nearest box of the first face is the only one within reach of the second."""
    tracked = boxes((0, 0, 100, 100), (40, 0, 140, 100))
    found = boxes((30, 0, 130, 100), (-45, 0, 55, 100))
    assert associate(tracked, found) == [(0, 1), (1, 0)]


def test_the_order_of_the_boxes_does_not_matter():
    rng = np.random.default_rng(0)
    corners = rng.uniform(0, 2000, (7, 2)).astype(np.float32)
    tracked = np.concatenate([corners, corners + 60], axis=1)
    order = rng.permutation(7)
    found = (tracked + rng.uniform(-8, 8, (7, 1)).astype(np.float32))[order]
    assert {(i, int(order[j])) for i, j in associate(tracked, found)} == {(i, i) for i in range(7)}


@pytest.mark.parametrize(("shift", "paired"), [(0, True), (30, True), (60, False), (400, False)])
def test_what_is_too_far_away_is_another_face(shift, paired):
    tracked = boxes((0, 0, 100, 100))
    assert bool(associate(tracked, tracked + np.float32(shift))) is paired


def test_none_and_one():
    one = boxes((0, 0, 10, 10))
    assert associate(boxes(), one) == associate(one, boxes()) == []
    assert associate(one, one) == [(0, 0)]
