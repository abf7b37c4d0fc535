import numpy as np
import pytest
from portrait import posed

from fapvideo.guide.choose import choose_references
from fapvideo.ops.pose import expression
from fapvideo.parts import PARTS


def face(**changed):
    """Return the measures of a neutral face, with changes."""
    return {"mouth_open": 0.0, "smile": 0.7, "eye_open": 0.2, "brow_height": 0.5, "gaze_x": 0.0,
            "gaze_y": 0.0, **changed}  # fmt: skip


def mouths(*openings):
    return [face(mouth_open=value) for value in openings]


def test_one_reference_is_always_taken():
    assert choose_references("mouth", mouths(0, 0.5, 0.2), mouths(0.9), 0.1).tolist() == [0, 0, 0]


def test_the_nearest_expression_is_taken():
    chosen = choose_references("mouth", mouths(0, 0.1, 0.4, 0.5, 0), mouths(0, 0.5), 0.0)
    assert chosen.tolist() == [0, 0, 1, 1, 0]
    assert choose_references("mouth", mouths(0.6), mouths(0, 0.5), 0.3).tolist() == [1]


def test_hysteresis_keeps_the_choice_from_flapping():
    """Speech that hovers between two references: without it the choice changes every frame."""
    hovering = mouths(*(0.25 + 0.03 * (-1) ** i for i in range(20)))
    free = choose_references("mouth", hovering, mouths(0, 0.5), 0.0)
    calm = choose_references("mouth", hovering, mouths(0, 0.5), 0.15)
    assert np.abs(np.diff(free)).sum() == 19
    assert np.abs(np.diff(calm)).sum() == 0
    opening = mouths(0, 0.25, 0.3, 0.45, 0.3, 0.25, 0.1)
    away = choose_references("mouth", opening, mouths(0, 0.5), 0.15)
    assert away.tolist() == [0, 0, 0, 1, 1, 1, 0]


@pytest.mark.parametrize("part", PARTS)
def test_a_part_looks_at_its_own_measures_only(part):
    assert set(PARTS[part].expression) <= set(face())
    irrelevant = set(face()) - set(PARTS[part].expression)
    for key in irrelevant:
        frames, given = [face(**{key: 9.0})], [face(), face(**{key: 9.0})]
        assert choose_references(part, frames, given, 0.0).tolist() == [0]
    for key in PARTS[part].expression:
        frames, given = [face(**{key: 9.0})], [face(), face(**{key: 9.0})]
        assert choose_references(part, frames, given, 0.0).tolist() == [1]


def test_the_measures_are_those_of_expression():
    assert set(expression(posed())) == set(face())
