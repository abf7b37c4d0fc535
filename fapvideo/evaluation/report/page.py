"""The report that people read: one HTML file that loads nothing, and the same as JSON and text."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from importlib import metadata, resources
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from fapvideo.evaluation.report.contents import BETTER, ClipContents, clip_contents, payload
from fapvideo.evaluation.report.markdown import markdown
from fapvideo.evaluation.report.picks import choose, film_positions
from fapvideo.evaluation.report.pictures import (
    FINENESS,
    ClipPictures,
    Fineness,
    collect,
    plan_video,
)
from fapvideo.evaluation.report.record import JSON_NAME, SCHEMA_VERSION, Record
from fapvideo.evaluation.report.table import columns_of, headline_tables
from fapvideo.evaluation.views import Clip, Material
from fapvideo.ops.files import write_text

PAGE_NAME, MARKDOWN_NAME = "index.html", "report.md"
PAGE_BYTES = 12_000_000
"""The page is no larger; strips are left out if need be, the least important first."""
STRIP_SHARE, VIDEO_SHARE = 0.6, 0.25
"""Of the page's bytes."""
MOST_STRIPS, FEWEST_STRIPS, ENOUGH_STRIPS = 32, 6, 16
"""Per clip; coarser pictures are taken before there are fewer than enough."""
BASE64 = 4 / 3


def write_page(
    folder: Path,
    record: Record,
    clips: Mapping[str, Material],
    against: Mapping[str, Any] | None = None,
) -> Path:
    """Write `index.html`, `report.json` and `report.md` to `folder`; return the first.

    Args:
        folder: made if it is not there; an earlier report in it is replaced.
        record: what the report says.
        clips: `Measurement.clip` -> what it was measured on, for the pictures; a clip that is
            missing here has none.
        against: an earlier report (`record.read_report`); differences to it are shown.

    Raises:
        VideoReadError: a source or result cannot be read any more.
    """
    chosen = _chosen_strips(record, clips)
    pictures = {name: _pictures(record, name, clip, *chosen) for name, clip in clips.items()}
    html = _fitting(record, pictures, chosen[0], against)
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / JSON_NAME, record.to_json())
    write_text(folder / MARKDOWN_NAME, markdown(record, against))
    write_text(folder / PAGE_NAME, html)
    return folder / PAGE_NAME


def render(
    record: Record, pictures: Mapping[str, ClipPictures], against: Mapping[str, Any] | None = None
) -> str:
    """Return the whole page; clips without pictures have none."""
    clips = [
        clip_contents(record, name, pictures.get(name, ClipPictures()), against)
        for name in record.clips
    ]
    files = resources.files("fapvideo.evaluation.report") / "template"
    css, script = ((files / name).read_text("utf-8").strip() for name in ("page.css", "page.js"))
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    template = environment.from_string((files / "page.html").read_text("utf-8"))
    columns, tables = columns_of(record), headline_tables(record, against)
    return template.render(
        record=record,
        clips=clips,
        tables=tables,
        idle=dict.fromkeys(system for table in tables for system in table.idle),
        columns=columns,
        ids={column.key: place for place, column in enumerate(columns)},
        colours={name: place % 8 for place, name in enumerate(record.systems)},
        better=BETTER,
        against=against,
        summary=_summary(record, clips),
        version=metadata.version("fapvideo"),
        schema_version=SCHEMA_VERSION,
        policy=_policy(css, script),
        css=Markup(css),
        script=Markup(script),
        data=payload(record, clips),
    )


# -------------------------------------------------------------------------------- pictures


def _chosen_strips(
    record: Record, clips: Mapping[str, Material]
) -> tuple[dict[str, list[int]], Fineness]:
    """Choose which frames get strips, the most important first, and how fine these are."""
    pictures_each = 1 + 2 * len(record.systems)
    budget = PAGE_BYTES * STRIP_SHARE / max(1, len(clips)) / pictures_each
    fineness = next((f for f in FINENESS if budget / f.bytes >= ENOUGH_STRIPS), FINENESS[-1])
    count = min(MOST_STRIPS, max(FEWEST_STRIPS, int(budget / fineness.bytes)))
    return {name: choose(record, name, count) for name in clips}, fineness


def _pictures(
    record: Record,
    name: str,
    clip: Material,
    chosen: Mapping[str, Sequence[int]],
    fineness: Fineness,
) -> ClipPictures:
    """Make the pictures of one clip."""
    items = record.of_clip(name)
    if not items:
        return ClipPictures()
    results = {item.system: Path(item.result) for item in items}
    plan = None
    if isinstance(clip, Clip):
        videos = max(1, len(set(record.clips) - set(record.photos)))
        share = PAGE_BYTES * VIDEO_SHARE / videos / BASE64
        times_s = items[0].times_s
        duration_s = times_s[-1] - times_s[0] if times_s else 0.0
        plan = plan_video(clip, len(results), duration_s, int(share))
    return collect(clip, results, chosen[name], film_positions(items[0].frames), plan, fineness)


def _fitting(
    record: Record,
    pictures: Mapping[str, ClipPictures],
    chosen: Mapping[str, Sequence[int]],
    against: Mapping[str, Any] | None,
) -> str:
    """Return the page, leaving out strips from the least important until it is small enough."""
    left = {name: [p for p in chosen[name] if p in made.strips] for name, made in pictures.items()}
    while True:
        html = render(record, pictures, against)
        longest = max(left, key=lambda name: len(left[name]), default=None)
        if len(html.encode()) <= PAGE_BYTES or longest is None or len(left[longest]) <= 1:
            return html
        for name, positions in left.items():
            if len(positions) > 1:
                del pictures[name].strips[positions.pop()]


# ------------------------------------------------------------------------------------ page


def _summary(record: Record, clips: Sequence[ClipContents]) -> str:
    """Say in one line what was measured and what is conspicuous."""
    words = [
        _count(len(record.systems), "system"),
        _count(len(clips), "clip"),
        _count(sum(clip.frames for clip in clips), "frame"),
        _count(sum(len(clip.suspects) for clip in clips), "suspect"),
    ]
    if record.thresholds and record.systems:
        first = record.systems[0]
        rows = [row for clip in clips for row in clip.table.rows if row.system == first]
        missed = sum(cell.missed for row in rows for cell in row.cells if cell is not None)
        words.append(f"{first} misses {_count(missed, 'threshold') if missed else 'no threshold'}")
    return " · ".join(words)


def _count(number: int, noun: str) -> str:
    """Return `1 clip`, `2 clips`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _policy(css: str, script: str) -> str:
    """Return a content security policy: nothing from elsewhere, no script but this page's own."""
    style_hash, script_hash = (
        base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in (css, script)
    )
    return (
        "default-src 'none'; img-src data:; media-src data:; "
        f"style-src 'sha256-{style_hash}'; script-src 'sha256-{script_hash}'; "
        "base-uri 'none'; form-action 'none'"
    )
