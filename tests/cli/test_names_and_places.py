"""Odd names and places, through the real program: the result, or a line that says what is wrong."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from clips import make_clip

from fapvideo.cli import output
from fapvideo.run.report import report_path, tracks_path

QUICK = ("--preset", "brand_avatar", "--set", "denoise.mode=off")


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return make_clip(tmp_path_factory.mktemp("plain"), "plain").read_bytes()


@pytest.fixture
def work(tmp_path: Path, plain: bytes, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Enter a folder with a clip without a face."""
    (tmp_path / "talk.mp4").write_bytes(plain)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write_other(path: Path, container: str, codec: str) -> None:
    with av.open(str(path), "w", format=container) as file:
        stream = file.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for level in range(4):
            picture = np.full((48, 64, 3), 60 * level, np.uint8)
            file.mux(stream.encode(av.VideoFrame.from_ndarray(picture)))
        file.mux(stream.encode())


@pytest.mark.slow
def test_containers_that_are_not_written_get_one_that_is(fapvideo: Any, work: Path) -> None:
    for name, container, codec, wanted in (
        ("a.webm", "webm", "libvpx-vp9", "a.swapped.mkv"),
        ("b.avi", "avi", "mpeg4", "b.swapped.mkv"),
        ("c.ts", "mpegts", "libx264", "c.swapped.mkv"),
        ("d.M4V", "mp4", "libx264", "d.swapped.mp4"),
    ):
        write_other(work / name, container, codec)
        result = fapvideo("run", name, *QUICK)
        assert result.code == 0, result.err
        with av.open(str(work / wanted)) as file:
            assert sum(1 for _ in file.decode(video=0)) == 4, name


@pytest.mark.slow
def test_names_of_255_bytes_and_names_that_are_no_text(
    fapvideo: Any, work: Path, plain: bytes
) -> None:
    longest, odd, loud = "ü" * 125 + "x.mp4", os.fsdecode(b"\xff\xfe.mp4"), "e\x1b[31m\x07.mp4"
    for name in (longest, odd, loud):
        (work / name).write_bytes(plain)
        result = fapvideo("run", name, *QUICK)
        assert result.code == 0, result.err
        assert not set(result.out + result.err) & {"\x1b", "\x07"}
        (made,) = (path for path in work.iterdir() if ".swapped.mp4" in path.name[-12:])
        assert report_path(made).is_file()
        assert tracks_path(made).is_file()
        for path in (made, report_path(made), tracks_path(made)):
            path.unlink()
    result = fapvideo("run", "talk.mp4", *QUICK, "-o", "y" * 251 + ".mp4")
    assert result.code == 0, result.err
    result = fapvideo("run", "talk.mp4", *QUICK, "-o", "y" * 252 + ".mp4")
    assert result.code == 4
    assert "too long" in result.err


@pytest.mark.slow
def test_a_linked_output_is_written_where_it_leads(fapvideo: Any, work: Path) -> None:
    (work / "sub").mkdir()
    (work / "out.mp4").symlink_to("sub/target.mp4")
    assert fapvideo("run", "talk.mp4", *QUICK, "-o", "out.mp4").code == 0
    assert (work / "out.mp4").is_symlink()
    assert [path.name for path in (work / "sub").iterdir()] == ["target.mp4"]
    (work / "round.mp4").symlink_to("round.mp4")
    assert fapvideo("run", "talk.mp4", *QUICK, "-o", "round.mp4").code == 4
    assert fapvideo("run", "round.mp4", *QUICK).code == 3


PLACES: dict[str, tuple[int, str, tuple[str, ...]]] = {
    "a pipe": (3, "is a pipe", ("run", "pipe.mp4")),
    "a pipe to write to": (4, "is a pipe", ("run", "talk.mp4", "-o", "pipe.mp4", "--overwrite")),
    "a pipe as a picture": (2, "pipe.mp4", ("run", "talk.mp4", "-r", "eyes=pipe.mp4")),
    "this folder": (3, "is a folder", ("run", ".")),
    "this folder to look at": (3, "is a folder", ("preview", ".")),
    "this folder to write to": (4, "is a folder", ("run", "talk.mp4", "-o", ".")),
    "nothing": (3, "is a folder", ("run", "")),
    "a long name": (3, "too long", ("run", "x" * 300)),
    "a long name of a sheet": (4, "too long", ("preview", "talk.mp4", "-o", "x" * 300 + ".png")),
    "an address": (3, "addresses are not read", ("run", "https://example.org/a.mp4")),
    "an address of a file": (3, "addresses are not read", ("run", "file:///tmp/a.mp4")),
    "an address of a picture": (
        2, "addresses are not read", ("run", "talk.mp4", "-r", "eyes=https://example.org/a.png")
    ),
    "an unknown home": (2, "nosuchuser", ("run", "talk.mp4", "--set", "bundle=~nosuchuser/x")),
    "escapes": (3, r"no\x1b[31m.mp4", ("run", "no\x1b[31m.mp4")),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", PLACES)
def test_places_that_are_no_place_for_a_video(fapvideo: Any, work: Path, name: str) -> None:
    os.mkfifo(work / "pipe.mp4")
    code, what, arguments = PLACES[name]
    result = fapvideo(*arguments, *QUICK)
    assert result.code == code, result.err
    assert what in result.err
    assert "bug" not in result.err
    assert "\x1b" not in result.err


def test_a_report_that_cannot_be_written_is_a_warning(
    fapvideo: Any, work: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (work / "new.mp4.report.json").mkdir()
    (work / "file").touch()
    result = fapvideo("run", "talk.mp4", "-o", "new.mp4", *QUICK, "--report-folder", "file/x")
    assert result.code == 0, result.err
    assert (work / "new.mp4").is_file()
    assert "warning: new.mp4 is written, but no report beside it: Is a directory" in result.err
    assert "new.mp4 is written, but no page about it" in caplog.text


def test_what_a_terminal_would_obey_is_written_out() -> None:
    assert output.plain("a\x1b[31m\x9b\r\x7fü\u202e\udcff\tb\n") == (
        r"a\x1b[31m\x9b\x0d\x7fü\u202e\xff" + "\tb\n"
    )


@pytest.mark.slow
def test_streams_that_are_closed_full_or_of_ascii() -> None:
    program = f"{sys.executable} -m fapvideo"
    for command, code, said in (
        (f"{program} presets list >&-", 0, ""),
        (f"{program} presets list > /dev/full", 1, "No space left on device"),
        (f"{program} presets show brand_avatar | true; exit 0", 0, ""),
        (f"PYTHONIOENCODING=ascii {program} run ü.mp4", 3, r"\xfc.mp4: no such file"),
    ):
        done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
        assert done.returncode == code, (command, done.stderr)
        assert said in done.stderr
        for word in ("bug", "Traceback", "Exception ignored"):
            assert word not in done.stderr, done.stderr
