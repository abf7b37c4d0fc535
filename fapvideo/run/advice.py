"""From difficulties to settings: what may help in a stretch of time, as a preset says it."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fapvideo.config.schema import RunPreset

Tables = Mapping[str, Mapping[str, Any]]
"""Table of a span -> its keys: `{"mask": {"policy": "hold"}}`."""

LOST = {"not_measured", "disagrees", "jumps"}
"""Reasons for which single frames have no geometry."""
COVERS = {"covered", "eyes_covered", "mouth_covered"}
TURNED = {"profile", "near_profile"}
LONGEST_HELD_S = 0.6
"""A face whose geometry is held for longer is seen to stand still."""
EARLIER_DEG = 10.0
"""How much before its limit a head that turns away is faded."""


@dataclass(frozen=True, slots=True)
class Advice:
    """What may help in a stretch."""

    words: str
    tables: Tables = field(default_factory=dict)
    """For a `[[spans]]` entry; empty where no setting of a stretch helps."""
    key: str = ""
    """`KEY=VALUE` for the whole clip, where it is no setting of a stretch."""


def advise(codes: Mapping[str, int], seconds: float, preset: RunPreset) -> Advice:
    """Return what may help against difficulties; the one that decides most comes first.

    Args:
        codes: of `REASONS` and `difficulties.DIFFICULTIES`.
        seconds: how long the stretch is.
        preset: as it is; what it has already is not suggested.
    """
    found = set(codes)
    mask = preset.mask
    if found & COVERS:
        return Advice(
            "leave it as filmed here, or name what covers it in mask.keep_out",
            {"composite": {"opacity": 0.0}},
        )
    if found & TURNED:
        earlier = max(5.0, min(40.0, mask.max_yaw_deg - EARLIER_DEG))
        return Advice("fade before it breaks, and once", {"mask": {"max_yaw_deg": earlier}})
    if found & {"leaves_frame", "cut_off"}:
        return Advice("fade more slowly", {"mask": {"fade_s": max(0.4, mask.fade_s)}})
    if found & LOST:
        return _lost(seconds, preset)
    if found & {"fast", "unsure"}:
        tables = {} if mask.policy == "hold" else {"mask": {"policy": "hold"}}
        return Advice("bridge single frames that are lost", tables)
    if "too_small" in found:
        smaller = max(8, preset.track.min_face_px // 2)
        return Advice("follow smaller faces", key=f"track.min_face_px={smaller}")
    if "small" in found:
        return Advice("steady it more", key=f"track.smooth_s={max(0.2, preset.track.smooth_s):g}")
    if found & {"dark", "bright"}:
        lower = round(min(0.4, preset.guide.contrast_min), 2)
        return Advice("let it be flatter", {"guide": {"contrast_min": lower, "light": 1.0}})
    return Advice("nothing to set: it is left as filmed")


def _lost(seconds: float, preset: RunPreset) -> Advice:
    """Hold what is lost for a moment; fade more slowly around what is lost for long."""
    if seconds <= LONGEST_HELD_S:
        held = max(preset.mask.hold_s, math.ceil(20 * seconds) / 20)
        return Advice("hold the last good geometry", {"mask": {"policy": "hold", "hold_s": held}})
    return Advice("fade more slowly", {"mask": {"fade_s": max(0.4, preset.mask.fade_s)}})


def spans_toml(
    rows: Sequence[tuple[float, float, Tables]], taken: Sequence[tuple[float, float]] = ()
) -> str:
    """Return `[[spans]]` entries, ready for a preset; they do not overlap.

    Where stretches overlap, all their settings hold together, of two values of one key that of the
    stretch that began first.

    Args:
        rows: start and end in seconds, and the settings; those without any are left out.
        taken: stretches that have an entry already; nothing is said about these.
    """
    rows = sorted((row for row in rows if row[2]), key=lambda row: row[:2])
    stretches = [*taken, *((start, end) for start, end, _ in rows)]
    edges = sorted({time for stretch in stretches for time in stretch})
    pieces: list[tuple[float, float, Tables]] = []
    for start, end in itertools.pairwise(edges):
        inside = [tables for a, b, tables in rows if a <= start and end <= b]
        if not inside or any(a <= start and end <= b for a, b in taken):
            continue
        together = _merged(inside)
        if pieces and pieces[-1][1] == start and pieces[-1][2] == together:
            pieces[-1] = pieces[-1][0], end, together
        else:
            pieces.append((start, end, together))
    return "\n".join(_entry(*piece) for piece in pieces)


def _merged(many: Sequence[Tables]) -> Tables:
    out: dict[str, dict[str, Any]] = {}
    for tables in many:
        for name, keys in tables.items():
            out[name] = {**keys, **out.get(name, {})}
    return out


def _entry(start_s: float, end_s: float, tables: Tables) -> str:
    lines = ["[[spans]]", f"from = {start_s:.3f}", f"to = {end_s:.3f}"]
    for name, keys in tables.items():
        # Strings, numbers and booleans are written in TOML as in JSON.
        inner = ", ".join(f"{key} = {json.dumps(value)}" for key, value in keys.items())
        lines.append(f"{name} = {{ {inner} }}")
    return "\n".join(lines) + "\n"
