"""Clips of a suite: found, cut to length or animated, and kept without loss in a work folder.

Everything is made once and found again by name; the name holds a hash of what it was made from.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fapvideo.config.evaluation import ClipConfig
from fapvideo.config.presets import load_preset
from fapvideo.config.schema import ReferenceConfig, RunPreset, VideoConfig
from fapvideo.errors import PresetError
from fapvideo.evaluation.suites.kept import digest
from fapvideo.ops.files import sha256_file, write_atomically
from fapvideo.progress import ShouldStop, Ticker
from fapvideo.reference.images import AlignedFace, align, read_image
from fapvideo.structs import Bytes
from fapvideo.synth.portrait import AnimatedPortrait
from fapvideo.track.finder import FaceFinder
from fapvideo.track.older import OlderMesh
from fapvideo.training.faces.sets import fetch, sets_folder
from fapvideo.video.pictures import write_pictures
from fapvideo.video.probe import probe
from fapvideo.video.reader import VideoReader
from fapvideo.video.writer import VideoWriter

PORTRAIT_FPS = 25
BATCH = 16


@dataclass(frozen=True, slots=True)
class ClipTask:
    """One clip, ready: what to swap in which file."""

    name: str
    path: Path
    """A lossless `.mkv` that holds the stretch and nothing else."""
    key: str
    """Changes with whatever it was made from."""
    frames: int
    preset: RunPreset
    """References and all; its video is the whole file, written without loss."""
    truth: Path | None = None
    """[T, 478, 3] true landmarks (`.npy`), where the clip was animated."""
    itself: bool = False
    """Whether the references are the speaker's own photo."""

    @property
    def parts(self) -> tuple[str, ...]:
        """What is swapped."""
        return tuple(self.preset.references)


def clip_task(config: ClipConfig, folder: Path, cancel: ShouldStop = lambda: False) -> ClipTask:
    """Find, cut or animate one clip; write it to `folder` unless it is there.

    Raises:
        PresetError: its preset is wrong, has no references, or the set has no such member.
        WeightsError: its set cannot be fetched.
        VideoReadError, ReferenceImageError: its source cannot be used.
        Cancelled: `cancel` said so; nothing half-made stays.
    """
    preset = _clip_preset(config)
    source = _source_of(config)
    stretch = [config.start_s, config.end_s]
    made_of = [config.side, config.seconds] if config.portrait else stretch
    key = digest(sha256_file(source), made_of, bool(config.portrait))
    path = folder / f"{config.name}-{key}.mkv"
    truth = path.with_suffix(".npy") if config.portrait else None
    if not path.is_file() or (truth is not None and not truth.is_file()):
        for old in folder.glob(f"{config.name}-*.*"):
            old.unlink()
        if truth is not None:
            _animate(source, path, truth, config, cancel)
        else:
            _cut(source, path, VideoConfig(start_s=config.start_s, end_s=config.end_s), cancel)
    info = probe(path)
    frames = info.frames or round(info.duration_s * float(info.frame_rate))
    return ClipTask(config.name, path, key, frames, preset, truth, config.itself)


def _clip_preset(config: ClipConfig) -> RunPreset:
    changes: dict[str, Any] = dict(config.settings)
    changes |= {f"references.{part}": list(paths) for part, paths in config.references.items()}
    preset = lossless(load_preset(config.preset, changes))
    if config.references:
        chosen = {part: preset.references[part] for part in config.references}
        preset = preset.model_copy(update={"references": chosen})
    if not preset.references:
        raise PresetError(
            f"clip {config.name}: preset {config.preset} names no reference images",
            hint='give the clip references = {eyes = "her.png"}',
        )
    return preset


def lossless(preset: RunPreset) -> RunPreset:
    """Return a preset that reads the whole file and writes FFV1."""
    video = preset.video.model_copy(update={"codec": "ffv1", "start_s": 0.0, "end_s": None})
    return preset.model_copy(update={"video": video})


def _source_of(config: ClipConfig) -> Path:
    """Return the file that a clip is made from."""
    if not config.set:
        return Path(config.path or config.portrait)
    files = fetch(config.set, sets_folder())
    found = fnmatch.filter([path.name for path in files], config.member)
    if not found:
        names = ", ".join(path.name for path in files[:5])
        raise PresetError(
            f"clip {config.name}: set {config.set} has no {config.member}", hint=f"it has {names}"
        )
    return files[0].parent / found[0]


def _cut(source: Path, target: Path, config: VideoConfig, cancel: ShouldStop) -> None:
    """Write a stretch of a video without loss."""
    info, ticker = probe(source), Ticker(None, cancel)
    reader = VideoReader(info, config)
    writing = config.model_copy(update={"codec": "ffv1"})
    with VideoWriter(target, info, writing, overwrite=True) as writer:
        for batch in reader.batches(BATCH):
            writer.write(batch)
            ticker.advance(len(batch))


def _animate(
    photo: Path, target: Path, truth: Path, config: ClipConfig, cancel: ShouldStop
) -> None:
    """Write a talking portrait without loss, and its landmarks."""
    portrait = AnimatedPortrait(read_image(photo)[0], (config.side, config.side))
    ticker, shapes = Ticker(None, cancel), []

    def pictures() -> Iterator[Bytes]:
        for index in range(round(config.seconds * PORTRAIT_FPS)):
            rgb, landmarks = portrait.render(index / PORTRAIT_FPS)
            shapes.append(landmarks)
            ticker.advance(1)
            yield rgb

    write_pictures(target, pictures(), PORTRAIT_FPS)
    with write_atomically(truth) as fresh:
        np.save(fresh, np.stack(shapes).astype(np.float32))


def references_of(preset: RunPreset) -> dict[str, list[Path]]:
    """Return a preset's reference images, part -> paths."""
    return {part: [Path(s.path) for s in given] for part, given in preset.references.items()}


def aligned_references(preset: RunPreset) -> dict[str, tuple[AlignedFace, ...]]:
    """Return the references of a preset, read and aligned.

    Raises:
        ReferenceImageError: one of them cannot be used.
    """
    return aligned(references_of(preset), FaceFinder(mesh=OlderMesh()), preset.reference)


def aligned(
    references: Mapping[str, Sequence[Path]], finder: FaceFinder, config: ReferenceConfig
) -> dict[str, tuple[AlignedFace, ...]]:
    """Return references, part -> photos, read and aligned; each file once."""
    paths = {path for given in references.values() for path in given}
    faces = {path: align(path, finder, config) for path in sorted(paths)}
    return {part: tuple(faces[path] for path in given) for part, given in references.items()}
