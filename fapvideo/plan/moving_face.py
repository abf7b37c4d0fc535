"""One face of a stream, and all that is carried along for it from window to window."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fapvideo.composite.paste import shown_of
from fapvideo.config.schema import MaskConfig, RunPreset
from fapvideo.guide.choose import choose_references
from fapvideo.mask.leftovers import MOST_LOOKS, Growth, LeftoverSearch
from fapvideo.mask.leftovers import SIZE as LEFTOVER_SIZE
from fapvideo.mask.occlusion import WORN_S, OcclusionSearch
from fapvideo.mask.open_set import BoxSearch
from fapvideo.mask.policy import TrackPlan
from fapvideo.nets.occlusion import SIZE
from fapvideo.ops.geometry import Matrix
from fapvideo.ops.pose import expression
from fapvideo.plan.decide import crop_size, fates, finite
from fapvideo.plan.people import Role
from fapvideo.plan.search import BoxFinder, box_frames, cut_face
from fapvideo.plan.targets import Target
from fapvideo.structs import Bytes, Floats, FrameState, Track, VideoInfo
from fapvideo.track.moving import SETTLE_S, MovingTrack

NEARER = 1.1
"""How many times as large a face may become, as it was at first, before its crop grows."""
LOOK_EVERY = 2
"""Frames from one look for leftovers of old parts to the next, at first."""
NOTHING = 0.004
"""Growth under this is none, inter-ocular distances."""


Eased = dict[tuple[int, int], tuple[Floats, Growth | None]]
"""(frame, track) -> the neutral shape and the growth there: they change frame by frame."""


@dataclass(frozen=True, slots=True)
class Window:
    """What is known of one face when some frames are due."""

    track: Track
    """As far as it is kept."""
    times_s: NDArray[np.float64]
    """[T] of its frames."""
    due: range
    """Frames of the stream that are to be planned."""
    pictures: Mapping[int, Bytes]
    """Frame -> picture with square pixels, from the first due one to the newest."""
    cuts: frozenset[int]
    """First frames of shots."""

    def rows(self) -> range:
        """Return the due frames that the track has, as rows of it."""
        base = self.track.first_frame
        return range(max(0, self.due.start - base), min(len(self.track), self.due.stop - base))

    def seen_rows(self, until_s: float) -> range:
        """Return the rows that have a picture, up to that time."""
        stop = int(np.searchsorted(self.times_s, until_s + 1e-6, side="right"))
        return range(max(0, self.due.start - self.track.first_frame), stop)

    def step_s(self, row: int) -> float:
        """Return the time from the frame before to that of a row."""
        if len(self.times_s) < 2:
            return 0.0
        row = max(1, row)
        return float(self.times_s[row] - self.times_s[row - 1])


class MovingFace:
    """A track of a stream, and what was decided and found about it so far."""

    def __init__(
        self,
        moving: MovingTrack,
        preset: RunPreset,
        mask_of: Callable[[RunPreset], MaskConfig],
        boxes: BoxFinder,
        resolution: int,
        searched: Callable[[Sequence[str]], Sequence[str]],
        info: VideoInfo,
    ) -> None:
        """See `plan.moving.MovingPlan`."""
        self.moving = moving
        self._preset, self._mask_of, self._boxes = preset, mask_of, boxes
        self._resolution, self._searched, self._info = resolution, searched, info
        self._settings = [preset.mask, *(preset.within(span).mask for span in preset.spans)]
        self._role: Role | None = None
        self._share = 1.0
        """How much of its role the face has: a role that comes or goes in mid-shot is faded."""
        self._begun = False
        self._crop = 0
        self._chosen: dict[str, int] = {}
        self._growth: Growth | None = None
        self._occlusion: OcclusionSearch | None = None
        self._leftovers: LeftoverSearch | None = None
        self._every = LOOK_EVERY
        self._next_look = 0
        self._search: BoxSearch | None = None

    def forget(self, before: int) -> None:
        """Let go of the frames before that one."""
        count = max(0, before - self.moving.base)
        self.moving.forget(before)
        length = self.moving.last_frame + 1 - self.moving.base
        for search in (self._occlusion, self._search):
            if search is not None:
                search.move(count, length)

    def plan(
        self, window: Window, wanted: Role | None, *, at_once: bool
    ) -> tuple[Target | None, Eased]:
        """Return the target for the frames that are due; None where nothing is swapped.

        Args:
            window: what is known.
            wanted: the role that the face should have.
            at_once: whether one that it has by now goes without a fade.

        Returns:
            The target, and (frame, track) -> neutral shape and growth of it there.
        """
        if not self._begun:
            self._begun = True
            self._take(wanted)
            if self.moving.first_frame < window.due.start:  # it was too brief to be believed yet
                self._share = 0.0
        elif wanted is not self._role and (at_once or self._role is None or self._share <= 0):
            self._take(wanted)
            self._share = 0.0
        shares = self._shares(window, wanted)
        role, track = self._role, window.track
        if role is None or role.keep or not window.rows():
            return None, {}
        self._crop = self._crop_for(track)
        plan = fates(
            track,
            window.times_s,
            self._preset,
            fade_in=track.first_frame in {self.moving.first_frame} - window.cuts,
            fade_out=self.moving.ended and track.last_frame + 1 not in window.cuts,
            mask_of=self._mask_of,
        )
        target = Target(
            track, role.references, plan, self._crop, self._choices(window, role), role.seed,
            strength=role.strength, strengths=role.strengths, expression=role.expression,
        )  # fmt: skip
        target = self._searched_for(target, window)
        goal = self._leftovers_of(target, window)
        eased: Eased = {}
        for row in window.rows():
            step_s = window.step_s(row)
            self._growth = _eased(self._growth, goal, step_s)
            frame = track.first_frame + row
            eased[frame, track.id] = self.moving.neutral(step_s), self._growth
        return replace(target, frames=_shared(plan, window.rows(), shares)), eased

    def _take(self, role: Role | None) -> None:
        """Have that role from now on."""
        if role is not self._role:
            self._role = role
            self._chosen, self._growth, self._leftovers, self._search = {}, None, None, None
            self._every, self._next_look = LOOK_EVERY, 0

    def _shares(self, window: Window, wanted: Role | None) -> dict[int, float]:
        """Return row -> how much of its role the face has there, on the way to the wanted one."""
        fade_s, shares = self._mask_of(self._preset).fade_s, {}
        for row in window.rows():
            change = window.step_s(row) / max(fade_s, 1e-6)
            change = change if wanted is self._role else -change
            self._share = min(1.0, max(0.0, self._share + change))
            shares[row] = self._share
        return shares

    def _crop_for(self, track: Track) -> int:
        """Return the size of the crop: as for a clip, with room for a head that comes nearer.

        A crop of another size looks a little sharper or softer, so it only grows, and seldom.
        """
        largest = self._preset.composite.max_size
        needed = crop_size(track, self._resolution, largest)
        if needed <= self._crop:
            return self._crop
        return crop_size(track, self._resolution, largest, room=NEARER)

    def _choices(self, window: Window, role: Role) -> dict[str, list[int]]:
        """Choose for every part among its references, going on from the frame before."""
        rows, count = window.rows(), len(window.track)
        chosen: dict[str, list[int]] = {}
        for part, group in role.references.items():
            out = [0] * count
            if len(group) > 1:
                shown = [
                    expression(finite(shape))
                    for shape in window.track.landmarks[rows.start : rows.stop]
                ]
                given = [reference.expression for reference in group]
                before = self._chosen.get(part)
                found = choose_references(part, shown, given, self._preset.guide.hysteresis, before)
                out[rows.start : rows.stop] = [int(i) for i in found]
                self._chosen[part] = int(found[-1])
            chosen[part] = out
        return chosen

    # ------------------------------------------------------------------------- looking

    def _searched_for(self, target: Target, window: Window) -> Target:
        """Return the target with what stands in front of it, and the boxes of its parts."""
        length, times_s, rows = len(target.track), window.times_s, window.rows()
        # Looked at where it is painted, and as far ahead as frames count for those that are due.
        ahead = window.seen_rows(float(times_s[rows[-1]]) + WORN_S)
        used = {
            row: int(target.frames.source[row]) for row in ahead if target.frames.weight[row] > 0
        }
        if any(mask.occluders != "off" for mask in self._settings):
            if self._occlusion is None:
                self._occlusion = OcclusionSearch(self._boxes.occluders, length)
            self._occlusion.move(0, length)
            for row, source in used.items():
                if not self._occlusion.looked_at(row):
                    crop, landmarks, matrix = self._cut(target, window, row, source, SIZE)
                    size = window.pictures[target.track.first_frame + row].shape[1::-1]
                    seen = shown_of(matrix, size, SIZE)
                    self._occlusion.look(row, crop, landmarks, seen)
            smooth_s = self._preset.track.smooth_s
            occlusion = self._occlusion.finish(times_s, smooth_s, rows)
            target = replace(target, occlusion=occlusion)
        parts = self._searched(target.parts)
        detector, config = self._boxes.load(parts), self._preset.mask
        if detector is None:
            return target
        if self._search is None:
            self._search = BoxSearch(detector, config, parts, length)
        self._search.move(0, length)
        for row, source in used.items():
            if (
                not self._search.looked_at(row)
                and (target.track.first_frame + row) % config.detector_every == 0
            ):
                crop, landmarks, _ = self._cut(target, window, row, source, target.crop_size)
                self._search.look(row, crop, landmarks)
        boxes = box_frames(config, self._preset.track.smooth_s, self._info)
        return replace(target, boxes=self._search.finish(*boxes))

    def _leftovers_of(self, target: Target, window: Window) -> Growth | None:
        """Return how far old parts reach, by what was seen so far."""
        if not any(mask.leftovers for mask in self._settings):
            return None
        if self._leftovers is None:
            self._leftovers = LeftoverSearch(target.parts)
        for row in window.seen_rows(np.inf):
            frame = target.track.first_frame + row
            if frame < self._next_look or target.frames.weight[row] <= 0:
                continue
            self._next_look = frame + self._every
            source = int(target.frames.source[row])
            crop, landmarks, _ = self._cut(target, window, row, source, LEFTOVER_SIZE)
            self._leftovers.look(row, crop, landmarks)
            if self._leftovers.looks >= MOST_LOOKS:
                self._leftovers.thin()
                self._every *= 2
        return self._leftovers.finish() or None

    @staticmethod
    def _cut(
        target: Target, window: Window, row: int, source: int, size: int
    ) -> tuple[Bytes, Floats, Matrix]:
        picture = window.pictures[target.track.first_frame + row]
        return cut_face(target.track.landmarks[source], picture, size)


def _eased(now: Growth | None, goal: Growth | None, step_s: float) -> Growth | None:
    """Return how far parts reach a step later, on the way to `goal`."""
    if now is None or goal is None:
        return goal
    share = -np.expm1(-step_s / SETTLE_S)
    out = {}
    for part, far in goal.items():
        before = now.get(part, far)
        moved = before + (far - before) * share
        out[part] = np.where((moved < NOTHING) & (far <= 0), 0.0, moved).astype(np.float32)
    return out


def _shared(plan: TrackPlan, rows: range, shares: Mapping[int, float]) -> TrackPlan:
    """Return a plan of the due rows alone, with a face's share of its role."""
    weight = np.zeros_like(plan.weight)
    state: list[FrameState] = list(plan.state)
    reason = list(plan.reason)
    for row in rows:
        weight[row] = plan.weight[row] * shares[row]
        if shares[row] < 1.0 and plan.weight[row] > 0:
            state[row] = "faded" if weight[row] > 0 else "left"
            reason[row] = reason[row] or "not_cast"
    return TrackPlan(weight, plan.source, tuple(state), tuple(reason))
