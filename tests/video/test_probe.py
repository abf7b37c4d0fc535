from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import clips
import pytest

from fapvideo.errors import VideoReadError
from fapvideo.structs import ColorTags
from fapvideo.video.probe import probe

UNTAGGED = ColorTags(2, 2, 2)


@pytest.mark.parametrize("name", sorted(clips.CLIPS))
def test_size_rate_and_frame_count_of_every_clip(clip, name):
    info, made = probe(clip(name)), clips.CLIPS[name]
    assert (info.width, info.height) == made.size
    assert info.frames == made.frames
    assert info.rotation == made.rotation
    assert info.sample_aspect_ratio == made.sar
    assert info.vfr == bool(made.gaps)
    if not made.gaps:
        assert info.frame_rate == made.rate
        assert info.duration_s == pytest.approx(made.frames / made.rate, abs=2e-3)
    upright = made.size if made.rotation in (0, 180) else made.size[::-1]
    assert info.display_size == upright


def test_colour_tags_range_and_bit_depth(clip):
    found = {name: probe(clip(name)) for name in ("plain", "hdr10", "pal_601", "untagged")}
    assert found["plain"].color == ColorTags(1, 1, 1)
    assert found["hdr10"].color == ColorTags(9, 9, 16)
    assert found["pal_601"].color == ColorTags(5, 5, 6)
    assert found["untagged"].color == UNTAGGED
    for name in ("full_range", "mjpeg", "rgb24", "gray", "gbrp"):
        assert probe(clip(name)).color.full_range
    for name in ("nv12", "yuyv422"):
        assert not probe(clip(name)).color.full_range
    depths = {"plain": 8, "ten_bit": 10, "hdr10": 10, "prores_alpha": 12, "sixteen_bit": 16}
    for name, bits in depths.items():
        assert probe(clip(name)).bit_depth == bits


def test_hdr10_metadata_in_the_notation_of_x265(clip):
    hdr = probe(clip("hdr10")).hdr
    assert (hdr.mastering_display, hdr.max_cll) == (clips.MASTERING, clips.MAX_CLL)
    assert probe(clip("ten_bit")).hdr.mastering_display == ""


def test_streams_languages_tags_and_chapters(clip):
    info = probe(clip("tracks_mkv"))
    assert [s.kind for s in info.streams] == ["video", "audio", "audio", "subtitle", "attachment"]
    assert [s.codec for s in info.streams[:4]] == ["h264", "aac", "flac", "srt"]
    assert [s.language for s in info.streams[1:4]] == ["eng", "deu", "fra"]
    assert info.streams[1].title == "Track 0"
    assert info.chapters == 2
    assert info.metadata["title"] == "A clip"
    assert info.video_stream == 0


def test_the_clock_starts_at_the_first_frame(clip):
    info = probe(clip("late_start"))
    assert info.start_pts * info.time_base == Fraction(1, 2)
    assert probe(clip("plain")).start_pts == 0


# ------------------------------------------------------------------------------------ bad input


def error_of(path):
    with pytest.raises(VideoReadError) as caught:
        probe(path)
    assert str(path) in str(caught.value)
    assert caught.value.exit_code == 3
    return str(caught.value)


def test_missing_folder_empty_and_not_a_video(tmp_path):
    assert "no such file" in error_of(tmp_path / "none.mp4")
    assert "is a folder" in error_of(tmp_path)
    empty = tmp_path / "empty.mp4"
    empty.touch()
    assert "empty" in error_of(empty)
    noise = tmp_path / "noise.mp4"
    noise.write_bytes(bytes(range(256)) * 40)
    assert "not a video" in error_of(noise)
    text = tmp_path / "notes.txt"
    text.write_text("just words\n" * 200)
    assert "not a video" in error_of(text)


def test_a_picture_is_not_a_video(tmp_path):
    import cv2

    path = tmp_path / "face.png"
    cv2.imwrite(str(path), clips.picture(0, (64, 64)))
    assert "not a video" in error_of(path)


def test_unreadable():
    """A file that exists and whose bytes cannot be read, for root as well."""
    path = Path("/proc/self/mem")
    if not path.exists():
        pytest.skip("needs /proc")
    assert "cannot be read" in error_of(path)


def test_permission_denied(clip, monkeypatch):
    """Simulated, because root may read everything."""

    def refuse(self, *args):
        raise PermissionError(13, "Permission denied")

    path = clip("plain")
    monkeypatch.setattr(Path, "open", refuse)
    assert "permission denied" in error_of(path)


def test_audio_only_and_no_frames(tmp_path):
    clips.audio_only(tmp_path / "song.m4a")
    assert "no video stream (only audio)" in error_of(tmp_path / "song.m4a")
    clips.no_frames(tmp_path / "header.mkv")
    assert "0 frames" in error_of(tmp_path / "header.mkv")
    clips.no_frames(tmp_path / "header.mp4")  # FFmpeg reports no stream without samples
    assert "no video stream (no streams at all)" in error_of(tmp_path / "header.mp4")


def test_a_cover_picture_is_not_the_video(tmp_path, clip):
    path = tmp_path / "song.mp3"
    write_with_cover(path)
    assert "no video stream" in error_of(path)


def write_with_cover(path):
    import av
    import cv2
    from av.stream import Disposition

    ok, jpeg = cv2.imencode(".jpg", clips.picture(0, (64, 64)))
    assert ok
    with av.open(path, "w") as output:
        sound = clips._add_audio(output, "libmp3lame", 0)
        cover = output.add_mux_stream("mjpeg", width=64, height=64)
        cover.disposition = Disposition.attached_pic
        packet = av.Packet(jpeg.tobytes())
        packet.stream, packet.pts, packet.dts = cover, 0, 0
        packet.time_base = Fraction(1, 1000)
        output.mux(packet)
        output.mux(clips._encode_audio(sound, clips.Clip()))


def test_truncated(clip, tmp_path):
    """An MP4 without its index is refused; a Matroska file is read as far as it goes."""
    clips.truncated(clip("plain"), tmp_path / "cut.mp4")
    assert "truncated" in error_of(tmp_path / "cut.mp4")
    assert "moov" in error_of(tmp_path / "cut.mp4")
    clips.truncated(clip("tracks_mkv"), tmp_path / "cut.mkv")
    info = probe(tmp_path / "cut.mkv")
    assert 0 < info.frames < clips.CLIPS["tracks_mkv"].frames


def test_nothing_decodes(clip, tmp_path):
    path = tmp_path / "dead.mp4"
    clips.damaged(clip("plain"), path, range(12))
    assert "could be decoded" in error_of(path)


def test_a_name_with_a_colon_and_spaces(clip, tmp_path):
    path = tmp_path / "http: my clip #1 ü.mp4"
    path.write_bytes(clip("plain").read_bytes())
    assert replace(probe(path), path=clip("plain")) == probe(clip("plain"))
