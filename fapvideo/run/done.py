"""Whether an output is already what a run would make: told by its report and by content."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import fapvideo
from fapvideo.config.bundle import MANIFEST_NAME
from fapvideo.config.schema import RunPreset
from fapvideo.errors import WeightsError
from fapvideo.ops.files import sha256_file
from fapvideo.run.report import report_path
from fapvideo.weights.bundle import bundle_folder

NAMES = ("name", "description")
"""Of a preset: nothing depends on them."""

Report = Mapping[str, Any]


def report_of(output: Path) -> Report | None:
    """Return the report of an output that is there as it was written; None without one."""
    try:
        report = json.loads(report_path(output).read_text("utf-8"))
        written = report["output"]["sha256"]
        return report if written and written == sha256_file(output) else None
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return None


def tells_of(report: Report, source: Path, preset: RunPreset) -> bool:
    """Tell whether a report is of a run on this content with this preset and this version.

    Raises:
        OSError: the source cannot be read.
    """
    try:
        same = (
            report["input"]["sha256"] == sha256_file(source)
            and _essence(report["preset"]) == _essence(preset.model_dump(mode="json"))
            and report["versions"]["fapvideo"] == fapvideo.__version__
        )
        known = {row["path"]: row["sha256"] for row in report["references"]}
    except (LookupError, TypeError, AttributeError):
        return False
    return same and all(_hash(Path(path)) == digest for path, digest in known.items())


def _essence(preset: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in preset.items() if key not in NAMES}


def made_from(preset: RunPreset) -> dict[str, str]:
    """Return path -> SHA-256 of every file that a preset names; empty where one is missing."""
    return {str(path): _hash(path) for path in _files(preset)}


def _files(preset: RunPreset) -> Iterator[Path]:
    casts = (preset.references, *(one.references for one in preset.people))
    for sources in (group for cast in casts for group in cast.values()):
        yield from (Path(source.path) for source in sources)
    yield from (Path(one.who.photo) for one in preset.people if one.who.photo is not None)
    models = preset.denoise.codec_file, preset.denoise.lora_file
    yield from (path for path in models if path is not None)
    if preset.bundle not in ("tiny", "tiny_sd15"):
        try:
            yield bundle_folder(preset.bundle) / MANIFEST_NAME  # it holds the weights' hashes
        except WeightsError:  # loading says so
            return


def _hash(path: Path) -> str:
    try:
        return sha256_file(path)
    except OSError:
        return ""
