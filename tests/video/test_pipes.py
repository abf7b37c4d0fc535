"""YUV4MPEG2 and raw planes: what comes in goes out, sample for sample."""

from __future__ import annotations

import io
import shutil
import subprocess
from fractions import Fraction

import numpy as np
import pytest

from fapvideo.errors import VideoReadError
from fapvideo.video.pipes import Stream, raw_stream, read_frames, read_header, write_frame

ffmpeg = shutil.which("ffmpeg")
needs_ffmpeg = pytest.mark.skipif(ffmpeg is None, reason="the program ffmpeg is not installed")


def made(pixel_format: str, kind: str = "yuv4mpegpipe") -> bytes:
    """Return three frames of odd size as the real FFmpeg pipes them."""
    assert ffmpeg
    return subprocess.run(
        [ffmpeg, "-v", "error", "-f", "lavfi", "-i", "testsrc2=s=66x50:r=30000/1001", "-frames:v",
         "3", "-pix_fmt", pixel_format, "-strict", "-1", "-f", kind, "-"],
        capture_output=True, check=True, timeout=120,
    ).stdout  # fmt: skip


def through(pipe: io.BytesIO, stream: Stream) -> tuple[bytes, int]:
    out, count = io.BytesIO(), 0
    out.write(stream.header)
    for line, frame in read_frames(pipe, stream):
        write_frame(out, stream, line, frame)
        count += 1
    return out.getvalue(), count


@needs_ffmpeg
@pytest.mark.parametrize(
    "pixel_format",
    ["yuv420p", "yuv422p", "yuv444p", "yuv420p10le", "yuv422p10le", "yuv444p10le", "gray"],
)
def test_what_ffmpeg_pipes_goes_through_unchanged(pixel_format: str) -> None:
    data = made(pixel_format)
    pipe = io.BytesIO(data)
    stream = read_header(pipe)
    assert (stream.info.width, stream.info.height) == (66, 50)
    assert stream.info.pixel_format == pixel_format
    assert stream.info.frame_rate == Fraction(30000, 1001)
    assert through(pipe, stream) == (data, 3)


@needs_ffmpeg
@pytest.mark.parametrize("pixel_format", ["yuv420p10le", "gbrp", "rgb24"])
def test_raw_frames_go_through_unchanged(pixel_format: str) -> None:
    data = made(pixel_format, "rawvideo")
    stream = raw_stream("66x50", pixel_format, "30000/1001")
    assert through(io.BytesIO(data), stream) == (data, 3)
    if pixel_format == "rgb24":
        ((_, frame), *_) = read_frames(io.BytesIO(data), stream)
        picture = np.frombuffer(data, np.uint8)[: 66 * 50 * 3].reshape(50, 66, 3)
        np.testing.assert_array_equal(frame.planes[2], picture[..., 0])


def test_tags_say_how_samples_are_to_be_understood() -> None:
    line = b"YUV4MPEG2 W8 H4 F25:1 It A2:1 C420mpeg2 XYSCSS=420MPEG2 XCOLORRANGE=FULL\n"
    info = read_header(io.BytesIO(line)).info
    assert info.color.full_range
    assert info.field_order == "tff"
    assert info.sample_aspect_ratio == 2


def test_a_stream_that_breaks_off_says_where() -> None:
    data = b"YUV4MPEG2 W4 H2 F25:1\nFRAME\n" + bytes(12) + b"FRAME\n" + bytes(5)
    pipe = io.BytesIO(data)
    frames = read_frames(pipe, read_header(pipe))
    next(frames)
    with pytest.raises(VideoReadError, match="frame 1: the stream ends within it"):
        next(frames)


def test_a_rate_that_nobody_knows_is_taken_as_usual() -> None:
    line = b"YUV4MPEG2 W8 H4 F0:0\n"
    assert read_header(io.BytesIO(line)).info.frame_rate == 25


def test_a_header_is_no_picture() -> None:
    data = b"YUV4MPEG2 W4 H2 F25:1\nFRAME\n" + bytes(12)
    with pytest.raises(VideoReadError, match="is YUV4MPEG2, not raw frames"):
        next(read_frames(io.BytesIO(data), raw_stream("4x2", "yuv420p", "25")))


def test_what_ffmpeg_writes_wrongly_has_a_way_around() -> None:
    """Two frames of 3x2 in 10 bits, whose chroma lines have 3 bytes instead of 4."""
    data = b"YUV4MPEG2 W3 H2 F25:1 C420p10\n" + (b"FRAME\n" + bytes(3 * 2 * 2 + 3 + 3)) * 2
    pipe = io.BytesIO(data)
    with pytest.raises(VideoReadError) as caught:
        list(read_frames(pipe, read_header(pipe)))
    assert "-f rawvideo" in caught.value.hint


@pytest.mark.parametrize(
    "data", [b"", b"RIFF....", b"YUV4MPEG2 W4\n", b"YUV4MPEG2 W4 H2 Cfoo\n", b"YUV4MPEG2 W0 H2\n"]
)
def test_what_is_no_stream_is_refused(data: bytes) -> None:
    with pytest.raises(VideoReadError):
        read_header(io.BytesIO(data))


@pytest.mark.parametrize(
    ("size", "pixel_format", "rate"),
    [("8", "yuv420p", "25"), ("8x8", "nv12", "25"), ("8x8", "yuv420p", "0"), ("0x8", "gray", "1")],
)
def test_raw_frames_that_make_no_sense_are_refused(size: str, pixel_format: str, rate: str) -> None:
    with pytest.raises(VideoReadError):
        raw_stream(size, pixel_format, rate)
