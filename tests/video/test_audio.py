import hashlib
import io
from fractions import Fraction

import av
import clips
import copying
import pytest
from av.stream import Disposition

from fapvideo.video.audio import StreamCopier
from fapvideo.video.probe import probe


def copy(source, output, **config):
    """Return the warnings of a copy."""
    return copying.copy(source, output, **config).warnings


def packets(path, kinds=("audio", "subtitle", "data")):
    """Return, stream by stream, every packet's (time, payload hash), read with PyAV alone."""
    found = []
    with av.open(path) as container:
        streams = [s for s in container.streams if s.type in kinds]
        for stream in streams:
            found.append((stream.type, stream.name, []))
        for packet in container.demux(*streams):
            if packet.size:
                row = [s.index for s in streams].index(packet.stream.index)
                time = packet.pts * packet.time_base
                found[row][2].append((time, hashlib.sha256(bytes(packet)).hexdigest()))
    return found


GAP = hashlib.sha256(b"\0\0").hexdigest()
"""MP4's empty subtitle between two others."""

SAME_CONTAINER = [
    ("plain", ".mp4"),
    ("tracks_mp4", ".mp4"),
    ("tracks_mkv", ".mkv"),
    ("rotated_90", ".mp4"),
    ("late_start", ".mp4"),
    ("timecode", ".mov"),
    ("webm", ".mkv"),
    ("avi", ".mkv"),
]


@pytest.mark.parametrize(("name", "suffix"), SAME_CONTAINER)
def test_every_packet_is_copied_at_its_time(clip, tmp_path, name, suffix):
    output = tmp_path / f"out{suffix}"
    warnings = copy(clip(name), output)
    assert not warnings
    before, after = packets(clip(name)), packets(output)
    zero = probe(clip(name)).origin_s
    before = [(kind, codec, [(t - zero, d) for t, d in rows]) for kind, codec, rows in before]
    assert [row[:2] for row in after] == [row[:2] for row in before]
    for (kind, codec, expected), (_, _, found) in zip(before, after, strict=True):
        assert expected or kind == "data"  # FFmpeg shows no packets of chapter tracks
        assert found == expected, (kind, codec)


@pytest.mark.parametrize(
    ("name", "suffix"),
    [("plain", ".mkv"), ("plain", ".mov"), ("late_start", ".mkv"), ("tracks_mp4", ".mov")],
)
def test_packets_survive_another_container(clip, tmp_path, name, suffix):
    """Payloads are the same; times within the millisecond that Matroska can express."""
    output = tmp_path / f"out{suffix}"
    copy(clip(name), output)
    zero = probe(clip(name)).origin_s
    before = [
        (kind, codec, [(time - zero, digest) for time, digest in rows])
        for kind, codec, rows in packets(clip(name))
        if kind == "audio"
    ]
    after = [row for row in packets(output) if row[0] == "audio"]
    assert len(after) == len(before)
    for (_, _, expected), (_, _, found) in zip(before, after, strict=True):
        assert [digest for _, digest in found] == [digest for _, digest in expected]
        assert all(
            abs(a - b) <= Fraction(1, 1000) for (a, _), (b, _) in zip(found, expected, strict=True)
        )


def test_video_times_do_not_move_for_audio_that_starts_earlier(clip, tmp_path):
    """AAC in MP4 begins before 0; Matroska muxers would shift everything by that."""
    assert packets(clip("plain"))[0][2][0][0] < 0
    copy(clip("plain"), tmp_path / "out.mkv")
    assert probe(tmp_path / "out.mkv").start_pts == 0


def test_stream_order_tags_and_dispositions(clip, tmp_path):
    copy(clip("tracks_mkv"), tmp_path / "out.mkv")

    def describe(path):
        with av.open(path) as container:
            return [
                (s.type, s.language, s.metadata.get("title"), int(s.disposition))
                for s in container.streams
            ]

    assert describe(tmp_path / "out.mkv") == describe(clip("tracks_mkv"))


def test_attachments_are_copied(clip, tmp_path):
    copy(clip("tracks_mkv"), tmp_path / "out.mkv")
    with av.open(tmp_path / "out.mkv") as container:
        attachment = next(s for s in container.streams if s.type == "attachment")
        assert (attachment.data, attachment.mimetype) == (b"attached", "text/plain")


def test_chapters_do_not_breed(clip, tmp_path):
    """MP4's chapter track looks like a data stream; a second generation must have one as well."""
    copy(clip("tracks_mp4"), tmp_path / "one.mp4")
    copy(tmp_path / "one.mp4", tmp_path / "two.mp4")
    first, second = probe(clip("tracks_mp4")), probe(tmp_path / "two.mp4")
    assert [s.kind for s in second.streams] == [s.kind for s in first.streams]
    assert second.chapters == 2


def test_a_data_track_that_fails_late_is_left_out(clip, tmp_path):
    """A timecode track whose video carries no tag would fail only in the trailer."""
    info = probe(clip("timecode"))
    copier = StreamCopier(info, ".mov")
    copier.streams[0].metadata.pop("timecode")
    with av.open(tmp_path / "out.mov", "w") as output:
        copier.add(copier.streams[2], output)
        output.add_stream("mpeg4", rate=25)
    copier.close()
    assert ["data stream 2" in warning for warning in copier.warnings] == [True]


