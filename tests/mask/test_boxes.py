"""Detections to part boxes, chained boxes, masks and boxes over time."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from fapvideo.config.schema import MaskConfig
from fapvideo.mask.boxes import (
    Detection,
    best_per_label,
    box_distance,
    box_masks,
    box_part_masks,
    chain_boxes,
    detected_parts,
    label_boxes,
    smooth_boxes,
    suppress_overlaps,
)

EYES, NOSE, MOUTH = (0.4, 0.3, 0.52, 0.7), (0.5, 0.42, 0.7, 0.58), (0.74, 0.38, 0.82, 0.62)


def found(label: str, score: float, *box: float) -> Detection:
    return Detection(label, score, (box[0], box[1], box[2], box[3]))


# ------------------------------------------------------------------- overlaps


def test_suppression_keeps_the_best_of_each_label() -> None:
    weak = found("hat", 0.4, 0, 0, 10, 10)
    strong = found("hat", 0.9, 1, 0, 11, 10)
    apart = found("hat", 0.5, 50, 0, 60, 10)
    other = found("beard", 0.3, 0, 0, 10, 10)
    assert suppress_overlaps([weak, strong, other, apart], 0.5) == [strong, apart, other]
    assert suppress_overlaps([weak, strong], 0.95) == [strong, weak]


def test_best_per_label() -> None:
    low, high = found("nose", 0.4, 0, 0, 1, 1), found("nose", 0.6, 0, 0, 2, 2)
    assert best_per_label([low, high, low]) == {"nose": high}


# ------------------------------------------------------------------- part boxes


def test_detected_parts_are_fractions_in_the_published_order() -> None:
    boxes = detected_parts([found("nose", 0.5, 40, 50, 60, 80)], size=(100, 200))
    assert boxes == {"nose": (0.25, 0.4, 0.4, 0.6)}


def test_two_eyes_become_one_box() -> None:
    right, left = found("eyes", 0.8, 30, 40, 45, 48), found("eyes", 0.6, 55, 41, 70, 50)
    assert detected_parts([right, left], (100, 100)) == {"eyes": (0.4, 0.3, 0.5, 0.7)}


def test_a_doubtful_or_displaced_second_eye_is_left_out() -> None:
    eye = found("eyes", 0.8, 30, 40, 45, 48)
    doubtful = found("eyes", 0.39, 55, 41, 70, 50)
    displaced = found("eyes", 0.7, 55, 80, 70, 90)
    assert detected_parts([eye, doubtful, displaced], (100, 100)) == {
        "eyes": (0.4, 0.3, 0.48, 0.45)
    }


def test_noses_are_not_merged_and_unknown_labels_are_ignored() -> None:
    detections = [
        found("nose", 0.5, 10, 10, 20, 20),
        found("nose", 0.9, 40, 10, 50, 20),
        found("glasses", 0.9, 0, 0, 90, 90),
    ]
    assert detected_parts(detections, (100, 100)) == {"nose": (0.1, 0.4, 0.2, 0.5)}


def test_free_text_boxes() -> None:
    detections = [
        found("glasses", 0.5, 10, 20, 50, 40),
        found("glasses", 0.4, 60, 20, 90, 40),
        found("nose", 0.9, 40, 10, 50, 20),
    ]
    assert label_boxes(detections, ["glasses", "hat"], (100, 50)) == {
        "glasses": (0.4, 0.1, 0.8, 0.5)
    }


# ------------------------------------------------------------------- chains


def test_chained_boxes_touch_half_way() -> None:
    chained = chain_boxes({"eyes": EYES, "nose": NOSE, "mouth": MOUTH})
    assert chained["eyes"][2] == chained["nose"][0] == pytest.approx(0.51)  # an overlap shared
    assert chained["nose"][2] == chained["mouth"][0] == pytest.approx(0.72)  # a gap shared
    for part, box in {"eyes": EYES, "nose": NOSE, "mouth": MOUTH}.items():
        assert (chained[part][1], chained[part][3]) == (box[1], box[3])
    assert (chained["eyes"][0], chained["mouth"][2]) == (EYES[0], MOUTH[2])


def test_published_examples_are_a_fixed_point() -> None:
    """musk.png's boxes (docs/fuseanypart.md, 2) are chained already."""
    musk = {
        "eyes": (202 / 512, 160 / 512, 259 / 512, 356 / 512),
        "nose": (259 / 512, 222 / 512, 349 / 512, 288 / 512),
        "mouth": (349 / 512, 206 / 512, 384 / 512, 308 / 512),
    }
    assert chain_boxes(musk) == musk


def test_nothing_to_chain() -> None:
    assert chain_boxes({"eyes": EYES, "mouth": MOUTH}) == {"eyes": EYES, "mouth": MOUTH}
    upside_down = {"eyes": MOUTH, "nose": EYES}
    assert chain_boxes(upside_down) == upside_down


# ------------------------------------------------------------------- masks


def test_distance_to_a_box() -> None:
    distance = box_distance((0.25, 0.25, 0.75, 0.75), 8)
    assert distance[3, 3] == pytest.approx(-1.5)  # centre of the pixel at 3.5, edge at 2
    assert distance[3, 7] == pytest.approx(1.5)
    assert distance[7, 7] == pytest.approx(np.hypot(1.5, 1.5))


def test_mask_is_full_inside_and_gone_past_the_feather() -> None:
    mask = box_masks({"nose": (0.25, 0.25, 0.75, 0.75)}, 64, feather=6.0)["nose"]
    assert mask.shape == (64, 64)
    assert mask.dtype == np.float32
    assert (mask[16:48, 16:48] == 1).all()
    row = mask[32, 48:56]
    assert (np.diff(row[:6]) < 0).all()
    assert 0 < row[3] < 1
    assert (row[6:] == 0).all()


