"""A plan that moves along with a stream: of frames that are due, knowing those up to the newest.

The first pass of a clip looks at all of it. Here the same steps (`track`, `plan.decide`,
`plan.search`) see a window: some frames that were shown, those that wait, and the newest. What they
would learn from the whole clip is learned bit by bit and carried along, and takes effect without
haste: the neutral shape, how far old parts reach, the size of crops, who is who. What the window
does not show in time is cut to it: fades ahead of poor frames last no longer than it looks ahead.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from fapvideo.config.schema import MaskConfig, RunPreset
from fapvideo.mask.occlusion import WORN_S
from fapvideo.ops.display import square_pixels
from fapvideo.plan.follow import Recognise
from fapvideo.plan.moving_cast import MovingCast
from fapvideo.plan.moving_face import Eased, MovingFace, Window
from fapvideo.plan.people import Cast
from fapvideo.plan.search import BoxFinder
from fapvideo.plan.targets import Plan, Target
from fapvideo.structs import Bytes, Placement, Track, VideoInfo
from fapvideo.track.moving import MovingTrack
from fapvideo.track.tracker import FaceTracker, shortest_track

SPARE_S = 0.1
"""Time of frames that were shown and are kept beyond what is known to be needed, seconds."""
CUTS = 256
"""Cuts that are remembered."""


@dataclass(frozen=True, slots=True)
class StreamPlan(Plan):
    """A plan of some frames of a stream; `times_s` are those of its window."""

    eased: Eased = field(default_factory=dict)
    begun: bool = False
    """Whether somebody was swapped by now."""

    @property
    def swaps(self) -> bool:
        """Whether somebody is swapped in the stream, as far as it is known."""
        return self.begun

    def placements(self, frame: int) -> list[tuple[Target, Placement]]:
        """Return the faces to be swapped in one frame."""
        out = []
        for target, place in Plan.placements(self, frame):
            neutral, growth = self.eased[frame, target.track.id]
            track = replace(target.track, neutral=neutral)
            out.append((replace(target, track=track, growth=growth), place))
        return out


class MovingPlan:
    """Follows the faces of a stream; plans frames that are due."""

    def __init__(
        self,
        preset: RunPreset,
        cast: Cast,
        boxes: BoxFinder,
        resolution: int,
        searched: Callable[[Sequence[str]], Sequence[str]],
        info: VideoInfo,
        lookahead_s: float,
        recognise: Recognise | None = None,
    ) -> None:
        """Begin before the first frame.

        Args:
            preset: of the session.
            cast: who gets which references.
            boxes: has what looks for boxes and occluders.
            resolution: of the model.
            searched: from swapped parts to those whose boxes the painter needs.
            info: of the stream.
            lookahead_s: how far it sees ahead, seconds.
            recognise: see `plan.follow.follow`.
        """
        self.cast = MovingCast(cast, preset, recognise)
        self.cuts: deque[int] = deque(maxlen=CUTS)
        self._preset, self._info, self._lookahead_s = preset, info, lookahead_s
        self._tracker = FaceTracker(preset.track, None)
        self._times: list[float] = []
        self._base = self._count = 0
        self._begun = False
        self._pictures: dict[int, Bytes] = {}
        self._faces: dict[int, MovingFace] = {}
        self._of_faces = boxes, resolution, searched, info
        fades = [self.mask(one) for one in (preset, *map(preset.within, preset.spans))]
        reach = max(mask.fade_s + mask.hold_s for mask in fades)
        self._history_s = max(4 * preset.track.smooth_s, WORN_S, reach) + SPARE_S

    def mask(self, preset: RunPreset) -> MaskConfig:
        """Return `[mask]` with fades and holds no longer than can be seen ahead."""
        mask = preset.mask
        fade_s = min(mask.fade_s, self._lookahead_s)
        hold_s = min(mask.hold_s, max(0.0, self._lookahead_s - fade_s))
        return mask.model_copy(update={"fade_s": fade_s, "hold_s": hold_s})

    def see(self, rgb: Bytes, time_s: float) -> None:
        """Take the next frame as displayed, uint8 [H, W, 3]."""
        picture, frame = square_pixels(rgb, self._info), self._count
        self._count += 1
        self._times.append(time_s)
        self._pictures[frame] = picture
        self._tracker.update(picture, time_s)
        self.cast.look(picture, self._tracker.seen())
        begins, measured = self._tracker.newest()
        if begins:
            self.cuts.append(frame)
        for face in self._faces.values():
            face.moving.ended |= all(one.track_id != face.moving.id for one in measured)
        for one in measured:
            if one.track_id not in self._faces:
                track = MovingTrack(one.track_id, frame)
                self._faces[one.track_id] = MovingFace(
                    track, self._preset, self.mask, *self._of_faces
                )
            self._faces[one.track_id].moving.append(one)

    def plan(self, first: int, stop: int) -> StreamPlan:
        """Return the plan of the frames from `first` up to `stop`; those before are let go of.

        Raises:
            ConsentError: somebody who is protected was to be swapped, and that is refused.
        """
        self._forget(first)
        smooth_s = self._preset.track.smooth_s
        shortest = shortest_track(np.array(self._times), self._count)
        tracks: dict[int, Track] = {}
        for number, face in self._faces.items():
            track = face.moving.track(self._times_of(face.moving), smooth_s)
            lived = face.moving.base + face.moving.seen - face.moving.first_frame
            if track is not None and lived >= shortest:
                tracks[number] = track
        here = {n: t for n, t in tracks.items() if t.first_frame < stop and t.last_frame >= first}
        firsts = {number: face.moving.first_frame for number, face in self._faces.items()}
        self.cast.decide(here, firsts, tuple(self.cuts), self._times[first - self._base])
        targets: list[Target] = []
        eased: Eased = {}
        starts = frozenset({0, *self.cuts})
        for number, track in here.items():
            times_s = self._times_of(self._faces[number].moving)[: len(track)]
            window = Window(track, times_s, range(first, stop), self._pictures, starts)
            role = self.cast.roles.get(number)
            forbidden = number in self.cast.protected
            wanted = None if role is None or forbidden else self.cast.cast[role]
            target, states = self._faces[number].plan(window, wanted, at_once=forbidden)
            eased.update(states)
            if target is not None:
                targets.append(target)
        for frame in range(first, stop):
            del self._pictures[frame]
        self._begun |= bool(targets)
        return StreamPlan(
            np.array(self._times),
            tuple(self.cuts),
            tuple(here.values()),
            tuple(targets),
            protected=dict(self.cast.protected),
            eased=eased,
            begun=self._begun,
        )

    def _times_of(self, moving: MovingTrack) -> NDArray[np.float64]:
        start = moving.base - self._base
        return np.array(self._times[start : moving.last_frame + 1 - self._base])

    def _forget(self, first: int) -> None:
        """Let go of what is too old to matter for the frames from `first` on."""
        oldest_s = self._times[first - self._base] - self._history_s
        times = np.array(self._times)
        base = self._base + min(int(np.searchsorted(times, oldest_s)), first - self._base)
        for number, face in list(self._faces.items()):
            if face.moving.ended and face.moving.last_frame < first:
                track = face.moving.track(self._times_of(face.moving), 0.0)
                self.cast.forget(track, number, face.moving.first_frame)
                del self._faces[number]
            else:
                face.forget(base)
        del self._times[: base - self._base]
        self._base = base
