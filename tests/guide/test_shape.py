from itertools import pairwise

import numpy as np
import pytest
from portrait import posed

from fapvideo.config.guide import GuideShape
from fapvideo.guide.shape import at_rest, guide_landmarks, lids_shut, shape_weights
from fapvideo.ops import mesh
from fapvideo.ops.pose import expression, head_pose

ALL = ("eyes", "brows", "nose", "mouth")


def middle_of(part):
    """Return the indices in the middle of a part, away from its neighbours."""
    return {
        "eyes": [*mesh.RIGHT_EYE_LIDS, *mesh.LEFT_EYE_LIDS],
        "brows": [105, 66, 334, 296],
        "nose": [4, 5, 195],
        "mouth": [0, 17, 13, 14, 84, 314],
    }[part]


@pytest.mark.parametrize("part", ALL)
def test_a_part_takes_about_the_weight_it_is_given(part):
    weights = shape_weights(GuideShape(**{name: 0.8 * (name == part) for name in ALL}), ALL)
    low = 0.6 if part in ("nose", "mouth") else 0.4  # eyes and brows are close together
    assert weights[middle_of(part)].mean() > low
    assert weights.max() <= 0.8
    others = [p for p in ALL if p != part and {p, part} != {"eyes", "brows"}]
    for other in others:
        assert weights[middle_of(other)].mean() < 0.25


def test_a_part_that_is_not_swapped_keeps_the_targets_shape():
    weights = shape_weights(GuideShape(eyes=1, brows=1, nose=1, mouth=1), ("mouth",))
    assert weights[middle_of("mouth")].min() > 0.8
    for part in ("eyes", "brows"):
        assert weights[middle_of(part)].max() < 0.05
    assert not shape_weights(GuideShape(eyes=1, brows=1, nose=1, mouth=1), ()).any()


def test_weights_change_smoothly_over_the_face():
    """Neighbours on the mesh have neighbouring weights: nothing folds."""
    weights = shape_weights(GuideShape(eyes=0, brows=1, nose=1, mouth=0), ALL)
    face = mesh.canonical()
    edges = np.concatenate([mesh.triangles()[:, [0, 1]], mesh.triangles()[:, [1, 2]]])
    length = np.linalg.norm(face[edges[:, 0]] - face[edges[:, 1]], axis=1)
    steep = np.abs(weights[edges[:, 0]] - weights[edges[:, 1]]) / np.maximum(length, 0.03)
    assert np.quantile(steep, 0.99) < 12
    assert (weights >= 0).all()
    assert (weights <= 1).all()


def test_irises_are_always_the_targets():
    weights = shape_weights(GuideShape(eyes=1, brows=1, nose=1, mouth=1, face=1), (*ALL, "face"))
    assert not weights[list(mesh.IRISES)].any()


def test_the_whole_face_pulls_everything():
    weights = shape_weights(GuideShape(eyes=1, brows=1, nose=1, mouth=1, face=1), ("face",))
    assert weights[:468].min() > 0.99


# ------------------------------------------------------------------------ guide landmarks


def long_nose():
    head = mesh.canonical().copy()
    nose = [*mesh.NOSE, 1, 4, 5]
    head[nose, 1] += 0.15 * (head[nose, 1] > 0.3)
    return head


def open_mouth():
    head = mesh.canonical().copy()
    head[[14, 17], 1] += 0.25
    return head


def guided(target_head, reference, weights, yaw=0.0):
    landmarks = posed(yaw, head=target_head)
    return landmarks, guide_landmarks(
        landmarks, head_pose(landmarks), mesh.canonical(), reference, weights
    )


def test_weight_zero_is_the_target_and_one_the_reference():
    reference = long_nose()
    landmarks, points = guided(mesh.canonical(), reference, np.zeros(478, np.float32))
    np.testing.assert_array_equal(points, landmarks)
    for yaw in (0, 30):
        _, points = guided(mesh.canonical(), reference, np.ones(478, np.float32), yaw)
        np.testing.assert_allclose(points, posed(yaw, head=reference), atol=0.3)


