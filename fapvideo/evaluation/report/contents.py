"""What the page says about each clip, in words and as data for its script."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fapvideo.evaluation.definitions import SHOWN, SHOWN_UNDER, Better
from fapvideo.evaluation.measure import Measurement, Stretch
from fapvideo.evaluation.report.picks import curve_keys, position_of, worst
from fapvideo.evaluation.report.pictures import (
    FULL_SCALE,
    TICKS,
    VIDEO_SECONDS,
    ClipPictures,
    heat_scale,
)
from fapvideo.evaluation.report.record import Record
from fapvideo.evaluation.report.table import Table, clip_table, title_of
from fapvideo.progress import clock

BETTER: dict[Better, str] = {
    "higher": "higher is better",
    "lower": "lower is better",
    "one": "1 is as good as the source",
}


@dataclass(frozen=True, slots=True)
class SuspectItem:
    """A line of the list of suspects."""

    position: int
    label: str
    system: str
    reason: str
    metric: str


@dataclass(frozen=True, slots=True)
class FilmColumn:
    """One frame of the film strip: the source, then each system."""

    position: int
    label: str
    pictures: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Runs:
    """What the runs said of themselves: a row per quantity, a column per system."""

    systems: tuple[str, ...]
    rows: tuple[tuple[str, tuple[str, ...]], ...]


@dataclass(frozen=True, slots=True)
class Curve:
    """One metric over time, for all systems."""

    key: str
    title: str
    unit: str
    better: str
    values: Mapping[str, Sequence[float | None]]
    source: Sequence[float | None]
    """The source's own, drawn under the others; mostly there is none."""
    worst: Mapping[str, Sequence[int]]
    """System -> positions, the worst first."""
    suspects: Sequence[int]


@dataclass(frozen=True, slots=True)
class ClipContents:
    """One clip's section."""

    id: str
    name: str
    photos: bool
    facts: str
    frames: int
    systems: tuple[str, ...]
    times_s: Sequence[float]
    pictures: ClipPictures
    film: tuple[FilmColumn, ...]
    video_note: str
    curves: tuple[Curve, ...]
    suspects: tuple[SuspectItem, ...]
    table: Table
    runs: Runs | None
    notes: tuple[tuple[str, str], ...]
    """(system, or empty for all of them; what it says)."""
    unmeasured: tuple[str, ...]
    """Titles of metrics that no system has a value of here."""
    stretches: tuple[Stretch, ...]
    """Where a face was not plainly swapped by any of the systems."""

    @property
    def tiles(self) -> tuple[str, ...]:
        """What film strip and video show, in order."""
        return "source", *self.systems

    @property
    def columns(self) -> int:
        """Tiles in a row of the video."""
        return self.pictures.plan.columns if self.pictures.plan else 1


def clip_contents(
    record: Record, name: str, pictures: ClipPictures, against: Mapping[str, Any] | None
) -> ClipContents:
    """Put together what the page says about one clip."""
    items = record.of_clip(name)
    longest = max(items, key=lambda item: item.frames)
    photos = name in record.photos
    suspects = _suspects(items, photos)
    table = clip_table(record, name, against)
    return ClipContents(
        id=f"clip-{record.clips.index(name)}",
        name=name,
        photos=photos,
        facts=_facts(longest, photos),
        frames=longest.frames,
        systems=tuple(item.system for item in items),
        times_s=longest.times_s,
        pictures=pictures,
        film=tuple(
            FilmColumn(position, _label(longest.times_s, position, photos), shots)
            for position, shots in sorted(pictures.film.items())
        ),
        video_note=_video_note(pictures),
        curves=tuple(_curve(record, key, items, suspects) for key in curve_keys(record, name)),
        suspects=suspects,
        table=table,
        runs=_runs(items),
        notes=_notes(items),
        unmeasured=_unmeasured(record, table),
        stretches=tuple(stretch for item in items for stretch in item.stretches),
    )


def payload(record: Record, clips: Iterable[ClipContents]) -> dict[str, Any]:
    """Return what the page's script works on, as plain JSON types."""
    return {
        "colours": {name: place for place, name in enumerate(record.systems)},
        "scale": {"picture": heat_scale(), "full": FULL_SCALE, "ticks": list(TICKS)},
        "clips": [_clip_payload(clip) for clip in clips],
    }


