import numpy as np
import pytest
from portrait import posed, rotation

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


def noisy(landmarks, sigma, seed=0):
    rng = np.random.default_rng(seed)
    shake = rng.normal(0, sigma, (len(landmarks), 1, 3))
    each = rng.normal(0, sigma, landmarks.shape)
    return (landmarks + shake + each).astype(np.float32)


@pytest.mark.parametrize("half", [1, 2, 5])
def test_steady_motion_stays_what_it_is(half):
    """No lag and no pull at the ends: a ramp is a ramp. A lagging filter would shift it."""
    moving = clip(40, move=lambda i: (3.0 * i, -1.5 * i))
    np.testing.assert_allclose(smooth(moving, half), moving, atol=0.02)


def test_a_steady_turn_stays_what_it_is():
    turning = clip(40, yaw=lambda i: -30 + 1.5 * i)
    np.testing.assert_allclose(smooth(turning, 3), turning, atol=0.25)


@pytest.mark.parametrize("length", [3, 4])
def test_a_short_blink_keeps_its_height(length):
    """A peak of expression three frames long stays at 80 % or more, and in its place."""
    shape = {3: (0.6, 1, 0.6), 4: (0.5, 1, 1, 0.5)}[length]

    def mouth(i):
        return 0.3 * shape[i - 20] if 20 <= i < 20 + length else 0.0

    still, moving = clip(50), clip(50, mouth=mouth)
    opened = (smooth(moving, 3) - still)[:, 14, 1]
    true = (moving - still)[:, 14, 1]
    assert opened.max() > 0.8 * true.max()
    at = np.arange(50)
    centre = (opened.clip(0) * at).sum() / opened.clip(0).sum()
    assert centre == pytest.approx((true * at).sum() / true.sum(), abs=0.1)
    assert np.abs(opened[:15]).max() < 0.1


def test_jitter_falls_where_it_hurts():
    """Of the whole head by half or more at 25 fps' window; of single points too."""
    still = clip(200)
    shaken = noisy(still, 1.0)
    calm = smooth(shaken, 3)

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
    np.testing.assert_allclose(smooth(wild[::-1].copy(), 3)[::-1], smooth(wild, 3), atol=0.05)


@pytest.mark.parametrize("frames", [1, 2, 3, 4])
def test_the_shortest_tracks(frames):
    landmarks = noisy(clip(frames), 0.5)
    out = smooth(landmarks, 3)
    assert out.shape == landmarks.shape
    assert np.isfinite(out).all()
    assert np.abs(out - landmarks).max() < 5
    if frames <= 2:
        np.testing.assert_array_equal(out, landmarks)


def test_switched_off_it_returns_a_copy():
    landmarks = noisy(clip(10), 1)
    out = smooth(landmarks, 0)
    np.testing.assert_array_equal(out, landmarks)
    assert not np.shares_memory(out, landmarks)


@pytest.mark.parametrize("chunk", [16, 37])
def test_a_long_track_is_the_same_in_pieces(monkeypatch, chunk):
    landmarks = noisy(clip(100, move=lambda i: (10 * np.sin(i / 9), i)), 0.4)
    whole, pieces = smooth(landmarks, 2), np.empty_like(landmarks)
    monkeypatch.setattr(smoother, "CHUNK", chunk)
    smooth_into(landmarks, pieces, 2)
    np.testing.assert_allclose(pieces, whole, atol=0.02)


def test_gaps_are_bridged_in_a_straight_line_and_the_rest_stays():
    landmarks = clip(12, move=lambda i: (4.0 * i, 0))
    expected = landmarks.copy()
    landmarks[5:9] = 0
    valid = np.ones(12, bool)
    valid[5:9] = False
    fill_gaps(landmarks, valid)
    np.testing.assert_allclose(landmarks, expected, atol=1e-3)


def test_what_lies_outside_the_first_and_last_measurement_is_left_alone():
    landmarks = np.zeros((6, 478, 3), np.float32)
    landmarks[2:4] = 7
    before = landmarks.copy()
    fill_gaps(landmarks, np.array([0, 0, 1, 1, 0, 0], bool))
    np.testing.assert_array_equal(landmarks, before)


def test_a_jump_is_in_eye_distances_and_steady_motion_is_none():
    steady = clip(20, move=lambda i: (5.0 * i, 0))
    assert jumps(steady).max() < 1e-3
    for scale in (1.0, 3.0):
        snapped = steady * scale
        snapped[10, :, 0] += 40 * scale  # half of the eye distance
        found = jumps(snapped)
        assert found[10] == pytest.approx(0.5, abs=0.02)
        assert found[9] == found[11] == pytest.approx(0.25, abs=0.02)
        assert found[[0, 19]].max() == 0
        assert found[3:8].max() < 1e-3


def test_a_blink_or_a_word_is_no_jump():
    talking = clip(30, mouth=lambda i: 0.3 * (i % 3))
    assert jumps(talking).max() < 0.05


def test_poses_of_the_test_heads_are_what_they_say():
    np.testing.assert_allclose(clip(1)[0], posed(scale=80, at=(200, 150)), atol=1e-3)
