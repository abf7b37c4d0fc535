"""Pictures of animated portraits, kept on disk: for both workers, and for the next run.

They are found again by all that they are made from: the portrait, the motion, and the code.
"""

from __future__ import annotations

import hashlib
import os
import pickle
import shutil
from functools import cache
from pathlib import Path

import numpy as np

from fapvideo.evaluation.suites.kept import code_version
from fapvideo.ops.files import write_atomically
from fapvideo.structs import Bytes, Floats
from fapvideo.synth.motion import Motion
from fapvideo.synth.portrait import AnimatedPortrait

NOT_DRAWING = ("cli", "denoise", "evaluation", "fuse", "nets", "paint", "plan", "run", "training",
               "weights")  # fmt: skip
"""Parts of the package that have no say in a picture."""

Rendered = tuple[Bytes, Floats]


@cache
def drawn(portrait: AnimatedPortrait, motion: Motion) -> Rendered:
    """Return `portrait.draw(motion)`, read-only."""
    name = hashlib.sha256(_contents(portrait) + repr(motion).encode()).hexdigest()
    path = _folder() / f"{name}.npz"
    if not path.exists():
        rgb, landmarks = portrait.draw(motion)
        with write_atomically(path) as fresh:
            np.savez_compressed(fresh, rgb=rgb, landmarks=landmarks)
    with np.load(path) as kept:
        rgb, landmarks = kept["rgb"], kept["landmarks"]
    rgb.setflags(write=False)
    return rgb, landmarks


@cache
def _contents(portrait: AnimatedPortrait) -> bytes:
    """Return a hash of all that a portrait holds but for its script."""
    held = {name: value for name, value in vars(portrait).items() if name != "script"}
    return hashlib.sha256(pickle.dumps(held)).digest()


@cache
def _folder() -> Path:
    """Return the folder for what today's code draws; older ones go."""
    root = Path(os.environ["FAPVIDEO_TEST_RENDERS"])  # of conftest.py
    folder = root / code_version(NOT_DRAWING)
    folder.mkdir(parents=True, exist_ok=True)
    for other in set(root.iterdir()) - {folder}:
        shutil.rmtree(other, ignore_errors=True)
    return folder
