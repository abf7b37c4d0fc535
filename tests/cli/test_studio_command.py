"""`fapvideo studio` as a program: its address, its token, its end."""

from __future__ import annotations

import signal
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest


def started(folder: Path, port: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "fapvideo", "studio", str(folder), "--no-open"]
    return subprocess.Popen(
        [*command, "--port", port], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@pytest.mark.slow
def test_it_answers_whoever_has_the_token_until_it_is_stopped(tmp_path: Path) -> None:
    browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
    program = started(tmp_path, "0")
    try:
        assert program.stdout is not None
        address = program.stdout.readline().split()[1]
        assert b"Drop a clip here" in browser.open(address).read()
        with pytest.raises(urllib.error.HTTPError, match="403"):
            urllib.request.urlopen(address.split("/?")[0])
        program.send_signal(signal.SIGTERM)
        _, errors = program.communicate(timeout=60)
    finally:
        program.kill()
    assert program.returncode == 0
    assert errors == ""


def test_a_folder_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from fapvideo.cli.main import run_program

    assert run_program(["studio", str(tmp_path / "gone"), "--no-open"]) == 4
    assert "folder not found" in capsys.readouterr().err
