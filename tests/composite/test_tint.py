import numpy as np
import pytest
from portrait import astronaut

from fapvideo.composite.tint import tint_like
from fapvideo.ops.image import luma


@pytest.fixture(scope="module")
def face():
    return np.ascontiguousarray(astronaut()[60:210, 150:300].astype(np.float32) / 255)


def departures(picture):
    """Return how far colours depart from what brightness alone makes of them."""
    pixels = picture.reshape(-1, 3)
    grey = np.column_stack([luma(pixels), np.ones(len(pixels))])
    line, *_ = np.linalg.lstsq(grey, pixels, rcond=None)
    return float(np.sqrt(np.square(pixels - grey @ line).sum(axis=1).mean()))


def test_a_colourful_frame_changes_nothing(face):
    part = np.roll(face, 40, axis=1)
    np.testing.assert_array_equal(tint_like(part, face), part)


@pytest.mark.parametrize("tone", [(1, 1, 1), (1.05, 0.95, 0.75)])
def test_a_black_and_white_or_toned_frame_gets_no_other_colour(face, tone):
    frame = np.repeat(luma(face)[..., None], 3, 2) * np.array(tone, np.float32)
    shown = tint_like(face, frame)
    wanted = np.repeat(luma(face)[..., None], 3, 2) * np.array(tone) / luma(np.array(tone))
    assert np.abs(shown - wanted).max() < 0.02
    assert np.abs(face - wanted).max() > 0.1


def test_a_pale_frame_gets_pale_colours(face):
    grey = np.repeat(luma(face)[..., None], 3, 2)
    frame = (grey + 0.2 * (face - grey)).astype(np.float32)
    got = departures(tint_like(face, frame)) / departures(face)
    assert 0.1 < got < 0.6
