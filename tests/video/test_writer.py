import os
import resource
import shutil
import subprocess
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import clips
import numpy as np
import pytest
from copying import FAST, copy

from fapvideo.config.schema import VideoConfig
from fapvideo.errors import VideoReadError, VideoWriteError
from fapvideo.structs import ColorTags
from fapvideo.video.planar import planar_format
from fapvideo.video.probe import probe
from fapvideo.video.reader import VideoReader
from fapvideo.video.timecode import start_timecode
from fapvideo.video.writer import VideoWriter


def home(name):
    """Return the output suffix that fits a clip's own container."""
    suffix = clips.CLIPS[name].suffix
    return {".mp4": ".mp4", ".mov": ".mov", ".ts": ".mp4", ".h264": ".mp4"}.get(suffix, ".mkv")


def read(path):
    """Return (info, frames, pictures)."""
    with VideoReader(path) as reader:
        batches = list(reader.batches(5))
    frames = [frame for batch in batches for frame in batch.frames]
    return reader.info, frames, np.concatenate([batch.rgb for batch in batches])


def times(info, frames):
    """Return when frames are shown, on the clock of an output: it starts at 0."""
    return [frame.pts * info.time_base - info.origin_s for frame in frames]


# ------------------------------------------------------------------------------------ what stays


@pytest.mark.parametrize("name", sorted(clips.CLIPS))
def test_every_frame_of_every_clip_keeps_its_time(clip, tmp_path, name):
    output = tmp_path / f"out{home(name)}"
    writer = copy(clip(name), output)
    before, frames, _ = read(clip(name))
    after, written, pictures = read(output)
    made = clips.CLIPS[name]
    assert writer.frames == len(written) == made.frames
    assert times(after, written) == times(before, frames)
    barcodes = [clips.read_barcode(rgb, after.rotation) for rgb in pictures]
    assert barcodes == list(range(made.frames))
    assert after.duration_s == pytest.approx(before.duration_s, abs=1e-3)


@pytest.mark.parametrize("name", sorted(clips.CLIPS))
def test_rotation_aspect_colour_hdr_and_bit_depth_survive(clip, tmp_path, name):
    output = tmp_path / f"out{home(name)}"
    copy(clip(name), output)
    before, after = probe(clip(name)), probe(output)
    assert after.rotation == before.rotation
    assert after.display_matrix == before.display_matrix
    assert after.sample_aspect_ratio == before.sample_aspect_ratio
    assert after.hdr == before.hdr
    assert after.vfr == before.vfr
    if name == "gray":  # H.264 has no matrix for a picture without chroma
        assert replace(after.color, matrix=1) == before.color
    else:
        assert after.color == before.color
    if name != "sixteen_bit":
        assert after.bit_depth == before.bit_depth


def test_durations_survive_the_last_one_too(clip, tmp_path):
    for name in ("vfr_mkv", "plain"):
        output = tmp_path / f"{name}{home(name)}"
        copy(clip(name), output)
        before, frames, _ = read(clip(name))
        after, written, _ = read(output)
        assert [f.duration * after.time_base for f in written] == [
            f.duration * before.time_base for f in frames
        ]


def test_a_last_frame_that_stays_on_screen(clip, tmp_path):
    """Its duration is nobody's gap: it must be written as it is."""
    _, frames, _ = read(clip("plain"))
    info = probe(clip("plain"))
    long = [*frames[:-1], replace(frames[-1], duration=frames[-1].duration * 30)]
    for suffix in (".mp4", ".mov", ".mkv"):
        output = tmp_path / f"out{suffix}"
        with VideoWriter(output, info, VideoConfig(**FAST)) as writer:
            writer.write(long)
        assert probe(output).duration_s == pytest.approx(0.44 + 30 * 0.04)


@pytest.mark.parametrize("name", sorted(clips.CLIPS))
def test_ffv1_keeps_every_sample(clip, tmp_path, name):
    output = tmp_path / "out.mkv"
    writer = copy(clip(name), output, codec="ffv1")
    _, frames, _ = read(clip(name))
    _, written, _ = read(output)
    for before, after in zip(frames, written, strict=True):
        assert before.pixel_format == after.pixel_format
        assert all(map(np.array_equal, before.planes, after.planes))
    assert not [
        warning for warning in writer.warnings if "cannot hold" in warning and "ffv1" in warning
    ]


def test_h264_at_crf_0_keeps_every_sample(clip, tmp_path):
    copy(clip("plain"), tmp_path / "out.mp4", codec="h264", crf=0)
    _, frames, _ = read(clip("plain"))
    _, written, _ = read(tmp_path / "out.mp4")
    for before, after in zip(frames, written, strict=True):
        assert all(map(np.array_equal, before.planes, after.planes))


