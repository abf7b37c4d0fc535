"""Thresholds that are shipped: they name metrics that exist, and doing nothing misses them."""

from __future__ import annotations

import pytest

from fapvideo.config.evaluation import Threshold, load_eval_preset
from fapvideo.errors import PresetError
from fapvideo.evaluation.measure import Measurement
from fapvideo.evaluation.metrics.groups import all_definitions
from fapvideo.evaluation.report.judging import check_keys, missed

SUITES = ("smoke", "standard")


def measurement(system: str = "mine", **values: float) -> Measurement:
    """Return a measurement of one clip; `__` in a name stands for a dot."""
    named = {key.replace("__", "."): value for key, value in values.items()}
    return Measurement(system, "talk", "a.mkv", "b.mkv", ("mouth",), 2, 2, named, (0.0, 0.04), {})


@pytest.mark.parametrize("suite", SUITES)
def test_shipped_thresholds_name_metrics_that_exist(suite: str) -> None:
    thresholds = load_eval_preset(suite).thresholds
    assert thresholds
    check_keys(thresholds, all_definitions())
    with pytest.raises(PresetError, match="no metric is called that"):
        check_keys({"seam.color": Threshold(max=1.0)}, all_definitions())


@pytest.mark.parametrize("suite", SUITES)
def test_doing_nothing_misses_what_it_should_and_only_that(suite: str) -> None:
    """A copy is perfect by every other measure."""
    perfect = measurement(
        success=0.0,
        edit__strength=0.0,
        temporal__warp__mask=1.0,
        temporal__warp__outside=1.0,
        temporal__luma__mask=1.0,
        seam__colour=0.0,
        seam__gradient=0.0,
        outside__changed=0.0,
        outside__psnr=100.0,
        expression__mouth_open__r=1.0,
        expression__mouth_open__error=0.0,
        expression__pose=0.0,
        truth__psnr=100.0,
    )
    lines = missed([perfect], load_eval_preset(suite).thresholds, ["mine"])
    assert [line.split()[2] for line in lines] == ["success", "edit.strength"]


def test_a_star_stands_for_one_piece_and_bounds_are_included() -> None:
    found = measurement(success__eyes=0.5, success__mouth=0.1, success=0.0)
    lines = missed([found], {"success.*": Threshold(min=0.5)}, ["mine"])
    assert lines == ["mine, talk: success.mouth is 0.1, wanted at least 0.5"]


def test_only_the_systems_in_question_are_judged_and_silence_counts_where_it_should() -> None:
    found = [measurement("paste", success=0.0), measurement("mine", seam__colour=1.0)]
    bounds = {"success": Threshold(min=0.5)}
    assert missed(found, bounds, ["mine"]) == ["mine: success was not measured"]
    assert missed(found, bounds, ["mine"], strict=False) == []
    assert len(missed(found, bounds, ["paste"])) == 1
