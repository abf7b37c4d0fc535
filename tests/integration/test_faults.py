"""Faults, one injected in each test: every one is said, and nothing but what was there is left."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import clips
import numpy as np
import pytest
import torch
from runs import FAST, decode, swapper
from small_disk import fill, small_disk

from fapvideo.composite.planes import FrameCanvas
from fapvideo.errors import FapVideoError, VideoReadError, VideoWriteError
from fapvideo.run.job import job_folder
from fapvideo.run.report import report_path
from fapvideo.run.sources import FrameSource
from fapvideo.swapper import VideoSwapper
from fapvideo.video.reader import VideoReader

SMALL = {"mode": "off", "batch_size": 2}


@pytest.fixture(scope="module")
def swap() -> Iterator[VideoSwapper]:
    with swapper(denoise=SMALL) as one:
        yield one


@pytest.fixture
def source(clip: Any) -> Iterator[Path]:
    """Return a clip that must not change."""
    path = clip("one_face", frames=12)
    before = hashlib.sha256(path.read_bytes()).hexdigest()
    yield path
    assert hashlib.sha256(path.read_bytes()).hexdigest() == before, "the input is never touched"


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """Return the folder of the output."""
    (tmp_path / "out").mkdir()
    return tmp_path / "out"


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return where scratch goes."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def fails(kind: type[FapVideoError], run: Callable[[], Any], *words: Any) -> FapVideoError:
    """Run; return the error, which names all of `words` and says what to do."""
    with pytest.raises(kind) as caught:
        run()
    assert type(caught.value) is kind
    for word in words:
        assert str(word) in str(caught.value)
    assert caught.value.hint
    return caught.value


def at(stage: str, act: Callable[[], Any], done: int = 2) -> Callable[[Any], None]:
    """Return a progress callback that acts once, when so many frames of a stage are done."""
    acted: list[bool] = []

    def watch(now: Any) -> None:
        if now.stage == stage and now.done >= done and not acted:
            acted.append(True)
            act()

    return watch


# --------------------------------------------------------------------------------- full disks


@pytest.mark.slow
def test_the_disk_of_the_output_fills_up(
    swap: VideoSwapper, source: Path, tmp_path: Path, scratch: Path
) -> None:
    with small_disk(tmp_path, 512) as disk:
        watch = at("swap", lambda: fill(disk))
        error = fails(VideoWriteError, lambda: swap.run(source, disk / "o.mkv", progress=watch),
                      "No space left", job_folder(disk / "o.mkv"))  # fmt: skip
        assert "free space" in error.hint
        assert [name for name in names(disk) if name != "filler"] in ([], [".o.mkv.fapvideo"])
    assert names(scratch) == []


@pytest.mark.parametrize("stage", ["before", "analyse"])
def test_the_disk_of_scratch_fills_up(
    swap: VideoSwapper,
    source: Path,
    out: Path,
    tmp_path: Path,
    stage: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with small_disk(tmp_path, 128 if stage == "before" else 512) as disk:
        monkeypatch.setattr(tempfile, "tempdir", str(disk))
        watch = at(stage, lambda: fill(disk), done=4)
        error = fails(VideoWriteError, lambda: swap.run(source, out / "o.mkv", progress=watch))
        assert "TMPDIR" in error.hint
        assert str(disk) in f"{error} {error.hint}"
        assert "bytes" in str(error)
        assert [name for name in names(disk) if name != "filler"] == []
    assert names(out) == []


@pytest.mark.slow
def test_no_room_for_the_report_is_a_warning(
    swap: VideoSwapper, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fapvideo.run import report

    write = report.write_text
    with small_disk(tmp_path, 8192) as disk:

        def filled(path: Path, text: str) -> None:
            fill(disk)
            write(path, text)

        monkeypatch.setattr(report, "write_text", filled)
        done = swap.run(source, disk / "o.mkv")
        assert any("no report beside it: No space left" in text for text in done.warnings)
        assert len(decode(disk / "o.mkv").frames) == 12
        assert not report_path(disk / "o.mkv").exists()
        assert not [name for name in names(disk) if "partial" in name]


# ------------------------------------------------------------------------------ vanished, taken


@pytest.mark.slow
def test_the_output_folder_vanishes(swap: VideoSwapper, source: Path, out: Path) -> None:
    watch = at("swap", lambda: shutil.rmtree(out))
    run = lambda: swap.run(source, out / "o.mkv", progress=watch)  # noqa: E731
    fails(VideoWriteError, run, job_folder(out / "o.mkv"), "No such file")
    assert not out.exists()


def test_the_scratch_folder_vanishes(
    swap: VideoSwapper, source: Path, out: Path, scratch: Path
) -> None:
    def vanish() -> None:
        for path in scratch.iterdir():
            shutil.rmtree(path)

    watch = at("analyse", vanish)
    run = lambda: swap.run(source, out / "o.mkv", progress=watch)  # noqa: E731
    assert "TMPDIR" in fails(VideoWriteError, run, scratch).hint
    assert names(out) == names(scratch) == []


@pytest.mark.slow
def test_somebody_else_has_taken_the_name(swap: VideoSwapper, source: Path, out: Path) -> None:
    """Whoever comes first keeps it; the work is there, and goes on under another name or by force.

    Two runs of ours cannot meet: `test_jobs.py`.
    """
    watch = at("swap", lambda: (out / "o.mkv").write_bytes(b"mine"))
    with pytest.raises(VideoWriteError, match="by someone else meanwhile") as caught:
        swap.run(source, out / "o.mkv", progress=watch)
    assert str(out / "o.mkv") in str(caught.value)
    assert (out / "o.mkv").read_bytes() == b"mine"
    assert names(out) == [".o.mkv.fapvideo", "o.mkv"]
    swap.run(source, out / "o.mkv", overwrite=True)
    assert names(out) == ["o.c2pa", "o.mkv", "o.mkv.report.json", "o.mkv.tracks.jsonl"]


# ---------------------------------------------------------------------------- codecs, networks


def test_an_encoder_that_refuses(out: Path) -> None:
    """x265 wants a coding unit at least."""
    pictures = FrameSource(np.zeros((3, 8, 8, 3), np.uint8))
    with swapper(video={**FAST, "codec": "hevc"}) as one:
        error = fails(VideoWriteError, lambda: one.run(pictures, out / "o.mp4"), out / "o.mp4")
    assert "libx265" in error.hint
    assert names(out) == []


@pytest.mark.slow
def test_a_burst_of_damage_ends_a_run_or_is_counted(clip: Any, out: Path, tmp_path: Path) -> None:
    whole, bad = clip("one_face", frames=30, audio=()), tmp_path / "bad.mp4"
    clips.damaged(whole, bad, range(10, 20))
    with swapper() as strict:
        error = fails(VideoReadError, lambda: strict.run(bad, out / "o.mkv"), bad, "damaged")
    assert "video.max_damaged" in error.hint
    assert names(out) == []
    with swapper(video={**FAST, "max_damaged": 1.0}) as lax:
        report = lax.run(bad, out / "o.mkv")
    assert any("damaged packets" in text for text in report.warnings)
    assert 10 < len(decode(out / "o.mkv").frames) < 30


def test_the_size_changes_in_mid_stream(swap: VideoSwapper, out: Path, tmp_path: Path) -> None:
    joined = tmp_path / "joined.ts"
    for width in (96, 64):
        part = tmp_path / f"{width}.ts"
        base = Fraction(1, 90000)
        clips.write_clip(part, clips.Clip(".ts", size=(width, 64), time_base=base, muxer="mpegts"))
        with joined.open("ab") as file:
            file.write(part.read_bytes())
    fails(VideoReadError, lambda: swap.run(joined, out / "o.mkv"), joined)
    assert names(out) == []


@pytest.mark.slow
def test_numbers_that_are_none_from_the_network_are_never_shown(
    source: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with swapper(denoise={"mode": "guided", "steps": 1}, composite={"check": True}) as one:
        unet = one._bench.painter.bundle.unet  # type: ignore[union-attr]
        forward = unet.forward

        def broken(*inputs: Any) -> Any:
            found = forward(*inputs)
            return type(found)(sample=torch.full_like(found.sample, float("nan")))

        monkeypatch.setattr(unet, "forward", broken)
        report = one.run(source, out / "o.mkv")
    assert report.frames["left"] == report.frames["total"] == 12
    assert report.reasons == {"numeric": 12}
    before, after = decode(source), decode(out / "o.mkv")
    assert all(before.same_samples(after, index) for index in range(12))


# ------------------------------------------------------------------------------------- workers


@pytest.mark.slow
def test_what_goes_wrong_while_painting_ahead_is_said_with_the_frames(
    swap: VideoSwapper, source: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    painted, calls = FrameCanvas.frame, list[int]()

    def broken(self: FrameCanvas) -> Any:
        calls.append(1)
        if len(calls) == 10:
            raise ZeroDivisionError("nobody thought of this")
        return painted(self)

    monkeypatch.setattr(FrameCanvas, "frame", broken)
    error = fails(FapVideoError, lambda: swap.run(source, out / "o.mkv"), source,
                  "frames 8 to 9 (from 0:00.32)", "ZeroDivisionError: nobody")  # fmt: skip
    assert "bug" in error.hint
    assert names(out) == [".o.mkv.fapvideo"]


@pytest.mark.slow
def test_what_goes_wrong_while_decoding_ahead_ends_the_run_cleanly(
    swap: VideoSwapper, source: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches = VideoReader.batches

    def broken(self: VideoReader, size: int) -> Iterator[Any]:
        for number, batch in enumerate(batches(self, size)):
            if number == 3:
                raise VideoReadError(f"{self.info.path}: the cable was pulled", hint="plug it in")
            yield batch

    monkeypatch.setattr(VideoReader, "batches", broken)
    fails(VideoReadError, lambda: swap.run(source, out / "o.mkv"), "the cable was pulled")
    assert names(out) == []
    monkeypatch.undo()
    assert swap.run(source, out / "o.mkv").frames["total"] == 12, "it can be used again"
