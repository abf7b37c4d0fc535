"""A newcomer's case: a folder of twenty photos of one person and one command."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from portrait import headshot
from renders import drawn

from fapvideo.cli.main import run_program
from fapvideo.config.train import load_train_preset
from fapvideo.synth.motion import Motion
from fapvideo.synth.portrait import AnimatedPortrait
from fapvideo.training.faces.prepare import load_faces
from fapvideo.training.learning.pretrained import load_start
from fapvideo.training.learning.records import read_log
from fapvideo.weights.bundle import load_bundle

QUICK = {
    "optim.steps": 2,
    "optim.batch_size": 2,
    "optim.perceptual_weight": 0,  # the only thing that is downloaded
    "data.pool": 16,
    "data.heldout_pool": 2,
}


@pytest.fixture(scope="module")
def anna(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of twenty photos of one face."""
    folder = tmp_path_factory.mktemp("data") / "anna"
    folder.mkdir()
    portrait = AnimatedPortrait(headshot(260), (200, 200))
    rng = np.random.default_rng(0)
    for number in range(20):
        smile, brows, yaw = rng.uniform(-1, 1, 3)
        motion = Motion(smile=smile, brows=brows, yaw_deg=10 * yaw, mouth_open=rng.uniform(0, 0.3))
        picture = drawn(portrait, motion)[0] * rng.uniform(0.7, 1.0)
        cv2.imwrite(str(folder / f"{number:02d}.jpg"), picture[..., ::-1].astype(np.uint8))
    return folder


@pytest.mark.slow
def test_twenty_photos_and_one_command(
    anna: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "mine"
    quick = [f"--set={key}={value}" for key, value in QUICK.items()]
    command = ["train", "--preset", "finetune", "--data", str(anna), "-o", str(output)]
    assert run_program([*command, "--workers=1", "--device=cpu", *quick]) == 0
    work = tmp_path / "mine.work"

    # All photos are of one person, every fifth is held out.
    faces = load_faces(work / "faces")
    assert set(faces.people) == {"anna"}
    held = [name for name, out in zip(faces.names, faces.heldout, strict=True) if out]
    assert held == [f"anna/{number:02d}.jpg" for number in (0, 5, 10, 15)]
    assert (work / "faces" / "report.html").is_file()

    # What it is for shows: the metrics of that person before and after.
    rows = read_log(work / "log.csv")
    assert [row["step"] for row in rows] == ["0", "2"]
    assert all(float(row["psnr"]) > 10 for row in rows)
    assert "held-out" in capfd.readouterr().out

    # The bundle is the shipped one, a little changed.
    before, after = (load_bundle(name).unet.state_dict() for name in ("embedded", output))
    change = [float((after[name].float() - before[name].float()).abs().max()) for name in before]
    assert 0 < max(change) < 0.01
    card = (output / "MODEL_CARD.md").read_text("utf-8")
    assert "weights it started from: bundle embedded; MIT" in card
    assert "non-commercial use only" not in card


def test_the_preset_fits_the_shipped_bundle() -> None:
    assert load_start(load_train_preset("finetune")) is not None
