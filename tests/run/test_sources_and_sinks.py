"""One contract for every source, and one for every sink."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import face_clips
import numpy as np
import pytest
from runs import FAST, decode

from fapvideo.config.schema import VideoConfig
from fapvideo.errors import VideoReadError, VideoWriteError
from fapvideo.run.sinks import FrameSink, Sink
from fapvideo.run.sources import FrameSource, Source, open_source
from fapvideo.structs import Bytes, FrameBatch
from fapvideo.video.writer import VideoWriter

FRAMES = 7
LOSSLESS = VideoConfig.model_validate(FAST)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clips")
    return face_clips.face_clip(folder, "one_face", frames=FRAMES, suffix=".mkv", codec="ffv1",
                                options={})  # fmt: skip


@pytest.fixture(scope="module")
def pictures(file: Path) -> Bytes:
    return decode(file).rgb


@pytest.fixture(params=["file", "array", "list"])
def source(request: pytest.FixtureRequest, file: Path, pictures: Bytes) -> Source:
    if request.param == "file":
        return open_source(file, VideoConfig())
    return FrameSource(pictures if request.param == "array" else list(pictures), 25)


# --------------------------------------------------------------------------------- sources


def flat(source: Source, size: int = 3) -> list[tuple[int, float]]:
    return [(f.index, f.time_s) for batch in source.batches(size) for f in batch.frames]


def test_a_source_delivers_all_frames_in_order_as_often_as_asked(source: Source) -> None:
    first = flat(source)
    assert [index for index, _ in first] == list(range(FRAMES))
    assert [time for _, time in first] == pytest.approx(np.arange(FRAMES) / 25, abs=2e-3)
    assert flat(source) == first
    assert source.expected in (0, FRAMES)
    assert source.damaged == 0


def test_the_size_of_batches_is_the_callers(source: Source) -> None:
    assert [len(batch) for batch in source.batches(3)] == [3, 3, 1]
    assert flat(source, 1) == flat(source, FRAMES + 1)


def test_pictures_are_what_the_planes_show(source: Source, pictures: Bytes) -> None:
    shown = np.concatenate([batch.rgb for batch in source.batches(4)])
    np.testing.assert_array_equal(shown, pictures)
    assert shown.shape[1:3] == source.info.display_size[::-1]


def test_a_stretch_begins_and_ends_where_it_is_told(source: Source, pictures: Bytes) -> None:
    stretch = source.cut(2 / 25, 5 / 25)
    shown = np.concatenate([batch.rgb for batch in stretch.batches(2)])
    np.testing.assert_array_equal(shown, pictures[2:5])
    assert [index for index, _ in flat(stretch)] == [0, 1, 2]
    assert len(flat(source.cut(5 / 25, None))) == FRAMES - 5


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        ([], "no frames"),
        ([np.zeros((4, 4), np.uint8)], "frame 0"),
        ([np.zeros((4, 4, 3), np.float32)], "float32"),
        ([np.zeros((4, 4, 3), np.uint8), np.zeros((4, 6, 3), np.uint8)], "frame 1"),
        ([b"jpeg"], "bytes is no picture"),
    ],
)
def test_frames_that_are_none_are_named(frames: list[Bytes], message: str) -> None:
    with pytest.raises(VideoReadError, match=message):
        FrameSource(frames)


def test_rates_are_exact() -> None:
    frames = np.zeros((3, 8, 8, 3), np.uint8)
    assert FrameSource(frames, 30000 / 1001).info.frame_rate == Fraction(30000, 1001)


# ----------------------------------------------------------------------------------- sinks


@contextmanager
def file_sink(folder: Path, source: Source, taken: list[Bytes]) -> Iterator[Sink]:
    output = folder / "out.mkv"
    with VideoWriter(output, source.info, LOSSLESS) as sink:
        yield sink
    taken += list(decode(output).rgb)


@contextmanager
def frame_sink(folder: Path, source: Source, taken: list[Bytes]) -> Iterator[Sink]:
    def take(batch: FrameBatch) -> None:
        taken.extend(batch.rgb)

    with FrameSink(take) as sink:
        yield sink


MakeSink = Callable[[Path, Source, list[Bytes]], "contextmanager[Sink]"]


@pytest.mark.parametrize("make", [file_sink, frame_sink])
def test_a_sink_takes_what_a_source_gives(
    make: MakeSink, source: Source, pictures: Bytes, tmp_path: Path
) -> None:
    taken: list[Bytes] = []
    with make(tmp_path, source, taken) as sink:
        for batch in source.batches(3):
            sink.write(batch)
    assert np.array(taken).shape == pictures.shape
    assert np.abs(np.array(taken).astype(int) - pictures).max() <= 1
    assert all("milliseconds" in text for text in sink.warnings)


@pytest.mark.parametrize("make", [file_sink, frame_sink])
def test_after_an_error_nothing_is_left_behind(
    make: MakeSink, source: Source, tmp_path: Path
) -> None:
    with pytest.raises(ZeroDivisionError), make(tmp_path, source, []) as sink:
        sink.write(next(source.batches(2)))
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []


def test_frames_need_a_place_to_go_when_they_come_from_no_file(
    pictures: Bytes, tmp_path: Path
) -> None:
    with pytest.raises(VideoWriteError):
        VideoWriter(tmp_path / "there is no such folder" / "o.mkv", FrameSource(pictures).info)
