"""Timecode counts as another program counts, drop frames included."""

from __future__ import annotations

from fractions import Fraction

import pytest

from fapvideo.layers.numbers import Numbers, Timecode

NTSC = Fraction(30000, 1001)


@pytest.mark.parametrize("rate", [NTSC, 2 * NTSC])
def test_drop_frame_as_opentimelineio_has_it(rate: Fraction) -> None:
    opentime = pytest.importorskip("opentimelineio").opentime
    for frames in (0, 1799, 1800, 17981, 17982, 17983, 107891, 107892, 2589407):
        ours, fps = Timecode(frames, round(rate), drop=True), float(rate)
        theirs = opentime.to_timecode(opentime.RationalTime(frames, fps), fps, True)
        assert str(ours) == theirs
        assert Timecode.parse(theirs, rate) == ours


def test_a_clip_that_begins_later_has_later_numbers() -> None:
    numbers = Numbers.of(Fraction(25), 4.0, "01:00:00:00")
    assert numbers.number(3) == 103
    assert str(numbers.timecode(3)) == "01:00:04:03"
    assert str(numbers.timecode(25 * 60 * 60 * 23)) == "00:00:04:00", "after a day it begins anew"


@pytest.mark.parametrize("text", ["", "1:2:3", "01:61:00:00", "01:00:00:25", "soon"])
def test_what_is_no_timecode_is_none(text: str) -> None:
    assert Numbers.of(Fraction(25), 0.0, text).timecode(0) is None
