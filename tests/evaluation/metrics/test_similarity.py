"""Part similarity on the animated astronaut: nothing done, her own part, somebody else's part."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from broken_results import PARTS, pairs, scratch
from face_clips import BRAND
from PIL import Image
from portrait import headshot, measuring_finder

from fapvideo.config.schema import ReferenceConfig
from fapvideo.evaluation.metrics.features import BASIS, MEASURED, PartFeatures
from fapvideo.evaluation.metrics.similarity import PartSimilarity
from fapvideo.evaluation.views import FaceView
from fapvideo.ops.geometry import transform, warp
from fapvideo.ops.pose import crop_matrix, head_pose
from fapvideo.reference.images import AlignedFace, align

FRAMES = slice(0, 24, 6)


@cache
def features() -> PartFeatures:
    return PartFeatures.packaged()


@cache
def brand() -> AlignedFace:
    return align(BRAND, measuring_finder(), ReferenceConfig())


@cache
def own_photo() -> AlignedFace:
    """Return the photo that the source was animated from."""
    path = scratch() / "astronaut.png"
    Image.fromarray(headshot(400)).save(path)
    return align(path, measuring_finder(), ReferenceConfig())


def of_brand(view: FaceView) -> FaceView:
    """Show the brand face where the astronaut's was."""
    matrix = crop_matrix(head_pose(brand().landmarks), 256)
    picture = warp(brand().crop, matrix, (256, 256))
    return replace(
        view,
        result=np.round(picture * 255).astype(np.uint8),
        measured_result=transform(matrix, brand().landmarks),
    )


def measured(
    change: object = None, *, parts: tuple[str, ...] = PARTS, **changes: object
) -> tuple[Mapping[str, float], list[Mapping[str, float]]]:
    """Return the values of four frames with their faces changed, and the curves."""
    metric = PartSimilarity(features(), parts)
    points = []
    for pair in pairs()[FRAMES]:
        faces = tuple(change(view) for view in pair.faces) if callable(change) else pair.faces
        references = {part: (brand(),) for part in PARTS}
        points.append(metric.update(replace(pair, faces=faces, references=references, **changes)))
    return metric.summary(), points


def test_doing_nothing_is_no_success_and_no_edit() -> None:
    values, _ = measured()
    for part in PARTS:
        assert values[f"success.{part}"] == 0.0
        assert values[f"edit.strength.{part}"] == pytest.approx(0.0, abs=1e-3)
        assert values[f"similarity.{part}.source"] == pytest.approx(1.0, abs=1e-5)
        assert values[f"similarity.{part}.reference"] < 0.4
    assert values["success"] == 0.0
    assert values["edit.strength"] == pytest.approx(0.0, abs=1e-3)


def test_the_reference_itself_is_full_success() -> None:
    values, points = measured(of_brand)
    for part in PARTS:
        assert values[f"success.{part}"] == 1.0
        assert values[f"edit.strength.{part}"] == pytest.approx(1.0, abs=0.1)
        assert values[f"similarity.{part}.reference"] > 0.9
        assert values[f"similarity.{part}.source"] < 0.4
    assert values["success"] == 1.0
    assert {"similarity.reference", "similarity.source", "edit.strength"} <= set(points[0])


def test_somebody_elses_part_is_unlike_the_reference() -> None:
    """The reference is the astronaut's own photo: her frames are like it, the brand face is not."""
    own = {part: (own_photo(),) for part in PARTS}
    metrics = PartSimilarity(features(), PARTS), PartSimilarity(features(), PARTS)
    for pair in pairs()[FRAMES]:
        kept = replace(pair, references=own)
        metrics[0].update(kept)
        metrics[1].update(replace(kept, faces=tuple(of_brand(view) for view in pair.faces)))
    right, wrong = (metric.summary() for metric in metrics)
    for part in PARTS:
        assert right[f"similarity.{part}.reference"] > 0.6
        assert wrong[f"similarity.{part}.reference"] < 0.45


def test_frames_in_which_no_swap_is_expected_do_not_count() -> None:
    values, points = measured(lambda view: replace(view, weight=0.2))
    assert values == {}
    assert points == [{}] * 4


def test_without_references_only_the_likeness_to_the_source_is_told() -> None:
    metric = PartSimilarity(features(), PARTS)
    metric.update(replace(pairs()[0], references={}))
    assert {key.split(".")[0] for key in metric.summary()} == {"similarity"}
    assert "similarity.reference" not in metric.summary()


def test_the_likest_of_several_references_counts() -> None:
    one, both = PartSimilarity(features(), PARTS), PartSimilarity(features(), PARTS)
    frame = pairs()[0]
    one.update(replace(frame, references={"nose": (own_photo(),)}))
    both.update(replace(frame, references={"nose": (brand(), own_photo())}))
    key = "similarity.nose.reference"
    assert both.summary()[key] == one.summary()[key]


def test_what_is_not_validated_is_left_out_and_said() -> None:
    metric = PartSimilarity(features(), ("eyes",))
    metric.update(pairs()[0])
    assert set(metric.summary()) == {"similarity.eyes.source", "similarity.source"}
    assert metric.notes() == [
        "similarity of brows, mouth, nose left out: it did not pass its validation"
    ]


def test_every_value_has_a_definition() -> None:
    values, points = measured()
    for key in values:
        fitting = [one for one in PartSimilarity.definitions if one.fits(key)]
        assert len(fitting) == 1
        assert fitting[0].curve == (key in points[0])


def test_light_and_a_turn_in_the_plane_do_not_count() -> None:
    view = pairs()[0].faces[0]
    picture, landmarks = view.source, view.measured_source
    turn = np.array([[0.95, 0.2, 6.0], [-0.2, 0.95, 30.0]])
    turned = warp(picture, turn, (256, 256)) * np.float32(0.6) + 40
    given = [(picture, landmarks), (turned.astype(np.uint8), transform(turn, landmarks))]
    for part, (one, other) in features()(given, PARTS).items():
        assert float(one @ other) > 0.93, part
        assert np.linalg.norm(one) == pytest.approx(1.0, abs=1e-5)


def test_only_what_passed_its_validation_is_reported(checkout: Path) -> None:
    """`benchmarks/validate_metrics.py` decides, on the very basis that the package holds."""
    path = checkout / "benchmarks" / "results" / "metric_validation.json"
    found = json.loads(path.read_text("utf-8"))
    assert found["basis_sha256"] == hashlib.sha256(BASIS.read_bytes()).hexdigest()
    assert list(MEASURED) == found["passed"]
    rows = {row["part"]: row for row in found["people_on_two_photos"]}
    for part in PartFeatures.packaged().parts:
        passed = rows[part]["area"] >= 0.8 and rows[part]["pairs"] >= 30
        assert passed == (part in MEASURED)
