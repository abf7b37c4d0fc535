"""Small videos for pages: what a browser gets is what was put in, at its own time."""

from __future__ import annotations

import io
from fractions import Fraction

import av
import numpy as np
import pytest

from fapvideo.video.embed import EmbeddedVideo

TIMES = (0.0, 0.04, 0.12, 0.125, 0.5)


def grey(level: int) -> np.ndarray:
    """Return a picture of one colour, 64x48."""
    return np.full((48, 64, 3), (level, 40, 60), np.uint8)


def test_pictures_come_back_at_their_times() -> None:
    with EmbeddedVideo((64, 48), Fraction(25), bits_per_s=500_000) as video:
        for index, time_s in enumerate(TIMES):
            video.add(grey(40 * index), time_s)
    with av.open(io.BytesIO(video.data)) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        frames = list(container.decode(video=0))
    assert [frame.time for frame in frames] == pytest.approx(TIMES)
    for index, frame in enumerate(frames):
        shown = frame.to_ndarray(format="rgb24").mean(axis=(0, 1))
        assert shown == pytest.approx((40 * index, 40, 60), abs=4)


def test_noise_keeps_to_the_bit_rate() -> None:
    noise = np.random.default_rng(0)
    with EmbeddedVideo((64, 48), Fraction(25), bits_per_s=64_000) as video:
        for index in range(100):
            video.add(noise.integers(0, 255, (48, 64, 3), np.uint8), index / 25)
    assert 8 * len(video.data) < 1.7 * 64_000 * (4 + 2)


def test_after_an_exception_there_is_no_video() -> None:
    with pytest.raises(KeyError), EmbeddedVideo((64, 48), Fraction(25), bits_per_s=1) as video:
        video.add(grey(0), 0.0)
        raise KeyError
    assert video.data == b""
