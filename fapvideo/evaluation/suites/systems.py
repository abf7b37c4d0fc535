"""The things that are compared: each makes a video of a video and a picture of a picture.

Videos are written as FFV1 in Matroska, so that a metric sees the system and not the encoder.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from fapvideo.config.evaluation import BASELINES, SYSTEMS
from fapvideo.config.overrides import merge, nest, parse_overrides
from fapvideo.config.problems import did_you_mean, dotted_keys, raise_problems, validate
from fapvideo.config.schema import RunPreset
from fapvideo.errors import NoFaceFound, PresetError, VideoReadError, WeightsError
from fapvideo.ops.files import sha256_file, write_atomically
from fapvideo.paint.painter import Painter
from fapvideo.paint.pasted import PastedPainter
from fapvideo.plan.references import References
from fapvideo.progress import OnProgress, ShouldStop
from fapvideo.run.report import report_path, tracks_path
from fapvideo.structs import Bytes
from fapvideo.swapper import VideoSwapper
from fapvideo.trust.credentials import sidecar_path
from fapvideo.weights.bundle import bundle_folder

VIDEOS = (".mkv", ".mp4", ".mov", ".webm", ".avi")
PICTURES = (".png", ".webp", ".jpg", ".jpeg")
BUILT_IN = ("tiny", "tiny_sd15")
"""Bundles without files, for tests."""
OUTSIDE_PAIRS = "pairs"
"""Folder, in that of an outside tool's results, of its pictures."""


class System(Protocol):
    """One way to swap; holds what it has loaded until `close`."""

    name: str

    @property
    def identity(self) -> str:
        """What decides its output, besides the input, the preset and this package's code."""

    def video(
        self,
        source: Path,
        output: Path,
        preset: RunPreset,
        progress: OnProgress | None = None,
        cancel: ShouldStop | None = None,
    ) -> Mapping[str, Any]:
        """Swap `source` by `preset` into `output` (`.mkv`); return timings."""

    def picture(self, rgb: Bytes, references: References, preset: RunPreset) -> Bytes:
        """Return uint8 [H, W, 3] with its parts swapped; as it was where no face is found."""

    def close(self) -> None:
        """Let go of networks."""


class Swapping:
    """`VideoSwapper`, with some keys of the preset changed, or with another painter."""

    def __init__(
        self,
        name: str,
        overrides: Mapping[str, Any],
        device: str = "auto",
        painter: Callable[[RunPreset], Painter] | None = None,
    ) -> None:
        """Change the preset by `overrides`: tables, as `merge` lays them over it."""
        self.name, self._overrides, self._device = name, overrides, device
        self._painter = painter
        self._swapper: VideoSwapper | None = None

    @property
    def identity(self) -> str:
        """The overrides, the device, and the manifest of a bundle that they name."""
        if self._painter is not None:
            return ""
        parts = [repr(sorted(self._overrides.items())), self._device]
        return " ".join([*parts, bundle_identity(str(self._overrides.get("bundle", "")))])

    def video(
        self,
        source: Path,
        output: Path,
        preset: RunPreset,
        progress: OnProgress | None = None,
        cancel: ShouldStop | None = None,
    ) -> Mapping[str, Any]:
        """Run the pipeline."""
        cpu = time.process_time()
        swapper = self._open(preset)
        report = swapper.run(source, output, overwrite=True, progress=progress, cancel=cancel)
        for path in (report_path(output), tracks_path(output), sidecar_path(output)):
            path.unlink(missing_ok=True)
        return {
            **report.timings,
            "cpu_s": round(time.process_time() - cpu, 2),
            "outside_changed_samples": report.outside_changed_samples,
            "frames": dict(report.frames),
            "peak_rss_bytes": report.peak_rss_bytes,
        }

    def picture(self, rgb: Bytes, references: References, preset: RunPreset) -> Bytes:
        """Run the pipeline on one picture."""
        with suppress(NoFaceFound):
            return self._open(preset).swap_image(rgb, references)
        return rgb

    def close(self) -> None:
        """Close the swapper."""
        if self._swapper is not None:
            self._swapper.close()
            self._swapper = None

    def _open(self, preset: RunPreset) -> VideoSwapper:
        """Return the swapper of a preset; one at a time is kept."""
        wanted = RunPreset.model_validate(merge(preset.model_dump(), self._overrides))
        if self._swapper is None or self._swapper.preset != wanted:
            self.close()
            painter = self._painter(wanted) if self._painter else None
            self._swapper = VideoSwapper(wanted, self._device, painter=painter)
        return self._swapper


