"""Whether a plan that was kept in a folder is what was written, and can be used."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fapvideo.ops.files import sha256_file
from fapvideo.plan.sound import check_target
from fapvideo.plan.targets import Plan
from fapvideo.structs import NUM_LANDMARKS, Array

Digests = dict[str, str]


def digests(text: Mapping[str, Any], folder: Path) -> Digests:
    """Return the SHA-256 of everything that a plan in `folder` consists of.

    Args:
        text: what `plan.json` holds, or is to hold, the digests themselves left out.
        folder: holds the other files.
    """
    told = json.dumps({k: v for k, v in text.items() if k != "digests"}, sort_keys=True)
    files = sorted(path for path in folder.iterdir() if path.name != "plan.json")
    mine = hashlib.sha256(told.encode()).hexdigest()
    return {"plan.json": mine, **{path.name: sha256_file(path) for path in files}}


def check_digests(text: Mapping[str, Any], folder: Path) -> None:
    """See that nothing has changed since it was written.

    Raises:
        ValueError: names the file that has.
        KeyError, OSError: it was never whole.
    """
    now = digests(text, folder)
    for name in {**text["digests"], **now}:
        if now.get(name) != text["digests"].get(name):
            raise ValueError(f"{name} has changed")


def check_plan(plan: Plan) -> None:
    """See that shapes, types and numbers are those of a plan.

    Raises:
        ValueError: names what is not.
    """
    times = plan.times_s
    _check("times_s", times, np.float64, (len(times),))
    _check("keys", plan.keys, np.bool_, (len(times),))
    _check("fingerprints", plan.fingerprints, np.uint32, (len(times),))
    if type(plan.damaged) is not int or plan.damaged < 0:
        raise ValueError(f"{plan.damaged!r} packets are damaged")
    points = (NUM_LANDMARKS, 3)
    for track in plan.tracks:
        length = len(track.landmarks)
        numbers = track.landmarks, track.presence, track.jump, track.neutral
        names = "landmarks", "presence", "jump", "neutral"
        shapes = (length, *points), (length,), (length,), points
        for name, array, shape in zip(names, numbers, shapes, strict=True):
            # Of a face that is left alone numbers may be odd: nothing is painted from them.
            _check(f"track {track.id}: {name}", array, np.float32, shape, finite=False)
        if track.first_frame < 0 or track.last_frame >= len(times):
            raise ValueError(f"track {track.id} leaves the clip")
    for target in plan.targets:
        frames, name = target.frames, f"track {target.track.id}"
        length = len(target.track)
        _check(f"{name}: weight", frames.weight, np.float32, (length,))
        _check(f"{name}: neutral", target.track.neutral, np.float32, points)
        if frames.source.shape != (length,) or frames.source.dtype.kind not in "iu":
            raise ValueError(f"{name}: source is no list of frames")
        if length and not 0 <= frames.source.min() <= frames.source.max() < length:
            raise ValueError(f"{name}: source leaves the track")
        front = target.occlusion
        if front is not None:
            rises = np.diff(front.ends, prepend=0)
            if len(rises) != length or (rises < 0).any() or rises.sum() != len(front.packed):
                raise ValueError(f"{name}: the maps of what is in front are not whole")
            for part, rows in front.shown.items():
                _check(f"{name}: {part} shown", rows, np.float32, (length, rows.shape[-1]))
        for reference in (one for group in target.references.values() for one in group):
            for part in ("crop", "landmarks", "shape", "tokens", "box"):
                array = getattr(reference, part)
                _check(f"{reference.path}: {part}", array, np.float32, array.shape)
        check_target(target)


def _check(
    name: str, array: Array, kind: type[np.generic], shape: tuple[int, ...], *, finite: bool = True
) -> None:
    if array.dtype != kind or array.shape != shape:
        raise ValueError(f"{name} is {array.dtype}{list(array.shape)}")
    if finite and not np.isfinite(array).all():
        raise ValueError(f"{name} is not finite")