def _clip_payload(clip: ClipContents) -> dict[str, Any]:
    """Return one clip's curves and strips."""
    flagged = clip.suspects[0] if clip.suspects else None
    start = flagged.position if flagged else 0
    if flagged is None and clip.curves:
        start = next((found[0] for found in clip.curves[0].worst.values() if found), 0)
    return {
        "photos": clip.photos,
        "frames": clip.frames,
        "times": [round(time, 4) for time in clip.times_s],
        "systems": list(clip.systems),
        "stretches": [asdict(stretch) for stretch in clip.stretches],
        "start": start,
        "metric": flagged.metric if flagged else "",
        "curves": [
            {
                **asdict(curve),
                "values": {
                    name: [None if value is None else float(f"{value:.4g}") for value in values]
                    for name, values in curve.values.items()
                },
                "source": [
                    None if value is None else float(f"{value:.4g}") for value in curve.source
                ],
            }
            for curve in clip.curves
        ],
        "references": [
            {"labels": list(labels), "picture": picture}
            for labels, picture in clip.pictures.references.items()
        ],
        "strips": {
            str(position): {
                "before": strip.before,
                "faces": strip.faces,
                "reference": strip.reference,
                "shots": {name: asdict(shot) for name, shot in strip.shots.items()},
            }
            for position, strip in clip.pictures.strips.items()
        },
    }


# -------------------------------------------------------------------------------- sentences


def _label(times_s: Sequence[float], position: int, photos: bool) -> str:
    """Return how a frame is called."""
    if photos or position >= len(times_s):
        return f"pair {position}"
    return clock(times_s[position])


def _facts(item: Measurement, photos: bool) -> str:
    """Say in one line what a clip is."""
    words = [f"{item.frames} {'pairs' if photos else 'frames'}"]
    if not photos and len(item.times_s) > 1:
        words[0] += f", {item.times_s[-1] - item.times_s[0]:.1f} s"
    if item.face_frames < item.frames:
        words.append(f"{item.face_frames} with a face")
    if item.parts:
        words.append(f"swapped: {', '.join(item.parts)}")
    return " · ".join([*words, Path(item.source).name])


def _video_note(pictures: ClipPictures) -> str:
    """Say what the video leaves out."""
    plan = pictures.plan
    notes = [f"the first {VIDEO_SECONDS:g} s"] if plan and plan.cut else []
    notes += ["cut to the faces"] if plan and plan.cropped else []
    return f"({', '.join(notes)})" if notes else ""


def _suspects(items: Sequence[Measurement], photos: bool) -> tuple[SuspectItem, ...]:
    """Return the suspects of all systems by time."""
    found = []
    for item in items:
        for suspect in item.suspects:
            position = position_of(suspect, item.times_s) if item.times_s else suspect.index
            frame = "" if photos else f" · frame {position}"
            label = _label(item.times_s, position, photos) + frame
            found.append(SuspectItem(position, label, item.system, suspect.reason, suspect.metric))
    return tuple(sorted(found, key=lambda suspect: suspect.position))


def _curve(
    record: Record, key: str, items: Sequence[Measurement], suspects: Sequence[SuspectItem]
) -> Curve:
    """Return one metric's curves."""
    definition = record.definition(key)
    better: Better = definition.better if definition else "lower"
    values = {item.system: item.curves[key] for item in items if key in item.curves}
    judges = not key.startswith(SHOWN)
    under = SHOWN_UNDER + key.removeprefix(SHOWN)
    source = () if judges else next((i.curves[under] for i in items if under in i.curves), ())
    return Curve(
        key=key,
        title=title_of(definition, key),
        unit=definition.unit if definition else "",
        better=BETTER[better],
        values=values,
        source=source,
        worst={name: worst(curve, better) if judges else [] for name, curve in values.items()},
        suspects=sorted({suspect.position for suspect in suspects if suspect.metric == key}),
    )


def _runs(items: Sequence[Measurement]) -> Runs | None:
    """Return what the runs said of themselves, as far as it is a number or a word."""
    found = {item.system: _flat(item.extra) for item in items if item.extra}
    names = dict.fromkeys(name for row in found.values() for name in row)
    rows = tuple((name, tuple(row.get(name, "–") for row in found.values())) for name in names)
    return Runs(tuple(found), rows) if rows else None


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Return numbers and words of nested tables by dotted names."""
    out: dict[str, str] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            out |= _flat(value, f"{prefix}{name}.")
        elif isinstance(value, float):
            out[f"{prefix}{name}"] = f"{value:.4g}"
        elif isinstance(value, str | int):
            out[f"{prefix}{name}"] = str(value)
    return out


def _notes(items: Sequence[Measurement]) -> tuple[tuple[str, str], ...]:
    """Return the notes; what all systems have in common is said once."""
    common = set.intersection(*(set(item.notes) for item in items)) if len(items) > 1 else set()
    notes = [(item.system, note) for item in items for note in item.notes]
    shared = [("", note) for note in items[0].notes if note in common]
    return tuple(dict.fromkeys(shared + [given for given in notes if given[1] not in common]))


def _unmeasured(record: Record, table: Table) -> tuple[str, ...]:
    """Return the titles of metrics without a value in a clip."""
    keys = [column.key for column in table.columns]
    return tuple(d.title for d in record.definitions if not any(d.fits(key) for key in keys))
