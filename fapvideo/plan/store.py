"""A plan as a folder: written whole or not at all, read back without copying the landmarks.

plan.json            what it was made from, cuts, tracks, targets, warnings
arrays.safetensors   everything per frame, but for the landmarks; the references
track-ID.npy         [T, 478, 3] landmarks, memory-mapped when read
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from fapvideo.errors import VideoReadError
from fapvideo.mask.occlusion import TrackOcclusion
from fapvideo.mask.open_set import TrackBoxes
from fapvideo.mask.policy import TrackPlan
from fapvideo.ops.files import write_atomically
from fapvideo.ops.memory import release
from fapvideo.parts import PARTS
from fapvideo.plan.kept import check_digests, check_plan, digests
from fapvideo.plan.sound import AT_ONCE
from fapvideo.plan.targets import Plan, Target
from fapvideo.structs import Array, Reference, Track

SCHEMA_VERSION = 10
_REFERENCE = ("part", "path", "sha256", "weight", "expression", "encoder", "licence")
_REFERENCE_ARRAYS = ("crop", "landmarks", "shape", "tokens", "box")
_FRAME_ARRAYS = ("times_s", "keys", "fingerprints")
_BOXES = ("parts", "keep_out", "strength")

Arrays = dict[str, Array]


def write_plan(plan: Plan, folder: Path, made_from: Mapping[str, Any]) -> None:
    """Write a plan to `folder`, which is replaced if it exists.

    Args:
        plan: as it is.
        folder: its parent exists.
        made_from: plain JSON types that say which clip and which settings it is of.

    Raises:
        OSError: it cannot be written.
    """
    arrays: Arrays = {name: getattr(plan, name) for name in _FRAME_ARRAYS}
    references: dict[int, Reference] = {}
    held: dict[int, str] = {}
    for track in plan.tracks:
        for name in ("presence", "jump", "neutral"):
            arrays[f"track.{track.id}.{name}"] = getattr(track, name)
    arrays |= {f"looks.{track}": looks for track, looks in plan.looks.items()}
    arrays |= {f"faces.{track}": numbers for track, numbers in plan.faces.items()}
    targets = [_describe(target, arrays, references) for target in plan.targets]
    described = [_describe_reference(one, arrays, held) for one in references.values()]
    text = {
        "schema_version": SCHEMA_VERSION,
        "made_from": made_from,
        "cuts": plan.cuts,
        "tracks": [
            {"id": track.id, "first_frame": track.first_frame, "faults": track.faults}
            for track in plan.tracks
        ],
        "people": list(plan.people.items()),
        "cast": list(plan.cast.items()),
        "protected": list(plan.protected.items()),
        "references": described,
        "targets": targets,
        "warnings": plan.warnings,
        "damaged": plan.damaged,
        "rested": plan.rested,
        "overlooked": list(plan.overlooked.items()),
    }
    with write_atomically(folder) as partial:
        partial.mkdir()
        for track in plan.tracks:
            _save(partial / f"track-{track.id}.npy", track.landmarks)
        try:
            save_file({k: np.ascontiguousarray(v) for k, v in arrays.items()},
                      partial / "arrays.safetensors")  # fmt: skip
        except SafetensorError as error:  # a full disk is one of these, too
            raise OSError(str(error)) from error
        text["digests"] = digests(text, partial)
        (partial / "plan.json").write_text(json.dumps(text, indent=1), "utf-8")


def _save(path: Path, array: Array) -> None:
    """Write an array [T, ...] as `np.save` does, piece by piece: it may lie in a file itself."""
    with path.open("wb") as file:
        header = np.lib.format.header_data_from_array_1_0(np.asarray(array))
        np.lib.format.write_array_header_1_0(file, header)
        for start in range(0, len(array), AT_ONCE):
            file.write(np.ascontiguousarray(array[start : start + AT_ONCE]).tobytes())
            release(array)


def _describe(target: Target, arrays: Arrays, references: dict[int, Reference]) -> dict[str, Any]:
    """Return what JSON holds of a target; put its arrays and references to the others."""
    track = target.track.id
    arrays[f"target.{track}.weight"] = target.frames.weight
    arrays[f"target.{track}.source"] = target.frames.source
    for table in _BOXES if target.boxes is not None else ():
        for label, rows in getattr(target.boxes, table).items():
            arrays[f"boxes.{track}.{table}.{label}"] = rows
    for part, rows in (target.growth or {}).items():
        arrays[f"growth.{track}.{part}"] = rows
    if target.occlusion is not None:
        arrays[f"occlusion.{track}.packed"] = target.occlusion.packed
        arrays[f"occlusion.{track}.ends"] = target.occlusion.ends
        for part, rows in target.occlusion.shown.items():
            arrays[f"occlusion.{track}.shown.{part}"] = rows
    for group in target.references.values():
        references.update({id(reference): reference for reference in group})
    numbers = {key: number for number, key in enumerate(references)}
    return {
        "track": track,
        "references": {
            part: [numbers[id(one)] for one in group] for part, group in target.references.items()
        },
        "state": target.frames.state,
        "reason": target.frames.reason,
        "crop_size": target.crop_size,
        "chosen": {part: list(target.chosen[part]) for part in target.chosen},
        "seed": target.seed,
        "boxed": target.boxes is not None,
        "strength": target.strength,
        "strengths": dict(target.strengths),
        "expression": dict(target.expression),
        "looked": target.occlusion is not None,
        "grown": target.growth is not None,
    }


def _describe_reference(one: Reference, arrays: Arrays, held: dict[int, str]) -> dict[str, Any]:
    """Return what JSON holds of a reference; put its arrays to the others, each once.

    All references to one photo share its crop: `held` knows the name of an array by its `id`.
    """
    names = {}
    for name in _REFERENCE_ARRAYS:
        array = getattr(one, name)
        names[name] = held.setdefault(id(array), f"reference.{len(held)}.{name}")
        arrays[names[name]] = array
    return {**{name: getattr(one, name) for name in _REFERENCE}, "arrays": names}


def made_from(folder: Path) -> dict[str, Any]:
    """Return what the plan in a folder was made from.

    Raises:
        VideoReadError: there is none, or it is damaged.
    """
    try:
        known = json.loads((folder / "plan.json").read_text("utf-8"))["made_from"]
        return dict(known)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise VideoReadError(
            f"the plan in {folder} is damaged: {error}", hint="remove the folder"
        ) from error


def read_plan(folder: Path, made_from: Mapping[str, Any]) -> Plan | None:
    """Return the plan in `folder`; None where there is none, or one of something else.

    Raises:
        VideoReadError: it is damaged.
    """
    try:
        text = json.loads((folder / "plan.json").read_text("utf-8"))
        if text["schema_version"] != SCHEMA_VERSION or text["made_from"] != made_from:
            return None
        check_digests(text, folder)
        arrays = load_file(folder / "arrays.safetensors")
        tracks = {row["id"]: _track(row, folder, arrays) for row in text["tracks"]}
        references = [
            Reference(
                **{name: row[name] for name in _REFERENCE},
                **{name: arrays[row["arrays"][name]] for name in _REFERENCE_ARRAYS},
                cached=True,
            )
            for row in text["references"]
        ]
        casts: dict[str, dict[str, tuple[Reference, ...]]] = {}
        targets = tuple(_target(row, tracks, references, arrays, casts) for row in text["targets"])
        plan = Plan(
            arrays["times_s"],
            tuple(text["cuts"]),
            tuple(tracks.values()),
            targets,
            tuple(text["warnings"]),
            dict(text["people"]),
            {int(name): looks for name, looks in _labelled(arrays, "looks.").items()},
            dict(text["cast"]),
            dict(text["protected"]),
            arrays["keys"],
            arrays["fingerprints"],
            text["damaged"],
            {int(name): numbers for name, numbers in _labelled(arrays, "faces.").items()},
            tuple(text["rested"]),
            dict(text["overlooked"]),
        )
        check_plan(plan)
        return plan
    except FileNotFoundError:
        return None
    except Exception as error:  # numpy, safetensors and json raise a dozen kinds
        reason = str(error) or type(error).__name__
        raise VideoReadError(
            f"the plan in {folder} is damaged: {reason[:300]}", hint="remove the folder"
        ) from error


def _track(row: Mapping[str, Any], folder: Path, arrays: Arrays) -> Track:
    number = row["id"]
    presence, jump, neutral = (
        arrays[f"track.{number}.{name}"] for name in ("presence", "jump", "neutral")
    )
    landmarks = np.load(folder / f"track-{number}.npy", mmap_mode="r")
    faults = tuple(row["faults"])
    return Track(number, row["first_frame"], landmarks, presence, jump, neutral, faults)


def _target(
    row: Mapping[str, Any],
    tracks: Mapping[int, Track],
    references: list[Reference],
    arrays: Arrays,
    casts: dict[str, dict[str, tuple[Reference, ...]]],
) -> Target:
    """Return a target; those that shared their references share them again (`casts`)."""
    number = row["track"]
    cast = casts.setdefault(
        json.dumps(row["references"]),
        {part: tuple(references[i] for i in group) for part, group in row["references"].items()},
    )
    boxes = None
    if row["boxed"]:
        boxes = TrackBoxes(*(_labelled(arrays, f"boxes.{number}.{table}.") for table in _BOXES))
    occlusion = None
    if row["looked"]:
        packed, ends = (arrays[f"occlusion.{number}.{name}"] for name in ("packed", "ends"))
        known = _labelled(arrays, f"occlusion.{number}.shown.")
        shown = {part: known[part] for part in PARTS if part in known}
        occlusion = TrackOcclusion(packed, ends, shown)
    frames = TrackPlan(
        arrays[f"target.{number}.weight"],
        arrays[f"target.{number}.source"],
        tuple(row["state"]),
        tuple(row["reason"]),
    )
    chosen = {part: row["chosen"][part] for part in row["chosen"]}
    return Target(
        tracks[number],
        cast,
        frames,
        row["crop_size"],
        chosen,
        row["seed"],
        boxes,
        row["strength"],
        occlusion,
        _labelled(arrays, f"growth.{number}.") if row["grown"] else None,
        row["strengths"],
        row["expression"],
    )


def _labelled(arrays: Arrays, prefix: str) -> Arrays:
    return {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)}
