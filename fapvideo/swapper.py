"""`VideoSwapper`: load the models once, swap many videos."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any, Self

from fapvideo.config.presets import load_preset
from fapvideo.config.schema import RunPreset
from fapvideo.errors import PresetError
from fapvideo.layers.frame import layered
from fapvideo.ops.files import scratch_folder
from fapvideo.paint.painter import Painter
from fapvideo.plan.people import Person
from fapvideo.plan.references import References, asked_references
from fapvideo.plan.targets import Plan
from fapvideo.progress import OnProgress, ShouldStop, Ticker
from fapvideo.run.clip import Clip, planned
from fapvideo.run.direct import Casting, LayersWish, one_picture, through
from fapvideo.run.engine import finished
from fapvideo.run.networks import Shelf
from fapvideo.run.people_sheet import write_sheet
from fapvideo.run.pieces import paint_segment, plan_job
from fapvideo.run.preview import contact_sheet
from fapvideo.run.report import inspection
from fapvideo.run.seal import Seal
from fapvideo.run.segments import Segment
from fapvideo.run.session import Session
from fapvideo.run.sinks import NOWHERE, Sink, default_output, open_sink
from fapvideo.run.sources import Source, open_source
from fapvideo.run.work import StepsHere, Wishes, from_file_to_file
from fapvideo.run.workbench import Workbench
from fapvideo.structs import Bytes, FrameBatch, Reference, RunReport, VideoInfo
from fapvideo.video.probe import probe
from fapvideo.video.reader import VideoReader

log = logging.getLogger(__name__)


class VideoSwapper(AbstractContextManager["VideoSwapper"]):
    """Swaps facial parts in videos and pictures as one preset says.

    Holds the networks from construction to `close`; use it as a context manager. One swapper serves
    one call at a time: a call while another one runs, in whatever thread, and a call after `close`
    raise `FapVideoError`.
    """

    def __init__(
        self,
        preset: RunPreset,
        device: str = "auto",
        *,
        painter: Painter | None = None,
        shelf: Shelf | None = None,
    ) -> None:
        """Load the preset's bundle onto `device`: `auto`, `cpu`, `cuda`, `cuda:1`, `mps`.

        With `painter` that one paints, and no bundle is loaded. `shelf` is for `with_preset`.

        Raises:
            DeviceError: no such device here.
            WeightsError: the bundle is missing or damaged.
        """
        self._bench = Workbench(preset, device, painter, shelf)
        self.preset, self.device = preset, self._bench.device

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

    def with_preset(
        self, name_or_path: str | Path | RunPreset, *, overrides: Mapping[str, Any] | None = None
    ) -> Self:
        """Return a swapper for another preset; where the bundle is the same its networks are, too.

        Both are closed, in any order; networks go with the last that uses them. Swappers that share
        networks serve one call at a time between them.

        Raises:
            FapVideoError: this one is closed; or as `from_preset`.
        """
        self._bench.check_open()
        preset = load_preset(name_or_path, overrides or {})
        return type(self)(preset, str(self.device), shelf=self._bench.shelf)

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()

    def close(self) -> None:
        """Leave the networks as they were and forget the references; a stream ends with an error.

        Raises:
            FapVideoError: another call is running.
        """
        self._bench.close()

    # -------------------------------------------------------------------------- references

    def encode_reference(self, references: References) -> tuple[Reference, ...]:
        """Read, check and encode reference images: part -> paths, pixels. Cached on disk.

        What it returns may be given wherever references are asked for.

        Raises:
            PresetError: unknown part.
            ReferenceImageError: an image without a usable face.
        """
        with self._bench.in_use():
            asked, config = asked_references(references, self.preset), self.preset.reference
            loaded, warnings = self._bench.reader.references(asked, self._bench.painter, config)
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
        resume: bool = True,
        keep_work: bool = False,
        layers: str | Path | None = None,
        plan: str | Path | None = None,
        progress: OnProgress | None = None,
        cancel: ShouldStop | None = None,
    ) -> RunReport:
        """Swap a video; a file appears only when it is whole.

        Args:
            input: any video FFmpeg reads, never touched; a source of frames; an open clip, which
                is not followed again.
            output: `.mp4`, `.mov`, `.mkv` or a sink; by default `<stem>.swapped<suffix>` beside it.
            references: part -> images, instead of the preset's.
            people: who gets what (docs/casting.md), instead of the preset's, or an open clip's.
            overwrite: replace an existing output.
            require_face: raise where the video shows no face.
            resume: go on with what an equal run has left that was stopped.
            keep_work: leave the folder of the work, `.<output's name>.fapvideo` (docs/jobs.md).
            layers: a folder for `[layers]`; without `output` there is nothing else.
            plan: folder of a kept plan (of `open`, `plan`): of the same clip, it says who is where.
            progress: called from this thread.
            cancel: asked between batches; true stops the run.

        Returns the report. Where the output is a file, it is also written as
        `<output>.report.json`, and what became of every face as `<output>.tracks.jsonl`.

        Raises:
            FapVideoError: one of its kinds, see `errors.py`.
        """
        ticker = Ticker(progress, cancel)
        with self._bench.in_use():
            source, casting, known = self._given(input, references, people)
            engine, place = self._bench.engine(), None if layers is None else Path(layers)
            alone = place is not None and output is None
            if isinstance(output, str | Path | None):
                path = default_output(source.info.path) if output is None else Path(output)
                if isinstance(source, VideoReader) and engine.painter.bundle is not None:
                    wishes = Wishes(overwrite, require_face, resume, keep_work, place)
                    steps = StepsHere(engine, source, casting, ticker, known, plan)
                    return from_file_to_file(steps, source, None if alone else path, ticker, wishes)
                output = NOWHERE if alone else path
            seal, video = Seal(self.preset, source.info), self.preset.video
            sink = open_sink(output, source.info, video, overwrite=overwrite, seal=seal)
            wish = None if place is None else LayersWish(place, alone, overwrite)
            return through(engine, source, casting, sink, ticker, seal, known, require_face, wish)

    def _given(
        self,
        input: str | Path | Source | Clip,
        references: References | None,
        people: Sequence[Person] | None,
    ) -> tuple[Source, Casting, Plan | None]:
        """Return the frames, what gives the cast, and the plan if there is one."""
        if isinstance(input, Clip):
            return input.source, lambda: (input.cast, ()), input.plan
        source = open_source(input, self.preset.video)
        return source, partial(self._bench.cast, references, people), None

    def plan(
        self,
        input: str | Path,
        folder: str | Path,
        references: References | None = None,
        *,
        people: Sequence[Person] | None = None,
        container: str = "",
        progress: OnProgress | None = None,
        cancel: ShouldStop | None = None,
    ) -> tuple[Segment, ...]:
        """Do the first pass of a run into a job's folder; return the segments that are to be done.

        `segment` does those, here or on other machines, `fapvideo.join_job` puts them together
        (docs/jobs.md).

        Args:
            input: any video FFmpeg reads.
            folder: of the job; made if need be. An equal job in it is kept.
            references: part -> images, instead of the preset's.
            people: who gets what, instead of the preset's.
            container: suffix of the output; by default one that goes with the input.
            progress: called from this thread.
            cancel: asked between batches; true stops.

        Raises:
            FapVideoError: one of its kinds.
        """
        ticker = Ticker(progress, cancel)
        with self._bench.in_use():
            source = VideoReader(probe(Path(input)), self.preset.video)
            suffix = container or default_output(source.info.path).suffix
            casting = partial(self._bench.cast, references, people)
            return plan_job(self._bench.engine(), source, casting, Path(folder), suffix, ticker)

    def segment(
        self,
        folder: str | Path,
        index: int,
        *,
        input: str | Path | None = None,
        progress: OnProgress | None = None,
        cancel: ShouldStop | None = None,
    ) -> bool:
        """Paint a segment of a job that was planned with this preset; return whether it was to do.

        Args:
            folder: of `plan`.
            index: of the segment, from 0.
            input: the video, where it lies elsewhere than where it was planned.
            progress: called from this thread.
            cancel: asked between batches; true stops.

        Raises:
            FapVideoError: one of its kinds; in particular, other pixels would come out here.
        """
        ticker, other = Ticker(progress, cancel), Path(input) if input else None
        with self._bench.in_use():
            return paint_segment(self._bench.engine(), Path(folder), index, other, ticker)

    def stream(
        self,
        input: str | Path | Source,
        references: References | None = None,
        *,
        people: Sequence[Person] | None = None,
        layers: bool = False,
    ) -> Iterator[FrameBatch]:
        """Yield batches of swapped frames, in order, without writing a file.

        The swapper is busy until the last one is taken, or the iterator is closed. With `layers`
        they are `fapvideo.layers.frame.LayeredBatch`es, with what was painted as layers.

        Raises:
            VideoReadError, ReferenceImageError, DeviceError.
        """
        self._bench.check_open()
        return self._stream(input, partial(self._bench.cast, references, people), layers)

    def _stream(
        self, input: str | Path | Source, casting: Casting, layers: bool
    ) -> Iterator[FrameBatch]:
        with self._bench.in_use(), scratch_folder() as scratch:
            engine = self._bench.engine()
            source = open_source(input, self.preset.video)
            plan = engine.plan(source, casting()[0], scratch)
            for batch, swapped in engine.swap(source, plan, record=layers):
                done = finished(source, batch, swapped.frames)
                yield layered(done, batch, swapped, source.info, plan) if layers else done
                self._bench.check_open()

    def session(
        self,
        info: VideoInfo,
        lookahead_s: float = 0.5,
        references: References | None = None,
        *,
        people: Sequence[Person] | None = None,
    ) -> Session:
        """Return what swaps a stream while it comes: `push`, and `flush` at its end.

        Args:
            info: `fapvideo.stream_info(...)`.
            lookahead_s: seconds between the newest frame and one that comes out.
            references: part -> images, instead of the preset's.
            people: who gets what, instead of the preset's.

        Raises:
            FapVideoError: one of its kinds.
        """
        with self._bench.in_use():
            cast = self._bench.cast(references, people)
            return Session(self._bench.engine(), cast, info, lookahead_s, self._bench.in_use)

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
        with self._bench.in_use():
            cast = partial(self._bench.cast, references, people)
            return one_picture(self._bench.engine(), rgb, cast)

    def open(
        self,
        input: str | Path | Source | Clip,
        references: References | None = None,
        *,
        people: Sequence[Person] | None = None,
        folder: str | Path | None = None,
        progress: OnProgress | None = None,
        cancel: ShouldStop | None = None,
    ) -> Clip:
        """Follow the faces of a clip once; return it with its plan, for stills and strips.

        With `folder` the plan is written there, and found again as long as clip, preset, references
        and version are the same. A clip that another swapper has open is not followed again; that
        one has to stay open.

        Raises:
            VideoReadError: the video cannot be read, or the plan in `folder` is damaged.
        """
        kept = Path(folder) if folder else None
        with self._bench.in_use():
            cast = self._bench.cast(references, people)[0]
            if isinstance(input, Clip):
                source, plan, scratch = input.source, input.plan, None
            else:
                source, ticker = open_source(input, self.preset.video), Ticker(progress, cancel)
                plan, scratch = planned(self._bench.engine(), source, cast, kept, ticker)
        return Clip(
            source, plan, cast, partial(self._bench.changed, given=(references, people)), scratch
        )

    def inspect(self, input: str | Path, *, sheet: str | Path | None = None) -> dict[str, Any]:
        """Return what the first pass sees as plain JSON types; show everybody in the PNG `sheet`.

        Raises:
            VideoReadError, VideoWriteError: the video cannot be read, or the sheet be written.
        """
        with self._bench.in_use(), scratch_folder() as scratch:
            source = open_source(input, self.preset.video)
            nobody = self._bench.reader.bystanders(self.preset)
            plan = self._bench.engine().plan(source, nobody, scratch, any_cast=True)
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
        with self._bench.in_use():
            reader = VideoReader(probe(Path(input)), self.preset.video)
            casting = partial(self._bench.cast, references, people)
            return contact_sheet(self._bench.engine(), reader, casting, times_s)
