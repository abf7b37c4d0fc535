"""Two rendered heads that differ in nothing but the nose: metrics must say so, and no more."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest
from broken_results import PARTS, face_mesh
from face_clips import read_rgb
from portrait import measuring_finder

from fapvideo.config.schema import MaskConfig
from fapvideo.evaluation.metrics.features import PartFeatures
from fapvideo.evaluation.metrics.seam import seams
from fapvideo.evaluation.views import FaceView, face_view
from fapvideo.ops.pose import expression
from fapvideo.structs import Bytes, Floats

HEADS = Path(__file__).parents[2] / "data" / "parametric_heads.png"


@cache
def heads() -> tuple[Bytes, Bytes]:
    """Return the head, and the same with another nose (scripts/make_parametric_heads.py)."""
    both = read_rgb(HEADS)
    return both[:, :256].copy(), both[:, 256:].copy()


@cache
def view(parts: tuple[str, ...] = PARTS) -> FaceView:
    """Return the second head as a result made of the first."""
    source, result = heads()
    (face,) = measuring_finder()(source)
    return face_view(source, result, face.landmarks, parts, MaskConfig(), face_mesh())


def change() -> Floats:
    """Return [SIDE, SIDE] mean absolute difference, levels."""
    face = view()
    return np.abs(face.source.astype(np.float32) - face.result).mean(axis=2)


def test_the_edit_lies_in_the_mask_of_the_nose() -> None:
    edit = {
        part: float((change() * mask).sum() / mask.sum()) for part, mask in view().parts.items()
    }
    assert edit["nose"] > 8
    assert max(edit[part] for part in PARTS if part != "nose") < 0.1 * edit["nose"]


def test_beyond_mask_and_ring_of_the_nose_hardly_anything_changed() -> None:
    beyond = change()[view(("nose",)).outside]
    assert (beyond > 2).mean() < 0.01
    assert beyond.mean() < 0.1


def test_expression_is_the_same() -> None:
    face = view()
    before, after = expression(face.measured_source), expression(face.measured_result)
    assert after == pytest.approx(before, abs=0.03)


def test_a_new_nose_is_no_seam() -> None:
    assert seams(view(("nose",)))["seam.colour"] < 1.5


def test_only_the_nose_looks_different() -> None:
    features, face = PartFeatures.packaged(), view()
    alike = {
        part: float(
            features.embed(face.source, face.landmarks, part)
            @ features.embed(face.result, face.landmarks, part)
        )
        for part in PARTS
    }
    assert alike["nose"] < 0.85
    assert min(alike[part] for part in PARTS if part != "nose") > 0.93
