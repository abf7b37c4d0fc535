"""Boxes along one track: what is asked for, gaps, things that stay, masks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from portrait import posed

from fapvideo.config.schema import MaskConfig
from fapvideo.mask.boxes import Detection
from fapvideo.mask.open_set import (
    BoxSearch,
    FaceBoxes,
    TrackBoxes,
    below_brows,
    needs_detector,
    open_set_masks,
    own_detections,
    parts_to_find,
)
from fapvideo.mask.parts import part_masks
from fapvideo.ops.geometry import transform
from fapvideo.ops.pose import CROP_INTEROCULAR, crop_matrix, head_pose
from fapvideo.structs import Bytes, Floats, PartMasks

SIZE = 128
IOD = CROP_INTEROCULAR * SIZE
FOUND = {
    "eyes": (0.22, 0.27, 0.78, 0.43),
    "eyebrows": (0.24, 0.21, 0.76, 0.29),
    "nose": (0.4, 0.42, 0.6, 0.62),
    "mouth": (0.34, 0.66, 0.66, 0.8),
    "glasses": (0.1, 0.28, 0.4, 0.45),
}
"""x0, y0, x1, y1 as shares of the crop, about where a frontal face has them."""
PARTS = ("eyes", "nose", "mouth")


def boxes_config(**changes: object) -> MaskConfig:
    return MaskConfig.model_validate(
        {"backend": "grounding_dino", "detector": Path("somewhere"), **changes}
    )


def face(open_mouth: bool = False) -> Floats:
    """Landmarks of a frontal face in its crop."""
    shape = posed()
    if open_mouth:
        shape[[14, 87, 317, 178, 402], 1] += 20
    return transform(crop_matrix(head_pose(shape), SIZE), shape)


def detections(*labels: str, shift: float = 0.0, score: float = 0.9) -> list[Detection]:
    return [
        Detection(label, score, tuple((edge + shift) * SIZE for edge in FOUND[label]))
        for label in labels
    ]


class Script:
    """A detector that answers with a prepared list, call by call."""

    def __init__(self, *answers: Sequence[Detection]) -> None:
        self.answers, self.asked = list(answers), []

    def detect(
        self, rgb: Bytes, prompts: Sequence[str], threshold: float, max_overlap: float = 0.5
    ) -> list[Detection]:
        assert rgb.dtype == np.uint8
        self.asked.append((list(prompts), threshold))
        return [d for d in self.answers.pop(0) if d.score > threshold]


def searched(config: MaskConfig, parts: Sequence[str], *answers: object) -> TrackBoxes:
    """Search a track of one frame per answer; None is a frame that is not looked at."""
    script = Script(*(answer for answer in answers if answer is not None))
    search = BoxSearch(script, config, parts, len(answers))
    for index, answer in enumerate(answers):
        if answer is not None:
            search.look(index, np.zeros((SIZE, SIZE, 3), np.uint8), face())
    return search.finish(half_window=0, hold=1, fade=1)


# ------------------------------------------------------------------- what is asked for


def test_only_what_is_needed_is_asked_for() -> None:
    config = boxes_config(keep_out=["Glasses "], detector_score=0.4)
    script = Script(detections("mouth"))
    search = BoxSearch(script, config, ["mouth", "face"], 1)
    search.look(0, np.zeros((SIZE, SIZE, 3), np.uint8), face())
    # The chain's parts bound each other; a face has no box; brows are asked for if swapped.
    assert script.asked == [(["eyes", "nose", "mouth", "glasses"], 0.4)]
    assert parts_to_find(config, ["brows"]) == ("eyes", "brows", "nose", "mouth")
    assert parts_to_find(config, ["face"]) == ()


@pytest.mark.parametrize(
    ("config", "parts", "wanted"),
    [
        (MaskConfig(), PARTS, False),
        (MaskConfig(detector=Path("somewhere")), PARTS, False),
        (MaskConfig(detector=Path("somewhere"), keep_out=("hat",)), ["face"], True),
        (boxes_config(), ["face"], False),
        (boxes_config(), ["nose"], True),
        (boxes_config(keep_out=["hat"]), [], False),
    ],
)
def test_who_needs_a_detector(config: MaskConfig, parts: Sequence[str], wanted: bool) -> None:
    assert needs_detector(config, parts) is wanted


def test_a_neighbours_mouth_is_left_out() -> None:
    own, other = detections("mouth")[0], Detection("mouth", 0.99, (2, 2, 20, 12))
    hat = Detection("hat", 0.9, (10, 0, 120, 30))
    far = Detection("hat", 0.9, (0, 0, 3, 3))
    assert own_detections([other, own, hat, far], face(), SIZE) == [own, hat]


# ------------------------------------------------------------------- along the track


def test_boxes_are_chained_in_every_frame() -> None:
    track = searched(boxes_config(), PARTS, detections(*PARTS), detections(*PARTS, shift=0.01))
    for index in range(2):
        parts = track.at(index).parts
        assert parts["eyes"][2] == pytest.approx(parts["nose"][0])
        assert parts["nose"][2] == pytest.approx(parts["mouth"][0])
        assert parts["eyes"][0] == pytest.approx(0.27 + 0.01 * index, abs=1e-6)


def test_gaps_are_drawn_through_and_ends_repeated() -> None:
    mouth = ["mouth"]
    answers = [None, [], detections(*mouth), [], None, detections(*mouth, shift=0.03), []]
    track = searched(boxes_config(), mouth, *answers)
    tops = [track.at(index).parts["mouth"][0] - 0.66 for index in range(7)]
    assert tops == pytest.approx([0, 0, 0, 0.01, 0.02, 0.03, 0.03], abs=1e-6)


def test_jitter_is_steadied_like_landmarks() -> None:
    shifts = 0.01 * (-1.0) ** np.arange(21)
    script = Script(*(detections("mouth", shift=s) for s in shifts))
    search = BoxSearch(script, boxes_config(), ["mouth"], 21)
    for index in range(21):
        search.look(index, np.zeros((SIZE, SIZE, 3), np.uint8), face())
    rows = search.finish(half_window=4, hold=0, fade=0).parts["mouth"]
    assert np.abs(np.diff(rows[2:-2, 0])).max() < 0.001


def test_a_window_that_moves_along_keeps_what_it_knows() -> None:
    script = Script(*(detections("mouth", shift=s) for s in (0.0, 0.05)))
    search = BoxSearch(script, boxes_config(), ["mouth"], 3)
    for index in (0, 2):
        search.look(index, np.zeros((SIZE, SIZE, 3), np.uint8), face())
    whole = search.finish(half_window=0, hold=0, fade=0).parts["mouth"]
    search.move(1, 3)
    assert [search.looked_at(index) for index in range(3)] == [False, True, False]
    rows = search.finish(half_window=0, hold=0, fade=0).parts["mouth"]
    np.testing.assert_allclose(rows[0], whole[0], err_msg="the last box that was found stays")
    np.testing.assert_allclose(rows[1:], whole[[2, 2]])


def test_a_part_never_found_has_no_box() -> None:
    track = searched(boxes_config(), PARTS, detections("eyes", "nose"), detections("eyes"))
    assert set(track.parts) == {"eyes", "nose"}
    assert set(track.at(1).parts) == {"eyes", "nose"}
    low = detections("mouth", score=0.2)
    assert searched(boxes_config(), ["mouth"], low).at(0) == FaceBoxes({}, ())


def test_a_thing_to_keep_lasts_and_fades() -> None:
    config = boxes_config(keep_out=["glasses"])
    answers = [detections("mouth", "glasses")] + [detections("mouth")] * 4
    track = searched(config, ["mouth"], *answers)
    assert track.strength["glasses"].tolist() == [1.0, 1.0, 0.5, 0.0, 0.0]
    assert [len(track.at(index).keep_out) for index in range(5)] == [1, 1, 1, 0, 0]
    box, strength = track.at(2).keep_out[0]
    assert box == pytest.approx((0.28, 0.1, 0.45, 0.4), abs=1e-6)
    assert strength == 0.5
    assert searched(config, ["mouth"], detections("mouth")).keep_out == {}


def test_eyes_begin_where_brows_end() -> None:
    both = {"brows": (0.2, 0.2, 0.27, 0.8), "eyes": (0.2, 0.22, 0.36, 0.78)}
    split = below_brows(both)
    assert split["brows"] == (0.2, 0.2, 0.27, 0.8)
    assert split["eyes"] == (0.27, 0.22, 0.36, 0.78)
    apart = below_brows({"brows": (0.2, 0.2, 0.25, 0.8), "eyes": (0.3, 0.2, 0.36, 0.8)})
    assert apart["eyes"][0] == 0.25
    deep = below_brows({"brows": (0.2, 0.2, 0.4, 0.8), "eyes": (0.22, 0.2, 0.36, 0.8)})
    assert deep["brows"][2] == deep["eyes"][0] == pytest.approx(0.29)
    odd = {"brows": (0.5, 0.2, 0.6, 0.8), "eyes": (0.2, 0.2, 0.36, 0.8)}
    assert below_brows(odd) == odd
    assert below_brows({"eyes": both["eyes"]}) == {"eyes": both["eyes"]}


# ------------------------------------------------------------------- masks


def masks_of(
    found: FaceBoxes, parts: Sequence[str] = PARTS, inside_face: bool = True, **changes: object
) -> PartMasks:
    shapes = [face(open_mouth=True)]
    config = boxes_config(**changes)
    return open_set_masks(found, shapes, parts, config, SIZE, IOD, inside_face=inside_face)


def pixels(*box: float) -> tuple[slice, slice]:
    """Rows and columns of y0, x0, y1, x1 in shares of the crop."""
    y0, x0, y1, x1 = (round(edge * SIZE) for edge in box)
    return slice(y0, y1), slice(x0, x1)


NOSE = (0.5, 0.375, 0.625, 0.625)
EYES = (0.25, 0.25, 0.4375, 0.75)
MOUTH = (0.625, 0.3125, 0.8125, 0.6875)


def test_the_hole_is_the_box_with_a_soft_edge() -> None:
    masks = masks_of(FaceBoxes({"nose": NOSE}, ()), ["nose"], keep_inner_mouth=False)
    assert list(masks.parts) == ["nose"]
    assert masks.hole[pixels(*NOSE)].min() == 1.0
    reach = 0.1 * CROP_INTEROCULAR + 1 / SIZE
    outside = masks.hole.copy()
    outside[pixels(*(edge + grow for edge, grow in zip(NOSE, (-reach, -reach, reach, reach),
                                                       strict=True)))] = 0  # fmt: skip
    assert outside.max() == 0.0
    assert ((masks.core == 1) == (masks.hole > 0)).all()


def test_the_published_box_is_not_cut_at_the_face() -> None:
    wide = FaceBoxes({"eyes": (0.25, 0.0, 0.4375, 1.0)}, ())
    exact = masks_of(wide, ["eyes"], inside_face=False, feather=0.0, dilate=0.0)
    rows = pixels(0.25, 0, 0.4375, 1)
    assert exact.hole[rows].min() == 1.0
    assert exact.hole.sum() == exact.hole[rows].sum()
    cut = masks_of(wide, ["eyes"])
    assert cut.hole[rows][:, [0, -1]].max() == 0.0
    assert cut.core[rows][:, [0, -1]].max() == 0.0


def test_parts_without_a_box_keep_their_outline() -> None:
    masks = masks_of(FaceBoxes({"nose": NOSE}, ()), ["nose", "mouth", "face"])
    config = boxes_config()
    drawn = part_masks([face(open_mouth=True)], ["mouth", "face"], config, SIZE, IOD)
    assert list(masks.parts) == ["nose", "mouth", "face"]
    np.testing.assert_allclose(masks.parts["mouth"], drawn.parts["mouth"], atol=1e-6)
    np.testing.assert_allclose(masks.parts["face"], drawn.parts["face"], atol=1e-6)
    assert (masks.hole >= drawn.hole - 1e-6).all()
    assert (masks.core >= drawn.core).all()


def test_the_open_mouth_stays_the_targets() -> None:
    found = FaceBoxes({"mouth": MOUTH}, ())
    kept, filled = masks_of(found), masks_of(found, keep_inner_mouth=False)
    inner = kept.inner_mouth == 1.0
    assert inner.sum() > 20
    assert kept.hole[inner].max() == kept.core[inner].max() == 0.0
    assert kept.parts["mouth"][inner].max() == 0.0
    assert filled.hole[inner].min() == 1.0
    np.testing.assert_array_equal(filled.inner_mouth, kept.inner_mouth)


@pytest.mark.parametrize(("side", "swapped", "own"), [("left", "right", 3), ("right", "left", 1)])
def test_one_eye_of_a_box_over_both(side: str, swapped: str, own: int) -> None:
    found = FaceBoxes({"eyes": EYES}, ())
    masks = masks_of(found, ["eyes"], eye_side=side)
    middle = SIZE // 2
    halves = {"left": masks.hole[:, : middle - 6], "right": masks.hole[:, middle + 6 :]}
    other = {"left": "right", "right": "left"}[swapped]
    assert halves[swapped].max() == 1.0
    assert halves[other].max() == 0.0
    # Where only the other eye was found, the outline does.
    box = [*EYES]
    box[own] = 0.5 - 0.02 if side == "left" else 0.5 + 0.02
    drawn = part_masks([face()], ["eyes"], boxes_config(eye_side=side), SIZE, IOD)
    lone = open_set_masks(
        FaceBoxes({"eyes": (box[0], box[1], box[2], box[3])}, ()),
        [face()], ["eyes"], boxes_config(eye_side=side), SIZE, IOD,
    )  # fmt: skip
    np.testing.assert_allclose(lone.hole, drawn.hole, atol=1e-6)


@pytest.mark.parametrize("boxes", [{}, {"eyes": EYES}], ids=["outlines", "boxes"])
def test_things_that_stay_are_outside_every_mask(boxes: dict[str, tuple[float, ...]]) -> None:
    glasses = (0.25, 0.25, 0.4375, 0.5)
    whole = masks_of(FaceBoxes(boxes, ()), ["eyes"])
    masks = masks_of(FaceBoxes(boxes, ((glasses, 1.0),)), ["eyes"])
    inside = pixels(*glasses)
    assert whole.hole[inside].max() == 1.0
    assert masks.hole[inside].max() == masks.core[inside].max() == 0.0
    assert masks.parts["eyes"][inside].max() == 0.0
    far = pixels(0.25, 0.6, 0.4375, 0.75)
    np.testing.assert_array_equal(masks.hole[far], whole.hole[far])
    fading = masks_of(FaceBoxes(boxes, ((glasses, 0.25),)), ["eyes"])
    assert fading.hole[inside].max() == 0.75


def test_nothing_kept_and_no_boxes_is_the_landmark_backend() -> None:
    drawn = part_masks([face()], PARTS, MaskConfig(), SIZE, IOD)
    same = open_set_masks(FaceBoxes({}, ()), [face()], PARTS, MaskConfig(), SIZE, IOD)
    np.testing.assert_allclose(same.hole, drawn.hole, atol=1e-6)
    np.testing.assert_array_equal(same.core, drawn.core)


def test_a_box_grows_with_the_new_part_only() -> None:
    old, new = face(), face()
    new[:, 0] = (new[:, 0] - SIZE / 2) * 1.2 + SIZE / 2
    found = FaceBoxes({"nose": NOSE, "mouth": MOUTH}, ())
    grown = found.covering(old, {"nose": new, "mouth": old}, SIZE).parts
    assert grown["mouth"] == MOUTH
    assert grown["nose"][0::2] == pytest.approx(NOSE[0::2])
    assert grown["nose"][1] < NOSE[1] - 0.01
    assert grown["nose"][3] > NOSE[3] + 0.01
    smaller = found.covering(new, {"nose": old}, SIZE).parts
    assert smaller["nose"] == NOSE
