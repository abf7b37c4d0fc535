"""Going on from a kept plan: who is where in the same clip is not found a second time.

A plan that `VideoSwapper.open` or `fapvideo plan` keeps says who is where, and who gets what. A run
of other settings takes the first half, as far as that depends on the same things, and decides the
second anew; what comes out is what comes out without.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

from fapvideo.plan.store import made_from, read_plan
from fapvideo.plan.targets import Plan
from fapvideo.run.job import differences

log = logging.getLogger(__name__)

WRITING = frozenset(
    {"reader", "codec", "crf", "speed", "compatible", "keep_start", "segment_s", "prefetch_batches"}
)
"""Keys of `[video]` that have nothing to do with who is where."""


def followed(folder: Path, wanted: Mapping[str, Any]) -> Plan | None:
    """Return the kept plan in a folder, or in a job's, if it is of this clip; say why it is not.

    Args:
        folder: of the plan, or of the job that it is of.
        wanted: what decides the plan that is wanted, as `Engine.decided_by` has it.

    Raises:
        VideoReadError: it is damaged.
    """
    places = (folder, folder / "plan")
    place = next((one for one in places if (one / "plan.json").is_file()), None)
    if place is None:
        log.warning("there is no plan in %s: the faces are followed", folder)
        return None
    known = made_from(place)
    other = differences(_following(known), _following(wanted))
    plan = None if other else read_plan(place, known)
    if plan is None:
        why = "; ".join(other) or "another version of fapvideo"
        log.warning("the plan in %s is of something else, so the faces are followed: %s",
                    folder, why)  # fmt: skip
        return None
    if _seeing(known) != _seeing(wanted):  # another library rounds otherwise
        blind = tuple(replace(target, occlusion=None) for target in plan.targets)
        plan = replace(plan, targets=blind)
    return plan


def _seeing(known: Mapping[str, Any]) -> list[Any]:
    """Return what decides which library computes the nets that see what is in front of faces."""
    options = known.get("preset", {}).get("denoise", {})
    return [options.get(key) for key in ("runtime", "compile", "precision")]


def _following(known: Mapping[str, Any]) -> dict[str, Any]:
    """Return what decides who is where, out of what decides a plan."""
    preset = known.get("preset", {})
    video, track = (dict(preset.get(name, {})) for name in ("video", "track"))
    versions = known.get("versions", {})
    version = known.get("fapvideo") or versions.get("fapvideo") or metadata.version("fapvideo")
    return {
        "input": known.get("input"),
        "fapvideo": version,
        "protected": known.get("protected"),
        "video": {key: video[key] for key in video if key not in WRITING},
        "track": {key: track[key] for key in track if key != "faces"},
    }
