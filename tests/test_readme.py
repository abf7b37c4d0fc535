"""README is run, not believed."""

from __future__ import annotations

import hashlib
import json
import re
import shlex
from itertools import islice
from pathlib import Path

import av
import pytest
from test_benchmarks_page import load_script

from fapvideo.cli.main import run_program
from fapvideo.config.bundle import load_manifest
from fapvideo.config.presets import load_preset

DEMO = (
    "python3 -m venv .venv && .venv/bin/pip install -c constraints.txt . && "
    ".venv/bin/fapvideo run examples/talking_portrait.mp4 -o out.mp4 --preset brand_avatar"
)
TEST = (
    "python3 -m venv .venv && "
    '.venv/bin/pip install -c constraints.txt -e ".[all,dev]" && .venv/bin/pytest'
)


@pytest.fixture(scope="module")
def readme(checkout: Path) -> str:
    return (checkout / "README.md").read_text("utf-8")


def blocks(text: str, language: str) -> list[str]:
    """Return the fenced code blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def commands(text: str) -> list[str]:
    """Return the lines of the shell blocks, continued lines joined."""
    joined = "\n".join(blocks(text, "(?:sh|bash|console)")).replace("\\\n", " ")
    return [re.sub(r"\s+", " ", line).strip() for line in joined.splitlines() if line.strip()]


def test_the_two_commands_are_on_the_first_screen(readme: str) -> None:
    first_screen = "\n".join(readme.splitlines()[:60])
    assert DEMO in commands(first_screen)
    assert TEST in commands(first_screen)


def test_every_command_shown_exists_with_its_options(
    readme: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("TERM", "dumb")
    shown = [shlex.split(line, comments=True) for line in commands(readme)]
    shown = [words for words in shown if words and words[0] == "fapvideo"]
    assert shown
    for words in shown:
        names = [word for word in words[1:3] if re.fullmatch("[a-z]+", word)]
        options = [word for word in words if word.startswith("-")]
        depth = 2 if names[0] in {"presets", "references", "weights", "train", "eval"} else 1
        assert run_program([*names[:depth], "--help"]) == 0
        help_text = capsys.readouterr().out
        assert [option for option in options if option not in help_text] == [], words


@pytest.fixture
def short_clip(checkout: Path, tmp_path: Path) -> Path:
    """Write the first frames of the example clip as `in.mp4`."""
    path = tmp_path / "in.mp4"
    with (
        av.open(checkout / "examples" / "talking_portrait.mp4") as source,
        av.open(path, "w") as out,
    ):
        video = source.streams.video[0]
        stream = out.add_stream("libx264", rate=video.average_rate)
        stream.width, stream.height, stream.pix_fmt = video.width, video.height, "yuv420p"
        for frame in islice(source.decode(video), 6):
            out.mux(stream.encode(frame))
        out.mux(stream.encode())
    return path


def test_it_opens_with_a_picture_of_what_is_shipped(readme: str, checkout: Path) -> None:
    script = load_script(checkout, "readme_picture")
    shown = script.PICTURE.relative_to(checkout)
    assert re.fullmatch(rf"!\[.+\]\({shown}\)", readme.splitlines()[2])
    record = json.loads(script.RECORD.read_text("utf-8"))
    again = "run: python scripts/readme_picture.py"
    assert record["sha256"] == hashlib.sha256(script.PICTURE.read_bytes()).hexdigest(), again
    assert record["made_from"] == script.made_from(), again
    folder = f"fapvideo/bundles/{load_preset(script.PRESET).bundle}"
    files = load_manifest(checkout / folder).files
    weights = {f"{folder}/{file.path}": file.sha256 for file in files}
    assert weights
    assert weights.items() <= record["made_from"].items()
    assert script.PICTURE.stat().st_size < 200_000


@pytest.mark.slow
def test_the_python_snippets_run(
    readme: str, short_clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    snippets = blocks(readme, "python")
    assert snippets
    monkeypatch.chdir(short_clip.parent)
    for snippet in snippets:
        exec(compile(snippet, "README.md", "exec"), {"__name__": "__main__"})
        for made in set(short_clip.parent.glob("*.mp4")) - {short_clip}:
            made.unlink()  # the next snippet may write it again


def test_ci_runs_exactly_the_test_command(checkout: Path) -> None:
    script = (checkout / ".ci" / "run").read_text("utf-8")
    lines = [line for line in script.splitlines() if line and not line.startswith("#")]
    assert lines[:2] == ["set -euo pipefail", 'cd "$(dirname "$0")/.."']
    assert lines.pop(2).startswith("export PYTEST_ADDOPTS=")
    assert lines[2:5] == ["time {", f"  {TEST}", "}"]
    assert lines[-3:] == [".venv/bin/ruff check", ".venv/bin/ruff format --check", ".venv/bin/mypy"]
    assert lines[5] == "time .venv/bin/pytest -m slow"
    # What these have skipped on a machine without ffmpeg, a browser and so on is done after them.
    rest = lines[6:-3]
    begins = [line.split()[4] for line in rest if line.startswith("if ! command -v ")]
    assert begins == ["ffmpeg", "chromedriver"]
    step = '.venv/bin/pytest -m "not soak" -n 0 tests/integration/test_comfyui.py'
    assert f"PYTHONPATH=$PWD/.venv/comfy {step}" in rest, "it is not skipped where that fails"
    assert "FAPVIDEO_REQUIRE_BROWSER=1 .venv/bin/pytest -m browser" in map(str.strip, rest)
