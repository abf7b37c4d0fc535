"""A stronger, weaker or other expression, in numbers."""

import numpy as np
import pytest
from portrait import posed

from fapvideo.config.schema import GuideConfig
from fapvideo.guide.shape import guide_landmarks, moves_of, shape_weights
from fapvideo.ops import mesh
from fapvideo.ops.pose import expression, head_pose
from fapvideo.synth.motion import Motion, expressed

ALL = ("eyes", "brows", "nose", "mouth")


def measured(motion, parts=ALL, **config):
    """Return the guide's expression where the target does `motion`."""
    guide = GuideConfig.model_validate(config)
    landmarks = posed(head=expressed(mesh.canonical(), motion))
    pose = head_pose(landmarks)
    weights = shape_weights(guide.shape, parts)
    neutral = mesh.canonical()
    points = guide_landmarks(landmarks, pose, neutral, neutral, weights, moves_of(guide, parts))
    return expression(points)


@pytest.mark.parametrize(
    ("signal", "moves", "part"),
    [
        ("mouth_open", Motion(mouth_open=0.25), "mouth"),
        ("smile", Motion(smile=0.8), "mouth"),
        ("brow_height", Motion(brows=0.4), "brows"),
    ],
)
def test_a_gain_scales_its_parts_expression(signal, moves, part):
    rest = measured(Motion())[signal]
    usual = measured(moves)[signal] - rest
    assert abs(usual) > 0.02
    for gain in (0.0, 0.5, 1.2):
        found = measured(moves, expression={part: gain})[signal] - rest
        assert found / usual == pytest.approx(gain, abs=0.17)


def test_a_part_that_is_not_swapped_keeps_its_expression():
    config = {"expression": {"mouth": 0.0}}
    usual = measured(Motion(mouth_open=0.25), ("eyes",))
    kept = measured(Motion(mouth_open=0.25), ("eyes",), **config)
    assert kept["mouth_open"] == pytest.approx(usual["mouth_open"], abs=1e-4)


@pytest.mark.parametrize(
    ("offset", "signal", "change"),
    [
        ({"smile": 0.5}, "smile", 0.09),
        ({"mouth_open": 0.1}, "mouth_open", 0.1),
        ({"eyes_open": 0.3}, "eye_open", 0.04),
        ({"brows_up": 0.5}, "brow_height", 0.04),
    ],
)
def test_an_offset_moves_its_signal_and_no_other(offset, signal, change):
    before, after = measured(Motion()), measured(Motion(), offsets=offset)
    moved = {name: after[name] - before[name] for name in after}
    assert moved.pop(signal) == pytest.approx(change, rel=0.35)
    assert max(map(abs, moved.values())) < 0.35 * change


def test_nothing_asked_changes_nothing():
    moves = moves_of(GuideConfig(), ALL)
    assert moves.idle
    assert not moves.move_lips
    landmarks = posed(head=expressed(mesh.canonical(), Motion(smile=0.5)))
    pose, weights = head_pose(landmarks), np.zeros(478, np.float32)
    given = guide_landmarks(landmarks, pose, mesh.canonical(), mesh.canonical(), weights, moves)
    np.testing.assert_array_equal(given, landmarks)
