"""`fapvideo bench`: clips as asked for, figures that add up, true fits."""

from __future__ import annotations

import json
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from fapvideo.cli.main import run_program
from fapvideo.config.evaluation import examples_root
from fapvideo.config.schema import VideoConfig
from fapvideo.evaluation.speed.clips import write_crowd
from fapvideo.evaluation.speed.measure import growth
from fapvideo.track.detector import FaceDetector
from fapvideo.video.bare import transcode
from fapvideo.video.reader import VideoReader
from fapvideo.weights.random import random_bundle

EXAMPLE = examples_root() / "talking_portrait.mp4"


def test_a_crowd_has_as_many_faces_as_wanted(tmp_path: Path) -> None:
    path = tmp_path / "crowd.mp4"
    write_crowd(EXAMPLE, path, (962, 360), 3, 5)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert (stream.width, stream.height, stream.pix_fmt) == (962, 360, "yuv420p")
    (batch,) = VideoReader(path).batches(8)
    assert len(batch) == 5
    boxes, _, _ = FaceDetector()(batch.rgb[0])
    assert len(boxes) == 3
    assert sorted(int(box[[0, 2]].mean() // (962 / 3)) for box in boxes) == [0, 1, 2]
    assert transcode(path, ".mp4", VideoConfig()) == 5


def test_growth_is_found_again() -> None:
    rows = [
        {
            "size": [width, height],
            "faces": faces,
            "frames": frames,
            "cpu_ms_in_all": 500 / frames + 10 + 80 * faces + 20 * width * height / 1e6,
        }
        for width, height in ((640, 360), (1920, 1080))
        for faces in (1, 2, 4)
        for frames in (50, 100)
    ]
    fit = growth(rows)
    assert fit.pop("worst_misfit") < 0.001
    assert fit == pytest.approx(
        {"once": 500, "a_frame": 10, "a_face": 80, "a_megapixel": 20}, abs=0.2
    )
    assert growth(rows[:1]) == {}


def test_random_weights_need_no_files() -> None:
    """A bundle's own networks, but for what they have learnt."""
    random, other = (random_bundle("embedded") for _ in range(2))
    assert sum(p.numel() for p in random.unet.parameters()) > 1_000_000
    for one, two in zip(random.unet.parameters(), other.unet.parameters(), strict=True):
        assert torch.equal(one, two)
    assert np.isfinite(random.encoder(torch.zeros(1, 3, 224, 224)).numpy()).all()


@pytest.mark.parametrize(
    "given", [("--size", "720"), ("--size", "641x480"), ("--faces", "0"), ("--frames", "a")]
)
def test_what_is_no_size_or_number_is_said(
    given: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_program(["bench", *given]) == 2
    assert given[1] in capsys.readouterr().err


@pytest.mark.slow
def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "bench.json"
    arguments = ["--bundle", "embedded", "--random-weights", "--size", "160x120", "--frames", "4,8"]
    assert run_program(["bench", *arguments, "-o", str(out)]) == 0
    told = json.loads(out.read_text())
    assert [row["frames"] for row in told["rows"]] == [4, 8]
    for row in told["rows"]:
        spent = row["cpu_ms_a_frame"]
        assert sum(spent.values()) == pytest.approx(row["cpu_ms_in_all"], rel=0.02)
        assert spent["denoise"] > 0
        assert row["cpu_ms_bare"] < row["cpu_ms_in_all"]
        assert row["swapped"] == row["frames"]
        assert 3 < row["network_gflop"] < 6  # the UNet has 3.35
    assert "frames a second" in capsys.readouterr().out
