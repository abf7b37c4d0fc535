import cv2
import numpy as np
import pytest
from portrait import astronaut, astronaut_face, posed

from fapvideo.ops import mesh
from fapvideo.ops.geometry import scale_of, transform, warp
from fapvideo.ops.pose import (
    CROP_ANCHOR,
    CROP_ANCHOR_HEAD,
    CROP_INTEROCULAR,
    crop_matrix,
    expression,
    head_pose,
)


@pytest.mark.parametrize("angle", [-35, -10, 0, 20, 45])
def test_pose_angles_and_their_signs(angle):
    assert head_pose(posed(yaw=angle)).yaw_deg == pytest.approx(angle, abs=0.1)
    assert head_pose(posed(pitch=angle)).pitch_deg == pytest.approx(angle, abs=0.1)
    assert np.degrees(head_pose(posed(roll=angle)).roll) == pytest.approx(angle, abs=0.1)


def test_the_signs_as_seen():
    """Looking right moves the nose tip right, looking down moves it down."""
    front = posed()[4]
    assert posed(yaw=20)[4, 0] > front[0] + 5
    assert posed(pitch=20)[4, 1] > front[1] + 5
    rolled = posed(roll=20)
    right, left = mesh.eye_centres(rolled)
    assert left[1] > right[1], "clockwise: the eye on the right of the picture sinks"


def test_scale_shift_and_both_ways():
    landmarks = posed(25, -10, 15, scale=63, at=(300, 200))
    pose = head_pose(landmarks)
    assert pose.scale == pytest.approx(63, rel=1e-4)
    np.testing.assert_allclose(pose.to_head(landmarks), mesh.canonical(), atol=1e-4)
    np.testing.assert_allclose(pose.to_image(pose.to_head(landmarks)), landmarks, atol=1e-3)
    offsets = np.eye(3)
    np.testing.assert_allclose(
        pose.turn(offsets), pose.to_image(offsets) - pose.to_image(np.zeros((3, 3))), atol=1e-3
    )


def test_expression_does_not_move_the_pose():
    head = mesh.canonical().copy()
    lips = list(mesh.LIPS_OUTER + mesh.LIPS_INNER)
    head[lips, 1] += 0.2
    pose = head_pose(posed(10, head=head))
    assert pose.yaw_deg == pytest.approx(10, abs=0.1)


def test_the_crop_holds_the_head_still_while_it_turns_and_comes_near():
    for yaw, scale, at in ((0, 60, (100, 90)), (-30, 60, (100, 90)), (30, 140, (400, 300))):
        for roll in (-25, 0, 40):
            pose = head_pose(posed(yaw, roll=roll, scale=scale, at=at))
            matrix = crop_matrix(pose, 256)
            assert scale_of(matrix) * scale == pytest.approx(CROP_INTEROCULAR * 256, rel=1e-3)
            anchor = pose.to_image(CROP_ANCHOR_HEAD[None])
            np.testing.assert_allclose(transform(matrix, anchor)[0, :2], CROP_ANCHOR * 256, atol=1)
            inside = transform(matrix, posed(yaw, roll=roll, scale=scale, at=at))
            right, left = mesh.eye_centres(inside)
            assert abs(np.degrees(np.arctan2(*(left - right)[1::-1]))) < 2, "eyes level"


def test_the_crop_leaves_room_for_every_part_and_an_open_mouth():
    head = mesh.canonical().copy()
    head[[17, 84, 314, 152], 1] += 0.35
    for yaw in (-35, 0, 35):
        landmarks = posed(yaw, head=head)
        inside = transform(crop_matrix(head_pose(landmarks), 256), landmarks)[:, :2]
        for part in ("eyes", "brows", "nose", "mouth"):
            for ring in mesh.outlines(part):
                assert inside[list(ring)].min() > 8
                assert inside[list(ring)].max() < 248


def test_a_larger_crop_is_the_same_crop():
    pose = head_pose(posed(12, 3, 9))
    np.testing.assert_allclose(crop_matrix(pose, 512), 2 * crop_matrix(pose, 256))


def test_the_crop_of_a_photo_has_its_eyes_in_place():
    face = astronaut_face()
    matrix = crop_matrix(head_pose(face.landmarks), 256)
    eyes = mesh.eye_centres(transform(matrix, face.landmarks))[:, :2] / 256
    np.testing.assert_allclose(eyes[:, 1], 0.34, atol=0.04)
    crop = warp(astronaut(), matrix, (256, 256))
    assert cv2.Laplacian(crop, cv2.CV_32F).var() > 5  # it shows something


def moved(indices, offset):
    head = mesh.canonical().copy()
    head[list(indices)] += offset
    return head


def test_expressions_are_measured_whatever_the_pose():
    calm = expression(posed())
    for yaw, scale in ((0, 50), (25, 90), (-25, 150)):
        same = expression(posed(yaw, 5, 10, scale=scale))
        for key, value in calm.items():
            assert same[key] == pytest.approx(value, abs=1e-3)


@pytest.mark.parametrize(
    ("key", "indices", "offset", "change"),
    [
        ("mouth_open", [14], (0, 0.2, 0), 0.2),
        ("smile", [308], (0.1, 0, 0), 0.1),
        ("eye_open", [145, 374], (0, 0.05, 0), 0.05),
        ("brow_height", mesh.RIGHT_BROW[:5] + mesh.LEFT_BROW[:5], (0, -0.1, 0), 0.1),
        ("gaze_x", [468, 473], (0.05, 0, 0), 0.05),
        ("gaze_y", [468, 473], (0, 0.05, 0), 0.05),
    ],
)
def test_each_expression_measure_has_its_sign_and_unit(key, indices, offset, change):
    before, after = expression(posed()), expression(posed(head=moved(indices, offset)))
    assert after[key] - before[key] == pytest.approx(change, abs=0.02)
    assert all(
        after[other] == pytest.approx(before[other], abs=0.02) for other in before if other != key
    )
