"""From tracks and a cast to targets: who is swapped, with what, and what each frame gets."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import replace
from operator import attrgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fapvideo.config.schema import MaskConfig, RunPreset
from fapvideo.config.trust import load_site
from fapvideo.errors import ConsentError
from fapvideo.guide.choose import choose_references
from fapvideo.mask.leftovers import PARTS_WITH_ANY
from fapvideo.mask.policy import TrackPlan, plan_track
from fapvideo.ops import mesh
from fapvideo.ops.pose import CROP_INTEROCULAR, expression, head_pose
from fapvideo.ops.scratch import in_passing
from fapvideo.plan.casting import assign
from fapvideo.plan.people import Cast, Role
from fapvideo.plan.targets import Plan, Target
from fapvideo.progress import clock
from fapvideo.structs import Floats, Reference, Track
from fapvideo.trust.protected import found_among

SIZE_STEP = 64
"""Full-resolution crops are multiples of this, so that few sizes occur."""
DRAWN = ("dilate", "feather")
"""Keys of `[mask]` that say how a mask is drawn, and nothing of what becomes of frames."""
REMEMBERED = 200
"""Decisions that are kept at most."""


class Memory:
    """What is slow to decide of a clip's tracks, kept for settings that decide it alike."""

    def __init__(self) -> None:
        """Begin empty; it is of one plan's tracks."""
        self._known: dict[Hashable, Any] = {}

    def get(self, key: Hashable, make: Callable[[], Any]) -> Any:
        """Return what is known, or make it."""
        if key not in self._known:
            if len(self._known) >= REMEMBERED:
                self._known.clear()
            self._known[key] = make()
        return self._known[key]


def decide(
    plan: Plan,
    preset: RunPreset,
    cast: Cast,
    resolution: int,
    *,
    exactly: bool = False,
    memory: Memory | None = None,
) -> Plan:
    """Return the plan with targets; cheap, since nobody is followed again.

    Args:
        plan: of `follow`, or an earlier one whose targets are to be others.
        preset: `[track]` (which faces), `[mask]`, `[guide]` and `[composite]` are used.
        cast: who gets which references.
        resolution: of the model; crops are at least this large.
        exactly: take over of an earlier plan only what would be found again, number for number.
        memory: of this plan.

    Raises:
        ConsentError: somebody who is protected was to be swapped, and `protected` is "refuse".
    """
    assigned = assign(plan, cast, preset.track.faces)
    roles = {
        track.id: cast[assigned.roles[track.id]]
        for track in plan.tracks
        if track.id in assigned.roles
    }
    protected = found_protected(
        plan, [track for track, role in roles.items() if not role.keep], preset
    )
    targets = [
        _target(track, roles[track.id], plan, preset, resolution, memory or Memory())
        for track in plan.tracks
        if track.id in roles and not roles[track.id].keep and track.id not in protected
    ]
    targets = [_with_known(one, _before(one, plan.targets, preset, exactly)) for one in targets]
    entries = {track: str(role.who) for track, role in roles.items() if role.who is not None}
    warnings = (*_overlooked(plan), *assigned.warnings)
    if protected:
        tracks, names = ", ".join(map(str, protected)), ", ".join(dict.fromkeys(protected.values()))
        warnings += (f"left as filmed: track {tracks} looks like {names}, who is protected",)
    return replace(
        plan, targets=tuple(targets), warnings=warnings, cast=entries, protected=protected
    )


def _overlooked(plan: Plan) -> list[str]:
    """Say that there were more faces than are followed."""
    if not plan.overlooked:
        return []
    frame, more = max(plan.overlooked.items(), key=lambda item: item[1])
    return [
        f"up to {more} more faces are seen than are followed, most of them at"
        f" {clock(plan.times_s[frame])}: they are left as filmed, and are not in the report;"
        " a larger track.max_faces takes them in"
    ]


def _target(
    track: Track, role: Role, plan: Plan, preset: RunPreset, resolution: int, memory: Memory
) -> Target:
    """Return what becomes of a track that is somebody's of the cast."""
    mask, most = preset.mask.model_dump_json(exclude=set(DRAWN)), preset.composite.max_size
    spans = tuple(span.model_dump_json() for span in preset.spans)
    size_key = "size", track.id, resolution, most
    return Target(
        track,
        role.references,
        memory.get(("fate", track.id, mask, spans), lambda: fate_of(track, plan, preset)),
        memory.get(size_key, lambda: crop_size(track, resolution, most)),
        _choose(track, role.references, preset.guide.hysteresis),
        role.seed,
        strength=role.strength,
        strengths=role.strengths,
        expression=role.expression,
    )


def found_protected(plan: Plan, wanted: Sequence[int], preset: RunPreset) -> dict[int, str]:
    """Return track -> name of those who were to be swapped, and must not be.

    Raises:
        ConsentError: there are some, and the preset or the site refuses that.
    """
    people = {track.id: plan.people.get(track.id, track.id) for track in plan.tracks}
    known = found_among(plan.looks, people, plan.faces)
    found = {track: known[track] for track in wanted if track in known}
    if found and "refuse" in (preset.protected, load_site().protected):
        track, name = next(iter(found.items()))
        raise ConsentError(
            f"track {track} looks like {name}, who is protected",
            hint='`fapvideo inspect --sheet` shows who is which track; with protected = "leave" '
            "they stay as filmed",
        )
    return found