def test_the_targets_expression_stays_whatever_the_reference():
    """The target speaks: the guide's mouth is as open, whether the shape is mixed in or not."""
    weights = shape_weights(GuideShape(mouth=1.0), ALL)
    speaking, points = guided(open_mouth(), long_nose(), weights)
    quiet, still = guided(mesh.canonical(), long_nose(), weights)
    opened = expression(speaking)["mouth_open"] - expression(quiet)["mouth_open"]
    assert opened > 0.2
    guided_open = expression(points)["mouth_open"] - expression(still)["mouth_open"]
    assert guided_open == pytest.approx(opened, abs=0.02)


def test_the_shape_turns_with_the_head():
    """A longer nose points to the side when the head does."""
    reference = mesh.canonical().copy()
    reference[4, 2] -= 0.3
    weights = np.zeros(478, np.float32)
    weights[4] = 1
    landmarks, front = guided(mesh.canonical(), reference, weights)
    assert np.abs(front - landmarks)[4, :2].max() < 0.5
    landmarks, side = guided(mesh.canonical(), reference, weights, yaw=40)
    assert (side - landmarks)[4, 0] == pytest.approx(80 * 0.3 * np.sin(np.radians(40)), rel=0.05)


# ---------------------------------------------------------------------------------- blinks

PAIRS = {
    "right": (list(mesh.RIGHT_EYE_LIDS[1:8]), list(mesh.RIGHT_EYE_LIDS[15:8:-1])),
    "left": (list(mesh.LEFT_EYE_LIDS[1:8]), list(mesh.LEFT_EYE_LIDS[15:8:-1])),
}


def blinking(**shares):
    """Return the mean head with each named eye's lids at a share of their distance."""
    head = mesh.canonical().copy()
    for side, share in shares.items():
        upper, lower = PAIRS[side]
        head[upper] = head[lower] + share * (head[upper] - head[lower])
    return head


def gap(points, side):
    """Return how far an eye of the guide is open, in eye distances."""
    upper, lower = PAIRS[side]
    return float(np.linalg.norm(points[upper] - points[lower], axis=1).mean() / 80)


def lids(head, side="right"):
    reference = mesh.canonical().copy()
    weights = shape_weights(GuideShape(eyes=0.2), ALL)
    return gap(guided(head, reference, weights)[1], side)


def test_open_eyes_are_left_as_they_are():
    open_gap = lids(mesh.canonical())
    assert open_gap == pytest.approx(gap(posed(), "right"), rel=0.01)
    assert lids(blinking(right=0.9, left=0.9)) == pytest.approx(0.9 * open_gap, rel=0.02)


def test_nearly_shut_eyes_are_shut():
    """Measured lids never meet quite; the reference's eye must not look through the slit."""
    assert lids(blinking(right=0.28, left=0.28)) < 1e-3
    assert lids(blinking(right=0.1, left=0.1), "left") < 1e-3


def test_a_blink_closes_without_a_leap():
    gaps = [lids(blinking(right=s, left=s)) for s in np.linspace(1.0, 0.2, 33)]
    assert all(a >= b - 1e-4 for a, b in pairwise(gaps))
    assert max(a - b for a, b in pairwise(gaps)) < 0.09 * gaps[0]


def test_each_eye_closes_on_its_own():
    for side, other in (("right", "left"), ("left", "right")):
        wink = blinking(**{side: 0.25, other: 1.0})
        assert lids(wink, side) < 1e-3
        assert lids(wink, other) > 0.98 * lids(mesh.canonical(), other)


