"""Suspect frames: found, explained, merged, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from broken_results import BAD, Break, nothing, painted, pairs, run
from face_clips import FPS

from fapvideo.evaluation.definitions import Definition
from fapvideo.evaluation.measure import Metric, Suspect
from fapvideo.evaluation.metrics.expression import Expression
from fapvideo.evaluation.metrics.outside import Outside
from fapvideo.evaluation.metrics.seam import Seam
from fapvideo.evaluation.metrics.suspects import MOST, RULES, find_suspects
from fapvideo.evaluation.metrics.temporal import Temporal
from fapvideo.evaluation.views import FaceView
from fapvideo.progress import clock
from fapvideo.structs import Bytes, Floats

GROUPS = (Temporal, Seam, Outside, Expression)
DEFINITIONS = tuple(one for group in GROUPS for one in group.definitions)
FRAMES = 200
TIMES = [index / 25 for index in range(FRAMES)]


def brighter_once(index: int, rgb: Bytes, face: FaceView) -> Floats | Bytes:
    return painted(rgb, face, face.hole, 6.0) if index == BAD else rgb


def hard_border(index: int, rgb: Bytes, face: FaceView) -> Floats:
    """A reddish part with a hard border, from one frame on."""
    return painted(rgb, face, face.mask, np.array([14.0, 0.0, -14.0])) if index >= BAD else rgb


def suspects_of(damage: Break) -> list[Suspect]:
    metrics: tuple[Metric, ...] = (Temporal(), Seam(), Outside(), Expression())
    frames = pairs(damage)
    curves: dict[str, list[float | None]] = {}
    for metric in metrics:
        for key, points in run(metric, frames)[1].items():
            curves[key] = [points.get(pair.index) for pair in frames]
    return find_suspects([pair.time_s for pair in frames], curves, DEFINITIONS)


def curve(level: float, **bad: float) -> list[float | None]:
    """Return a calm curve about `level`; `at12=5` puts 5 at frame 12."""
    calm = level * (1 + 0.03 * np.sin(np.arange(FRAMES)))
    for name, value in bad.items():
        calm[int(name[2:])] = value
    return [float(value) for value in calm]


@pytest.mark.slow
def test_doing_nothing_is_not_suspicious() -> None:
    assert suspects_of(nothing) == []


@pytest.mark.slow
def test_a_flickering_frame_is_found_and_explained() -> None:
    (only,) = suspects_of(brighter_once)
    assert abs(only.index - BAD) <= 1
    assert only.metric == "temporal.luma.mask"
    assert only.reason.startswith("brightness flicker: ")
    assert f"times the source's at {clock(BAD / FPS)}" in only.reason
    assert "also flicker" in only.reason


@pytest.mark.slow
def test_a_seam_that_stays_is_reported_with_the_jump_it_begins_with() -> None:
    (only,) = suspects_of(hard_border)
    assert abs(only.index - BAD) <= 1
    assert only.reason.startswith("colour flicker: ")
    assert f"visible seam (from {clock(BAD / FPS)} to {clock(23 / FPS)})" in only.reason


def test_the_reason_tells_the_number_and_the_time() -> None:
    (only,) = find_suspects(TIMES, {"seam.colour": curve(0.8, at81=3.3)}, DEFINITIONS)
    assert only == Suspect(
        81, 3.24, "visible seam: 3.3 dE, 4.1 times the clip's median, at 0:03.24", "seam.colour"
    )


def test_bad_throughout_is_one_suspect_because_of_the_limit() -> None:
    (only,) = find_suspects(TIMES, {"seam.colour": curve(9.0)}, DEFINITIONS)
    assert "from 0:00.00 to 0:07.96" in only.reason


def test_a_little_unusual_is_not_worth_a_look() -> None:
    calm = {"temporal.luma.mask": curve(1.0, at50=1.5), "expression.pose": curve(0.1, at60=1.0)}
    assert find_suspects(TIMES, calm, DEFINITIONS) == []


def test_what_is_better_than_usual_is_not_suspicious() -> None:
    curves = {
        "outside.psnr": curve(40.0, at50=90.0),
        "seam.colour": curve(2.0, at50=0.0),
        "temporal.warp.mask": curve(1.4, at50=0.1),
    }
    assert find_suspects(TIMES, curves, DEFINITIONS) == []


def test_psnr_is_bad_when_it_is_low() -> None:
    (only,) = find_suspects(TIMES, {"outside.psnr": curve(44.0, at9=20.0)}, DEFINITIONS)
    assert only.reason == "loss outside the part: 20 dB at 0:00.36"


def test_a_single_changed_sample_outside_is_reported() -> None:
    (only,) = find_suspects(TIMES, {"outside.changed": curve(0.0, at9=1.0)}, DEFINITIONS)
    assert only.reason == "changed samples outside the part: 1 samples/frame at 0:00.36"


def test_moments_are_merged_and_ranked() -> None:
    curves = {
        "temporal.luma.mask": curve(1.0, at50=5.0, at120=30.0),
        "seam.colour": curve(0.5, at52=3.0),
    }
    found = find_suspects(TIMES, curves, DEFINITIONS)
    assert [suspect.index for suspect in found] == [120, 50]
    assert found[1].reason.endswith("; also visible seam")


def test_there_are_never_more_than_a_person_looks_at() -> None:
    many = {f"at{index}": 10.0 + index / 100 for index in range(5, 195, 8)}
    found = find_suspects(TIMES, {"temporal.luma.mask": curve(1.0, **many)}, DEFINITIONS)
    assert len(found) == MOST
    assert 5 not in {suspect.index for suspect in found}


def test_curves_without_a_rule_are_judged_by_their_outliers() -> None:
    own = Definition("similarity.*", "Likeness", "", "higher", "Made up.", "own", curve=True)
    (only,) = find_suspects(TIMES, {"similarity.nose": curve(0.8, at33=0.2)}, (own,))
    assert (only.index, only.metric) == (33, "similarity.nose")
    assert only.reason == "likeness: 0.2 at 0:01.32"
    assert find_suspects(TIMES, {"unknown": curve(1, at33=50.0)}, (own,)) == []


@pytest.mark.parametrize("values", [[], [None] * FRAMES, [1.0] * FRAMES])
def test_empty_and_constant_curves_have_no_outliers(values: Sequence[float | None]) -> None:
    times = TIMES[: len(values)]
    assert find_suspects(times, {"temporal.luma.mask": values}, DEFINITIONS) == []


def test_every_rule_belongs_to_a_curve() -> None:
    known = {one.key: one for one in DEFINITIONS if one.curve}
    assert set(RULES) == set(known)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0:00.00"), (3.24, "0:03.24"), (59.999, "1:00.00"), (754.5, "12:34.50")],
)
def test_clock(seconds: float, text: str) -> None:
    assert clock(seconds) == text
