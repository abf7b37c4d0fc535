"""`report.json`: everything that was measured, with what it means and where it comes from."""

from __future__ import annotations

import json
import math
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil

from fapvideo.config.evaluation import Threshold
from fapvideo.errors import PresetError
from fapvideo.evaluation.definitions import Definition, fits
from fapvideo.evaluation.measure import Measurement
from fapvideo.run.report import PACKAGES

KIND = "fapvideo evaluation"
SCHEMA_VERSION = 1
JSON_NAME = "report.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What a report is made of, in the order in which `to_dict` has it."""

    title: str
    created: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    command: str = ""
    """How to make this report again."""
    notes: Sequence[str] = ()
    """What is missing altogether, and why."""
    machine: Mapping[str, Any] = field(default_factory=lambda: machine())
    packages: Mapping[str, Mapping[str, str]] = field(default_factory=lambda: packages())
    licences: Mapping[str, str] = field(default_factory=dict)
    """Licences of models and data that were used, by name."""
    photos: Sequence[str] = ()
    """The clips that are pairs of photos: their curves have a point per pair."""
    thresholds: Mapping[str, Threshold] = field(default_factory=dict)
    """Key, or pattern with `*` for one dotted piece -> limits."""
    definitions: Sequence[Definition]
    """What the keys of values and curves mean, in the order of the columns."""
    measurements: Sequence[Measurement]
    """Of all systems on all clips; the first system is the one that matters most."""

    @property
    def systems(self) -> list[str]:
        """The systems in the order in which they were measured."""
        return list(dict.fromkeys(m.system for m in self.measurements))

    @property
    def clips(self) -> list[str]:
        """The clips in the order in which they were measured."""
        return list(dict.fromkeys(m.clip for m in self.measurements))

    def of_clip(self, clip: str) -> list[Measurement]:
        """Return the measurements of one clip, in the order of the systems."""
        return [item for item in self.measurements if item.clip == clip]

    def definition(self, key: str) -> Definition | None:
        """Return what `key` means; None if nobody says."""
        return next((item for item in self.definitions if item.fits(key)), None)

    def ordered(self, keys: Sequence[str]) -> list[str]:
        """Return the keys in the order of their definitions, once each; those without one last."""
        known = [key for item in self.definitions for key in keys if item.fits(key)]
        return list(dict.fromkeys([*known, *keys]))

    def limits(self, key: str) -> Threshold | None:
        """Return the limits of `key`, if it has any; one that names it precedes a pattern."""
        fitting = (limits for name, limits in self.thresholds.items() if fits(name, key))
        return self.thresholds.get(key) or next(fitting, None)

    def to_json(self) -> str:
        """Return the report as text."""
        return json.dumps(_finite(self.to_dict()), indent=1, allow_nan=False, default=str) + "\n"

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types."""
        thresholds = {key: limits.model_dump() for key, limits in self.thresholds.items()}
        kind = {"kind": KIND, "schema_version": SCHEMA_VERSION}
        return {**kind, **asdict(self), "thresholds": thresholds}


def passes(value: float, limits: Threshold | None) -> bool:
    """Tell whether `value` lies within its limits, both included."""
    if limits is None:
        return True
    low, high = limits.min, limits.max
    return (low is None or value >= low) and (high is None or value <= high)


def _finite(value: Any) -> Any:
    """Replace what JSON has no word for, infinities and not-a-number, by None."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value


def read_report(path: Path) -> dict[str, Any]:
    """Return an earlier report: `path` is its `report.json` or the folder that it lies in.

    Raises:
        PresetError: there is none, or it is not one of this version.
    """
    path = path / JSON_NAME if path.is_dir() else path
    try:
        report = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise PresetError(
            f"{path}: {error.strerror or error}",
            hint=f"give a folder that `fapvideo eval --report` wrote, or its {JSON_NAME}",
        ) from None
    except ValueError as error:
        raise PresetError(f"{path}: not JSON ({error})") from None
    if not isinstance(report, dict) or report.get("kind") != KIND:
        raise PresetError(f"{path}: not a report of an evaluation")
    if report.get("schema_version") != SCHEMA_VERSION:
        raise PresetError(
            f"{path}: schema version {report.get('schema_version')}, expected {SCHEMA_VERSION}",
            hint="make it again with this version",
        )
    return report


def machine() -> dict[str, Any]:
    """Return what the numbers of speed depend on."""
    return {
        "system": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count() or 0,
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "python": platform.python_version(),
    }


def packages() -> dict[str, dict[str, str]]:
    """Return version and licence of the packages that decide what comes out."""
    found = {}
    for name in (*PACKAGES, "opencv-python-headless", "scipy"):
        try:
            about = metadata.metadata(name)
        except metadata.PackageNotFoundError:
            continue
        found[name] = {"version": about["Version"], "licence": _licence(about)}
    return found


def _licence(about: Any) -> str:
    """Return a package's licence: its expression, its classifier, or the first line it states."""
    stated = about.get("License-Expression")
    classified = [
        line.rpartition(" :: ")[2]
        for line in about.get_all("Classifier") or ()
        if line.startswith("License ::")
    ]
    return stated or ", ".join(classified) or (about.get("License") or "").partition("\n")[0]


def _processor() -> str:
    """Return the processor's name; Linux keeps it in a file."""
    try:
        text = Path("/proc/cpuinfo").read_text("utf-8", errors="replace")
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in text.splitlines() if "model name" in line]
    return names[0] if names else platform.machine()
