"""Streams and pictures: what they carry is kept, or named; no tag is false."""

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import clips
import numpy as np
import pytest
from copying import copy

from fapvideo.config.schema import VideoConfig
from fapvideo.errors import VideoReadError, VideoWriteError
from fapvideo.video.probe import probe
from fapvideo.video.reader import VideoReader

DATA = Path(__file__).parents[1] / "data"


def side_data(path, name):
    """Return one kind of side data of every frame; None where it has none."""
    with av.open(path) as container:
        frames = list(container.decode(video=0))
    return [
        next((bytes(data) for data in frame.side_data if data.type.name == name), None)
        for frame in frames
    ]


def field_order(path):
    """Return FFmpeg's number of a stream's field order, and whether all frames are interlaced."""
    with av.open(path) as container:
        stream = container.streams.video[0]
        flags = [frame.interlaced_frame for frame in container.decode(stream)]
        return stream.codec_context.field_order, set(flags)


def planes(path, **config):
    with VideoReader(path, VideoConfig(**config)) as reader:
        frames = [frame for batch in reader.batches(5) for frame in batch.frames]
    return np.stack([frame.planes[0] for frame in frames]).astype(int)


def made(path, clip):
    clips.write_clip(path, clip)
    return path


# ------------------------------------------------------------------------------------ streams


def test_captions_in_the_pictures_are_kept(tmp_path):
    """H.264 and H.265, B-frames or not; elsewhere it is said that they are lost."""
    expected = side_data(DATA / "cc.mp4", "A53_CC")
    assert all(expected)
    for codec, suffix in (("h264", ".mp4"), ("h264", ".mkv"), ("hevc", ".mov")):
        output = tmp_path / f"{codec}{suffix}"
        assert not copy(DATA / "cc.mp4", output, codec=codec, speed="fast").warnings
        assert side_data(output, "A53_CC") == expected, (codec, suffix)
    again = tmp_path / "again.mp4"
    copy(tmp_path / "h264.mp4", again, codec="h264")
    assert side_data(again, "A53_CC") == expected, "read from pictures out of order"
    (warning,) = copy(DATA / "cc.mp4", tmp_path / "o.mkv", codec="ffv1").warnings
    assert "CEA-608/708" in warning
    assert "h264" in warning


def test_a_codec_that_nobody_knows(tmp_path):
    for suffix in (".mp4", ".mkv"):
        writer = copy(DATA / "unknown_audio.mov", tmp_path / f"o{suffix}")
        (warning,) = writer.warnings
        assert "audio stream 1 (unknown codec) is left out" in warning
        assert "-copy_unknown" in warning
        assert writer.frames == 16
    assert [s.codec for s in probe(DATA / "unknown_audio.mov").streams] == ["h264", "unknown"]


def test_what_would_keep_a_stream_is_named(clip, tmp_path):
    warnings = copy(clip("tracks_mkv"), tmp_path / "o.mp4").warnings
    assert len(warnings) == 2
    assert all(warning.endswith(".mkv keeps it") for warning in warnings)


def test_a_second_picture_with_b_frames(tmp_path):
    """Its packets keep their times, although Matroska keeps none of decoding."""
    path = tmp_path / "two.mkv"
    one = clips.Clip(".mkv", time_base=Fraction(1, 1000), frames=20)
    with av.open(path, "w") as output:
        streams = [
            clips._add_video(output, replace(one, options=options))
            for options in ({}, {"bf": "3", "g": "12"})
        ]
        for index, pts in enumerate(one.pts):
            for stream in streams:
                frame = clips._frame(clips.picture(index, one.size), one)
                frame.pts, frame.time_base = pts, one.time_base
                output.mux(stream.encode(frame))
        for stream in streams:
            output.mux(stream.encode(None))
    for suffix in (".mp4", ".mkv", ".mov"):
        copy(path, tmp_path / f"o{suffix}")
        with av.open(tmp_path / f"o{suffix}") as container:
            second = container.streams.video[1]
            times = [round(1000 * f.pts * f.time_base) for f in container.decode(second)]
        assert times == one.pts, suffix


def test_damaged_sound_is_left_out_and_counted(tmp_path):
    """A packet that the muxer refuses does not end a long run."""
    ts = clips.Clip(".ts", time_base=Fraction(1, 90000), muxer="mpegts", audio=("aac",), start=9000)
    data = bytearray(made(tmp_path / "in.ts", ts).read_bytes())
    marks = [at for at in range(len(data) - 1) if data[at : at + 2] == b"\xff\xf1"]
    for at in marks[4:7]:
        data[at : at + 7] = bytes(7)
    (tmp_path / "in.ts").write_bytes(data)
    writer = copy(tmp_path / "in.ts", tmp_path / "o.mp4")
    assert writer.frames == 12
    assert any("damaged packets of audio stream" in warning for warning in writer.warnings)


def test_transparency_of_vp9(tmp_path):
    """Decoded with the pictures and kept where the output can; the old tag is not."""
    info = probe(DATA / "alpha.webm")
    assert (info.pixel_format, info.decoder) == ("yuva420p", "libvpx-vp9")
    with VideoReader(info) as reader:
        before = [frame.planes[3] for frame in next(reader.batches(10)).frames]
    assert before[0].min() < 128 < before[0].max()
    assert not copy(DATA / "alpha.webm", tmp_path / "o.mkv").warnings
    with VideoReader(tmp_path / "o.mkv") as reader:
        after = [frame.planes[3] for frame in next(reader.batches(10)).frames]
    assert all((a == b).all() for a, b in zip(after, before, strict=True))
    (warning,) = copy(DATA / "alpha.webm", tmp_path / "o.mp4").warnings
    assert "transparency is lost" in warning
    for name in ("o.mkv", "o.mp4"):
        with av.open(tmp_path / name) as container:
            assert "alpha_mode" not in container.streams.video[0].metadata


