"""The work folder of a training run: what it holds, and what it was made from."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from fapvideo.config.bundle import MANIFEST_NAME
from fapvideo.config.train import TrainPreset
from fapvideo.errors import PresetError, WeightsError
from fapvideo.ops.files import write_text
from fapvideo.training.faces.sources import Source
from fapvideo.training.learning.board import FOLDER as BOARD
from fapvideo.training.learning.checkpoint import CHECKPOINT
from fapvideo.training.learning.loop import LOG

RECIPE = "recipe.json"


def work_folder(output: Path) -> Path:
    """Return where the working files of a bundle are kept."""
    return output.with_name(f"{output.name}.work")


def open_work(output: Path, *, fresh: bool = False) -> Path:
    """Return the work folder, made if it is not there, emptied of an earlier run if `fresh`.

    Raises:
        WeightsError: it cannot be made, or `output` is something else than a bundle.
    """
    if output.exists() and not (output / MANIFEST_NAME).is_file() and not is_empty(output):
        raise WeightsError(
            f"{output} exists and is no bundle", hint="give --output a new folder, or remove it"
        )
    work = work_folder(output)
    try:
        work.mkdir(parents=True, exist_ok=True)
        if fresh:
            for path in (*work.glob("sheet_*.png"), work / RECIPE, work / CHECKPOINT, work / LOG):
                path.unlink(missing_ok=True)
            for folder in (work / "faces", work / "pool", work / BOARD):
                shutil.rmtree(folder, ignore_errors=True)
    except OSError as error:
        raise WeightsError(f"{work} cannot be written: {error.strerror or error}") from None
    return work


def keep_recipe(work: Path, preset: TrainPreset, sources: Sequence[Source]) -> None:
    """Write down what the work folder is made from, or check that it is the same as before.

    `[optim]` may change from call to call: a run can be made longer.

    Raises:
        PresetError: it is not the same.
    """
    fixed = preset.model_dump(mode="json", include={"seed", "data", "model"})
    if preset.model.kind == "sd15_adapter":  # its image tower made the samples
        fixed["start"] = preset.start
    fixed["files"] = [source.fingerprint() for source in sources]
    recipe: dict[str, Any] = json.loads(json.dumps(fixed))
    path = work / RECIPE
    before = json.loads(path.read_text("utf-8")) if path.is_file() else recipe
    for name in ("data", "model"):  # a key that did not exist then had its default
        before[name] = type(getattr(preset, name))().model_dump(mode="json") | before[name]
    changed = ", ".join(_differences(before, recipe))
    if changed:
        raise PresetError(
            f"{work} was made with other settings: {changed}",
            hint="--fresh begins anew; another --output keeps what is there",
        )
    write_text(path, json.dumps(recipe, indent=1))


def is_empty(folder: Path) -> bool:
    """Return whether it is a folder with nothing in it."""
    return folder.is_dir() and not any(folder.iterdir())


def _differences(before: Any, now: Any, key: str = "") -> Iterator[str]:
    """Yield the dotted keys in which two recipes differ."""
    if isinstance(before, dict) and isinstance(now, dict):
        for name in sorted(before.keys() | now.keys()):
            yield from _differences(before.get(name), now.get(name), f"{key}{name}.")
    elif before != now:
        yield key.removesuffix(".")
