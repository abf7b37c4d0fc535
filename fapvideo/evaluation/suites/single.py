"""Measuring one result, whoever made it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from fapvideo.config.problems import validate
from fapvideo.config.schema import RunPreset
from fapvideo.errors import PresetError, ReferenceImageError
from fapvideo.evaluation.measure import Measurement, Stretch
from fapvideo.evaluation.metrics.groups import Networks, measure_all
from fapvideo.evaluation.suites.material import aligned_references
from fapvideo.evaluation.views import Clip
from fapvideo.progress import OnProgress, ShouldStop, clock
from fapvideo.reference.images import AlignedFace
from fapvideo.run.report import report_path
from fapvideo.structs import REASONS

MOST_TOLD = 40
"""Stretches that a page lists; the run's report has them all."""


@dataclass(frozen=True, slots=True)
class Made:
    """How a result was made, as far as it is known."""

    source: Path
    preset: RunPreset
    """Parts and references, stretch of time, `[track]` and `[mask]`."""
    extra: Mapping[str, Any] = field(default_factory=dict)
    """Timings and counts of the run."""
    stretches: Sequence[Stretch] = ()
    """Those of the run's `frame_log` in which a face was not plainly swapped."""

    @property
    def fell_back(self) -> tuple[str, ...]:
        """The same in words, the first of them."""
        rest = len(self.stretches) - MOST_TOLD
        more = f"and {rest} more stretches that were not plainly swapped"
        told = tuple(stretch.words for stretch in self.stretches[:MOST_TOLD])
        return (*told, more) if rest > 0 else told


def read_made(result: Path) -> Made | None:
    """Return what `RESULT.report.json` says; None where there is none.

    Raises:
        PresetError: it is damaged, or of another version.
    """
    path = report_path(result)
    if not path.is_file():
        return None
    try:
        report = json.loads(path.read_text("utf-8"))
        source, used = Path(report["input"]["path"]), report["references"]
        given: dict[str, list[dict[str, str]]] = {item["part"]: [] for item in used}
        for item in used:
            given[item["part"]].append({"path": item["path"]})
        tables = {**report["preset"], "references": given}
        extra = {**report["timings"], "frames": report["frames"]}
        stretches = tuple(_stretch(span) for span in report.get("frame_log", ()) if _caused(span))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise PresetError(
            f"{path} is no report of a run: {error!r}", hint="remove it, and give --preset"
        ) from None
    preset, problems = validate(RunPreset, tables)
    if preset is None:
        raise PresetError(f"{path}: {problems[0]}", hint="remove it, and give --preset")
    return Made(source, preset, extra, stretches)


def _caused(span: Mapping[str, Any]) -> bool:
    """Tell whether a stretch has a reason of its own, and the face was asked for."""
    return span["reason"] not in ("beside", "not_cast")


def _stretch(span: Mapping[str, Any]) -> Stretch:
    """Return it with words: `0:01.20-0:01.36, track 1: left, turned too far to the side`."""
    start_s, end_s = float(span["start_s"]), float(span["end_s"])
    why = REASONS.get(span["reason"], span["reason"])
    words = f"{clock(start_s)}-{clock(end_s)}, track {span['track']}: {span['state']}, {why}"
    return Stretch(start_s, end_s, words)


def measure_result(
    result: Path,
    made: Made,
    scratch: Path,
    *,
    progress: OnProgress = lambda now: None,
    cancel: ShouldStop = lambda: False,
) -> tuple[Measurement, Clip]:
    """Follow the source, then compare the result with it.

    Args:
        result: the video.
        made: how it was made; without references what depends on them is left out.
        scratch: a folder that stays as long as the clip is used.
        progress: told of every frame that is measured.
        cancel: asked after every frame.

    Raises:
        VideoReadError: one of the two cannot be read.
        NoFaceFound: the source shows none.
        Cancelled: `cancel` said so.
    """
    references, notes = _references(made.preset)
    parts = tuple(made.preset.references)
    clip = Clip.open(made.source, made.preset, parts, scratch, references)
    found = measure_all(clip, result, Networks.load(), progress=progress, cancel=cancel)
    told = (*made.fell_back, *found.notes, *notes)
    return replace(found, extra=made.extra, notes=told, stretches=made.stretches), clip


def _references(preset: RunPreset) -> tuple[Mapping[str, Sequence[AlignedFace]], Sequence[str]]:
    """Return the references that can still be read, and a note if they cannot."""
    if preset.people:
        return {}, ("similarity was not measured: people have references of their own",)
    try:
        return aligned_references(preset), ()
    except ReferenceImageError as error:
        return {}, (f"similarity was not measured: {error}",)
