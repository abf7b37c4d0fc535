"""`fapvideo filter` between two real FFmpegs: every byte that is not painted goes through."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import face_clips
import pytest
from runs import decode

from fapvideo.cli.main import run_program

pytestmark = pytest.mark.skipif(
    shutil.which("ffmpeg") is None, reason="the program ffmpeg is not installed"
)
PROGRAM = f"{sys.executable} -m fapvideo filter"


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """Write a preset that is quick: the guide alone, small crops, the tiny bundle."""
    path = tmp_path / "mine.toml"
    path.write_text(
        'bundle = "tiny"\n[references]\nmouth = "pkg:brand_face.png"\n[denoise]\nmode = "off"\n'
        "[composite]\nmax_size = 64\n",
        "utf-8",
    )
    return path


def shell(line: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", line],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=600,
    )


@pytest.mark.slow
def test_a_face_is_swapped_between_two_ffmpegs(mine: Path, tmp_path: Path) -> None:
    clip = face_clips.face_clip(
        tmp_path, "one_face", frames=12, suffix=".mkv", codec="ffv1", options={}
    )
    done = shell(
        f"ffmpeg -v error -i {clip} -fps_mode passthrough -f yuv4mpegpipe -"
        f" | {PROGRAM} --preset {mine} | ffmpeg -v error -i - -c:v ffv1 out.mkv",
        tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert "cannot be signed" in done.stderr
    assert "12 frames, 12 of them swapped" in done.stderr
    before, after = decode(clip), decode(tmp_path / "out.mkv")
    assert len(after.frames) == 12
    # Samples, not colours: FFmpeg's pipe carries no colour tags.
    for one, other in zip(before.frames, after.frames, strict=True):
        changed = one.planes[0] != other.planes[0]
        assert changed.any()
        assert changed.mean() < 0.2
        assert not changed[:40].any(), "what is far from the face stays"


def here(
    preset: Path, source: Path, target: Path, monkeypatch: pytest.MonkeyPatch, *more: str
) -> int:
    """Run the filter in this process, which has everything loaded already."""
    with source.open() as stdin, target.open("w") as stdout:
        monkeypatch.setattr(sys, "stdin", stdin)
        monkeypatch.setattr(sys, "stdout", stdout)
        return run_program(["filter", "--preset", str(preset), "--json", *more], as_json=True)


def test_ten_bits_without_a_face_come_out_byte_for_byte(
    mine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made = shell(
        "ffmpeg -v error -f lavfi -i testsrc2=s=96x64:r=25 -frames:v 5 -pix_fmt yuv422p10le"
        " -strict -1 -f yuv4mpegpipe in.y4m",
        tmp_path,
    )
    assert made.returncode == 0, made.stderr
    assert here(mine, tmp_path / "in.y4m", tmp_path / "out.y4m", monkeypatch) == 0
    assert (tmp_path / "in.y4m").read_bytes() == (tmp_path / "out.y4m").read_bytes()
    assert '"event": "report"' in capsys.readouterr().err


@pytest.mark.slow
def test_a_reader_that_goes_ends_it_quietly(mine: Path, tmp_path: Path) -> None:
    done = shell(
        "set +o pipefail; ffmpeg -v quiet -f lavfi -i testsrc2=s=320x240:r=25 -frames:v 40"
        f" -f yuv4mpegpipe - | {PROGRAM} --preset {mine} --lookahead 0 | head -c 1000 | wc -c",
        tmp_path,
    )
    assert done.stdout.strip() == "1000"
    assert "error" not in done.stderr
    assert "Traceback" not in done.stderr


def test_what_is_no_stream_is_refused_in_words(
    mine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in.y4m").write_text("hello\n", "utf-8")
    assert here(mine, tmp_path / "in.y4m", tmp_path / "out.y4m", monkeypatch, "--rate", "50") == 3
    assert "whose size is to be said" in capsys.readouterr().err
    assert here(mine, tmp_path / "in.y4m", tmp_path / "out.y4m", monkeypatch) == 3
    assert "no YUV4MPEG2" in capsys.readouterr().err
