import numpy as np
import pytest
from portrait import rotation

from fapvideo.ops import mesh
from fapvideo.ops.pose import HeadPose
from fapvideo.track import smoother
from fapvideo.track.smoother import fill_gaps, jumps, smooth, smooth_into


def clip(frames, move=lambda i: (0.0, 0.0), yaw=lambda i: 0.0, mouth=lambda i: 0.0):
    """Return [T, 478, 3] of the mean head, 80 px between its eyes."""
    out = []
    for i in range(frames):
        head = mesh.canonical().astype(np.float64)
        head[[14, 17], 1] += mouth(i)
        dx, dy = move(i)
        pose = HeadPose(80.0, rotation(yaw(i)), np.array([200 + dx, 150 + dy, 0]))
        out.append(pose.to_image(head))
    return np.array(out, np.float32)


def frames_at(landmarks, rate=25.0):
    """Return [T] presentation times."""
    return np.arange(len(landmarks)) / rate


def steadied(landmarks, frames):
    """Smooth a clip of 25 frames a second with a window of some frames on both sides."""
    return smooth(landmarks, frames_at(landmarks), frames / 25)


def noisy(landmarks, sigma, seed=0):
    rng = np.random.default_rng(seed)
    shake = rng.normal(0, sigma, (len(landmarks), 1, 3))
    each = rng.normal(0, sigma, landmarks.shape)
    return (landmarks + shake + each).astype(np.float32)


@pytest.mark.parametrize("half", [1, 2, 5])
def test_steady_motion_stays_what_it_is(half):
    """No lag and no pull at the ends: a ramp is a ramp. A lagging filter would shift it."""
    moving = clip(40, move=lambda i: (3.0 * i, -1.5 * i))
    np.testing.assert_allclose(steadied(moving, half), moving, atol=0.02)


def test_a_steady_turn_stays_what_it_is():
    turning = clip(40, yaw=lambda i: -30 + 1.5 * i)
    np.testing.assert_allclose(steadied(turning, 3), turning, atol=0.25)


@pytest.mark.parametrize("length", [3, 4])
def test_a_short_blink_keeps_its_height(length):
    """A peak of expression three frames long stays at 80 % or more, and in its place."""
    shape = {3: (0.6, 1, 0.6), 4: (0.5, 1, 1, 0.5)}[length]

    def mouth(i):
        return 0.3 * shape[i - 20] if 20 <= i < 20 + length else 0.0

    still, moving = clip(50), clip(50, mouth=mouth)
    opened = (steadied(moving, 3) - still)[:, 14, 1]
    true = (moving - still)[:, 14, 1]
    assert opened.max() > 0.8 * true.max()
    at = np.arange(50)
    centre = (opened.clip(0) * at).sum() / opened.clip(0).sum()
    assert centre == pytest.approx((true * at).sum() / true.sum(), abs=0.1)
    assert np.abs(opened[:15]).max() < 0.1


def test_jitter_falls_where_it_hurts():
    """Of the whole head by half or more at 25 fps' window; of single points too.

    The trembling is that of a real mesh, 0.005 of the eye distance; more of it may be a fast head.
    """
    still = clip(200)
    shaken = noisy(still, 0.4)
    calm = steadied(shaken, 3)

    def jitter(landmarks):
        return np.diff(landmarks[..., :2], axis=0).std(axis=0).mean()

    assert jitter(calm) < 0.62 * jitter(shaken)

    def head_jitter(landmarks):
        return np.diff(landmarks[:, list(mesh.STABLE), :2].mean(1), axis=0).std(0).mean()

    assert head_jitter(calm) < 0.4 * head_jitter(shaken)
    assert np.abs(calm - still).mean() < np.abs(shaken - still).mean()


def test_zero_phase_means_the_same_backwards():
    wild = noisy(clip(60, move=lambda i: (20 * np.sin(i / 4), 0), yaw=lambda i: 10 * np.sin(i / 7)),
                 0.5)  # fmt: skip
    np.testing.assert_allclose(steadied(wild[::-1].copy(), 3)[::-1], steadied(wild, 3), atol=0.05)


