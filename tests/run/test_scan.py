"""Scanning: what is hard is found where it is, calm clips have nothing, suggestions are valid."""

from __future__ import annotations

import tomllib
from fractions import Fraction

import face_clips
import numpy as np
import pytest
from runs import preset

from fapvideo.config.schema import RunPreset
from fapvideo.run.advice import advise, spans_toml
from fapvideo.run.difficulties import DIFFICULTIES, Spot, difficulties
from fapvideo.run.scan import scan
from fapvideo.run.sources import open_source
from fapvideo.structs import REASONS

SLOW = {"rate": Fraction(5)}
"""Frames a second, so that every frame of a short clip is a look."""


@pytest.fixture(scope="module")
def scanned(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scan")

    def run(name, **changes):
        path = face_clips.face_clip(folder, name, **changes)
        settings = preset()
        return scan(open_source(path, settings.video), settings)

    return run


@pytest.mark.slow
def test_a_calm_clip_and_a_cut_have_nothing_hard(scanned):
    found = scanned("one_face", **SLOW)
    assert (found.looks, found.every, found.faces) == (24, 1, 1)
    assert found.spans == ()
    assert found.toml() == ""
    found = scanned("cut", **SLOW)
    assert found.spans == ()
    assert found.cuts_s == (2.4,)


def test_few_frames_of_an_ordinary_clip_are_looked_at(scanned):
    found = scanned("one_face")
    assert (found.looks, found.every) == (4, 6)
    assert found.spans == ()


@pytest.mark.slow
def test_a_covered_face_is_found_where_it_is(scanned):
    """Frames 10 to 14 are covered, at 5 frames a second that is 2.0 to 3.0 s."""
    found = scanned("occluded", **SLOW)
    lost = found.spans[0]
    assert lost.codes == {"not_measured": 5}
    assert (lost.start_s, lost.end_s) == pytest.approx((2.0, 3.0), abs=0.3)
    assert all(span.start_s > 1.6 and span.end_s < 3.4 for span in found.spans), "and beside it"
    fits(found.toml())


@pytest.mark.slow
def test_a_face_that_leaves_is_found_where_it_does(scanned):
    """It moves out from frame 2 on, is away from 10 to 19, and back at 27."""
    found = scanned("leaving", **SLOW)
    away = [s for s in found.spans if {"not_measured", "leaves_frame", "cut_off"} & set(s.codes)]
    assert away
    assert all(span.start_s > 0.4 and span.end_s < 5.6 for span in found.spans)
    assert min(span.start_s for span in away) < 2.2


def test_without_a_face_that_is_said(scanned):
    found = scanned("no_face", frames=3)
    assert (found.spans, found.faces) == ((), 0)
    assert found.warnings == ("no face was found at any look",)
    assert found.to_dict()["spans"] == []


# ------------------------------------------------------------------------ without a video


def spot(**changes) -> Spot:
    grey = np.full((32, 32, 3), 128, np.uint8)
    usual = {"centre": np.zeros(2), "interocular_px": 50.0, "yaw_deg": 0.0, "presence": 1.0,
             "sharpness": 400.0, "outside": 0.0, "crop": grey}  # fmt: skip
    return Spot(**{**usual, **changes})


def test_each_difficulty_is_seen_and_no_other():
    dark, bright, mouth = (np.full((32, 32, 3), 128, np.uint8) for _ in range(3))
    dark[..., 0], bright[..., 0], mouth[20:29, 10:22, 1] = 30, 250, 220
    cases = {
        "near_profile": {"yaw_deg": -45.0},
        "unsure": {"presence": 0.8},
        "small": {"interocular_px": 12.0},
        "cut_off": {"outside": 0.3},
        "fast": {"centre": np.array([60.0, 0.0])},
        "dark": {"crop": dark},
        "bright": {"crop": bright},
        "mouth_covered": {"crop": mouth},
    }
    times = np.arange(9) / 5
    for code, change in cases.items():
        spots = {i: spot() for i in range(9)}
        spots[4] = spot(**change)
        found = difficulties(spots, times, RunPreset().mask)
        assert found[4] == {code}
        assert all(not found[i] for i in (0, 1, 2, 3, 6, 7, 8)), code


def fits(text: str) -> RunPreset:
    """Return the preset that has the suggested spans; it is valid."""
    tables = preset().model_dump(mode="json", exclude={"spans"}, exclude_none=True)
    return RunPreset.model_validate({**tables, **tomllib.loads(text)})


def test_every_suggestion_can_be_put_into_a_preset():
    for code in (*REASONS, *DIFFICULTIES):
        for seconds in (0.3, 2.0):
            advice = advise({code: 2}, seconds, RunPreset())
            assert advice.words
            fits(spans_toml([(1.0, 1.0 + seconds, advice.tables)]))
            if advice.key:
                key, _, value = advice.key.partition("=")
                table, name = key.split(".")
                assert RunPreset.model_validate({table: {name: value}}) != RunPreset()


def test_suggestions_that_overlap_are_joined_and_the_presets_own_spans_left():
    hold, fade = {"mask": {"policy": "hold"}}, {"guide": {"light": 1.0}}
    found = fits(spans_toml([(1, 3, hold), (2, 5, fade)], taken=[(4, 4.5)]))
    assert [(s.from_s, s.to_s, s.mask, s.guide) for s in found.spans] == [
        (1.0, 2.0, {"policy": "hold"}, {}),
        (2.0, 3.0, {"policy": "hold"}, {"light": 1.0}),
        (3.0, 4.0, {}, {"light": 1.0}),
        (4.5, 5.0, {}, {"light": 1.0}),
    ]
