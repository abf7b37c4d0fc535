"""Time: whatever the clock of a file does, the output starts at 0 and goes on evenly."""

import itertools
import shutil
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import clips
import pytest
from copying import copy

from fapvideo.config.schema import VideoConfig
from fapvideo.errors import VideoReadError
from fapvideo.video.opening import open_input
from fapvideo.video.probe import probe
from fapvideo.video.reader import VideoReader
from fapvideo.video.timeline import is_variable, true_rate

DATA = Path(__file__).parents[1] / "data"
TS = clips.Clip(
    ".ts", time_base=Fraction(1, 90000), start=90000, frames=24, muxer="mpegts", audio=("aac",),
    options={"bf": "2", "g": "10"},
)  # fmt: skip
WRAP = 2**33
"""Ticks at which the clock of MPEG begins anew."""


def made(path, clip):
    clips.write_clip(path, clip)
    return path


def joined(path, *parts):
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    return path


def shown(path, kind="video"):
    """Return when every packet of a kind is shown, milliseconds in order."""
    with av.open(path) as container:
        stream = next(one for one in container.streams if one.type == kind)
        times = [p.pts * p.time_base for p in container.demux(stream) if p.pts is not None]
    return [round(1000 * time) for time in sorted(times)]


def even(count, step=40):
    return [step * index for index in range(count)]


@pytest.mark.slow
def test_clocks_that_start_late_wrap_or_jump(tmp_path):
    """Frames are evenly spaced from 0, and the sound stays where it was beside them."""
    cases = {
        "late": made(tmp_path / "late.ts", replace(TS, start=36000 * 90000)),
        "wraps": made(tmp_path / "wraps.ts", replace(TS, start=WRAP - 30000)),
        "wraps.hevc": made(
            tmp_path / "hevc.ts",
            replace(
                TS, codec="libx265", start=WRAP - 30000, options={"x265-params": "log-level=none"}
            ),
        ),
        "flv": made(
            tmp_path / "late.flv",
            replace(TS, suffix=".flv", muxer=None, time_base=Fraction(1, 1000)),
        ),
        "mkv": made(
            tmp_path / "late.mkv",
            replace(TS, suffix=".mkv", muxer=None, time_base=Fraction(1, 1000), start=36_000_000),
        ),
        **{name: DATA / f"{name}.ts" for name in ("wrap", "late10h")},
    }
    for name, path in cases.items():
        for suffix in (".mp4", ".mkv"):
            output = tmp_path / f"{name}-out{suffix}"
            writer = copy(path, output)
            assert shown(output) == even(writer.frames), (name, suffix)
            assert writer.frames == (10 if path.parent == DATA else 24)
            sound = shown(output, "audio")
            assert -30 <= sound[0] <= 0, (name, suffix)
            assert abs(sound[-1] - 40 * writer.frames) < 45, (name, suffix)


def test_joined_recordings_go_on(tmp_path):
    """Clocks that go back, or ahead by hours, at one joint or two, with and without sound."""
    first = made(tmp_path / "a.ts", TS)
    back = made(tmp_path / "b.ts", replace(TS, start=40000))
    ahead = made(tmp_path / "c.ts", replace(TS, start=7200 * 90000))
    mute = [made(tmp_path / f"m{s}.ts", replace(TS, start=s, audio=())) for s in (90000, 3000)]
    cases = {
        "back": (first, back), "ahead": (first, ahead), "twice": (first, back, first), "mute": mute
    }  # fmt: skip
    for name, parts in cases.items():
        path, output = joined(tmp_path / f"{name}.ts", *parts), tmp_path / f"{name}.mp4"
        writer = copy(path, output)
        frames = 24 * len(parts)
        info = probe(path)
        assert (writer.frames, info.frames, info.vfr) == (frames, frames, False)
        assert shown(output) == even(frames), name
        assert f"jumps in {len(parts) - 1} places" in info.warnings[0]
        if name == "mute":
            continue
        sound = shown(output, "audio")
        gaps = [b - a for a, b in itertools.pairwise(sound)]
        assert min(gaps) > 10, "no packets in a heap"
        assert max(gaps) < 45
        assert abs(sound[-1] - 40 * frames) < 45, "in step after the last joint"


def test_the_joint_of_the_example_and_frames_behind_it(tmp_path):
    copy(DATA / "discont.ts", tmp_path / "o.mp4")
    assert shown(tmp_path / "o.mp4") == even(16)
    with VideoReader(DATA / "discont.ts") as reader:
        last = [frame for batch in reader.batches(16) for frame in batch.frames][-1]
        found = reader.frames_at([0.6, 0.6])[0][0]
        stretch = [f for batch in reader.cut(0.4, 0.5).batches(9) for f in batch.frames]
    assert (found.pts, found.index) == (last.pts, 15)
    assert [round(frame.time_s, 3) for frame in stretch] == [0.4, 0.44, 0.48]


