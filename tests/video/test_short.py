"""Files that hold less than they promise, and files that make libraries stumble."""

import random
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import clips
import pytest
from copying import copy

from fapvideo.errors import FapVideoError, VideoReadError
from fapvideo.video.probe import probe

DATA = Path(__file__).parents[1] / "data"
MS = Fraction(1, 1000)
LONG = {
    "matroska": clips.Clip(".mkv", time_base=MS, audio=("aac",), options={"g": "10"}),
    "flash": clips.Clip(".flv", time_base=MS, audio=("aac",)),
    "avi": clips.Clip(".avi", "mpeg4", time_base=Fraction(1, 25), audio=("libmp3lame",)),
    "webm": clips.Clip(".webm", "libvpx-vp9", time_base=MS, audio=("libopus",),
                       options={"deadline": "realtime", "cpu-used": "8"}),
}  # fmt: skip


def test_a_file_that_was_cut_says_so():
    info = probe(DATA / "trunc.mp4")
    assert (info.promised, info.cut) == (50, True)
    assert info.frames < 50


@pytest.mark.slow
def test_promises_of_every_container(tmp_path):
    """Whole files keep theirs; of files that were cut both numbers are known."""
    for name, clip in LONG.items():
        path, short = tmp_path / f"{name}{clip.suffix}", tmp_path / f"cut{clip.suffix}"
        clips.write_clip(path, replace(clip, frames=100))
        whole = probe(path)
        assert not whole.cut
        assert whole.promised <= whole.frames == 100, name
        clips.truncated(path, short, 0.6)
        info = probe(short)
        assert 40 < info.frames < 80, name
        assert info.promised in (100, 101), name  # the muxer of AVI counts an empty chunk


def test_whole_clips_promise_nothing_more(clip):
    for name in sorted(clips.CLIPS):
        info = probe(clip(name))
        assert not info.cut, name
        assert info.promised <= info.frames, name


def test_mutated_files_are_our_errors():
    for name in ("v_1_14.webm", "v_1_213.mkv"):
        with pytest.raises(VideoReadError, match="no decoder for video codec unknown"):
            probe(DATA / name)


def test_random_damage_gives_a_result_or_our_error(clip, tmp_path):
    """The short form of a long search (thousands of files); the seed is fixed."""
    rng = random.Random(7)
    sources = [
        DATA / "wrap.ts",
        DATA / "alpha.webm",
        DATA / "cc.mp4",
        clip("tracks_mkv"),
        clip("avi"),
    ]
    for number in range(60):
        source = sources[number % len(sources)]
        data = bytearray(source.read_bytes())
        reach = len(data) if number % 2 else 1500
        for _ in range(rng.choice((1, 5, 40))):
            data[rng.randrange(reach)] = rng.choice((0, 127, 128, 255, rng.randrange(256)))
        path = tmp_path / f"in{source.suffix}"
        path.write_bytes(data)
        output = tmp_path / f"{number}.mkv"
        try:
            copy(path, output)
            written = True
        except FapVideoError:
            written = False
        assert output.exists() == written