@pytest.mark.parametrize("frames", [1, 2, 3, 4])
def test_the_shortest_tracks(frames):
    landmarks = noisy(clip(frames), 0.5)
    out = steadied(landmarks, 3)
    assert out.shape == landmarks.shape
    assert np.isfinite(out).all()
    assert np.abs(out - landmarks).max() < 5
    if frames <= 2:
        np.testing.assert_array_equal(out, landmarks)


def test_switched_off_it_returns_a_copy():
    landmarks = noisy(clip(10), 1)
    out = steadied(landmarks, 0)
    np.testing.assert_array_equal(out, landmarks)
    assert not np.shares_memory(out, landmarks)


@pytest.mark.parametrize("chunk", [16, 37])
def test_a_long_track_is_the_same_in_pieces(monkeypatch, chunk):
    landmarks = noisy(clip(100, move=lambda i: (10 * np.sin(i / 9), i)), 0.4)
    whole, pieces = steadied(landmarks, 2), np.empty_like(landmarks)
    monkeypatch.setattr(smoother, "CHUNK", chunk)
    smooth_into(landmarks, pieces, frames_at(landmarks), 2 / 25)
    np.testing.assert_allclose(pieces, whole, atol=0.02)


def test_gaps_are_bridged_in_a_straight_line_and_the_rest_stays():
    landmarks = clip(12, move=lambda i: (4.0 * i, 0))
    expected = landmarks.copy()
    landmarks[5:9] = 0
    valid = np.ones(12, bool)
    valid[5:9] = False
    fill_gaps(landmarks, valid, frames_at(landmarks))
    np.testing.assert_allclose(landmarks, expected, atol=1e-3)


def test_what_lies_outside_the_first_and_last_measurement_is_left_alone():
    landmarks = np.zeros((6, 478, 3), np.float32)
    landmarks[2:4] = 7
    before = landmarks.copy()
    fill_gaps(landmarks, np.array([0, 0, 1, 1, 0, 0], bool), np.arange(6.0))
    np.testing.assert_array_equal(landmarks, before)


def test_gaps_are_bridged_in_time_not_in_frames():
    """A frame that came late lies farther along."""
    times = np.array([0.0, 0.04, 0.16, 0.2])
    landmarks = clip(4, move=lambda i: (100 * times[i], 0))
    expected = landmarks.copy()
    landmarks[1:3] = 0
    fill_gaps(landmarks, np.array([1, 0, 0, 1], bool), times)
    np.testing.assert_allclose(landmarks, expected, atol=1e-3)


def test_uneven_frames_of_a_steady_motion_stay_what_they_are():
    times = np.cumsum(np.random.default_rng(0).choice([0.02, 0.04, 0.09], 40))
    moving = clip(40, move=lambda i: (60 * times[i], -30 * times[i]))
    np.testing.assert_allclose(smooth(moving, times, 0.1), moving, atol=0.02)


def test_a_head_that_darts_about_is_followed_at_once():
    """It stops dead, turns round and starts again: a filter alone cuts the corners by 0.1."""

    def place(i):
        return (12.0 * abs((i % 20) - 10) if 10 < i < 50 else 0.0, 0.0)

    true = clip(60, move=place)
    calm = steadied(noisy(true, 0.1), 3)
    away = np.linalg.norm((calm - true)[:, list(mesh.STABLE), :2].mean(axis=1), axis=-1) / 80
    assert away.max() < 0.02


def test_a_jump_is_a_face_out_of_shape_and_motion_is_none():
    wild = clip(20, move=lambda i: (40.0 * (i % 2), 9.0 * i), yaw=lambda i: 4.0 * (i % 3))
    assert jumps(wild).max() < 0.02
    for scale in (1.0, 3.0):
        snapped = wild * scale
        rng = np.random.default_rng(0)
        snapped[10] += 40 * scale * rng.normal(size=snapped[10].shape)  # half of the eye distance
        found = jumps(snapped)
        assert found[10] > 0.5
        assert found[9] > 0.2
        assert found[[0, 19]].max() == 0
        assert found[3:8].max() < 0.02
