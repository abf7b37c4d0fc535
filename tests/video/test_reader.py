import tracemalloc
import weakref
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from fractions import Fraction
from types import SimpleNamespace

import av
import clips
import numpy as np
import pytest

from fapvideo.composite.planes import read_rgb
from fapvideo.config.schema import VideoConfig
from fapvideo.errors import VideoReadError
from fapvideo.video.frames import Clock
from fapvideo.video.probe import probe
from fapvideo.video.reader import VideoReader


def pictures(path, size=5, **config):
    """Return every (frame, rgb) of a video."""
    with VideoReader(path, VideoConfig(**config)) as reader:
        return [
            (frame, rgb)
            for batch in reader.batches(size)
            for frame, rgb in zip(batch.frames, batch.rgb, strict=True)
        ]


@pytest.mark.parametrize("name", sorted(clips.CLIPS))
def test_every_frame_of_every_clip_in_order_at_its_time(clip, name):
    made, info = clips.CLIPS[name], probe(clip(name))
    found = pictures(clip(name))
    assert [clips.read_barcode(rgb, info.rotation) for _, rgb in found] == list(range(made.frames))
    assert [frame.index for frame, _ in found] == list(range(made.frames))
    times = [frame.pts * info.time_base for frame, _ in found]
    if name not in ("avi", "raw_h264"):  # containers that do not store when the first frame is due
        assert times == [pts * made.time_base for pts in made.pts]
    steps = [(pts - made.start) * made.time_base for pts in made.pts]
    assert [time - times[0] for time in times] == steps
    assert found[0][0].time_s == 0
    assert found[0][1].shape == (*info.display_size[::-1], 3)


def packets(path):
    """Return the packets' times, read without the code under test."""
    with av.open(path) as container:
        return sorted(p.pts for p in container.demux(video=0) if p.pts is not None)


def test_times_are_those_of_the_packets(clip):
    for name in ("vfr_mp4", "vfr_mkv", "b_frames", "late_start", "mpegts"):
        assert [frame.pts for frame, _ in pictures(clip(name))] == packets(clip(name))


@pytest.mark.parametrize("size", [1, 4, 12, 100])
def test_batches(clip, size):
    with VideoReader(clip("plain")) as reader:
        batches = list(reader.batches(size))
    assert [len(batch) for batch in batches[:-1]] == [size] * (len(batches) - 1)
    assert sum(map(len, batches)) == 12
    assert batches[0].time_base == Fraction(1, 12800)
    assert batches[0].rgb.dtype == np.uint8
    assert np.concatenate([batch.pts for batch in batches]).tolist() == clips.CLIPS["plain"].pts


def test_planes_are_the_decoders_own_samples(clip):
    """Compared with PyAV's own way out, for a planar format with padded lines."""
    with av.open(clip("plain")) as container:
        expected = next(container.decode(video=0)).to_ndarray()
    frame, _ = pictures(clip("plain"))[0]
    height = frame.planes[0].shape[0]
    assert np.array_equal(frame.planes[0], expected[:height])
    assert np.array_equal(frame.planes[1].ravel(), expected[height:].ravel()[: 32 * 48])
    with pytest.raises(ValueError, match="read-only"):
        frame.planes[0][0, 0] = 0


@pytest.mark.parametrize("name", sorted(clips.CLIPS))
def test_the_picture_is_what_the_samples_mean(clip, name):
    """swscale's 8-bit picture against the exact conversion: same matrix, range, rotation."""
    info = probe(clip(name))
    frame, rgb = pictures(clip(name))[3]
    exact = read_rgb(frame, info, (0, 0, *info.display_size))
    assert abs((rgb / 255.0 - exact).mean()) < 0.4 / 255  # swscale by default: -1.2 to -2
    difference = np.abs(rgb / 255.0 - exact)
    assert np.median(difference) < 1.5 / 255
    assert np.quantile(difference, 0.9) < 6 / 255  # chroma is interpolated differently


