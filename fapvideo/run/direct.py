"""A run from any source into any sink, in one go: nothing of it is kept."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from fapvideo.composite.planes import displayed
from fapvideo.errors import NoFaceFound, VideoReadError
from fapvideo.ops.files import scratch_folder
from fapvideo.ops.image import picture_fault
from fapvideo.plan.people import Cast
from fapvideo.plan.targets import Plan
from fapvideo.progress import Stopwatch, Ticker
from fapvideo.run.engine import Engine
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
from fapvideo.video.writer import VideoWriter

Casting = Callable[[], tuple[Cast, Sequence[str]]]
"""Gives who gets which references, and warnings about those."""


def through(
    engine: Engine,
    source: Source,
    casting: Casting,
    sink: Sink,
    ticker: Ticker,
    seal: Seal,
    plan: Plan | None = None,
    require_face: bool = False,
) -> RunReport:
    """Follow the faces unless there is a plan, and paint into `sink`.

    Raises:
        FapVideoError: one of its kinds.
    """
    started, watch = time.perf_counter(), Stopwatch()
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
            lines = scratch / "tracks.jsonl" if target else None
            preset, info, bundle = engine.preset, source.info, engine.painter.bundle
            consent = check_permission(preset, bundle, cast, info)
            books = engine.write(source, plan, sink, watch, ticker, lines)
            made_with = describe_bundle(bundle), describe_references(cast)
            seal.claim(*made_with, consent, books)
        with published(target):
            watch.seconds["wall_s"] = time.perf_counter() - started
            said = [*said, *sink.warnings, *seal.warnings, *engine.told()]
            said += clip_warnings(info, plan, preset.video)
            hashes = (
                hash_of(info.path, said) if info.container else "",
                hash_of(target, said) if target else "",
            )
            told = books, watch.seconds, said, hashes, seal.describe()
            report = make_report(info, target, preset, made_with, plan, *told)
            if target is None or lines is None:
                return report
            return write_report(report, lines, target)


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
