"""`fapvideo batch`: options reach every clip; table and exit code say what became of them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import fake_swapper
import pytest
from fake_swapper import FakeSwapper

from fapvideo.errors import VideoReadError


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    folder = tmp_path / "clips"
    folder.mkdir()
    for name in ("a.mp4", "b.mp4"):
        (folder / name).touch()
    return folder


def test_options_reach_every_clip(
    fapvideo: Any, swapper: type[FakeSwapper], preset: Path, clips: Path, tmp_path: Path
) -> None:
    out = tmp_path / "new" / "out"
    result = fapvideo("batch", clips / "*.mp4", "-p", preset, "-o", out, "--set", "seed=3",
                      "--device", "cpu")  # fmt: skip
    assert result.code == 0, result.err
    (opened,) = swapper.opened
    assert opened.calls == [(clips / n, out / n, False, False) for n in ("a.mp4", "b.mp4")]
    assert (opened.preset.seed, opened.device, opened.closed) == (3, "cpu", True)
    assert f"{clips / 'a.mp4'} -> {out / 'a.mp4'}" in result.out
    lines = result.out.splitlines()
    assert ["a.mp4", "done", "4", "3", "1", "1", "profile", "1"] in [line.split() for line in lines]
    assert lines[-1] == f"2 done; {out / 'summary.json'}"
    assert (out / "summary.csv").is_file()


def test_a_job_list_and_its_own_presets(
    fapvideo: Any, swapper: type[FakeSwapper], preset: Path, clips: Path, tmp_path: Path
) -> None:
    (tmp_path / "jobs.toml").write_text(
        '[[jobs]]\ninput = "clips/a.mp4"\noutput = "x/one.mov"\n'
        '[[jobs]]\ninput = "clips"\npreset = "mine.toml"\nset = {"seed" = 9}\n', "utf-8",
    )  # fmt: skip
    arguments = ("batch", tmp_path / "jobs.toml", "--set", "denoise.steps=2")
    result = fapvideo(*arguments, "-o", clips)
    assert result.code == 2
    assert "is an input, too" in result.err
    assert swapper.opened == []
    result = fapvideo(*arguments)
    assert result.code == 0, result.err
    first, second = swapper.opened
    assert first.calls == [(clips / "a.mp4", tmp_path / "x" / "one.mov", False, False)]
    assert [call[1] for call in second.calls] == [tmp_path / "a.mp4", tmp_path / "b.mp4"]
    assert (first.preset.name, second.preset.name) == ("brand_avatar", "mine")
    assert (first.preset.seed, second.preset.seed) == (0, 9)
    assert first.preset.denoise.steps == second.preset.denoise.steps == 2
    assert (tmp_path / "summary.json").is_file()


def test_failures_are_told_and_the_exit_code_is_10(
    fapvideo: Any, swapper: type[FakeSwapper], preset: Path, clips: Path, tmp_path: Path
) -> None:
    swapper.failure = VideoReadError("a.mp4: damaged", hint="copy it again")
    arguments = ("batch", clips, "-p", preset, "-o", tmp_path / "out")
    result = fapvideo(*arguments)
    assert result.code == 10
    assert result.err.count("damaged") == 2
    assert "hint: copy it again" in result.err
    assert "error: 2 of 2 clips failed" in result.err
    assert "--retry" in result.err
    assert "2 failed" in result.out
    result = fapvideo(*arguments, "--fail-fast", "--json")
    assert result.code == 10
    told = json.loads(result.out)
    assert told["counts"] == {"total": 2, "done": 0, "skipped": 0, "failed": 1, "left": 1}
    assert told["clips"][0]["error"]["exit_code"] == 3
    events = [event["event"] for event in result.events]
    assert (events[0], events[-2], events[-1]) == ("start", "clip", "error")
    swapper.failure = None
    result = fapvideo(*arguments, "--retry")
    assert result.code == 0
    assert "1 done, 1 left" in result.out
    assert "nothing to do" not in result.out


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("clips",), "needs an output folder"),
        (("clips/*.avi", "-o", "out"), "no video there"),
        (("jobs.toml", "clips", "-o", "out"), "one job list alone"),
        (("jobs.toml",), "cannot read preset"),
        (("clips", "-o", "out", "--retry"), "no summary of an earlier batch"),
        (("clips", "-o", "clips/a.mp4"), "no output folder can be made"),
        (("clips", "-o", "out", "--set", "seed=-1"), "seed"),
    ],
)
def test_what_cannot_be_meant_starts_nothing(
    fapvideo: Any,
    swapper: type[FakeSwapper],
    clips: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    word: str,
) -> None:
    monkeypatch.chdir(clips.parent)
    result = fapvideo("batch", *arguments)
    assert result.code in (2, 3, 4)
    assert word in result.err
    assert swapper.opened == []
    assert sorted(path.name for path in clips.parent.iterdir()) == ["clips"]


@pytest.mark.slow
def test_ctrl_c_cleans_up_the_clip_and_writes_the_summary(
    preset: Path, clips: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    command = [sys.executable, fake_swapper.__file__, "batch", clips, "-p", preset, "-o", out]
    process = subprocess.Popen(
        [*map(str, command)], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "FAKE_FRAMES": "30"},
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while not list(out.glob(".b.*")) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "summary.json" in err
    assert sorted(path.name for path in out.iterdir()) == ["a.mp4", "summary.csv", "summary.json"]
    told = json.loads((out / "summary.json").read_text("utf-8"))
    assert [row["status"] for row in told["clips"]] == ["done", "left"]