def test_what_the_container_cannot_hold_is_left_out_and_named(clip, tmp_path):
    warnings = copy(clip("tracks_mkv"), tmp_path / "out.mp4")
    assert any("subtitle stream 3 (srt, fra) is left out" in w for w in warnings)
    assert any("attachment stream 4" in w for w in warnings)
    assert len(warnings) == 2
    assert [s.kind for s in probe(tmp_path / "out.mp4").streams] == [
        "video", "audio", "audio", "data",
    ]  # fmt: skip
    warnings = copy(clip("tracks_mp4"), tmp_path / "out.mkv")
    assert ["mov_text" in w for w in warnings] == [True]


def test_a_cover_picture_and_a_second_video_are_copied(tmp_path):
    source = tmp_path / "in.mp4"
    write_with_cover(source)
    copy(source, tmp_path / "out.mp4")
    with av.open(source) as before, av.open(tmp_path / "out.mp4") as after:
        assert [s.name for s in after.streams] == ["h264", "mjpeg"]
        assert after.streams[1].disposition & Disposition.attached_pic
        cover = [bytes(p) for p in before.demux(before.streams[1]) if p.size]
        assert [bytes(p) for p in after.demux(after.streams[1]) if p.size] == cover


def write_with_cover(path):
    import cv2

    ok, jpeg = cv2.imencode(".jpg", clips.picture(0, (64, 64)))
    assert ok
    clip = clips.Clip()
    with av.open(path, "w") as output:
        video = clips._add_video(output, clip)
        cover = output.add_mux_stream("mjpeg", width=64, height=64)
        cover.disposition = Disposition.attached_pic
        packet = av.Packet(jpeg.tobytes())
        packet.stream, packet.pts, packet.dts = cover, 0, 0
        packet.time_base = Fraction(1, 1000)
        output.mux(packet)
        for index, pts in enumerate(clip.pts):
            frame = clips._frame(clips.add_barcode(clips.picture(index, clip.size), index), clip)
            frame.pts, frame.time_base = pts, clip.time_base
            output.mux(video.encode(frame))
        output.mux(video.encode(None))


@pytest.mark.parametrize(("name", "suffix"), [("tracks_mkv", ".mkv"), ("tracks_mp4", ".mp4")])
def test_a_cut_shifts_packets_with_the_video(clip, tmp_path, name, suffix):
    """Every kept packet moves by exactly the first frame's time; the rest is not there."""
    output = tmp_path / f"out{suffix}"
    copy(clip(name), output, start_s=0.21, end_s=0.8)
    begin, end = Fraction(24, 100), Fraction(8, 10)  # the first frame at or after 0.21 s
    kinds = ("audio", "subtitle")
    for (kind, _, before), (_, _, after) in zip(
        packets(clip(name), kinds), packets(output, kinds), strict=True
    ):
        kept = [(time, digest) for time, digest in before if begin <= time < end]
        if kind == "subtitle":  # one line is on screen at the cut and moves to it
            kept = [(max(time, begin), digest) for time, digest in before if digest != GAP]
            after = [row for row in after if row[1] != GAP]
            assert len(kept) == 2
        assert [digest for _, digest in after] == [digest for _, digest in kept]
        slack = Fraction(1, 1000) if suffix == ".mkv" else Fraction(1, 40_000)
        assert all(
            abs(found - (time - begin)) <= slack
            for (found, _), (time, _) in zip(after, kept, strict=True)
        )


def test_copying_keeps_pace_with_the_video(clip):
    """Packets are taken only as far as the video has come, else they would pile up in memory."""
    written = []

    class Output:
        def mux(self, packet):
            written.append(float(packet.dts * packet.time_base))

    copier = StreamCopier(probe(clip("tracks_mkv")), ".mkv")
    with av.open(io.BytesIO(), "w", format="matroska") as output:
        copier.add(copier.streams[1], output)
        copier.start(Output(), None, None, Fraction(0))
        copier.copy_until(Fraction(1, 5))
        assert 0.15 < max(written) <= 0.2
        copier.copy_until(Fraction(1, 2))
        assert 0.45 < max(written) <= 0.5
        copier.copy_until(None)
        assert max(written) > 0.9
        copier.close()


def test_packets_lie_beside_their_frames(clip, tmp_path):
    """Interleaved by time, so that players need not buffer: positions in the file are mixed."""
    source = clips.make_clip(tmp_path, "plain", frames=100)
    copy(source, tmp_path / "out.mp4")
    with av.open(tmp_path / "out.mp4") as container:
        order = [
            (packet.pos, packet.stream.type, float(packet.dts * packet.time_base))
            for packet in container.demux()
            if packet.size
        ]
    order.sort()
    latest = 0.0
    for _, _, time in order:
        assert time > latest - 1.2
        latest = max(latest, time)
