"""The sheet of everybody: who is on it, what speaks against them, and a file that is whole."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from portrait import astronaut_face

from fapvideo.config.schema import RunPreset
from fapvideo.errors import VideoWriteError
from fapvideo.plan.decide import decide
from fapvideo.plan.people import CastReader
from fapvideo.plan.targets import Plan
from fapvideo.run.people_sheet import describe_people, draw_sheet, write_sheet
from fapvideo.run.sources import FrameSource
from fapvideo.structs import Track


def a_track(number: int, first: int, frames: int, scale: float, lost: int = 0) -> Track:
    shape = (astronaut_face().landmarks * scale).astype(np.float32)
    faults = ("not_measured",) * lost + ("",) * (frames - lost)
    presence = np.array([0.0] * lost + [1.0] * (frames - lost), np.float32)
    return Track(
        number, first, np.stack([shape] * frames), presence, np.zeros(frames, np.float32),
        shape, faults,
    )  # fmt: skip


def a_plan() -> Plan:
    """Person 0 is there twice and lost for two frames, person 1 small; 0 is to be swapped."""
    tracks = a_track(0, 0, 4, 1.0, lost=2), a_track(1, 0, 10, 0.1), a_track(2, 6, 4, 1.0)
    plan = Plan(np.arange(10) / 5, (), tracks, (), people={0: 0, 1: 1, 2: 0})
    preset = RunPreset()
    return decide(plan, preset, CastReader().bystanders(preset), 64)


def source() -> FrameSource:
    return FrameSource(np.full((10, 240, 320, 3), (200, 120, 90), np.uint8), 5)


def test_everybody_has_a_card_with_what_speaks_against_them():
    small, twice = describe_people(a_plan())
    assert (small.person, small.cast) == (1, "not asked for")
    assert any(line.startswith("small (under 20 px): 100%") for line in small.against)
    assert (twice.person, twice.cast) == (0, "swapped")
    assert [track.id for track in twice.tracks] == [0, 2]
    assert "no face was measured here: 2 of 8 frames" in twice.against
    assert any("0:00.00-0:00.60, 0:01.20-0:01.80" in line for line in twice.lines)
    assert len(twice.shots) == 5
    assert all(frame >= 2 for frame, _ in twice.shots), "no moment without a measurement"


def test_the_sheet_is_a_png_with_a_row_each(tmp_path):
    path = tmp_path / "faces.png"
    write_sheet(path, source(), a_plan())
    assert [p.name for p in tmp_path.iterdir()] == ["faces.png"]
    sheet = cv2.imread(str(path))[..., ::-1]
    lone = draw_sheet(source(), Plan(np.arange(10) / 5, (), (), ()))
    assert sheet.shape[0] == lone.shape[0] + 216
    assert (lone < 200).any(), "it says that nobody is there"
    filled = np.abs(sheet.astype(int) - (200, 120, 90)).max(axis=-1) < 4
    assert filled.sum() > 2 * (192**2 + 4 * 128**2) * 0.5
    with pytest.raises(VideoWriteError, match="cannot write"):
        write_sheet(tmp_path / "absent" / "faces.png", source(), a_plan())
