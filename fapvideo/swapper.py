"""`VideoSwapper`: load the models once, swap many videos."""

from __future__ import annotations

import json
import logging
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import torch

from fapvideo.config.presets import load_preset
from fapvideo.config.schema import PARTS, RunPreset
from fapvideo.denoise.denoiser import Denoiser
from fapvideo.errors import DeviceError, NoFaceFound, PresetError
from fapvideo.ops.precision import resolve_dtype
from fapvideo.ops.prefetch import prefetch
from fapvideo.pipeline import Pipeline, SwappedBatch
from fapvideo.plan.follow import Analysis, BoxFinder, analyse
from fapvideo.plan.references import LoadedReference, load_references
from fapvideo.progress import OnProgress, ShouldStop, Stopwatch, Ticker
from fapvideo.run.preview import join_columns, sheet_column, shown_frame
from fapvideo.run.report import Counts, face_warnings, inspection, make_report, write_report
from fapvideo.run.still import as_clip, as_picture
from fapvideo.structs import (
    Bytes,
    FrameBatch,
    Reference,
    RunReport,
    VideoInfo,
)
from fapvideo.video.probe import probe
from fapvideo.video.reader import VideoReader
from fapvideo.video.writer import VideoWriter
from fapvideo.weights.bundle import load_bundle

log = logging.getLogger(__name__)

References = Mapping[str, Sequence[str | Path]]

PREVIEW_MARGIN_S = 1.0


