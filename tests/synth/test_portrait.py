"""The animated portrait against what the face mesh measures in it."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from face_clips import BRAND, animated_astronaut, read_rgb
from portrait import astronaut

from fapvideo.errors import ReferenceImageError
from fapvideo.ops import mesh
from fapvideo.ops.pose import expression, head_pose
from fapvideo.structs import Bytes, Floats
from fapvideo.synth.motion import Motion, expressed, speech, talking
from fapvideo.synth.portrait import AnimatedPortrait
from fapvideo.track.older import OlderMesh

SIZE = (320, 240)
INNER = [i for i in range(468) if i not in mesh.FACE_OVAL]


@cache
def face_mesh() -> OlderMesh:
    return OlderMesh()


@cache
def animated() -> AnimatedPortrait:
    return animated_astronaut(SIZE)


@cache
def drawn(motion: Motion) -> tuple[Bytes, Floats, Floats]:
    """Return the picture, its true landmarks and the measured ones."""
    rgb, truth = animated().draw(motion)
    first = face_mesh().from_landmarks(rgb, truth)
    return rgb, truth, face_mesh().from_landmarks(rgb, first.landmarks).landmarks


def error(truth: Floats, measured: Floats) -> Floats:
    """Return [478] distances in inter-ocular distances."""
    apart = np.linalg.norm((truth - measured)[:, :2], axis=1)
    return apart / mesh.interocular(truth)


@pytest.mark.parametrize(
    "motion",
    [
        Motion(),
        Motion(mouth_open=0.1),
        Motion(yaw_deg=8.0, mouth_open=0.2),
        Motion(yaw_deg=-8.0, pitch_deg=3.0, roll_deg=2.0),
        Motion(brows=0.8, smile=-0.4),
        Motion(zoom=1.2, pan=(0.05, 0.02)),
    ],
    ids=["rest", "mouth", "right", "left", "brows", "camera"],
)
def test_the_landmarks_are_where_the_picture_shows_them(motion: Motion) -> None:
    _, truth, measured = drawn(motion)
    apart = error(truth, measured)
    assert apart[INNER].mean() < 0.03
    assert apart.max() < 0.2


def test_the_measured_mouth_follows_the_true_one() -> None:
    targets = (0.03, 0.1, 0.2, 0.3)
    measured = []
    for target in targets:
        _, truth, seen = drawn(Motion(mouth_open=target))
        assert expression(truth)["mouth_open"] == pytest.approx(target, abs=0.03)
        measured.append(expression(seen)["mouth_open"])
    assert np.all(np.diff(measured) > 0.012)


def test_closed_eyes_are_measured_as_closed() -> None:
    _, truth, opened = drawn(Motion())
    _, shut, closed = drawn(Motion(blink=1.0))
    assert expression(shut)["eye_open"] < 0.01 < expression(truth)["eye_open"]
    assert expression(closed)["eye_open"] < 0.75 * expression(opened)["eye_open"]


def test_a_closed_eye_shows_no_iris() -> None:
    rgb, truth, _ = drawn(Motion())
    shut, _, _ = drawn(Motion(blink=1.0))
    x, y = truth[468, :2].astype(int)
    window = np.s_[y - 2 : y + 2, x - 2 : x + 2]
    assert rgb[window].mean() + 40 < shut[window].mean()


def test_the_head_turns_as_told() -> None:
    yaws = [head_pose(drawn(Motion(yaw_deg=yaw))[2]).yaw_deg for yaw in (-8.0, 0.0, 8.0)]
    assert yaws[0] + 3 < yaws[1] < yaws[2] - 3


def test_no_motion_gives_the_photo_back() -> None:
    rgb, _, _ = drawn(Motion())
    photo = AnimatedPortrait(astronaut(), (512, 512))
    still, landmarks = photo.draw(Motion())
    assert rgb.shape == (240, 320, 3)
    assert np.abs(still.astype(int) - astronaut().astype(int)).mean() < 0.5
    assert np.allclose(landmarks[:, :2], photo.landmarks[:, :2], atol=0.05)


def test_what_is_far_from_the_face_stays_where_it_is() -> None:
    still, _, _ = drawn(Motion())
    moved, _, _ = drawn(Motion(mouth_open=0.25, yaw_deg=8.0))
    change = np.abs(still.astype(int) - moved.astype(int)).mean(axis=2)
    assert change[:60, :60].mean() < 0.5
    assert change[90:180, 120:200].mean() > 4


def test_the_mesh_does_not_fold_over_the_script() -> None:
    before = areas(animated().draw(Motion())[1])
    for t in (0.2, 0.9, 1.6, 2.7, 3.5):
        after = areas(animated().render(t)[1])
        assert (after - np.minimum(before, 0)).min() > -0.002, t


def areas(points: Floats) -> Floats:
    """Return twice the areas of the skin triangles about eyes, nose and mouth; a back's is < 0."""
    skin = mesh.triangles()[:852]
    near = np.abs(mesh.canonical()[skin, 0]).max(axis=1) < 0.75
    a, b, c = (points[skin[near][:, k], :2] / mesh.interocular(points) for k in range(3))
    return (b - a)[:, 1] * (c - a)[:, 0] - (b - a)[:, 0] * (c - a)[:, 1]


def test_lips_told_to_meet_meet_along_their_whole_length() -> None:
    pose = head_pose(animated().landmarks)
    head = expressed(pose.to_head(animated().landmarks), Motion(mouth_open=0.0))
    upper, lower = (mesh.LIPS_INNER[:0:-1][:9], mesh.LIPS_INNER[1:10])
    assert np.abs(head[list(upper)] - head[list(lower)]).max() < 2e-3


def test_motion_is_smooth_and_the_voice_opens_the_mouth() -> None:
    times = np.arange(0.0, 4.0, 0.04)
    turns = np.array([talking(float(t)).yaw_deg for t in times])
    mouths = np.array([talking(float(t)).mouth_open for t in times])
    loud = np.array([speech(float(t)) for t in times])
    assert np.abs(np.diff(turns)).max() < 1.0
    assert np.corrcoef(mouths, loud)[0, 1] > 0.99
    blinks = np.array([talking(float(t)).blink for t in times])
    assert ((blinks[1:] > 0.5) & (blinks[:-1] <= 0.5)).sum() == 2


def test_a_photo_with_closed_lips_gets_a_mouth_to_open() -> None:
    brand = AnimatedPortrait(read_rgb(BRAND), (256, 256))
    closed, at_rest = brand.draw(Motion())
    opened, points = brand.draw(Motion(mouth_open=0.25))
    x, y = points[[mesh.UPPER_LIP, mesh.LOWER_LIP], :2].mean(axis=0).astype(int)
    assert opened[y + 4, x].mean() < 0.6 * closed[y + 4, x].mean()
    assert expression(at_rest)["mouth_open"] < 0.06


def test_the_same_moment_gives_the_same_picture() -> None:
    first, second = (animated_astronaut.__wrapped__(SIZE) for _ in range(2))
    assert np.array_equal(first.render(0.88)[0], second.render(0.88)[0])


def test_a_photo_without_a_face_is_refused() -> None:
    with pytest.raises(ReferenceImageError, match="no face"):
        AnimatedPortrait(np.full((64, 64, 3), 128, np.uint8), SIZE)
