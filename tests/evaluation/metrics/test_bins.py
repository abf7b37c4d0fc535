"""Curves by head turn and occlusion."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from broken_results import pairs

from fapvideo.evaluation.measure import Measurement
from fapvideo.evaluation.metrics.bins import Bin, Conditions, by_condition


def measured(**curves: list[float | None]) -> Measurement:
    """Return a measurement with these curves (`_` in a name stands for a dot)."""
    named = {key.replace("_", "."): tuple(values) for key, values in curves.items()}
    count = len(next(iter(named.values())))
    return Measurement(
        system="a", clip="b", source="c", result="d", parts=("eyes",), frames=count,
        face_frames=count, values={}, times_s=[0.0] * count, curves=named,
    )  # fmt: skip


def means(bins: tuple[Bin, ...], condition: str, key: str) -> dict[str, float]:
    return {one.label: one.means[key] for one in bins if one.condition == condition}


def test_a_fault_in_turned_frames_shows_in_their_bin_alone() -> None:
    bins = by_condition(
        [measured(pose_yaw=[0.0, -9.9, 10.0, -19.0, 34.9, -60.0], seam=[1, 1, 1, 1, 1, 7])]
    )
    assert means(bins, "pose.yaw", "seam") == {
        "0-10°": 1.0, "10-20°": 1.0, "20-35°": 1.0, "35° and more": 7.0,
    }  # fmt: skip
    assert [one.frames for one in bins] == [2, 2, 1, 1]


def test_covered_faces_are_apart_from_free_ones() -> None:
    bins = by_condition([measured(presence=[0.99, 0.95, 0.7, 0.2], seam=[1, 3, 5, 9])])
    assert means(bins, "presence", "seam") == {"free": 2.0, "doubtful": 5.0, "covered": 9.0}


def test_frames_without_a_face_or_a_value_lie_in_no_bin() -> None:
    bins = by_condition([measured(pose_yaw=[1.0, None, 2.0], seam=[4.0, 100.0, None])])
    assert [(one.label, one.frames) for one in bins] == [("0-10°", 2)]
    assert bins[0].means == {"seam": 4.0}


def test_several_clips_are_weighed_by_frames() -> None:
    clips = [
        measured(pose_yaw=[1.0, 1.0, 1.0], seam=[1.0, 1.0, 1.0]),
        measured(pose_yaw=[2.0], seam=[5.0]),
    ]
    assert means(by_condition(clips), "pose.yaw", "seam") == {"0-10°": 2.0}


def test_a_clip_without_conditions_has_no_bins() -> None:
    assert by_condition([measured(seam=[1.0])]) == ()


def test_conditions_are_the_sources_own() -> None:
    pair = pairs()[0]
    (view,) = pair.faces
    hard = replace(view, yaw_deg=-40.0, presence=0.3)
    metric = Conditions()
    assert metric.update(pair) == {"pose.yaw": view.yaw_deg, "presence": view.presence}
    assert metric.update(replace(pair, faces=(view, hard))) == {"pose.yaw": -40.0, "presence": 0.3}
    assert metric.update(replace(pair, faces=())) == {}
    assert metric.summary() == {}
    assert math.isfinite(view.yaw_deg)
    assert view.presence > 0.9
    for definition in Conditions.definitions:
        assert definition.curve
    assert pytest.approx(view.yaw_deg, abs=15) == 0