def test_metadata_and_chapters_survive(clip, tmp_path):
    for name in ("tracks_mp4", "tracks_mkv", "custom_tags"):
        output = tmp_path / f"{name}{home(name)}"
        copy(clip(name), output)
        before, after = probe(clip(name)), probe(output)
        assert {k.lower(): v for k, v in after.metadata.items()} == {
            k.lower(): v for k, v in before.metadata.items()
        }
        assert after.metadata
        assert after.chapters == before.chapters
        assert chapters(output) == chapters(clip(name))
        assert [(s.kind, s.codec, s.language, s.title) for s in after.streams] == [
            (s.kind, s.codec, s.language, s.title) for s in before.streams
        ]


def chapters(path):
    import av

    with av.open(path) as container:
        return [
            (c["start"] * c["time_base"], c["end"] * c["time_base"], c["metadata"])
            for c in container.chapters()
        ]


def test_the_start_timecode_survives(clip, tmp_path):
    import av

    copy(clip("timecode"), tmp_path / "out.mov")
    with av.open(tmp_path / "out.mov") as container:
        assert container.streams.video[0].metadata["timecode"] == "01:00:00:00"
        assert len([s for s in container.streams if s.type == "data"]) == 1


@pytest.mark.parametrize(("size", "matrix"), [((96, 64), 6), ((1280, 64), 1)])
def test_rgb_becomes_yuv_by_the_matrix_that_is_tagged(tmp_path, size, matrix):
    """swscale takes BT.601 whatever the tags say: red would come back as (213, 63, 27)."""
    source = clips.make_clip(
        tmp_path, "gbrp", lambda index: np.full((size[1], size[0], 3), (200, 50, 30), np.uint8),
        size=size, frames=2,
    )  # fmt: skip
    writer = copy(source, tmp_path / "out.mov", codec="prores")
    info, _, pictures = read(tmp_path / "out.mov")
    assert any("rgb becomes yuv" in warning for warning in writer.warnings)
    assert info.color.matrix == matrix
    assert np.abs(pictures[0][40, size[0] // 2].astype(int) - (200, 50, 30)).max() <= 3


# ------------------------------------------------------------------------------------ codecs


@pytest.mark.parametrize(
    ("name", "suffix", "codec", "pixel_format"),
    [
        ("plain", ".mp4", "h264", "yuv420p"),
        ("yuv422", ".mp4", "h264", "yuv422p"),
        ("yuv444", ".mkv", "h264", "yuv444p"),
        ("gbrp", ".mkv", "h264", "gbrp"),
        ("ten_bit", ".mp4", "hevc", "yuv420p10le"),
        ("hdr10", ".mov", "hevc", "yuv420p10le"),
        ("yuv422_ten", ".mp4", "hevc", "yuv422p10le"),
        ("gbrp10", ".mkv", "hevc", "gbrp10le"),
        ("prores_alpha", ".mov", "prores", "yuva444p12le"),
        ("ffv1_alpha", ".mkv", "ffv1", "yuva420p"),
        ("odd_size", ".mkv", "h264", "yuv444p"),
    ],
)
def test_the_automatic_codec(clip, tmp_path, name, suffix, codec, pixel_format):
    output = tmp_path / f"out{suffix}"
    copy(clip(name), output)
    info = probe(output)
    assert (info.codec, info.pixel_format) == (codec, pixel_format)
    assert (info.width, info.height) == clips.CLIPS[name].size


@pytest.mark.parametrize("codec", ["h264", "hevc", "prores", "ffv1"])
@pytest.mark.parametrize("name", ["plain", "ten_bit", "odd_size", "odd_422", "gbrp", "gray"])
def test_every_codec_on_every_kind_of_picture(clip, tmp_path, name, codec):
    writer = copy(clip(name), tmp_path / "out.mkv", codec=codec)
    info, frames, pictures = read(tmp_path / "out.mkv")
    _, _, expected = read(clip(name))
    assert info.codec == codec
    assert len(frames) == 12
    assert np.abs(pictures.astype(int) - expected).mean() < 6
    changed = planar_format(info.pixel_format) != planar_format(probe(clip(name)).pixel_format)
    losses = [text for text in writer.warnings if "refused by many players" not in text]
    assert bool(losses) == changed or name == "gray"


def test_prores_in_mov_keeps_hdr10_metadata(clip, tmp_path):
    output = tmp_path / "a.mov"
    settings = VideoConfig(codec="prores")
    with VideoReader(clip("hdr10"), settings) as reader:
        info = replace(reader.info, metadata={"timecode": "01:00:00:00"})
        with VideoWriter(output, info, settings) as writer:
            for batch in reader.batches(5):
                writer.write(batch)
    after = probe(output)
    assert start_timecode(after) == "01:00:00:00", "a track of another kind is there, too"
    assert after.hdr == probe(clip("hdr10")).hdr
    assert after.hdr.max_cll == clips.MAX_CLL
    assert not any("HDR10" in warning for warning in writer.warnings)
    assert len(read(output)[1]) == len(read(clip("hdr10"))[1])
    said = copy(clip("hdr10"), tmp_path / "a.mkv", codec="prores").warnings
    assert any("HDR10 metadata" in warning for warning in said)
    if shutil.which("ffprobe"):  # another build of FFmpeg
        told = subprocess.run(
            ["ffprobe", "-v", "error", "-show_streams", output], capture_output=True, text=True
        )
        assert told.stderr == ""
        assert "max_content=1000" in told.stdout


def test_losses_are_named(clip, tmp_path):
    said = copy(clip("hdr10"), tmp_path / "a.mp4", codec="h264").warnings
    assert any("HDR10 metadata" in warning for warning in said)
    said = copy(clip("ffv1_alpha"), tmp_path / "b.mp4").warnings
    assert any("transparency is lost" in warning for warning in said)
    said = copy(clip("sixteen_bit"), tmp_path / "c.mp4").warnings
    assert any("16 bits become 12" in warning for warning in said)
    said = copy(clip("odd_size"), tmp_path / "d.mp4").warnings
    assert any("chroma" in warning for warning in said)
    said = copy(clip("ntsc"), tmp_path / "e.mkv").warnings
    assert any("whole milliseconds" in warning for warning in said)
    assert not copy(clip("plain"), tmp_path / "f.mp4").warnings


def test_quality_follows_crf(clip, tmp_path):
    for crf in (5, 40):
        copy(clip("b_frames"), tmp_path / f"{crf}.mp4", crf=crf)
    assert (tmp_path / "5.mp4").stat().st_size > 2 * (tmp_path / "40.mp4").stat().st_size


# ------------------------------------------------------------------------------------ cutting


@pytest.mark.parametrize("name", ["plain", "late_start", "vfr_mp4", "tracks_mkv", "mpegts"])
def test_a_cut_starts_at_zero_and_keeps_the_spacing(clip, tmp_path, name):
    output = tmp_path / f"out{home(name)}"
    copy(clip(name), output, start_s=0.1, end_s=0.36)
    info, frames, _ = read(clip(name))
    kept = [f for f in frames if 0.1 <= f.time_s < 0.36]
    after, written, pictures = read(output)
    assert times(after, written) == [(f.pts - kept[0].pts) * info.time_base for f in kept]
    assert [clips.read_barcode(rgb) for rgb in pictures] == [f.index for f in kept]


def test_the_output_starts_at_zero_unless_told_otherwise(clip, tmp_path):
    for keep, first in ((False, 0), (True, Fraction(1, 2))):
        output = tmp_path / f"{keep}.mp4"
        copy(clip("late_start"), output, end_s=0.2, keep_start=keep)
        after, written, _ = read(output)
        shown = [frame.pts * after.time_base for frame in written]
        assert shown == [first + Fraction(i, 25) for i in range(5)]


def test_chapters_are_cut_too(clip, tmp_path):
    copy(clip("tracks_mkv"), tmp_path / "out.mkv", start_s=0.2, end_s=0.8)
    assert [(float(a), float(b), m["title"]) for a, b, m in chapters(tmp_path / "out.mkv")] == [
        (0.0, pytest.approx(0.3, abs=0.001), "Chapter 0"),
        (pytest.approx(0.3, abs=0.001), pytest.approx(0.6, abs=0.001), "Chapter 1"),
    ]


# ------------------------------------------------------------------------------------ refusals


def refusal(output, info, config=None, **options):
    with pytest.raises(VideoWriteError) as caught:
        VideoWriter(output, info, config or VideoConfig(**FAST), **options)
    assert caught.value.exit_code == 4
    return f"{caught.value} / {caught.value.hint}"


@pytest.fixture
def info(clip):
    return probe(clip("plain"))


def test_bad_places_and_names(info, tmp_path):
    assert ".mp4, .mov, .mkv" in refusal(tmp_path / "out.avi", info)
    assert "(no suffix)" in refusal(tmp_path / "out", info)
    assert "does not exist" in refusal(tmp_path / "none" / "out.mp4", info)
    (tmp_path / "folder.mp4").mkdir()
    assert "is a folder" in refusal(tmp_path / "folder.mp4", info)
    assert ".mkv" in refusal(tmp_path / "out.mp4", info, VideoConfig(codec="ffv1"))
    assert ".mov or .mkv" in refusal(tmp_path / "out.mp4", info, VideoConfig(codec="prores"))
    assert list(tmp_path.iterdir()) == [tmp_path / "folder.mp4"]


def test_a_folder_that_cannot_be_written_to(info):
    if not Path("/proc/self").exists():
        pytest.skip("needs /proc")
    assert "cannot be written to" in refusal(Path("/proc/self/out.mp4"), info)


def test_the_input_itself_under_any_name(clip, tmp_path):
    source = tmp_path / "in.mp4"
    source.write_bytes(clip("plain").read_bytes())
    info = probe(source)
    (tmp_path / "symbolic.mp4").symlink_to(source)
    os.link(source, tmp_path / "hard.mp4")
    for name in ("in.mp4", "symbolic.mp4", "hard.mp4"):
        assert "input itself" in refusal(tmp_path / name, info, overwrite=True)
    assert source.read_bytes() == clip("plain").read_bytes()


def test_an_existing_output_is_kept_unless_told(clip, tmp_path):
    output = tmp_path / "out.mp4"
    output.write_text("precious")
    info = probe(clip("plain"))
    assert "exists already" in refusal(output, info)
    assert output.read_text() == "precious"
    with VideoReader(info) as reader, VideoWriter(output, info, overwrite=True) as writer:
        writer.write(next(reader.batches(3)))
        assert output.read_text() == "precious"  # until the new one is whole
    assert probe(output).frames == 3


def test_the_source_has_vanished(clip, tmp_path):
    info = replace(probe(clip("plain")), path=tmp_path / "gone.mp4")
    with pytest.raises(VideoReadError, match="no such file"):
        VideoWriter(tmp_path / "out.mp4", info)
    assert not list(tmp_path.iterdir())


# ------------------------------------------------------------------------------------ failures


def test_nothing_is_left_after_an_exception(clip, tmp_path):
    info = probe(clip("tracks_mp4"))
    with (
        pytest.raises(KeyboardInterrupt),
        VideoReader(info) as reader,
        VideoWriter(tmp_path / "out.mp4", info) as writer,
    ):
        writer.write(next(reader.batches(10)))
        assert [path.suffix for path in tmp_path.iterdir()] == [".mp4"]  # the temporary one
        raise KeyboardInterrupt
    assert not list(tmp_path.iterdir())


def test_nothing_is_left_if_no_frame_came(clip, tmp_path):
    with (
        pytest.raises(VideoWriteError, match="no frame"),
        VideoWriter(tmp_path / "out.mp4", probe(clip("plain"))),
    ):
        pass
    assert not list(tmp_path.iterdir())


@pytest.fixture
def limit():
    """A limit on the size of files, which stands in for a full disk; lifted after the test."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_a_full_disk(clip, tmp_path, limit):
    """The write fails with EFBIG in mid-stream."""
    info, frames, _ = read(clip("plain"))
    with (
        pytest.raises(VideoWriteError, match="File too large") as caught,
        VideoWriter(tmp_path / "out.mkv", info, VideoConfig(codec="ffv1")) as writer,
    ):
        limit(20_000)
        for number in range(40):
            writer.write([replace(frames[number % 12], pts=number * 512)])
    assert "disk" in caught.value.hint
    assert not list(tmp_path.iterdir())


def test_a_disk_that_is_full_only_at_the_end(clip, tmp_path, limit):
    """Everything sits in buffers until the trailer is written; that error counts as well."""
    info, frames, _ = read(clip("plain"))
    with (
        pytest.raises(VideoWriteError, match="File too large"),
        VideoWriter(tmp_path / "out.mp4", info) as writer,
    ):
        writer.write(frames[:2])
        limit(1_000)
    assert not list(tmp_path.iterdir())


def test_an_encoder_that_refuses(clip, tmp_path):
    info = replace(probe(clip("ten_bit")), width=8, height=8)  # x265 needs a coding unit
    _, frames, _ = read(clip("ten_bit"))
    planes = zip(frames[0].planes, (1, 2, 2), strict=True)
    small = replace(frames[0], planes=tuple(p[: 8 // d, : 8 // d] for p, d in planes))
    with (
        pytest.raises(VideoWriteError, match="writing failed") as caught,
        VideoWriter(tmp_path / "out.mp4", info) as writer,
    ):
        writer.write([small])
    assert "libx265" in caught.value.hint
    assert not list(tmp_path.iterdir())


def test_times_must_increase(clip, tmp_path):
    _, frames, _ = read(clip("plain"))
    with (
        pytest.raises(VideoWriteError, match="does not come after"),
        VideoWriter(tmp_path / "out.mp4", probe(clip("plain"))) as writer,
    ):
        writer.write([frames[0], frames[2], frames[1]])


def test_the_published_file_has_ordinary_permissions(clip, tmp_path):
    copy(clip("plain"), tmp_path / "out.mp4")
    (tmp_path / "other").touch()
    assert (tmp_path / "out.mp4").stat().st_mode == (tmp_path / "other").stat().st_mode


def test_colour_tags_default_to_unspecified():
    assert ColorTags().matrix == 2
