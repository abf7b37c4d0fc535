import cv2
import numpy as np
import pytest

from fapvideo.composite.detail import restore_detail
from fapvideo.ops.image import resize

SMALL, LARGE = 32, 128
RNG = np.random.default_rng(6)


def textured():
    """Return [LARGE, LARGE, 3]: a smooth picture with pores and hairs the model cannot see."""
    smooth = cv2.GaussianBlur(RNG.uniform(size=(LARGE, LARGE, 3)).astype(np.float32), (0, 0), 12)
    return np.clip(0.5 + 2 * (smooth - 0.5) + RNG.normal(0, 0.03, (LARGE, LARGE, 1)), 0.1, 0.9)


def fine(picture):
    """Return what is finer than the model's pixels."""
    return picture - cv2.GaussianBlur(picture, (0, 0), 4.0)


@pytest.fixture
def guide():
    return textured().astype(np.float32)


def test_a_model_that_changes_nothing_returns_the_guide(guide):
    small = resize(guide, SMALL)
    np.testing.assert_allclose(restore_detail(small, small, guide, 1.0), guide, atol=1e-6)


def test_a_smooth_correction_arrives_and_the_texture_stays(guide):
    """The model warms the picture up on one side: colour follows, pores remain."""
    small = resize(guide, SMALL)
    change = np.linspace(-0.08, 0.08, SMALL, dtype=np.float32)[None, :, None] * [1, 0.5, -0.5]
    result = restore_detail((small + change).astype(np.float32), small, guide, 1.0)
    ramp = np.linspace(-0.08, 0.08, LARGE, dtype=np.float32)[None, :, None] * [1, 0.5, -0.5]
    assert np.abs(result - (guide + ramp)).max() < 0.01
    assert fine(result).std() == pytest.approx(fine(guide).std(), rel=0.05)


def test_amount_zero_is_the_enlarged_result_and_between_is_between(guide):
    small = resize(guide, SMALL)
    painted = np.clip(small + 0.05, 0, 1).astype(np.float32)
    none = restore_detail(painted, small, guide, 0.0)
    np.testing.assert_allclose(none, resize(painted, LARGE), atol=1e-6)
    full = restore_detail(painted, small, guide, 1.0)
    half = restore_detail(painted, small, guide, 0.5)
    np.testing.assert_allclose(half, (none + full) / 2, atol=1e-5)
    assert fine(none).std() < 0.5 * fine(full).std()


def test_at_the_models_own_size_brightness_is_as_the_model_painted_it(guide):
    grey = np.clip(guide + RNG.uniform(-0.1, 0.1, (LARGE, LARGE, 1)), 0, 1).astype(np.float32)
    assert np.abs(restore_detail(grey, guide, guide, 1.0) - grey).max() < 0.02


def test_fine_colour_noise_of_the_model_is_not_shown(guide):
    """Fringes on lashes and irises: the model's change of colour is taken smoothly only."""
    noise = RNG.normal(0, 0.1, guide.shape)
    noise -= (noise @ np.array([0.2126, 0.7152, 0.0722]))[..., None]
    out = restore_detail((guide + noise).astype(np.float32), guide, guide, 1.0)
    assert (out - guide).std() < 0.25 * noise.std()
    tint = np.array([0.05, 0.0, -0.05], np.float32)
    shifted = restore_detail(guide * 0.8 + 0.1 + tint, guide * 0.8 + 0.1, guide * 0.8 + 0.1, 1.0)
    assert np.abs(shifted - (guide * 0.8 + 0.1 + tint)).max() < 0.01, "a broad tint is kept"


def test_values_stay_legal(guide):
    small = resize(guide, SMALL)
    for push in (0.9, -0.9):
        out = restore_detail(np.clip(small + push, 0, 1).astype(np.float32), small, guide, 1.0)
        assert out.min() >= 0
        assert out.max() <= 1
        assert out.dtype == np.float32
