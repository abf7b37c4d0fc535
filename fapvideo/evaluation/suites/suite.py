"""Systems side by side on the same clips and photos.

Outputs and measurements are kept in a work folder under a hash of what they were made from (input,
preset, weights, this package's code), so a second call measures only what is new, and one that was
stopped goes on.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from fapvideo.config.evaluation import EvalPreset
from fapvideo.config.schema import RunPreset
from fapvideo.errors import Cancelled
from fapvideo.evaluation.measure import Measurement, Stretch, Suspect
from fapvideo.evaluation.metrics.groups import Known, Networks, measure_all
from fapvideo.evaluation.suites.kept import (
    NOT_MAKING,
    NOT_MEASURING,
    WorkFolder,
    code_version,
    digest,
)
from fapvideo.evaluation.suites.material import (
    ClipTask,
    aligned_references,
    clip_task,
    references_of,
)
from fapvideo.evaluation.suites.photos import PhotoPairs, photo_pairs, picture_path
from fapvideo.evaluation.suites.systems import Outside, System, bundle_identity
from fapvideo.evaluation.views import Clip, Material
from fapvideo.ops.files import sha256_file, write_atomically
from fapvideo.progress import OnProgress, Progress, ShouldStop
from fapvideo.reference.images import read_image
from fapvideo.training.faces.sets import fetch, sets_folder

PAIRS = "pairs"
"""Name of the photo pairs among the clips."""


@dataclass(frozen=True, slots=True)
class Hooks:
    """Who wants to know, and who may stop it."""

    progress: OnProgress = lambda now: None
    """`prepare`, `swap`, `measure`: frames and pictures over all systems; notes clip and system."""
    stop: ShouldStop = lambda: False


@dataclass(frozen=True, slots=True)
class SuiteResult:
    """Everything that was measured."""

    measurements: tuple[Measurement, ...]
    notes: tuple[str, ...]
    """What is missing, and why."""
    clips: tuple[ClipTask, ...]
    photos: PhotoPairs | None
    scratch: Path
    opened: dict[str, Clip]
    """The clips that have been followed."""

    def materials(self) -> dict[str, Material]:
        """Return what was measured on, by name; follows clips whose measurements were kept."""
        found: dict[str, Material] = {
            task.name: _followed(task, self.scratch, self.opened) for task in self.clips
        }
        return found if self.photos is None else {**found, PAIRS: self.photos}


def run_suite(
    preset: EvalPreset,
    systems: Sequence[System | Outside],
    work: Path,
    scratch: Path,
    hooks: Hooks | None = None,
) -> SuiteResult:
    """Run every system on every clip and pair, and measure what comes out.

    What is kept lies in `work`, made if it is not there; landmarks in `scratch`, an existing folder
    that is needed as long as the result is used. Systems are closed one after the other.

    Raises:
        FapVideoError: whatever a clip or a system raises.
        Cancelled: `hooks.stop` said so; what is finished stays.
    """
    return _Run(preset, systems, work, scratch, hooks or Hooks()).run()


def _followed(task: ClipTask, scratch: Path, opened: dict[str, Clip]) -> Clip:
    """Return a clip whose faces have been followed, once: it is kept in `opened`."""
    if task.name not in opened:
        folder = scratch / task.name
        folder.mkdir(exist_ok=True)
        # Who gets the own parts is no nearer to the reference than before.
        references = {} if task.itself else aligned_references(task.preset)
        opened[task.name] = Clip.open(task.path, task.preset, task.parts, folder, references)
    return opened[task.name]


@dataclass(frozen=True, slots=True)
class _Output:
    """What one system made of one clip."""

    path: Path
    key: str
    extra: Mapping[str, Any]


class _Run:
    """One call of `run_suite`."""

    def __init__(
        self,
        preset: EvalPreset,
        systems: Sequence[System | Outside],
        work: Path,
        scratch: Path,
        hooks: Hooks,
    ) -> None:
        self._preset, self._systems, self._hooks = preset, systems, hooks
        self._work, self._scratch = WorkFolder(work), scratch
        self._clips: dict[str, Clip] = {}
        self._notes: list[str] = []
        self._outputs: dict[tuple[str, str], _Output] = {}
        self._stage, self._done, self._total = "prepare", 0, 0

    def run(self) -> SuiteResult:
        """Prepare, swap, measure."""
        clips, pairs = self._prepare()
        self._networks = Networks.load(self._preset.inception)
        frames = sum(clip.frames for clip in clips) + (pairs.frames if pairs else 0)
        self._begin("swap", frames * len(self._systems))
        for system in self._systems:
            try:
                for clip in clips:
                    self._make(system, clip, only=len(clips) == 1)
                if pairs is not None:
                    self._make_pictures(system, pairs)
            finally:
                if not isinstance(system, Outside):
                    system.close()
        self._begin("measure", frames * len(self._systems))
        found = [item for clip in clips for item in self._measure_clip(clip)]
        if pairs is not None:
            found += self._measure(PAIRS, pairs.frames, [pairs.key], lambda: pairs, None)
        made = tuple(found), tuple(self._notes), tuple(clips)
        return SuiteResult(*made, pairs, self._scratch, self._clips)

    # ------------------------------------------------------------------------------ prepare

    def _prepare(self) -> tuple[list[ClipTask], PhotoPairs | None]:
        """Bring all clips and photos into the work folder."""
        config, stop = self._preset, self._hooks.stop
        folder = self._work.folder("clips")
        self._begin("prepare", len(config.clips) + bool(config.pairs.count))
        for needed in config.fetch:
            self._tick(0, needed)
            fetch(needed, sets_folder())
        clips = []
        for clip in config.clips:
            self._tick(0, clip.name)
            clips.append(clip_task(clip, folder, stop))
            self._tick(1, clip.name)
        pairs = None
        if config.pairs.count:
            self._tick(0, PAIRS)
            pairs = photo_pairs(config.pairs, stop)
            self._tick(1, PAIRS)
        tasks = {
            "clips": {clip.name: _as_text(clip.path, references_of(clip.preset)) for clip in clips},
            PAIRS: [
                _as_text(pair.target, pair.references) for pair in (pairs.chosen if pairs else ())
            ],
        }
        self._work.write_json(self._work.root / "tasks.json", tasks)
        return clips, pairs

    # --------------------------------------------------------------------------------- swap

    def _make(self, system: System | Outside, clip: ClipTask, *, only: bool) -> None:
        """Let a system swap one clip, unless it has done so before."""
        if isinstance(system, Outside):
            given = system.result(clip.name, only=only)
            if given is None:
                self._notes.append(f"{system.name}: no result for {clip.name} in {system.path}")
            else:
                self._outputs[clip.name, system.name] = _Output(given, sha256_file(given), {})
            self._tick(clip.frames)
            return
        key = _making_key(system, clip.preset, clip.key, references_of(clip.preset))
        folder = self._work.folder("outputs", clip.name, system.name)
        path, record = folder / f"{key}.mkv", folder / f"{key}.json"
        if not (path.is_file() and record.is_file()):
            self._work.empty(folder)
            tell = self._teller(f"{clip.name}, {system.name}")
            made = system.video(clip.path, path, clip.preset, tell, self._hooks.stop)
            self._work.write_json(record, dict(made))
        extra = json.loads(record.read_text("utf-8"))
        self._outputs[clip.name, system.name] = _Output(path, key, extra)
        self._tick(clip.frames)

    def _make_pictures(self, system: System | Outside, pairs: PhotoPairs) -> None:
        """Let a system swap all photo pairs, as far as it has not done so before."""
        if isinstance(system, Outside):
            folder = system.pictures()
            if folder is None:
                self._notes.append(f"{system.name}: no results for photo pairs in {system.path}")
            else:
                files = [picture_path(folder, index) for index in range(pairs.frames)]
                key = digest([sha256_file(path) for path in files if path.is_file()])
                self._outputs[PAIRS, system.name] = _Output(folder, key, {})
            self._tick(pairs.frames)
            return
        key = _making_key(system, pairs.preset, pairs.key, {})
        parent = self._work.folder("outputs", PAIRS, system.name)
        folder = parent / key
        if not folder.is_dir():
            self._work.empty(parent)
            folder.mkdir()
        started = time.process_time()
        for index, pair in enumerate(pairs.chosen):
            path = picture_path(folder, index)
            if not path.is_file():
                if self._hooks.stop():
                    raise Cancelled("stopped; the same command goes on")
                made = system.picture(read_image(pair.target)[0], pair.references, pairs.preset)
                with write_atomically(path) as fresh:
                    Image.fromarray(made).save(fresh, "PNG", compress_level=1)
            self._tick(1, f"{PAIRS}, {system.name}")
        record = parent / f"{key}.json"
        if not record.is_file():
            self._work.write_json(record, {"cpu_s": round(time.process_time() - started, 2)})
        extra = json.loads(record.read_text("utf-8"))
        self._outputs[PAIRS, system.name] = _Output(folder, key, extra)

    # ------------------------------------------------------------------------------ measure

    def _measure_clip(self, clip: ClipTask) -> Iterator[Measurement]:
        """Measure every system's result of one clip; the clip is followed only if it must be."""
        known = Known(None if clip.truth is None else np.load(clip.truth), clip.itself)
        made_of = [clip.key, clip.itself, clip.preset.model_dump(mode="json")]
        followed = partial(_followed, clip, self._scratch, self._clips)
        return self._measure(clip.name, clip.frames, made_of, followed, known)

    def _measure(
        self,
        name: str,
        frames: int,
        made_of: Sequence[Any],
        material: Callable[[], Material],
        known: Known | None,
    ) -> Iterator[Measurement]:
        """Measure every system's result of one clip or of the pairs, or find what was kept."""
        for system in self._systems:
            output = self._outputs.get((name, system.name))
            if output is None:
                self._tick(frames)
                continue
            key = digest(code_version(NOT_MEASURING), self._networks.names, made_of, output.key)
            record = self._work.folder("measurements", name, system.name) / f"{key}.json"
            if record.is_file():
                self._tick(frames)
                yield _read_measurement(record, output)
                continue
            base = self._done
            found = measure_all(
                material(),
                output.path,
                self._networks,
                known,
                system=system.name,
                name=name,
                progress=self._teller(f"{name}, {system.name}"),
                cancel=self._hooks.stop,
            )
            self._done = base + frames
            self._work.empty(record.parent)
            self._work.write_json(record, asdict(found))
            yield replace(found, extra=output.extra)

    # ------------------------------------------------------------------------------- inside

    def _begin(self, stage: str, total: int) -> None:
        self._stage, self._done, self._total = stage, 0, total
        self._tick(0)

    def _tick(self, count: int, note: str = "") -> None:
        self._show(self._done + count, note)
        self._done += count

    def _teller(self, note: str) -> OnProgress:
        """Return a callback that shows how far one system is in the suite's present stage."""
        base = self._done
        self._show(base, note)

        def tell(now: Progress) -> None:
            if now.stage == self._stage:
                self._show(base + now.done, note)

        return tell

    def _show(self, done: int, note: str) -> None:
        self._hooks.progress(Progress(self._stage, done, self._total, note=note))
        if self._hooks.stop():
            raise Cancelled("stopped; the same command goes on where it was")


def _read_measurement(record: Path, output: _Output) -> Measurement:
    """Return a measurement that was kept."""
    tables = json.loads(record.read_text("utf-8"))
    tables["suspects"] = tuple(Suspect(**suspect) for suspect in tables["suspects"])
    tables["stretches"] = tuple(Stretch(**one) for one in tables["stretches"])
    tables |= {"parts": tuple(tables["parts"]), "result": str(output.path), "extra": output.extra}
    return Measurement(**tables)


def _making_key(
    system: System, preset: RunPreset, material: str, references: Mapping[str, Sequence[Path]]
) -> str:
    """Return a hash of everything that decides what a system makes."""
    photos = [sha256_file(path) for given in references.values() for path in given]
    weights = bundle_identity(preset.bundle)
    wanted = preset.model_dump(mode="json")
    return digest(
        code_version(NOT_MAKING), system.name, system.identity, wanted, weights, photos, material
    )


def _as_text(source: Path, references: Mapping[str, Sequence[Path]]) -> dict[str, Any]:
    texts = {part: [str(path) for path in given] for part, given in references.items()}
    return {"source": str(source), "references": texts}
