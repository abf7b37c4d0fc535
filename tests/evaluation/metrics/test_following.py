"""Full movement: results that do less, other or later than their source, known to the frame."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from broken_results import Curves, drawn, motion, nothing, pairs, run

from fapvideo.evaluation.metrics.following import Following
from fapvideo.evaluation.metrics.movements import (
    COUNT,
    NAMES,
    blink_events,
    centred,
    fit,
    gaze_errors,
    lag,
    matched,
    reading,
)
from fapvideo.evaluation.views import FaceView
from fapvideo.ops import mesh
from fapvideo.structs import Bytes, Floats
from fapvideo.synth.motion import Motion, close_eyes
from fapvideo.track.coefficients import CoefficientNet

Result = tuple[Mapping[str, float], Curves]
JUDGES = ("follower", "older")


def frozen_mouth(index: int) -> Motion:
    return replace(motion(index), mouth_open=0.05, smile=0.0)


def half_blinks(index: int) -> Motion:
    return replace(motion(index), blink=0.5 * motion(index).blink)


def as_filmed(index: int) -> Motion:
    return motion(index)


@cache
def measured(moves: Callable[[int], Motion]) -> Result:
    """Measure a result that does `moves`, beside the source that does `motion`."""
    if moves is as_filmed:
        return run(Following(), pairs(nothing))

    def redrawn(index: int, rgb: Bytes, face: FaceView) -> Bytes:
        return drawn(moves(index))[0]

    return run(Following(), pairs(redrawn))


@pytest.mark.slow
def test_doing_nothing_follows_exactly() -> None:
    values, curves = measured(as_filmed)
    for judge in JUDGES:
        assert values[f"{judge}.all.r"] == pytest.approx(1.0)
        assert values[f"{judge}.all.slope"] == pytest.approx(1.0)
        assert values[f"{judge}.gaze.error"] == 0.0 < values[f"{judge}.gaze.floor"] < 0.05
        assert 0.9 < values[f"{judge}.floor.r"] < 1.0, "the judge's own noise is not nothing"
    assert values["blinks.precision"] == values["blinks.recall"] == 1.0
    assert abs(values["lag.frames"]) < 0.01
    assert curves["signal.jawOpen"] == curves["signal_source.jawOpen"]
    assert all(any(one.fits(key) for one in Following.definitions) for key in (*values, *curves))


@pytest.mark.slow
def test_a_frozen_mouth_is_seen_by_both_judges_and_nothing_else_is_blamed() -> None:
    values, _ = measured(frozen_mouth)
    for judge in JUDGES:
        assert values[f"{judge}.mouth.r"] < 0.5
        assert values[f"{judge}.mouth.slope"] < 0.3
    assert values["follower.eyes.r"] > 0.95
    assert values["blinks.recall"] == 1.0


@pytest.mark.slow
def test_blinks_that_half_happen_are_missed() -> None:
    values, _ = measured(half_blinks)
    assert values["blinks.recall"] == 0.0
    for judge in JUDGES:
        assert values[f"{judge}.eyes.slope"] < 0.75
    assert values["follower.mouth.slope"] == pytest.approx(1.0, abs=0.1)


# ------------------------------------------------------------------ known movements, no pictures


def looking(shift: float) -> Floats:
    """Return the mean face with both irises moved by `shift` eye widths to the viewer's right."""
    face = mesh.canonical().copy()
    width = np.linalg.norm(face[33] - face[133])
    face[list(mesh.IRISES), 0] += shift * width
    return face


def readings(faces: list[Floats]) -> Floats:
    net = CoefficientNet()
    return np.stack([reading(face, net(400 * face + 500)) for face in faces])


def test_a_mirrored_gaze_goes_red() -> None:
    swing = 0.25 * np.sin(np.linspace(0, 6, 30))
    source = readings([looking(s) for s in swing])
    mirrored = readings([looking(-s) for s in swing])
    assert fit(centred(source), centred(source))["gaze"] == pytest.approx((1.0, 1.0))
    assert fit(centred(mirrored), centred(source))["gaze"][0] < -0.5
    assert gaze_errors(source, source).max() == 0.0
    assert gaze_errors(mirrored, source).mean() == pytest.approx(
        2 * np.abs(swing - np.median(swing)).mean(), rel=0.15
    )


def test_the_gaze_behind_shut_lids_does_not_count() -> None:
    faces, wild = [], []
    for i in range(30):
        face, other = looking(0.0), looking(0.0)
        if 10 <= i < 15:
            other = looking(0.4)
            for one in (face, other):
                close_eyes(one, 0.9)
        faces.append(face)
        wild.append(other)
    assert gaze_errors(readings(wild), readings(faces)).max() < 1e-4


def test_left_is_the_persons_left() -> None:
    """Closing the person's left eye, which is the viewer's right one, raises the left blink."""
    open_face, wink = looking(0.0), looking(0.0)
    close_eyes(wink, 1.0)
    wink[wink[:, 0] < 0] = open_face[wink[:, 0] < 0]
    before, after = readings([open_face, wink])
    left, right = (NAMES.index(f"eyeBlink{side}") for side in ("Left", "Right"))
    assert after[left] - before[left] > 0.4
    assert abs(after[right] - before[right]) < 0.15
    assert after[NAMES.index("leftOpen")] < 0.02 < after[NAMES.index("rightOpen")]


def test_blinks_are_events_with_hysteresis() -> None:
    values = np.array([0, 0.2, 0.6, 0.45, 0.55, 0.1, 0, 0, 0.9, 0.9, 0.3, 0.6])
    assert blink_events(values) == [(2, 4), (8, 9), (11, 11)]
    assert matched([(2, 4), (20, 21)], [(6, 8)]) == 1


def test_a_late_result_has_its_lag() -> None:
    times = np.arange(50)
    moves = np.zeros((50, COUNT))
    moves[:, 25] = np.exp(-((times - 20) ** 2) / 30) + 0.6 * np.exp(-((times - 38) ** 2) / 12)
    late = np.roll(moves, 3, axis=0)
    assert lag(late, moves) == pytest.approx(3.0, abs=0.1)
    assert lag(moves, moves) == pytest.approx(0.0, abs=0.01)
    assert lag(np.zeros_like(moves), np.zeros_like(moves)) is None