def test_a_share_of_an_eyes_opening_is_that_share_of_the_references():
    """A reference with larger eyes, taken over fully: half open stays half open."""
    large = blinking(right=1.3, left=1.3)
    weights = shape_weights(GuideShape(eyes=1.0), ALL)

    def opened(share):
        head = blinking(right=share, left=share)
        return gap(guided(head, large, weights)[1], "right")

    assert opened(1.0) > 1.1 * gap(posed(), "right")
    for share in (0.9, 0.8, 1.2):
        assert opened(share) / opened(1.0) == pytest.approx(share, abs=0.04)


def test_who_squints_all_the_clip_squints_still():
    """The neutral shape is the squint itself: it does not count as eyes of another shape."""
    squint = blinking(right=0.6, left=0.6)
    landmarks = posed(head=squint)
    weights = shape_weights(GuideShape(eyes=1.0), ALL)
    points = guide_landmarks(landmarks, head_pose(landmarks), squint, mesh.canonical(), weights)
    assert gap(points, "right") < 0.72 * gap(posed(), "right")


# ----------------------------------------------------------------------------------- brows


def raised(right=0.0, left=0.0):
    """Return the mean head with brows raised by so many inter-ocular distances."""
    head = mesh.canonical().copy()
    for ring, amount in ((mesh.RIGHT_BROW, right), (mesh.LEFT_BROW, left)):
        head[list(ring), 1] -= amount
    return head


def brow_height(head, ring):
    return float(head[[33, 133, 263, 362], 1].mean() - head[list(ring), 1].mean())


def test_one_brow_that_is_raised_all_the_clip_stays_raised():
    neutral = raised(right=0.12)
    landmarks = posed(head=neutral)
    weights = shape_weights(GuideShape(brows=1.0), ALL)
    pose = head_pose(landmarks)
    head = pose.to_head(guide_landmarks(landmarks, pose, neutral, mesh.canonical(), weights))
    apart = brow_height(head, mesh.RIGHT_BROW) - brow_height(head, mesh.LEFT_BROW)
    assert apart > 0.1
    at = at_rest(neutral)
    assert abs(brow_height(at, mesh.RIGHT_BROW) - brow_height(at, mesh.LEFT_BROW)) < 0.01


def test_brows_at_rest_are_left_alone():
    uneven = raised(right=0.015)
    np.testing.assert_allclose(at_rest(uneven), uneven, atol=1e-3)


def test_the_rise_of_a_brow_is_carried_with_slope_one():
    weights = shape_weights(GuideShape(brows=0.7), ALL)
    found = []
    amounts = (-0.04, 0.0, 0.05, 0.1)
    for amount in amounts:
        landmarks = posed(head=raised(left=amount))
        pose = head_pose(landmarks)
        points = guide_landmarks(landmarks, pose, mesh.canonical(), long_nose(), weights)
        head = pose.to_head(points)
        found.append([brow_height(head, mesh.RIGHT_BROW), brow_height(head, mesh.LEFT_BROW)])
    right, left = np.polyfit(amounts, np.array(found), 1)[0]
    assert left == pytest.approx(1.0, abs=0.03)
    assert abs(right) < 0.03


@pytest.mark.parametrize(
    ("right", "left", "wanted"),
    [
        (1.0, 1.0, (0.0, 0.0)),
        (0.3, 0.3, (1.0, 1.0)),
        (0.35, 0.55, (1.0, 1.0)),  # a blink, of which the mesh has seen one eye better
        (0.3, 0.9, (1.0, 0.0)),  # a wink
        (0.62, 0.62, (0.0, 0.0)),  # both narrow
    ],
)
def test_both_eyes_shut_in_a_blink_and_one_in_a_wink(right, left, wanted):
    neutral = mesh.canonical()
    head = neutral.copy()
    for lids, share in ((mesh.RIGHT_EYE_LIDS, right), (mesh.LEFT_EYE_LIDS, left)):
        upper, lower = list(lids[1:8]), list(lids[15:8:-1])
        head[upper] = head[lower] + share * (head[upper] - head[lower])
    np.testing.assert_allclose(lids_shut(head, neutral), wanted, atol=0.1)