def _with_known(target: Target, before: Sequence[Target]) -> Target:
    """Take over what was seen of the same face, and in front of it at the same places."""
    painted = target.frames.painted()
    for old in before:
        wanted = [part for part in target.parts if part in PARTS_WITH_ANY]
        if old.growth is not None and set(wanted) <= set(old.parts):
            known = {part: old.growth[part] for part in wanted if part in old.growth}
            target = replace(target, growth=known)
        if (
            old.occlusion is not None
            and (old.frames.weight[painted] > 0).all()
            and np.array_equal(old.frames.source[painted], target.frames.source[painted])
        ):
            target = replace(target, occlusion=old.occlusion)
    return target


def _before(
    target: Target, before: Sequence[Target], preset: RunPreset, exactly: bool
) -> list[Target]:
    """Return the earlier targets of the same face, with what of them may be taken over.

    If it is to be exact, that is nothing where other frames were looked at than would be now, and
    nothing that would not be looked for.
    """
    found = [old for old in before if old.track is target.track]
    if not exactly:
        return found
    masks = [preset.mask, *(preset.within(span).mask for span in preset.spans)]
    front = any(mask.occluders != "off" for mask in masks)
    beside = any(mask.leftovers for mask in masks)
    painted = target.frames.painted()
    return [
        replace(old, occlusion=old.occlusion if front else None,
                growth=old.growth if beside else None)
        for old in found
        if np.array_equal(old.frames.painted(), painted)
        and np.array_equal(old.frames.source[painted], target.frames.source[painted])
    ]  # fmt: skip


def fate_of(track: Track, plan: Plan, preset: RunPreset) -> TrackPlan:
    """Return what becomes of a whole track of a clip, by the preset and its spans."""
    starts, ends = {0, *plan.cuts}, {plan.frames - 1, *(cut - 1 for cut in plan.cuts)}
    return fates(
        track,
        plan.times_s[track.first_frame : track.last_frame + 1],
        preset,
        fade_in=track.first_frame not in starts,
        fade_out=track.last_frame not in ends,
    )


def fates(
    track: Track,
    times_s: NDArray[np.float64],
    preset: RunPreset,
    *,
    fade_in: bool,
    fade_out: bool,
    mask_of: Callable[[RunPreset], MaskConfig] = attrgetter("mask"),
) -> TrackPlan:
    """Return what becomes of the track's frames, each by the settings of its time.

    Args:
        track: whole, or some of its frames.
        times_s: of those frames.
        preset: with its spans.
        fade_in: whether the first frame comes in mid-shot.
        fade_out: the same of the last one.
        mask_of: `[mask]` of the settings of a time, if not as it stands there.
    """

    def by(settings: RunPreset) -> TrackPlan:
        mask = mask_of(settings)
        return plan_track(track, mask, times_s, fade_in=fade_in, fade_out=fade_out)

    found = by(preset)
    for span in preset.spans:
        here = (times_s >= span.from_s) & (times_s < span.to_s)
        if here.any():
            there = by(preset.within(span))
            found = TrackPlan(
                np.where(here, there.weight, found.weight),
                np.where(here, there.source, found.source),
                tuple(np.where(here, there.state, found.state).tolist()),
                tuple(np.where(here, there.reason, found.reason).tolist()),
            )
    return found


def crop_size(track: Track, smallest: int, largest: int, room: float = 1.0) -> int:
    """Return one crop size for the whole track: about one crop pixel per frame pixel.

    With `room` the face may become so many times as large.
    """
    step = max(1, len(track) // 50)
    shapes = [shape for shape in track.landmarks[::step] if np.isfinite(shape).all()]
    scale = float(np.percentile([head_pose(shape).scale for shape in shapes] or [1.0], 90))
    size = int(np.ceil(room * scale / CROP_INTEROCULAR / SIZE_STEP)) * SIZE_STEP
    return max(smallest, min(size, largest))


def _choose(
    track: Track, references: Mapping[str, Sequence[Reference]], hysteresis: float
) -> dict[str, Sequence[int]]:
    """Choose for every part and frame among its references."""
    chosen: dict[str, Sequence[int]] = {}
    frames: list[dict[str, float]] | None = None
    for part, group in references.items():
        if len(group) == 1:
            chosen[part] = [0] * len(track)
            continue
        if frames is None:
            frames = [expression(finite(shape)) for shape in in_passing(track.landmarks)]
        given = [reference.expression for reference in group]
        chosen[part] = [int(i) for i in choose_references(part, frames, given, hysteresis)]
    return chosen


def finite(shape: Floats) -> Floats:
    """Return a shape; the mean face in place of one that is not finite, which nobody paints."""
    return shape if np.isfinite(shape).all() else mesh.canonical()
