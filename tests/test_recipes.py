"""The recipes of docs/recipes that need no other machine are run as they stand."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import av
import face_clips
import pytest

PRESET = "--set bundle=tiny --set denoise.mode=off --set composite.max_size=64"
QUICK = '{"bundle": "tiny", "denoise.mode": "off", "composite.max_size": 64'


def blocks(page: Path, language: str) -> list[str]:
    """Return the code blocks of a page."""
    return re.findall(rf"```{language}\n(.*?)```", page.read_text("utf-8"), re.DOTALL)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with a clip `in.mp4`."""
    face_clips.face_clip(tmp_path, "one_face", frames=8).rename(tmp_path / "in.mp4")
    return tmp_path


@pytest.mark.slow  # tests/cli/test_filter.py has the same pipe
@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="the program ffmpeg is not installed")
def test_the_pipes_of_the_ffmpeg_page_work(checkout: Path, folder: Path) -> None:
    lines = "\n".join(blocks(checkout / "docs/recipes/ffmpeg.md", "sh"))
    lines = re.sub(
        r"fapvideo filter( --preset \w+)?", f"{sys.executable} -m fapvideo filter {PRESET}", lines
    )
    done = subprocess.run(
        ["bash", "-eo", "pipefail", "-c", lines],
        cwd=folder, capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    with av.open(str(folder / "out.mp4")) as plain, av.open(str(folder / "tagged.mp4")) as tagged:
        assert not plain.streams.audio
        assert tagged.metadata["comment"] == "Facial parts changed with AI"
    with av.open(str(folder / "sound.mp4")) as sound, av.open(str(folder / "in.mp4")) as source:
        heard, filmed = ([bytes(p) for p in c.demux(audio=0)] for c in (sound, source))
    assert heard == filmed


@pytest.mark.slow
def test_the_programs_of_the_python_page_run(checkout: Path, folder: Path) -> None:
    codes = blocks(checkout / "docs/recipes/python.md", "python")
    assert len(codes) == 2
    joined = "\n".join(codes).replace(
        'from_preset("brand_avatar")', f'from_preset("brand_avatar", overrides={QUICK}}})'
    )
    joined = joined.replace(
        'overrides={"denoise.batch_size": 1}', f'overrides={QUICK}, "denoise.batch_size": 1}}'
    )
    done = subprocess.run(
        [sys.executable, "-c", joined], cwd=folder, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("8 frames;")
    assert done.stdout.count("(240, 320, 3)") == 20 - 13


def test_the_comfyui_page_names_every_node(checkout: Path) -> None:
    page = (checkout / "docs/recipes/comfyui.md").read_text("utf-8")
    nodes = (checkout / "integrations/comfyui/nodes.py").read_text("utf-8")
    for name in re.findall(r'display_name="fapvideo: ([\w ]+)"', nodes):
        assert f"| {name} |" in page
