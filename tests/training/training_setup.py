"""Settings for tests of training: everything small, nothing downloaded."""

from __future__ import annotations

import json
import shutil
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import cv2
from clips import make_clip
from portrait import headshot

from fapvideo.cli.main import run_program
from fapvideo.config.train import TrainPreset, load_train_preset
from fapvideo.structs import Bytes
from fapvideo.training.samples.pool import Pool
from fapvideo.training.work import work_folder

TINY: dict[str, Any] = {
    "model.channels": [32],
    "optim.batch_size": 4,
    "optim.steps": 6,
    "optim.warmup": 2,
    "optim.eval_steps": 1000,
    "optim.sheet_steps": 1000,
}


def tiny_preset(**optim: Any) -> TrainPreset:
    """Return the packaged debug preset, even smaller."""
    changes = {f"optim.{name}": value for name, value in optim.items()}
    return load_train_preset("debug", TINY | changes)


def first_of(pool: Pool, count: int) -> Pool:
    """Return the first samples of a pool; to measure on few of them is quick."""
    arrays = [field.name for field in fields(Pool) if field.name != "flags"]
    return replace(pool, **{name: getattr(pool, name)[:count] for name in arrays})


def swap_nose(bundle: Path, pictures: list[Bytes], frames: int, folder: Path, capfd: Any) -> Any:
    """Swap a nose in a short clip by the command, with a bundle; return the report."""
    cv2.imwrite(str(folder / "reference.png"), headshot(400)[..., ::-1])
    clip = make_clip(
        folder, "plain", lambda i: pictures[i % 8], size=(200, 200), frames=frames, audio=()
    )
    preset = folder / "nose.toml"
    preset.write_text('[references]\nnose = "reference.png"\n[composite]\ncheck = false\n')
    arguments = ["run", str(clip), "-o", str(folder / "out.mp4"), "-p", str(preset), "--json"]
    assert run_program([*arguments, "--set", f"bundle={bundle}"], as_json=True) == 0
    return json.loads(capfd.readouterr().out)


def hand_on(output: Path, other: Path) -> None:
    """Give one run's faces and samples to another that would make the same."""
    for name in ("faces", "pool"):
        shutil.copytree(work_folder(output) / name, work_folder(other) / name)
