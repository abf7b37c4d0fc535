"""`VideoSwapper`: load the models once, swap many videos."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from fapvideo.composite.planes import displayed
from fapvideo.config.presets import load_preset
from fapvideo.config.schema import RunPreset
from fapvideo.errors import FapVideoError, NoFaceFound, PresetError, VideoReadError
from fapvideo.ops.files import scratch_folder
from fapvideo.ops.image import picture_fault
from fapvideo.ops.precision import resolve_device, resolve_dtype
from fapvideo.paint.painter import Painter
from fapvideo.paint.painters import painter_for
from fapvideo.plan.people import Cast, CastReader, Person, asked_roles
from fapvideo.plan.references import References, asked_references
from fapvideo.plan.search import BoxFinder
from fapvideo.plan.targets import Plan
from fapvideo.progress import OnProgress, ShouldStop, Stopwatch, Ticker
from fapvideo.run.clip import Clip, Settings, check_kept, planned
from fapvideo.run.engine import Engine, finished
from fapvideo.run.people_sheet import write_sheet
from fapvideo.run.preview import column, join_columns
from fapvideo.run.report import clip_warnings, inspection, make_report, published, write_report
from fapvideo.run.seal import Seal
from fapvideo.run.sinks import Sink, open_sink
from fapvideo.run.sources import FrameSource, Source, open_source
from fapvideo.structs import Bytes, FrameBatch, Reference, RunReport
from fapvideo.video.probe import probe
from fapvideo.video.reader import VideoReader
from fapvideo.video.writer import VideoWriter
from fapvideo.weights.bundle import load_bundle

log = logging.getLogger(__name__)


class VideoSwapper:
    """Swaps facial parts in videos and pictures as one preset says.

    Holds the networks from construction to `close`; use it as a context manager. One swapper serves
    one call at a time: a call while another one runs, in whatever thread, and a call after `close`
    raise `FapVideoError`.
    """

    def __init__(
        self, preset: RunPreset, device: str = "auto", *, painter: Painter | None = None
    ) -> None:
        """Load the preset's bundle onto `device`: `auto`, `cpu`, `cuda`, `cuda:1`, `mps`.

        With `painter` that one paints, and no bundle is loaded.

        Raises:
            DeviceError: no such device here.
            WeightsError: the bundle is missing or damaged.
        """
        self.preset = preset
        self.device = resolve_device(device)
        if painter is None:
            dtype = resolve_dtype(preset.denoise.precision, self.device)
            bundle = load_bundle(preset.bundle, self.device, dtype, options=preset.denoise)
            painter = painter_for(preset, bundle)
        self._painter: Painter = painter
        self._boxes = BoxFinder(preset, self.device)
        self._reader = CastReader()
        self._call, self._owner, self._closed = threading.Lock(), 0, False

    @classmethod
    def from_preset(
        cls,
        name_or_path: str | Path | RunPreset,
        *,
        device: str = "auto",
        overrides: Mapping[str, Any] | None = None,
    ) -> Self:
        """Load a preset by name, path or as an object; `overrides` are dotted keys and values.

        Raises:
            PresetError: unknown preset, key or value; all problems at once.
        """
        if isinstance(name_or_path, RunPreset):
            if overrides:
                raise PresetError("overrides need a preset's name or path, not an object")
            return cls(name_or_path, device)
        return cls(load_preset(name_or_path, overrides or {}), device)

    def __enter__(self) -> Self:
        """Return the swapper."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close."""
        self.close()

    def close(self) -> None:
        """Leave the networks as they were and forget the references; a stream ends with an error.

        Raises:
            FapVideoError: another call is running.
        """
        if self._closed:
            return
        if self._call.locked() and self._owner != threading.get_ident():
            raise self._busy()
        self._closed = True
        self._painter.close()
        self._boxes.close()
        self._reader.clear()

    # -------------------------------------------------------------------------- references

    def encode_reference(self, references: References) -> tuple[Reference, ...]:
        """Read, check and encode reference images: part -> paths, pixels. Cached on disk.

        What it returns may be given wherever references are asked for.

        Raises:
            PresetError: unknown part.
            ReferenceImageError: an image without a usable face.
        """
        with self._in_use():
            asked, config = asked_references(references, self.preset), self.preset.reference
            loaded, warnings = self._reader.references(asked, self._painter, config)
            for text in warnings:
                log.warning(text)
            return tuple(item for group in loaded.values() for item in group)

    # --------------------------------------------------------------------------------- run

    def run(
        self,
        input: str | Path | Source | Clip,
        output: str | Path | Sink | None = None,
        references: References | None = None,
        *,
        people: Sequence[Person] | None = None,
        overwrite: bool = False,
        require_face: bool = False,
        progress: OnProgress | None = None,
        cancel: ShouldStop | None = None,
    ) -> RunReport:
        """Swap a video; a file appears only when it is whole.

        Args:
            input: any video FFmpeg reads, never touched; a source of frames; an open clip, which
                is not followed again.
            output: `.mp4`, `.mov` or `.mkv`, or a sink; by default `<stem>.swapped<suffix>` beside
                the input.
            references: part -> images, instead of the preset's.
            people: who gets what (docs/casting.md), instead of the preset's, or an open clip's.
            overwrite: replace an existing output.
            require_face: raise where the video shows no face.
            progress: called from this thread.
            cancel: asked between batches; true stops the run.

        Returns the report. Where the output is a file, it is also written as
        `<output>.report.json`, and what became of every face as `<output>.tracks.jsonl`.

        Raises:
            FapVideoError: one of its kinds, see `errors.py`.
        """
        started, watch, ticker = time.perf_counter(), Stopwatch(), Ticker(progress, cancel)
        with self._in_use(), scratch_folder() as scratch:
            engine = self._engine()
            clip = input if isinstance(input, Clip) else None
            video = self.preset.video
            source = input.source if isinstance(input, Clip) else open_source(input, video)
            seal = Seal(self.preset, source.info)
            with open_sink(output, source.info, video, overwrite=overwrite, seal=seal) as sink:
                ticker.begin("references", 0)
                with watch.measure("reference_s"):
                    cast, warnings = (clip.cast, ()) if clip else self._cast(references, people)
                plan = clip.plan if clip else engine.plan(source, cast, scratch, watch, ticker)
                if require_face and not plan.targets:
                    raise NoFaceFound(
                        f"{source.info.path}: no face to swap in {plan.frames} frames",
                        hint="lower track.detect_score, or leave out --require-face",
                    )
                target = sink.output if isinstance(sink, VideoWriter) else None
                spool = scratch / "tracks.jsonl" if target else None
                books = engine.write(source, plan, sink, watch, ticker, spool)
                used = self.preset, self._painter.bundle, plan, books, cast
                seal.claim(*used)
            with published(target):
                watch.seconds["wall_s"] = time.perf_counter() - started
                warnings += (*sink.warnings, *seal.warnings, *clip_warnings(source, plan, video))
                told = watch.seconds, warnings, seal.describe()
                report = make_report(source, target, *used, *told)
                return report if target is None else write_report(report, books, target)

    def stream(
        self,
        input: str | Path | Source,
        references: References | None = None,
        *,
        people: Sequence[Person] | None = None,
    ) -> Iterator[FrameBatch]:
        """Yield batches of swapped frames, in order, without writing a file.

        The swapper is busy until the last one is taken, or the iterator is closed.

        Raises:
            VideoReadError, ReferenceImageError, DeviceError.
        """
        self._check_open()
        return self._stream(input, references, people)

    def _stream(
        self,
        input: str | Path | Source,
        references: References | None,
        people: Sequence[Person] | None,
    ) -> Iterator[FrameBatch]:
        with self._in_use(), scratch_folder() as scratch:
            engine = self._engine()
            source = open_source(input, self.preset.video)
            plan = engine.plan(source, self._cast(references, people)[0], scratch)
            for batch, swapped in engine.swap(source, plan):
                yield finished(source, batch, swapped.frames)
                self._check_open()

    def swap_image(
        self,
        rgb: Bytes,
        references: References | None = None,
        *,
        people: Sequence[Person] | None = None,
    ) -> Bytes:
        """Return uint8 [H, W, 3] with the parts of its face(s) swapped.

        Raises:
            VideoReadError: `rgb` is no picture uint8 [H, W, 3].
            NoFaceFound: there is no face in the picture.
        """
        with self._in_use(), scratch_folder() as scratch:
            fault = picture_fault(rgb)
            if fault:
                raise VideoReadError(fault, hint="give RGB pixels uint8 [height, width, 3]")
            engine, source = self._engine(), FrameSource(rgb[None], 1)
            plan = engine.plan(source, self._cast(references, people)[0], scratch)
            if not (plan.targets or plan.cast):
                raise NoFaceFound(
                    "; ".join(plan.warnings)
                    or f"no face found in the picture of {rgb.shape[1]}x{rgb.shape[0]} pixels",
                    hint="give a picture in which a face is at least 24 pixels wide",
                )
            ((_, swapped),) = engine.swap(source, plan)
            return displayed(swapped.frames[0], source.info)

    # --------------------------------------------------------------------- looking at a clip

    def open(
        self,
        input: str | Path | Source,
        references: References | None = None,
        *,
        people: Sequence[Person] | None = None,
        folder: str | Path | None = None,
    ) -> Clip:
        """Follow the faces of a clip once; return it with its plan, for stills and strips.

        With `folder` the plan is written there, and found again as long as clip, preset, references
        and version are the same.

        Raises:
            VideoReadError: the video cannot be read, or the plan in `folder` is damaged.
        """
        with self._in_use():
            source = open_source(input, self.preset.video)
            cast = self._cast(references, people)[0]
            plan, scratch = planned(self._engine(), source, cast, Path(folder) if folder else None)
        return Clip(source, plan, cast, partial(self._changed, given=(references, people)), scratch)

    @contextmanager
    def _changed(
        self,
        clip: Clip,
        settings: Settings,
        wanted: References | None,
        given: tuple[References | None, Sequence[Person] | None],
    ) -> Iterator[tuple[Engine, Plan]]:
        """Yield the engine and the plan of an open clip under other settings or references."""
        with self._in_use():
            if not settings and wanted is None:
                yield self._engine(), clip.plan
                return
            preset = load_preset(self.preset, settings)
            check_kept(self.preset, preset)
            engine = self._engine(preset)
            references, people = given
            if preset.people != self.preset.people:
                people = None
            if wanted is not None or preset.references != self.preset.references:
                references = wanted
            roles = asked_roles(references, people, preset)
            cast, _ = self._reader.cast(roles, engine.painter, preset)
            yield engine, engine.decide(clip.plan, clip.source, cast)

    def inspect(self, input: str | Path, *, sheet: str | Path | None = None) -> dict[str, Any]:
        """Return what the first pass sees as plain JSON types; show everybody in the PNG `sheet`.

        Raises:
            VideoReadError, VideoWriteError: the video cannot be read, or the sheet be written.
        """
        with self._in_use(), scratch_folder() as scratch:
            source = open_source(input, self.preset.video)
            plan = self._engine().plan(source, self._reader.bystanders(self.preset), scratch)
            if sheet is not None:
                write_sheet(Path(sheet), source, plan)
            return inspection(source, plan, self.preset.video)

    def preview(
        self,
        input: str | Path,
        times_s: Sequence[float],
        references: References | None = None,
        *,
        people: Sequence[Person] | None = None,
    ) -> Bytes:
        """Return a contact sheet uint8 [H, W, 3]: source, masks, guide, result; a column per time.

        The video is analysed for a second around each time only. `video.reader` says how the frame
        to show is looked up.

        Raises:
            VideoReadError: a time outside the video, or `video.reader` is not installed.
        """
        with self._in_use():
            reader = VideoReader(probe(Path(input)), self.preset.video)
            cast, warnings = self._cast(references, people)
            for text in warnings:
                log.warning(text)
            return join_columns([column(self._engine(), reader, cast, time) for time in times_s])

    # -------------------------------------------------------------------------------- inside

    def _engine(self, preset: RunPreset | None = None) -> Engine:
        """Return what runs; for another preset with a painter of its own on the same networks."""
        bundle, used = self._painter.bundle, preset or self.preset
        if bundle is None:
            return Engine(used, self._painter, self._boxes)
        spans = [painter_for(used.within(span), bundle) for span in used.spans]
        if preset is None:
            return Engine(used, self._painter, self._boxes, spans)
        return Engine(used, painter_for(used, bundle), BoxFinder(used, self.device), spans)

    def _cast(
        self, references: References | None, people: Sequence[Person] | None
    ) -> tuple[Cast, tuple[str, ...]]:
        """Return what is given, or the preset's, and warnings about its pictures."""
        roles = asked_roles(references, people, self.preset)
        return self._reader.cast(roles, self._painter, self.preset)

    @staticmethod
    def _busy() -> FapVideoError:
        return FapVideoError(
            "this swapper is busy with another call",
            hint="finish or close its stream first; use a swapper for each thread",
        )

    def _check_open(self) -> None:
        if self._closed:
            raise FapVideoError("this swapper is closed", hint="make a new one")

    @contextmanager
    def _in_use(self) -> Iterator[None]:
        """Hold the swapper for one call."""
        self._check_open()
        if not self._call.acquire(blocking=False):
            raise self._busy()
        self._owner = threading.get_ident()
        try:
            yield
        finally:
            self._call.release()