@pytest.mark.slow
def test_a_pause_in_one_stream_is_no_joint(tmp_path):
    """Sound goes on while the picture stands still for longer than a clock jumps."""
    path = tmp_path / "pause.ts"
    clip = replace(TS, gaps=(3600, 3600, 20 * 90000, 3600), frames=8, options={})
    made(path, clip)
    info = probe(path)
    assert not info.joints
    assert info.vfr


def test_packets_without_times(tmp_path):
    """AVI tells only the order of decoding, which B-frames change."""
    for codec, options in (("libx264", {"bf": "3", "g": "12"}), ("mpeg4", {"bf": "2"})):
        path = tmp_path / f"{codec}.avi"
        made(path, clips.Clip(".avi", codec, time_base=Fraction(1, 25), frames=24, options=options))
        with VideoReader(path) as reader:
            batches = list(reader.batches(24))
            assert [clips.read_barcode(rgb) for rgb in batches[0].rgb] == list(range(24))
            assert clips.read_barcode(reader.frames_at([0.4])[0][1]) == 10
        output = tmp_path / f"{codec}.mp4"
        copy(path, output)
        assert shown(output) == even(24), codec


def test_frames_before_the_first_known_time(tmp_path, monkeypatch):
    """Matroska packets may lack times at first; frames are counted back from the first known."""

    class Input:
        """An open file whose first three video packets have lost their times."""

        def __init__(self, container):
            self._container = container

        def __enter__(self):
            return self

        def __exit__(self, *_):
            self._container.close()

        def __getattr__(self, name):
            return getattr(self._container, name)

        def demux(self, *streams):
            seen = 0
            for packet in self._container.demux(*streams):
                if packet.size and packet.stream.type == "video":
                    if seen < 3:
                        packet.pts = packet.dts = None
                    seen += 1
                yield packet

    path = tmp_path / "some.mkv"
    made(
        path,
        clips.Clip(".mkv", time_base=Fraction(1, 1000), start=400, frames=12, options={"bf": "0"}),
    )
    for module in ("probe", "reader"):
        name = f"fapvideo.video.{module}.open_input"
        monkeypatch.setattr(name, lambda path: Input(open_input(path)))
    with VideoReader(path) as reader:
        assert reader.info.times == "some"
        frames = [frame for batch in reader.batches(4) for frame in batch.frames]
    assert [frame.pts for frame in frames] == [400 + 40 * index for index in range(12)]


def test_the_rate_is_that_of_the_packets(tmp_path):
    webm = {"deadline": "realtime", "cpu-used": "8"}
    cases = {
        "thousand.webm": (Fraction(1000), Fraction(1, 1000), (33, 34, 33), Fraction(30)),
        "pause.mkv": (Fraction(1000), Fraction(1, 1000), (40, 40, 90_000, 40), Fraction(25)),
        "dv.mkv": (Fraction(60000), Fraction(1, 1000), (33, 33, 34), Fraction(30)),
    }
    for name, (rate, base, gaps, expected) in cases.items():
        path = tmp_path / name
        codec, options = ("libvpx-vp9", webm) if path.suffix == ".webm" else ("mpeg4", {})
        clip = clips.Clip(path.suffix, codec, rate=rate, time_base=base, gaps=gaps, options=options)
        info = probe(made(path, replace(clip, frames=24)))
        assert info.frame_rate == expected, name
    assert any("a pause of 90 s" in text for text in probe(tmp_path / "pause.mkv").warnings)
    browser = probe(DATA / "browser.webm")
    assert browser.frame_rate == 25
    assert "1000 frames per second" in browser.warnings[0]
    assert true_rate(Fraction(50), Fraction(40)) == 50, "a rate that is only uneven stays"
    assert true_rate(None, Fraction(40)) == 40


def test_variable_rate():
    assert not is_variable([0, 1, 2, 3])
    assert not is_variable([0, 33, 67, 100, 133, 167])  # 30 fps in milliseconds
    assert not is_variable([0, 4, 8, 13, 17, 21, 25])  # 240 fps in milliseconds
    assert is_variable([0, 1, 2, 4, 5])  # a frame dropped, in units of frames
    assert is_variable([0, 33, 67, 133, 167])
    assert not is_variable([0, 40])
    assert not is_variable([])


def test_an_input_that_changes_between_the_passes_is_noticed(clip, tmp_path):
    path = tmp_path / "growing.mkv"
    shutil.copy(clip("vfr_mkv"), path)
    with VideoReader(path, VideoConfig()) as reader:
        assert list(reader.batches(4))
        with path.open("ab") as file:
            file.write(b"more")
        with pytest.raises(VideoReadError, match="has changed while it was read"):
            list(reader.batches(4))
