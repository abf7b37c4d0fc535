"""Expression following: results whose expression is known to the last landmark."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache

import cv2
import numpy as np
import pytest
from broken_results import FRAMES, Curves, drawn, face_mesh, motion, nothing, pairs, run
from face_clips import one_face

from fapvideo.evaluation.metrics.expression import LEAST_MOTION, SIGNALS, Expression
from fapvideo.evaluation.views import SIDE, FaceView, FramePair
from fapvideo.ops.geometry import warp
from fapvideo.ops.pose import expression, head_pose
from fapvideo.structs import Bytes, Floats
from fapvideo.synth.motion import Motion

Result = tuple[Mapping[str, float], Curves]
Moves = Callable[[int], Motion]


def frozen_mouth(index: int) -> Motion:
    return replace(motion(index), mouth_open=0.05)


def late(index: int) -> Motion:
    """Do everything three frames too late."""
    return motion(index - 3)


def never_blinking(index: int) -> Motion:
    return replace(motion(index), blink=0.0)


def turning(index: int) -> Motion:
    """Turn the head besides what the source does."""
    return replace(motion(index), yaw_deg=motion(index).yaw_deg + 6 * float(np.sin(index / 3)))


def nodding(index: int) -> Motion:
    return replace(motion(index), pitch_deg=motion(index).pitch_deg + 5 * float(np.sin(index / 3)))


@cache
def measured(moves: Moves) -> Result:
    def redrawn(index: int, rgb: Bytes, face: FaceView) -> Bytes:
        return drawn(moves(index))[0]

    return run(Expression(), pairs(redrawn))


@cache
def true_landmarks(moves: Moves) -> list[Floats]:
    return [drawn(moves(index))[1] for index in range(FRAMES)]


def truth(moves: Moves, name: str) -> tuple[float, float]:
    """Return the true error and correlation of one signal."""
    result, source = (
        np.array([expression(points)[name] for points in true_landmarks(which)])
        for which in (moves, motion)
    )
    apart = result - source
    error = float(np.abs(apart - np.median(apart)).mean())
    return error, float(np.corrcoef(result, source)[0, 1])


def true_pose_error(moves: Moves) -> float:
    turns = []
    for result, source in zip(true_landmarks(moves), true_landmarks(motion), strict=True):
        turn = head_pose(result).rotation @ head_pose(source).rotation.T
        turns.append(np.degrees(cv2.Rodrigues(turn)[0][:, 0]))
    return float(np.linalg.norm(turns - np.median(turns, axis=0), axis=1).mean())


def test_doing_nothing_follows_exactly() -> None:
    values, curves = run(Expression(), pairs(nothing))
    moving = {key.split(".")[1] for key in values if key.endswith(".r")}
    assert moving >= {"mouth_open", "eye_open", "brow_height"}, "what the speaker does most"
    assert [values[f"expression.{name}.r"] for name in moving] == pytest.approx([1.0] * len(moving))
    assert {v for key, v in values.items() if not key.endswith(".r")} == {0.0}
    assert set(values) <= {one.key for one in Expression.definitions}
    assert set(curves) == {one.key for one in Expression.definitions if one.curve}


@pytest.mark.slow
@pytest.mark.parametrize(
    "moves",
    [
        pytest.param(frozen_mouth, id="frozen"),
        pytest.param(late, id="late", marks=pytest.mark.slow),
    ],
)
def test_a_mouth_that_does_not_follow_has_the_error_it_has_in_truth(moves: Moves) -> None:
    values, _ = measured(moves)
    error, r = truth(moves, "mouth_open")
    assert values["expression.mouth_open.error"] == pytest.approx(error, rel=0.2)
    assert values["expression.mouth_open.r"] < 0.3 > r
    # Of so small a motion (a hundredth of the eye distance) the mesh shows seven to nine tenths.
    width, _ = truth(moves, "smile")
    assert 0.65 * width < values["expression.smile.error"] < 1.2 * width


def test_only_the_mouth_is_to_blame_for_a_frozen_mouth() -> None:
    values, curves = measured(frozen_mouth)
    assert values["expression.eye_open.r"] > 0.98
    assert values["expression.eye_open.error"] < 0.004
    wide_open = max(range(FRAMES), key=lambda index: motion(index).mouth_open or 0.0)
    curve = curves["expression.mouth_open.error"]
    assert curve[wide_open] > 0.8 * max(curve.values())


@pytest.mark.slow
def test_eyes_that_do_not_blink_are_noticed() -> None:
    """The eye net shows a bit more than half of what lids really move."""
    values, curves = measured(never_blinking)
    error, _ = truth(never_blinking, "eye_open")
    assert 0.45 * error < values["expression.eye_open.error"] < error
    assert values["expression.eye_open.r"] < 0.3
    assert values["expression.mouth_open.r"] > 0.98
    blink = max(range(FRAMES), key=lambda index: motion(index).blink)
    assert curves["expression.eye_open.error"][blink] > 0.05


@pytest.mark.slow
@pytest.mark.parametrize(
    "moves",
    [
        pytest.param(turning, id="turning", marks=pytest.mark.slow),
        pytest.param(nodding, id="nodding"),
    ],
)
def test_a_head_that_turns_otherwise_has_the_pose_error_it_has_in_truth(moves: Moves) -> None:
    """The mesh shows six to ten tenths of a turn of the flat portrait."""
    values, _ = measured(moves)
    expected = true_pose_error(moves)
    assert expected > 1.8
    assert 0.5 * expected < values["expression.pose"] < 1.1 * expected
    assert values["expression.mouth_open.r"] > 0.95


def shifted(pair: FramePair, change: Floats) -> FramePair:
    """Return `pair` with the result's measured landmarks moved, in inter-ocular distances."""
    (face,) = pair.faces
    pose = head_pose(face.measured_result)
    moved = face.measured_result + pose.turn(change)
    return replace(pair, faces=(replace(face, measured_result=moved),))


def test_another_shape_at_rest_is_no_wrong_expression() -> None:
    thicker_lips = np.zeros((478, 3))
    thicker_lips[14, 1] = 0.05  # the lower lip hangs lower, always
    values, _ = run(Expression(), [shifted(pair, thicker_lips) for pair in pairs()])
    assert values["expression.mouth_open.error"] < 0.006
    assert values["expression.mouth_open.r"] > 0.99


@pytest.mark.slow
def test_what_hardly_moves_has_no_correlation() -> None:
    """A still face with picture noise: five times less than a correlation needs."""
    generator = np.random.default_rng(0)
    rgb, _ = one_face(0)
    frames = []
    (face,) = pairs()[0].faces
    for index, pair in enumerate(pairs()):
        both = []
        for _ in range(2):
            noisy = np.clip(rgb + generator.normal(0, 4, rgb.shape), 0, 255).astype(np.uint8)
            crop = warp(noisy, face.matrix, (SIDE, SIDE))
            both.append(face_mesh().from_landmarks(crop, face.landmarks).landmarks)
        view = replace(face, measured_source=both[0], measured_result=both[1])
        frames.append(replace(pair, index=index, faces=(view,)))
    values, _ = run(Expression(), frames)
    assert not [key for key in values if key.endswith(".r")]
    for name in SIGNALS:
        spread = np.std([expression(p.faces[0].measured_source)[name] for p in frames])
        assert spread < LEAST_MOTION[name] / 3, name


def test_few_frames_say_nothing() -> None:
    assert run(Expression(), pairs()[:5]) == ({}, {})