@pytest.mark.parametrize(
    ("name", "expected"), [("plain", (200, 60, 40)), ("rotated_90", (200, 60, 40)),
                           ("pal_601", (200, 60, 40)), ("full_range", (200, 60, 40)),
                           ("gbrp", (200, 60, 40)), ("yuyv422", (200, 60, 40))],
)  # fmt: skip
def test_colours_come_out_as_painted(clip, name, expected):
    """The disc at the middle of a frame, whatever the tags say (BT.601 read as 709 is 20 off)."""
    info = probe(clip(name))
    _, rgb = pictures(clip(name))[5]
    coded = np.rot90(rgb, info.rotation // 90)
    height, width = coded.shape[:2]
    pixel = coded[int(height * 0.6), int(width * 0.32)]
    assert np.abs(pixel.astype(int) - expected).max() <= 8


# ------------------------------------------------------------------------------------ parts


@pytest.mark.parametrize(
    "name", ["plain", "open_gop", "vfr_mp4", "vfr_mkv", "late_start", "mpegts", "avi"]
)
@pytest.mark.parametrize(("start", "end"), [(0.12, None), (0.0, 0.2), (0.121, 0.281), (0.2, 0.24)])
def test_start_and_end_are_frame_accurate(clip, name, start, end):
    everything = pictures(clip(name))
    wanted = [
        (frame.pts, clips.read_barcode(rgb))
        for frame, rgb in everything
        if start <= frame.time_s + 1e-6 and (end is None or frame.time_s < end - 1e-6)
    ]
    if not wanted:
        pytest.skip("no frame of this clip lies there")
    found = pictures(clip(name), start_s=start, end_s=end)
    assert [(frame.pts, clips.read_barcode(rgb)) for frame, rgb in found] == wanted
    assert [frame.index for frame, _ in found] == list(range(len(wanted)))


def test_nothing_between_start_and_end(clip):
    with pytest.raises(VideoReadError, match=r"end at 0\.480"):
        VideoReader(clip("plain"), VideoConfig(start_s=3.0))
    with (
        VideoReader(clip("plain"), VideoConfig(start_s=0.05, end_s=0.07)) as reader,
        pytest.raises(VideoReadError, match="no frame between"),
    ):
        list(reader.batches(4))


RANDOM_ACCESS = [
    "plain", "b_frames", "open_gop", "vfr_mp4", "vfr_mkv", "late_start", "mpegts", "webm",
    "rotated_90", "ten_bit", "hdr10", "avi", "raw_h264", "pal_601", "ntsc_mkv",
]  # fmt: skip


@pytest.mark.parametrize("name", RANDOM_ACCESS)
def test_random_access_equals_sequential_reading(clip, name):
    everything = pictures(clip(name))
    order = np.random.default_rng(0).permutation(len(everything))
    order = [*order, order[0]]
    with VideoReader(clip(name)) as reader:
        found = reader.frames_at([everything[i][0].time_s for i in order])
    for (frame, rgb), i in zip(found, order, strict=True):
        expected, picture = everything[i]
        assert (frame.index, frame.pts) == (expected.index, expected.pts)
        assert np.array_equal(rgb, picture)
        assert all(map(np.array_equal, frame.planes, expected.planes))


def test_random_access_far_apart_seeks(clip, tmp_path):
    """Ten seconds with a key frame each second: nearly all of it is jumped over."""
    path = clips.make_clip(
        tmp_path,
        "open_gop",
        frames=250,
        options={"bf": "3", "g": "25", "x264-params": "open-gop=1"},
    )
    everything = pictures(path)
    times = [9.96, 0.0, 4.0, 3.96, 8.04]
    with VideoReader(path) as reader:
        decoded = 0
        original = reader._decode_from

        def counting(seek_to):
            nonlocal decoded
            for item in original(seek_to):
                decoded += 1
                yield item

        reader._decode_from = counting
        found = reader.frames_at(times)
    for time, (frame, rgb) in zip(times, found, strict=True):
        assert frame.index == round(time * 25)
        assert np.array_equal(rgb, everything[frame.index][1])
    assert decoded < 200


def test_a_time_gives_the_frame_on_display(clip):
    """Between two frames of a variable rate, before the first, after the last."""
    with VideoReader(clip("vfr_mkv")) as reader:  # frames at 0, 33, 73, 173, ... ms
        found = reader.frames_at([0.0329, 0.033, 0.172, -1.0, 99.0])
    assert [frame.index for frame, _ in found] == [0, 1, 2, 0, 11]


def test_random_access_respects_start_and_end(clip):
    config = VideoConfig(start_s=0.12, end_s=0.3)
    with VideoReader(clip("plain"), config) as reader:
        found = reader.frames_at([0.0, 0.16, 5.0])
    assert [clips.read_barcode(rgb) for _, rgb in found] == [3, 4, 7]
    assert [frame.index for frame, _ in found] == [0, 1, 4]


# ------------------------------------------------------------------------------------ trouble


def test_a_damaged_packet_is_skipped_and_counted(clip, tmp_path):
    path = tmp_path / "damaged.mov"
    clips.damaged(clip("yuv422_ten"), path, [5])
    with VideoReader(path) as reader:
        found = [clips.read_barcode(rgb) for batch in reader.batches(4) for rgb in batch.rgb]
        assert found == [0, 1, 2, 3, 4, 6, 7, 8, 9, 10, 11]
        assert reader.damaged == 1


def test_frames_lost_with_a_damaged_reference_count(clip, tmp_path):
    path = tmp_path / "damaged.mkv"
    clips.damaged(clip("ten_bit"), path, [5])
    with VideoReader(path, VideoConfig(max_damaged=1.0)) as reader:
        frames = sum(map(len, reader.batches(4)))
        assert frames < 11
        assert reader.damaged == 12 - frames


def test_too_much_damage(clip, tmp_path):
    path = tmp_path / "damaged.mov"
    clips.damaged(clip("yuv422_ten"), path, [2, 5, 6])
    with pytest.raises(VideoReadError, match="3 of 12 video packets are damaged"):
        pictures(path)
    assert len(pictures(path, max_damaged=0.25)) == 9


def test_times_stay_right_after_damage(clip, tmp_path):
    path = tmp_path / "damaged.mp4"
    clips.damaged(clip("b_frames"), path, [5])
    found = [frame.pts for frame, _ in pictures(path)]
    whole = clips.CLIPS["b_frames"].pts
    assert len(found) == 23
    assert set(found) < set(whole)
    assert found == sorted(found)


def test_a_truncated_matroska_file_is_read_to_its_end(clip, tmp_path):
    clips.truncated(clip("tracks_mkv"), tmp_path / "cut.mkv")
    found = pictures(tmp_path / "cut.mkv", max_damaged=0.5)
    assert [clips.read_barcode(rgb) for _, rgb in found] == list(range(len(found)))


def test_missing_times_are_filled_in(clip):
    """A raw H.264 stream has none at all."""
    info = probe(clip("raw_h264"))
    times = [frame.time_s for frame, _ in pictures(clip("raw_h264"))]
    assert times == pytest.approx([i / 25 for i in range(12)])
    assert info.duration_s == pytest.approx(0.48)


def test_times_that_do_not_increase_are_moved_on(clip):
    """One tick after the frame before, so that the encoder takes them."""
    clock = Clock(probe(clip("plain")))  # 512 ticks to a frame
    frames = [(0, 512), (512, 0), (512, 512), (300, 512), (None, 512), (4000, 0), (None, 0)]
    times = [clock(SimpleNamespace(pts=pts, duration=duration)) for pts, duration in frames]
    assert times == [0, 512, 513, 514, 1026, 4000, 4512]


def test_frames_cut_off_by_an_edit_list_are_not_shown(clip):
    """Three frames lie before 0: decoded for those after them, never delivered, not counted."""
    path = clip("edit_list")
    info = probe(path)
    found = pictures(path)
    assert [clips.read_barcode(rgb) for _, rgb in found] == list(range(3, 12))
    assert (info.frames, info.start_pts, found[0][0].pts) == (9, 0, 0)
    with VideoReader(path) as reader:
        assert reader.frames_at([0.0])[0][0].index == 0
        assert clips.read_barcode(reader.frames_at([0.08])[0][1]) == 5


@pytest.mark.parametrize(
    ("key", "values", "named"),
    [
        ("size", ((96, 64), (128, 96)), "from 96x64 to 128x96 at frame 12"),
        ("pixel_format", ("yuv420p", "yuv444p"), "from yuv420p to yuv444p at frame 12"),
    ],
)
def test_a_change_of_size_or_pixel_format_is_named(tmp_path, key, values, named):
    """Two H.264 streams in one file, as a badly joined clip has them."""
    path = tmp_path / "joined.h264"
    parts = [clips.make_clip(tmp_path, "raw_h264", **{key: v}).read_bytes() for v in values]
    path.write_bytes(b"".join(parts))
    with pytest.raises(VideoReadError, match=named):
        pictures(path)


# ------------------------------------------------------------------------------------ memory


def test_memory_does_not_grow_with_length(tmp_path):
    """Peak of what Python holds, for 25 and for 200 frames."""

    def peak(frames):
        path = clips.make_clip(tmp_path, "plain", frames=frames, audio=())
        info = probe(path)
        tracemalloc.start()
        with VideoReader(info) as reader:
            for batch in reader.batches(4):
                del batch
        result = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return result

    peak(8)
    assert peak(200) < 1.3 * peak(25) + 20_000


def test_delivered_frames_are_let_go(clip):
    """The reader keeps no batch, and no frame of one, after it has given it away."""
    given, most = [], 0
    with VideoReader(clip("b_frames")) as reader:
        for batch in reader.batches(2):
            given += [weakref.ref(array) for array in (batch.rgb, batch.frames[0].planes[0])]
            del batch
            most = max(most, sum(reference() is not None for reference in given))
    assert len(given) == 24
    assert most == 0


def test_the_info_of_a_probe_is_taken_as_it_is(clip):
    info = replace(probe(clip("plain")), frame_rate=Fraction(7))
    assert VideoReader(info).info is info


def test_two_threads_may_read_one_reader(clip):
    with VideoReader(clip("plain"), VideoConfig()) as reader, ThreadPoolExecutor(2) as threads:

        def read(_):
            return [rgb for _ in range(20) for _, rgb in reader.pictures()]

        one, other = threads.map(read, range(2))
        alone = read(0)
    assert np.array_equal(one, alone)
    assert np.array_equal(other, alone)