def test_unfeathered_mask_moves_smoothly() -> None:
    """A box that creeps by a tenth of a pixel changes the mask a little, never by a whole pixel."""
    edges = [0.5 + step / 640 for step in range(11)]
    masks = [box_masks({"nose": (0.25, 0.25, 0.75, edge)}, 64, 0.0)["nose"] for edge in edges]
    change = [float(np.abs(b - a).max()) for a, b in pairwise(masks)]
    assert 0 < max(change) < 0.2
    assert set(np.unique(masks[0])) == {0.0, 1.0}


def test_part_masks_of_chained_boxes_have_no_seam() -> None:
    boxes = chain_boxes({"eyes": EYES, "nose": NOSE, "mouth": MOUTH})
    masks = box_part_masks(boxes, 128, feather=4.0)
    assert set(masks.parts) == {"eyes", "nose", "mouth"}
    middle = masks.hole[int(0.45 * 128) : int(0.8 * 128), 64]
    assert (middle == 1).all()
    assert ((masks.hole > 0) == (masks.core == 1)).all()
    assert not masks.inner_mouth.any()


def test_kept_things_are_outside_the_hole() -> None:
    glasses = (0.35, 0.25, 0.48, 0.75)
    open_mouth = np.zeros((128, 128), np.float32)
    open_mouth[98:100, 60:68] = 1
    masks = box_part_masks(
        {"eyes": EYES, "mouth": MOUTH}, 128, 4.0, keep_out=[glasses], inner_mouth=open_mouth
    )
    inside = box_distance(glasses, 128) < 0
    assert (masks.hole[inside] == 0).all()
    assert (masks.core[inside] == 0).all()
    assert (masks.parts["eyes"][inside] == 0).all()
    assert (masks.hole[98:100, 60:68] == 0).all()
    assert masks.hole[102, 64] == 1  # the rest of the mouth is still swapped
    assert masks.hole.max() == 1
    assert masks.inner_mouth is open_mouth


def test_masks_need_no_boxes() -> None:
    masks = box_part_masks({}, 16, 2.0)
    assert masks.parts == {}
    assert not masks.hole.any()
    assert not masks.core.any()


# ------------------------------------------------------------------- time


def moving(count: int) -> np.ndarray:
    return np.linspace([0.1, 0.2, 0.3, 0.4], [0.5, 0.5, 0.6, 0.9], count, dtype=np.float32)


def test_steady_motion_is_untouched_even_at_ends_and_gaps() -> None:
    boxes = moving(30)
    gappy = boxes.copy()
    gappy[[4, 5, 12, 20]] = np.nan
    for given in (boxes, gappy):
        np.testing.assert_allclose(smooth_boxes(given, 4), boxes, atol=1e-6)


def test_smoothing_has_no_delay_and_calms_jitter() -> None:
    rng = np.random.default_rng(3)
    still = np.tile(np.float32([0.1, 0.2, 0.3, 0.4]), (200, 1))
    noisy = still + rng.normal(0, 0.01, still.shape).astype(np.float32)
    smooth = smooth_boxes(noisy, 4)
    assert np.std(np.diff(smooth, axis=0)) < 0.25 * np.std(np.diff(noisy, axis=0))
    step = np.zeros((41, 4), np.float32)
    step[21:] = 1.0
    step[20] = 0.5
    symmetric = smooth_boxes(step, 5)
    np.testing.assert_allclose(symmetric, 1 - symmetric[::-1], atol=1e-6)


def test_only_gaps_with_neighbours_on_both_sides_are_filled() -> None:
    boxes = moving(30)
    boxes[:2] = np.nan
    boxes[10:22] = np.nan
    missing = np.isnan(smooth_boxes(boxes, 3)).any(axis=1)
    assert missing[:2].all()
    assert missing[10:22].all()
    assert not missing[2:10].any()
    assert not missing[22:].any()
    boxes = moving(30)
    boxes[10:13] = np.nan
    assert not np.isnan(smooth_boxes(boxes, 3)).any()


def test_lonely_and_absent_measurements() -> None:
    boxes = np.full((9, 4), np.nan, np.float32)
    assert np.isnan(smooth_boxes(boxes, 3)).all()
    boxes[4] = 0.25
    smooth = smooth_boxes(boxes, 3)
    assert (smooth[4] == 0.25).all()
    assert np.isnan(np.delete(smooth, 4, axis=0)).all()
    assert smooth_boxes(np.empty((0, 4), np.float32), 3).shape == (0, 4)


def test_zero_window_copies() -> None:
    boxes = moving(5)
    boxes[2, 1] = np.nan
    copy = smooth_boxes(boxes, 0)
    assert np.isnan(copy[2]).all()
    np.testing.assert_array_equal(np.delete(copy, 2, 0), np.delete(boxes, 2, 0))


def test_same_masks_shape_as_the_landmark_backend() -> None:
    """Both backends feed one composite: the same ranges and the same meaning of `core`."""
    from fapvideo.mask.parts import part_masks

    landmarks = np.random.default_rng(0).uniform(20, 100, (478, 3)).astype(np.float32)
    other = part_masks([landmarks], ["nose"], MaskConfig(), 128, 40.0)
    ours = box_part_masks({"nose": NOSE}, 128, 4.0)
    for name in ("hole", "core", "inner_mouth"):
        a, b = getattr(other, name), getattr(ours, name)
        assert (a.shape, a.dtype) == (b.shape, b.dtype)
    assert (other.hole[other.core == 0] == 0).all()
    assert (ours.hole[ours.core == 0] == 0).all()
