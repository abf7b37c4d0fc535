"""Seam metrics against seams of known strength."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache

import cv2
import numpy as np
import pytest
from broken_results import Break, Curves, nothing, painted, pairs, run

from fapvideo.evaluation.metrics.seam import Seam, seams
from fapvideo.evaluation.views import SIDE, FaceView
from fapvideo.structs import Bytes, Floats

TINT = np.array([10.0, 0.0, -10.0])


def tinted(index: int, rgb: Bytes, face: FaceView) -> Floats:
    """A hard border: the whole mask is a little redder."""
    return painted(rgb, face, face.mask, TINT)


def feathered(index: int, rgb: Bytes, face: FaceView) -> Floats:
    """The same with a soft border."""
    return painted(rgb, face, face.hole, TINT)


def faded_wide(index: int, rgb: Bytes, face: FaceView) -> Floats:
    """The same, faded over so wide a band that no border can be seen."""
    soft = cv2.GaussianBlur(face.hole, (0, 0), 24)
    return painted(rgb, face, soft, TINT)


def tinted_everywhere(index: int, rgb: Bytes, face: FaceView) -> Floats:
    return rgb + TINT


def larger(index: int, rgb: Bytes, face: FaceView) -> Floats:
    """A hard border 4 px beyond the nominal mask, as a larger new part makes."""
    return painted(rgb, face, cv2.dilate(face.mask.astype(np.uint8), np.ones((9, 9))), TINT)


def one_eye(index: int, rgb: Bytes, face: FaceView) -> Floats:
    left = face.mask & (np.arange(SIDE) > SIDE / 2) & (np.arange(SIDE)[:, None] < SIDE / 2)
    return painted(rgb, face, left, TINT)


def flatter(index: int, rgb: Bytes, face: FaceView) -> Floats:
    """Less contrast in the whole picture: all steps are the source's own, and weaker."""
    return 0.7 * rgb + 0.3 * rgb.reshape(-1, 3).mean(axis=0)


@cache
def measured(damage: Break) -> tuple[Mapping[str, float], Curves]:
    return run(Seam(), pairs(damage)[::3])


def true_step() -> float:
    """Return the mean colour difference that `TINT` makes on this skin, CIE76."""
    face = pairs()[0].faces[0]
    colours = face.source[face.mask][None].astype(np.float32)
    before, after = (
        cv2.cvtColor((c / 255).astype(np.float32), cv2.COLOR_RGB2Lab)
        for c in (colours, colours + TINT)
    )
    return float(np.linalg.norm(after - before, axis=2).mean())


def test_doing_nothing_has_no_seam() -> None:
    values, curves = measured(nothing)
    assert values == pytest.approx({"seam.colour": 0, "seam.gradient": 0}, abs=1e-6)
    assert {one.key for one in Seam.definitions} == set(values) == set(curves)


def test_a_tinted_part_has_the_step_that_was_painted() -> None:
    assert measured(tinted)[0]["seam.colour"] == pytest.approx(true_step(), rel=0.2)


@pytest.mark.slow
def test_the_softer_the_border_the_smaller_the_step() -> None:
    hard, soft, none = (measured(b)[0] for b in (tinted, feathered, faded_wide))
    assert hard["seam.colour"] > 1.15 * soft["seam.colour"]
    assert hard["seam.gradient"] > 2 * soft["seam.gradient"]
    assert soft["seam.colour"] > 2.5 * none["seam.colour"]


def test_a_picture_tinted_throughout_has_no_seam() -> None:
    values, _ = measured(tinted_everywhere)
    assert values["seam.colour"] < 0.1 * true_step()


def test_a_border_beyond_the_nominal_mask_is_found() -> None:
    assert measured(larger)[0]["seam.colour"] == pytest.approx(true_step(), rel=0.3)


def test_a_seam_at_one_eye_counts_by_its_length() -> None:
    part, whole = measured(one_eye)[0]["seam.colour"], measured(tinted)[0]["seam.colour"]
    assert 0.08 * whole < part < 0.6 * whole


def test_less_contrast_than_the_source_is_no_seam() -> None:
    values, _ = measured(flatter)
    assert values["seam.colour"] < 0.4
    assert values["seam.gradient"] < 0.05


def test_a_face_at_the_frames_edge_is_measured_where_it_is_visible() -> None:
    face = pairs(tinted)[0].faces[0]
    whole = seams(face)
    inside = np.zeros((SIDE, SIDE), bool)
    inside[:, : SIDE // 2] = True
    cut = replace(face)
    cut.__dict__["inside_frame"] = inside
    assert seams(cut)["seam.colour"] == pytest.approx(whole["seam.colour"], rel=0.25)
    cut = replace(face)
    cut.__dict__["inside_frame"] = np.zeros_like(inside)
    assert seams(cut) == {}
