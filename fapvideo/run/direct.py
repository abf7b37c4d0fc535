"""A run from any source into any sink, in one go: nothing of it is kept."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from fapvideo.composite.planes import displayed
from fapvideo.errors import NoFaceFound, VideoReadError
from fapvideo.layers.spool import LayerSpool
from fapvideo.ops.files import partial_name, remove, scratch_folder
from fapvideo.ops.image import picture_fault
from fapvideo.plan.people import Cast
from fapvideo.plan.targets import Plan
from fapvideo.progress import Stopwatch, Ticker
from fapvideo.run.engine import Engine
from fapvideo.run.layering import (
    MANIFEST,
    check_layers,
    layer_plan,
    publish_layers,
    staged_layers,
)
from fapvideo.run.permission import check_permission
from fapvideo.run.report import (
    clip_warnings,
    describe_bundle,
    describe_references,
    hash_of,
    make_report,
    published,
    write_report,
)
from fapvideo.run.seal import Seal
from fapvideo.run.sinks import Sink
from fapvideo.run.sources import FrameSource, Source
from fapvideo.structs import Bytes, RunReport
from fapvideo.video.writer import VideoWriter, link_target

Casting = Callable[[], tuple[Cast, Sequence[str]]]
"""Gives who gets which references, and warnings about those."""


@dataclass(frozen=True, slots=True)
class LayersWish:
    """Where layers are to go."""

    folder: Path
    alone: bool
    """Whether there is to be nothing else."""
    overwrite: bool = False
    """Replace a folder of layers that is there."""


def through(
    engine: Engine,
    source: Source,
    casting: Casting,
    sink: Sink,
    ticker: Ticker,
    seal: Seal,
    plan: Plan | None = None,
    require_face: bool = False,
    layers: LayersWish | None = None,
) -> RunReport:
    """Follow the faces unless there is a plan, and paint into `sink`, and layers into a folder.

    Raises:
        FapVideoError: one of its kinds.
    """
    started, watch = time.perf_counter(), Stopwatch()
    if layers is not None:
        check_layers(layers.folder, engine.preset, source.info, overwrite=layers.overwrite)
    with scratch_folder() as scratch:
        with sink:
            ticker.begin("references", 0)
            with watch.measure("reference_s"):
                cast, said = casting()
            if plan is None:
                plan = engine.plan(source, cast, scratch, watch, ticker)
            if require_face:
                check_face(source, plan)
            target = sink.output if isinstance(sink, VideoWriter) else None
            target = layers.folder if layers is not None and layers.alone else target
            lines = scratch / "tracks.jsonl" if target or layers else None
            preset, info, bundle = engine.preset, source.info, engine.painter.bundle
            consent = check_permission(preset, bundle, cast, info)
            made_with = describe_bundle(bundle), describe_references(cast)
            with _spool(engine, source, plan, layers) as spool:
                books = engine.write(source, plan, sink, watch, ticker, lines, spool)
                seal.claim(*made_with, consent, books)
                if spool is not None and layers is not None and lines is not None:
                    _finish(spool, plan, lines, seal, layers)
                    said = [*said, *spool.warnings]
        with published(target):
            watch.seconds["wall_s"] = time.perf_counter() - started
            said = [*said, *sink.warnings, *seal.warnings, *engine.told()]
            said += clip_warnings(info, plan, preset.video)
            hashes = (
                hash_of(info.path, said) if info.container else "",
                hash_of(target / MANIFEST if target.is_dir() else target, said) if target else "",
            )
            told = books, watch.seconds, said, hashes, seal.describe()
            report = make_report(info, target, preset, made_with, plan, *told)
            if target is None or lines is None:
                return report
            return write_report(report, lines, target)


@contextmanager
def _spool(
    engine: Engine, source: Source, plan: Plan, layers: LayersWish | None
) -> Iterator[LayerSpool | None]:
    """Yield what takes layers, if some are asked for; its folder goes at the end of the block."""
    if layers is None:
        yield None
        return
    folder = partial_name(link_target(layers.folder))
    try:
        with LayerSpool(layer_plan(engine.preset, source.info, plan), folder) as spool:
            yield spool
    finally:
        remove(folder)


def _finish(spool: LayerSpool, plan: Plan, lines: Path, seal: Seal, layers: LayersWish) -> None:
    """Make the folder of layers from what was painted."""
    parts, own = [(spool.folder, spool.finish())], seal if layers.alone else seal.again()
    with staged_layers(layers.folder, spool.plan, plan, parts, lines, own, "") as staged:
        info = spool.plan.info
        publish_layers(staged, layers.folder, info, "", overwrite=layers.overwrite)


def one_picture(engine: Engine, rgb: Bytes, casting: Casting) -> Bytes:
    """Return a picture uint8 [H, W, 3] with the parts of its face(s) swapped.

    Raises:
        VideoReadError: it is no picture.
        NoFaceFound: there is no face in it.
    """
    fault = picture_fault(rgb)
    if fault:
        raise VideoReadError(fault, hint="give RGB pixels uint8 [height, width, 3]")
    source = FrameSource(rgb[None], 1)
    with scratch_folder() as scratch:
        plan = engine.plan(source, casting()[0], scratch)
        if not (plan.targets or plan.cast):
            raise NoFaceFound(
                "; ".join(plan.warnings)
                or f"no face found in the picture of {rgb.shape[1]}x{rgb.shape[0]} pixels",
                hint="give a picture in which a face is at least 24 pixels wide",
            )
        ((_, swapped),) = engine.swap(source, plan)
        return displayed(swapped.frames[0], source.info)


def check_face(source: Source, plan: Plan) -> None:
    """See that there is something to swap.

    Raises:
        NoFaceFound: there is not.
    """
    if not plan.targets:
        raise NoFaceFound(
            f"{source.info.path}: no face to swap in {plan.frames} frames",
            hint="lower track.detect_score, or leave out --require-face",
        )