def test_two_eyes_in_one_picture(tmp_path):
    """The layout goes on as a message in H.264 and as a field of Matroska; else it is named."""
    packing = {"x264-params": "frame-packing=3"}
    path = made(tmp_path / "sbs.mp4", clips.Clip(options=packing))
    assert probe(path).stereo == "left_right"
    assert not copy(path, tmp_path / "o.mp4").warnings
    assert probe(tmp_path / "o.mp4").stereo == "left_right"
    warnings = copy(path, tmp_path / "o.mov", codec="prores").warnings
    assert any("the layout of 3D pictures is left out" in text for text in warnings)


def test_a_start_timecode_does_not_outlive_its_frame(clip, tmp_path):
    warnings = copy(clip("timecode"), tmp_path / "o.mov", start_s=0.2).warnings
    assert any("start timecode is left out" in text for text in warnings)
    with av.open(tmp_path / "o.mov") as container:
        assert not any("timecode" in stream.metadata for stream in container.streams)


# ------------------------------------------------------------------------------------ pictures


def test_interlaced_stays_interlaced(tmp_path):
    """With the order of its fields, in every codec that can; the lines are the source's."""
    top = clips.Clip(options={"x264-params": "tff=1"}, size=(96, 96))
    cases = {DATA / "interlaced.mp4": ("bff", 3), made(tmp_path / "tff.mp4", top): ("tff", 2)}
    for path, (name, number) in cases.items():
        assert probe(path).field_order == name
        for codec, suffix in (
            ("auto", ".mp4"),
            ("auto", ".mkv"),
            ("prores", ".mov"),
            ("ffv1", ".mkv"),
        ):
            output = tmp_path / f"{name}-{codec}{suffix}"
            copy(path, output, codec=codec, crf=1)
            assert field_order(output) == (number, {True}), (name, codec, suffix)
            assert probe(output).field_order == name
        assert np.abs(planes(tmp_path / f"{name}-auto.mp4") - planes(path)).mean() < 1
        assert (planes(tmp_path / f"{name}-ffv1.mkv") == planes(path)).all()
        with pytest.raises(VideoWriteError, match="interlaced") as caught:
            copy(path, tmp_path / "no.mp4", codec="hevc")
        assert "video.deinterlace" in caught.value.hint
    assert not (tmp_path / "no.mp4").exists()


def test_interlaced_becomes_progressive_on_request(tmp_path):
    """One whole picture of every frame: a comb of two fields is gone, times and count are not."""
    path = tmp_path / "comb.mp4"
    still = np.repeat(np.repeat(np.arange(0, 240, 4, np.uint8)[None, :, None], 64, 0), 3, 2)

    def comb(index):  # the lower field lags by 8 pixels
        rgb = np.roll(still, 4 * index, axis=1)
        rgb[1::2] = np.roll(rgb[1::2], 8, axis=1)
        return rgb

    clip = clips.Clip(
        codec="libx264", size=(60, 64), frames=10, options={"crf": "1", "x264-params": "tff=1"}
    )
    clips.write_clip(path, clip, comb)
    combed, whole = planes(path), planes(path, deinterlace=True)
    assert len(whole) == 10

    def lines(pictures):
        return np.abs(np.diff(pictures[:, 16:], axis=1)).mean()

    assert lines(whole) < 0.4 * lines(combed)
    copy(path, tmp_path / "o.mp4", deinterlace=True, codec="hevc")
    assert probe(tmp_path / "o.mp4").field_order == "progressive"
    with VideoReader(path, VideoConfig(deinterlace=True)) as reader:
        for index in (4, 9):
            frame = reader.frames_at([index / 25])[0][0]
            assert (frame.planes[0] == whole[index]).all(), "wherever reading begins"


def test_what_many_players_refuse_is_said(clip, tmp_path):
    for name in ("yuv444", "gbrp", "gray", "yuv422"):
        output = tmp_path / f"{name}.mp4"
        warnings = copy(clip(name), output).warnings
        assert any("refused by many players" in text for text in warnings), name
        losses = copy(clip(name), tmp_path / f"{name}-c.mp4", compatible=True).warnings
        assert len(losses) == 1
        assert losses[0].startswith("video.compatible")
        info = probe(tmp_path / f"{name}-c.mp4")
        assert (info.codec, info.pixel_format) == ("h264", "yuv420p"), name
    copy(clip("ten_bit"), tmp_path / "ten.mp4", compatible=True)
    assert probe(tmp_path / "ten.mp4").pixel_format == "yuv420p"
    assert not copy(clip("plain"), tmp_path / "plain.mp4", compatible=True).warnings
    for name, codec, hint in (("odd_size", "auto", "crop"), ("plain", "prores", "h264")):
        with pytest.raises(VideoWriteError, match=r"video\.compatible") as caught:
            copy(clip(name), tmp_path / "no.mov", compatible=True, codec=codec)
        assert hint in caught.value.hint


def test_a_change_of_the_pixels_shape_is_named(tmp_path):
    parts = [
        made(tmp_path / f"{n}.ts", clips.Clip(
            ".ts", "mpeg2video", size=(176, 144), time_base=Fraction(1, 25), muxer="mpegts",
            sar=sar, start=25 + 12 * n,
        ))
        for n, sar in enumerate((Fraction(12, 11), Fraction(16, 11)))
    ]  # fmt: skip
    path = tmp_path / "both.ts"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    with (
        VideoReader(path) as reader,
        pytest.raises(
            VideoReadError, match=r"shape of the pixels changes from 12:11 to 16:11"
        ) as e,
    ):
        list(reader.batches(4))
    assert "split the video there" in e.value.hint