class VideoSwapper:
    """Swaps facial parts in videos and pictures as one preset says.

    Holds the networks from construction to `close`; use it as a context manager. Not thread-safe:
    one swapper serves one thread at a time.
    """

    def __init__(self, preset: RunPreset, device: str = "auto") -> None:
        """Load the preset's bundle onto `device`: `auto`, `cpu`, `cuda`, `cuda:1`, `mps`.

        Raises:
            DeviceError: no such device here.
            WeightsError: the bundle is missing or damaged.
        """
        self.preset = preset
        self.device = resolve_device(device)
        dtype = resolve_dtype(preset.denoise.precision, self.device)
        self._bundle = load_bundle(preset.bundle, self.device, dtype, options=preset.denoise)
        self._denoiser = Denoiser(self._bundle, preset.denoise, preset.fuse)
        self._boxes = BoxFinder(preset, self.device)
        self._loaded: dict[str, tuple[tuple[LoadedReference, ...], tuple[str, ...]]] = {}

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
        """Leave the networks as they were and forget the references."""
        self._denoiser.close()
        self._boxes.close()
        self._loaded.clear()

    # -------------------------------------------------------------------------- references

    def encode_reference(self, references: References) -> tuple[Reference, ...]:
        """Read, check and encode reference images: part -> paths. Features are cached on disk.

        Raises:
            PresetError: unknown part.
            ReferenceImageError: an image without a usable face.
        """
        loaded, warnings = self._references(references)
        for text in warnings:
            log.warning(text)
        return tuple(item.reference for item in loaded)

    def _references(
        self, references: References | None
    ) -> tuple[tuple[LoadedReference, ...], tuple[str, ...]]:
        """Return the given references, or the preset's; each set is read once per swapper."""
        wanted: dict[str, list[tuple[str, float]]]
        if references is None:
            given = self.preset.references
            wanted = {part: [(s.path, s.weight) for s in given[part]] for part in given}
        else:
            wanted = {part: [(str(p), 1.0) for p in paths] for part, paths in references.items()}
        unknown = sorted(set(wanted) - set(PARTS))
        if unknown:
            raise PresetError(
                f"unknown part {unknown[0]!r}", hint=f"the parts are {', '.join(PARTS)}"
            )
        if not any(wanted.values()):
            raise PresetError(
                f"preset {self.preset.name!r} names no reference images",
                hint="add --reference eyes=photo.png, or a [references] table",
            )
        key = json.dumps(wanted, sort_keys=True)
        if key in self._loaded:
            return self._loaded[key]
        loaded, warnings = load_references(wanted, self._bundle, self.preset)
        known = tuple(replace(x, reference=replace(x.reference, cached=True)) for x in loaded)
        self._loaded[key] = known, warnings
        return loaded, warnings

    # --------------------------------------------------------------------------------- run

    def run(
        self,
        input: str | Path,
        output: str | Path | None = None,
        references: References | None = None,
        *,
        overwrite: bool = False,
        require_face: bool = False,
        progress: OnProgress | None = None,
        cancel: ShouldStop | None = None,
    ) -> RunReport:
        """Swap a video file; the output appears only when it is whole.

        Args:
            input: any video FFmpeg reads; never touched.
            output: `.mp4`, `.mov` or `.mkv`; by default `<stem>.swapped<suffix>` beside the input.
            references: part -> image paths, instead of the preset's.
            overwrite: replace an existing output.
            require_face: raise where the video shows no face.
            progress: called from this thread.
            cancel: asked between batches; true stops the run.

        Returns the report, also written as `<output>.report.json`.

        Raises:
            FapVideoError: one of its kinds, see `errors.py`.
        """
        started = time.perf_counter()
        source = Path(input)
        target = Path(output) if output is not None else default_output(source)
        watch, ticker, counts = Stopwatch(), Ticker(progress, cancel), Counts()
        info = probe(source)
        reader = VideoReader(info, self.preset.video)
        with tempfile.TemporaryDirectory(prefix="fapvideo-") as scratch:
            with VideoWriter(target, info, self.preset.video, overwrite=overwrite) as writer:
                ticker.begin("references", 0)
                with watch.measure("reference_s"):
                    loaded, warnings = self._references(references)
                analysis = self._analyse(reader, loaded, Path(scratch), watch, ticker)
                if require_face and not analysis.selected:
                    raise NoFaceFound(
                        f"{source}: no face to swap in {analysis.frames} frames",
                        hint="lower track.detect_score, or leave out --require-face",
                    )
                ticker.begin("swap", analysis.frames)
                pipeline = self._pipeline(info, loaded, watch)
                for batch, swapped in self._swapped(pipeline, reader, analysis, watch):
                    counts.add(batch, analysis, swapped.outside_changed)
                    with watch.measure("encode_s"):
                        writer.write(swapped.frames)
                    ticker.advance(len(batch))
                ticker.begin("finish", 0)
            watch.seconds["wall_s"] = time.perf_counter() - started
            warnings += (*writer.warnings, *face_warnings(analysis, reader.damaged))
            bundle, seconds = self._bundle, watch.seconds
            report = make_report(
                info, target, self.preset, bundle, analysis, counts, loaded, seconds, warnings
            )
        write_report(report, target)
        return report

    def _pipeline(
        self, info: VideoInfo, loaded: Sequence[LoadedReference], watch: Stopwatch | None = None
    ) -> Pipeline:
        return Pipeline(info, self.preset, self._bundle, self._denoiser, loaded, watch)

    def stream(
        self, input: str | Path, references: References | None = None
    ) -> Iterator[FrameBatch]:
        """Yield batches of swapped frames, in order, without writing a file.

        Raises:
            VideoReadError, ReferenceImageError, DeviceError.
        """
        info = probe(Path(input))
        reader = VideoReader(info, self.preset.video)
        loaded, _ = self._references(references)
        watch = Stopwatch()
        with tempfile.TemporaryDirectory(prefix="fapvideo-") as scratch:
            analysis = self._analyse(reader, loaded, Path(scratch), watch, Ticker(None, None))
            pipeline = self._pipeline(info, loaded, watch)
            for batch, swapped in self._swapped(pipeline, reader, analysis, watch):
                pictures = [as_picture(frame, info) for frame in swapped.frames]
                yield FrameBatch(swapped.frames, np.stack(pictures), batch.time_base)

    def swap_image(self, rgb: Bytes, references: References | None = None) -> Bytes:
        """Return uint8 [H, W, 3] with the parts of its face(s) swapped.

        Raises:
            NoFaceFound: there is no face in the picture.
        """
        batch, info = as_clip(rgb)
        loaded, _ = self._references(references)
        with tempfile.TemporaryDirectory(prefix="fapvideo-") as scratch:
            analysis = analyse(
                [batch], 1.0, self.preset, loaded, self._bundle.manifest.resolution, Path(scratch)
            )
            if not analysis.selected:
                raise NoFaceFound(
                    f"no face found in the picture of {rgb.shape[1]}x{rgb.shape[0]} pixels",
                    hint="give a picture in which a face is at least 24 pixels wide",
                )
            analysis = self._boxes.find(analysis, [batch], 1.0, loaded, Ticker(None, None))
            swapped = self._pipeline(info, loaded).swap(batch, analysis)
            return as_picture(swapped.frames[0], info)

    # --------------------------------------------------------------------- looking at a clip

    def inspect(self, input: str | Path) -> dict[str, Any]:
        """Return what the first pass sees: streams, faces, tracks, warnings; plain JSON types.

        Raises:
            VideoReadError: the video cannot be read.
        """
        reader = VideoReader(probe(Path(input)), self.preset.video)
        with tempfile.TemporaryDirectory(prefix="fapvideo-") as scratch:
            analysis = self._analyse(reader, (), Path(scratch), Stopwatch(), Ticker(None, None))
            return inspection(reader.info, analysis, reader.damaged)

    def preview(
        self, input: str | Path, times_s: Sequence[float], references: References | None = None
    ) -> Bytes:
        """Return a contact sheet uint8 [H, W, 3]: source, masks, guide, result; a column per time.

        The video is analysed for a second around each time only. `video.reader` says how the frame
        to show is looked up.

        Raises:
            VideoReadError: a time outside the video, or `video.reader` is not installed.
        """
        info = probe(Path(input))
        loaded, warnings = self._references(references)
        for text in warnings:
            log.warning(text)
        columns = []
        for time_s in times_s:
            span = (max(0.0, time_s - PREVIEW_MARGIN_S), time_s + PREVIEW_MARGIN_S)
            config = self.preset.video.model_copy(update={"start_s": span[0], "end_s": span[1]})
            reader = VideoReader(info, config)
            batch = shown_frame(reader, time_s)
            with tempfile.TemporaryDirectory(prefix="fapvideo-") as scratch:
                analysis = self._analyse(
                    reader, loaded, Path(scratch), Stopwatch(), Ticker(None, None)
                )
                for text in analysis.warnings:
                    log.warning(text)
                swapped = self._pipeline(info, loaded).swap(batch, analysis)
                result = as_picture(swapped.frames[0], info)
                columns.append(sheet_column(batch.rgb[0], result, swapped.jobs[0]))
        return join_columns(columns)

    def _analyse(
        self,
        reader: VideoReader,
        loaded: Sequence[LoadedReference],
        scratch: Path,
        watch: Stopwatch,
        ticker: Ticker,
    ) -> Analysis:
        """Run the first pass, and the search for boxes where the preset asks for one."""
        frame_rate = float(reader.info.frame_rate)
        self._boxes.load(loaded)  # now: a long pass must not end in a missing file
        ticker.begin("analyse", _frames_in(reader))
        with watch.measure("track_s"):
            analysis = analyse(
                self._decoded(reader, watch),
                frame_rate,
                self.preset,
                loaded,
                self._bundle.manifest.resolution,
                scratch,
                ticker.advance,
            )
            batches = self._decoded(reader, watch)
            return self._boxes.find(analysis, batches, frame_rate, loaded, ticker)

    def _swapped(
        self, pipeline: Pipeline, reader: VideoReader, analysis: Analysis, watch: Stopwatch
    ) -> Iterator[tuple[FrameBatch, SwappedBatch]]:
        """Swap ahead in a thread, so that encoding overlaps with it."""
        work = ((batch, pipeline.swap(batch, analysis)) for batch in self._decoded(reader, watch))
        return prefetch(work, 1)

    def _decoded(self, reader: VideoReader, watch: Stopwatch) -> Iterator[FrameBatch]:
        """Decode ahead in a thread; time spent waiting for it counts as decoding."""
        batches = prefetch(
            reader.batches(self.preset.denoise.batch_size), self.preset.video.prefetch_batches
        )
        while True:
            with watch.measure("decode_s"):
                batch = next(batches, None)
            if batch is None:
                return
            yield batch


def resolve_device(name: str) -> torch.device:
    """Return the device called `name`; `auto` prefers CUDA, then Apple's, then the CPU.

    Raises:
        DeviceError: it does not exist here.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise DeviceError(
            f"device {name!r} cannot be used: {reason}", hint="use --device auto or --device cpu"
        ) from None
    return device


def default_output(source: Path) -> Path:
    """Return where the output goes if nothing is said: beside the input."""
    return source.with_name(f"{source.stem}.swapped{source.suffix}")


def _frames_in(reader: VideoReader) -> int:
    """Return how many frames will be delivered; 0 where the container does not say."""
    info, config = reader.info, reader.config
    if not info.frames or (config.start_s <= 0 and config.end_s is None):
        return info.frames
    end = info.duration_s if config.end_s is None else min(config.end_s, info.duration_s)
    return max(1, round((end - config.start_s) * float(info.frame_rate)))
