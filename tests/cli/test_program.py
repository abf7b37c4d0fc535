"""The program as a whole: version, help, start-up, presets, doctor."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import fapvideo as package
from fapvideo.cli import checks
from fapvideo.config.presets import load_preset

HEAVY = ("torch", "cv2", "av", "numpy", "diffusers", "transformers", "PIL")


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from fapvideo.cli.main import run_program\n"
        "assert run_program(['--help']) == 0\n"
        f"print([name for name in {HEAVY} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"
    for command in ("run", "preview", "inspect", "presets", "doctor"):
        assert command in done.stdout


def test_as_a_module_it_exits_with_the_code_of_the_error() -> None:
    command = [sys.executable, "-m", "fapvideo", "presets", "show", "nothing", "--debug"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stdout == ""
    assert "Traceback" in done.stderr
    assert "error: unknown preset 'nothing'" in done.stderr


def test_version(fapvideo: Any) -> None:
    assert fapvideo("--version").out.startswith(f"fapvideo {package.__version__} ")


@pytest.mark.parametrize("arguments", [(), ("presets",)])
def test_without_a_command_there_is_help(fapvideo: Any, arguments: tuple[str, ...]) -> None:
    result = fapvideo(*arguments)
    assert result.code == 2
    assert "Usage: fapvideo" in result.out + result.err
    assert "error" not in result.err


def test_presets_list(fapvideo: Any) -> None:
    result = fapvideo("presets", "list")
    assert result.code == 0
    assert "brand_avatar" in result.out
    assert "speech, blinks and gaze stay" in result.out
    names = [entry["name"] for entry in json.loads(fapvideo("presets", "list", "--json").out)]
    assert names == sorted(names)
    assert "mouth_only" in names


def test_presets_show_prints_what_loads_again(fapvideo: Any, preset: Path, tmp_path: Path) -> None:
    result = fapvideo("presets", "show", preset, "--set", "denoise.steps=3")
    shown = tmp_path / "shown.toml"
    shown.write_text(result.out, "utf-8")
    assert load_preset(shown) == load_preset(preset, {"denoise.steps": 3})


def test_presets_schema_prints_what_editors_read(fapvideo: Any) -> None:
    schema = json.loads(fapvideo("presets", "schema").out)
    assert "eyes" in schema["properties"]["references"]["properties"]
    assert "optim" in json.loads(fapvideo("presets", "schema", "train").out)["properties"]
    assert fapvideo("presets", "schema", "bogus").code == 2


def test_presets_copy_and_check(fapvideo: Any, preset: Path, tmp_path: Path) -> None:
    copied = tmp_path / "copy.toml"
    assert fapvideo("presets", "copy", "mouth_only", copied).out.strip() == str(copied)
    assert fapvideo("presets", "copy", "mouth_only", copied).code == 2
    assert fapvideo("presets", "check", preset).out == f"{preset}: ok\n"
    copied.write_text("[mask]\ndilat = 1\nfeather = 7\n", "utf-8")
    result = fapvideo("presets", "check", copied)
    assert result.code == 2
    assert "2 problems" in result.err
    assert "mask.dilat: unknown key, did you mean mask.dilate?" in result.err


def test_doctor_says_what_is_there(fapvideo: Any) -> None:
    result = fapvideo("doctor")
    for expected in (
        "torch 2.",
        "libx264",
        "installed: ",
        "public domain",
        "fapvideo run talk.mp4",
    ):
        assert expected in result.out
    assert result.code == 0
    told = json.loads(fapvideo("doctor", "--json").out)
    assert told["ready"] is True
    assert {check["name"] for check in told["checks"]} == set(checks.CHECKS)


def test_doctor_fails_and_says_why(fapvideo: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> checks.Check:
        raise ImportError("libGL.so.1: cannot open shared object file")

    monkeypatch.setitem(checks.CHECKS, "device", broken)
    result = fapvideo("doctor")
    assert result.code == 1
    assert "fail: device: " in result.out
    assert "libGL.so.1" in result.out
    assert "Not ready" in result.out


def test_doctor_names_a_missing_library_and_a_closed_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(checks.REQUIRED, "opencv-python-headless", "no_such_module")
    monkeypatch.setattr(checks.os, "access", lambda path, mode: False)
    monkeypatch.setattr(checks.tempfile, "gettempdir", lambda: str(tmp_path))
    found = {check.name: check for check in checks.run_checks()}
    assert found["libraries"].state == "fail"
    assert "no_such_module" in found["libraries"].hint
    assert found["temporary folder"].state == "fail"
    assert "not writable" in found["temporary folder"].hint
