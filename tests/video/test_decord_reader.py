import builtins

import clips
import numpy as np
import pytest

from fapvideo.config.schema import VideoConfig
from fapvideo.errors import VideoReadError
from fapvideo.video.decord_reader import DecordReader, random_access
from fapvideo.video.reader import VideoReader


def test_never_the_default(clip):
    assert isinstance(random_access(clip("plain"), VideoConfig()), VideoReader)


def test_not_installed(clip, monkeypatch):
    original = builtins.__import__

    def without_decord(name, *args, **kwargs):
        if name == "decord":
            raise ImportError(name)
        return original(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_decord)
    with pytest.raises(VideoReadError, match="not installed") as caught:
        random_access(clip("plain"), VideoConfig(reader="decord"))
    assert "fapvideo[decord]" in caught.value.hint


@pytest.mark.parametrize("name", ["plain", "b_frames", "vfr_mp4", "late_start", "rotated_90"])
def test_same_frames_as_the_default_reader(clip, name):
    pytest.importorskip("decord")
    made = clips.CLIPS[name]
    times = [0.0, 0.1, 0.05, 0.3, 99.0, 0.1]
    with random_access(clip(name), VideoConfig(reader="decord")) as reader:
        assert isinstance(reader, DecordReader)
        found = reader.frames_at(times)
    with VideoReader(clip(name)) as reader:
        expected = reader.frames_at(times)
    for (frame, rgb), (other, picture) in zip(found, expected, strict=True):
        assert (frame.index, frame.pts) == (other.index, other.pts)
        assert rgb.shape == picture.shape
        assert clips.read_barcode(rgb, made.rotation) == clips.read_barcode(picture, made.rotation)
        assert frame.planes[0].shape == other.planes[0].shape
        green = np.rot90(rgb, made.rotation // 90)[..., 1]
        assert np.array_equal(frame.planes[0], green)


def test_start_and_end(clip):
    pytest.importorskip("decord")
    config = VideoConfig(reader="decord", start_s=0.12, end_s=0.3)
    with DecordReader(clip("plain"), config) as reader:
        found = reader.frames_at([0.0, 0.16, 5.0])
    assert [clips.read_barcode(rgb) for _, rgb in found] == [3, 4, 7]


def test_a_file_decord_cannot_open(clip):
    pytest.importorskip("decord")
    with pytest.raises(VideoReadError, match="decord") as caught:
        DecordReader(clip("raw_h264"), VideoConfig(reader="decord"))
    assert "pyav" in caught.value.hint