class Copying:
    """Does nothing: what a metric of quality alone would call the best of all."""

    name, identity = "noop", ""

    def video(
        self,
        source: Path,
        output: Path,
        preset: RunPreset,
        progress: OnProgress | None = None,
        cancel: ShouldStop | None = None,
    ) -> Mapping[str, Any]:
        """Copy the file."""
        with write_atomically(output) as fresh:
            shutil.copyfile(source, fresh)
        return {}

    def picture(self, rgb: Bytes, references: References, preset: RunPreset) -> Bytes:
        """Return the picture."""
        return rgb

    def close(self) -> None:
        """Nothing is held."""


class Outside:
    """Another tool's results, by path: one video, or a folder with a file for each clip.

    The folder holds `CLIP.mp4` (or another container) and, for photo pairs, `pairs/0000.png`. What
    it was to swap is in the suite's work folder, `tasks.json`.
    """

    def __init__(self, name: str, path: Path) -> None:
        """Take the results at `path`.

        Raises:
            VideoReadError: there is nothing.
        """
        self.name, self.path = name, path
        if not path.exists():
            raise VideoReadError(f"{name}: {path} does not exist")

    def result(self, clip: str, *, only: bool) -> Path | None:
        """Return the result of a clip, None where there is none.

        `only` says that the suite has no other clip: then one video, whatever its name, is it.
        """
        if self.path.is_file():
            return self.path if only or self.path.stem == clip else None
        found = [self.path / f"{clip}{suffix}" for suffix in VIDEOS]
        return next((path for path in found if path.is_file()), None)

    def pictures(self) -> Path | None:
        """Return the folder of its pictures, None where there is none."""
        folder = self.path / OUTSIDE_PAIRS
        return folder if folder.is_dir() else None


def make_system(text: str, device: str = "auto") -> System | Outside:
    """Return the system that `text` names: one of `SYSTEMS`, `bundle=DIR`, a value of the preset
    such as `denoise.steps=4`, or `name=PATH`.

    Raises:
        PresetError: no such system, or the value does not fit its key.
        WeightsError, VideoReadError: the bundle, or the path, is not there.
    """
    name, equals, value = text.partition("=")
    if name == "bundle" and value:
        if value not in BUILT_IN:
            bundle_folder(value)  # now: a long suite must not end in a missing folder
        return Swapping(f"bundle:{Path(value).name}", {"bundle": value}, device)
    if equals and "." in name and name in dotted_keys(RunPreset):
        changed = nest(parse_overrides([text]))
        raise_problems(f"system {text}", validate(RunPreset, changed)[1])
        return Swapping(text, changed, device)
    if equals and name and value and name not in SYSTEMS:
        return Outside(name, Path(value).expanduser())
    if text == "paste":
        return Swapping(text, {}, device, partial(PastedPainter, blend="paste"))
    if text == "poisson":
        return Swapping(text, {}, device, partial(PastedPainter, blend="poisson"))
    if text == "noop":
        return Copying()
    if text == "guide":
        return Swapping("guide", {"denoise": {"mode": "off"}}, device)
    if text == "embedded":
        return Swapping("embedded", {}, device)
    raise PresetError(
        f"unknown system {text!r}{did_you_mean(text, SYSTEMS)}",
        hint=f"one of {', '.join(SYSTEMS)}, bundle=DIR, denoise.steps=4 (or another key of the"
        " preset), or NAME=PATH for results of other tools",
    )


def make_systems(texts: Sequence[str], device: str = "auto") -> tuple[System | Outside, ...]:
    """Return the systems that `texts` name.

    Raises:
        PresetError: no such system, or one name twice.
        WeightsError, VideoReadError: as `make_system`.
    """
    systems = tuple(make_system(text, device) for text in texts)
    names = [system.name for system in systems]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise PresetError(f"system {twice[0]!r} is given twice", hint="names must differ")
    return systems


def judged(names: Sequence[str]) -> tuple[str, ...]:
    """Return the systems that thresholds apply to: baselines only where nothing else was run."""
    own = tuple(name for name in names if name not in BASELINES)
    return own or tuple(names)


def bundle_identity(name_or_folder: str) -> str:
    """Return the hash of a bundle's manifest, which has the hashes of its files; empty without."""
    try:
        return sha256_file(bundle_folder(name_or_folder) / "bundle.toml")
    except (WeightsError, OSError):
        return ""
