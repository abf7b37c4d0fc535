"""VapourSynth before a session: by a pipe, and in one process where its wheel installs.

The wheel wants Python 3.12. With an older one `VAPOURSYNTH_PYTHON` may name the interpreter of an
environment that has it, for the pipe.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import face_clips
import numpy as np
import pytest

from fapvideo import VideoSwapper, load_preset, stream_info

HERE = importlib.util.find_spec("vapoursynth") is not None
PYTHON = sys.executable if HERE else os.environ.get("VAPOURSYNTH_PYTHON", "")
NEEDS_IT = "VapourSynth is not installed (pip install vapoursynth, Python 3.12 or newer)"
FRAMES = 6
SETTINGS = {"bundle": "tiny", "denoise.mode": "off", "composite.max_size": 64}
SCRIPT = """
import numpy as np, vapoursynth as vs
pictures = np.load("pictures.npy")
def paint(n, f):
    out = f.copy()
    for plane in range(3):
        np.asarray(out[plane])[...] = pictures[n, ..., plane]
    return out
count, height, width = pictures.shape[:3]
blank = vs.core.std.BlankClip(
    width=width, height=height, format=vs.RGB24, length=count, fpsnum=25, fpsden=1
)
clip = blank.std.ModifyFrame(blank, paint)
clip.set_output()
"""
VSPIPE = """
import runpy, sys, vapoursynth as vs
runpy.run_path("in.vpy", run_name="__vapoursynth__")
clip = vs.get_output(0).clip.resize.Bicubic(format=vs.YUV444P8, matrix_s="709")
clip.output(sys.stdout.buffer, y4m=True)
"""
"""What `vspipe -c y4m in.vpy -` does; that program needs a libpython that not every Python has."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with `in.vpy`, which shows a talking face."""
    np.save(tmp_path / "pictures.npy", [face_clips.one_face(i)[0] for i in range(FRAMES)])
    (tmp_path / "in.vpy").write_text(SCRIPT, "utf-8")
    return tmp_path


@pytest.mark.skipif(not PYTHON, reason=NEEDS_IT)
def test_a_script_goes_through_the_filter(folder: Path) -> None:
    given = [word for key, value in SETTINGS.items() for word in ("--set", f"{key}={value}")]
    begin = subprocess.run([PYTHON, "-c", VSPIPE], cwd=folder, capture_output=True, check=True)
    asked = [sys.executable, "-m", "fapvideo", "filter", *given]
    done = subprocess.run(asked, cwd=folder, input=begin.stdout, capture_output=True, timeout=600)
    assert done.returncode == 0, done.stderr.decode()
    assert len(done.stdout) == len(begin.stdout)
    before, after = (samples(text) for text in (begin.stdout, done.stdout))
    changed = (before != after).any(axis=(0, 1))
    assert changed[120:200, 90:230].any(), "the face"
    assert not changed[:20].any(), "what lies above it"


def samples(stream: bytes) -> np.ndarray:
    """Return the samples of a 4:4:4 stream, [frames, planes, height, width]."""
    _, *frames = stream.split(b"FRAME\n")
    width, height = face_clips.SIZE
    return np.stack([np.frombuffer(one, np.uint8).reshape(3, height, width) for one in frames])


@pytest.mark.skipif(not HERE, reason=NEEDS_IT)
def test_the_example_swaps_a_clip_of_vapoursynth(folder: Path, checkout: Path) -> None:
    """To the very frames that a session makes of the same pictures."""
    preset = load_preset("brand_avatar", SETTINGS)
    text = (checkout / "examples/vapoursynth_swap.py").read_text("utf-8")
    quick = text.replace(
        'from_preset("brand_avatar")', f'from_preset("brand_avatar", overrides={SETTINGS})'
    )
    done = subprocess.run(
        [sys.executable, "-c", quick, "in.vpy"], cwd=folder, capture_output=True, timeout=600
    )
    assert done.returncode == 0, done.stderr.decode()
    width, height = face_clips.SIZE
    pictures = np.frombuffer(done.stdout, np.uint8).reshape(FRAMES, height, width, 3)
    with VideoSwapper(preset, "cpu") as swapper:
        session = swapper.session(stream_info(width, height, 25))
        wanted = np.stack(list(session.stream(np.load(folder / "pictures.npy"))))
    assert np.array_equal(pictures, wanted)
