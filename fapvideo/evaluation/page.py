"""The report that people read: one HTML file, and the same as JSON and Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fapvideo.evaluation.definitions import Definition
from fapvideo.evaluation.measure import Measurement
from fapvideo.evaluation.record import JSON_NAME, Limits, Record, write_whole
from fapvideo.evaluation.views import Clip, Material

PAGE_NAME, MARKDOWN_NAME = "index.html", "report.md"


def write_page(
    folder: Path,
    measurements: Sequence[Measurement],
    clips: Mapping[str, Material],
    definitions: Sequence[Definition],
    *,
    title: str,
    thresholds: Mapping[str, Limits] | None = None,
    against: Mapping[str, Any] | None = None,
    command: str = "",
    licences: Mapping[str, str] | None = None,
) -> Path:
    """Write `index.html`, `report.json` and `report.md` to `folder`; return the first.

    Args:
        folder: made if it is not there; an earlier report in it is replaced.
        measurements: of all systems on all clips; the first system is the one that matters most.
        clips: `Measurement.clip` -> what it was measured on, for the pictures; a clip that is
            missing here has none. Whatever is no `Clip` is taken for pairs of photos.
        definitions: what the keys of values and curves mean, in the order of the columns.
        title: heading of the page.
        thresholds: key, or pattern with `*` for one dotted piece -> limits.
        against: an earlier report (`record.read_report`); differences to it are shown.
        command: how to make this report again.
        licences: of models and data that were used, by name.

    Raises:
        VideoReadError: a source or result cannot be read any more.
    """
    folder.mkdir(parents=True, exist_ok=True)
    photos = [name for name, clip in clips.items() if not isinstance(clip, Clip)]
    record = Record(
        title, measurements, definitions, thresholds or {}, photos, command, licences or {}
    )
    write_whole(folder / JSON_NAME, record.to_json())
    page = folder / PAGE_NAME
    write_whole(folder / MARKDOWN_NAME, f"# {title}\n")
    write_whole(page, "<!doctype html>")
    return page
