"""Who of a stream is whom in the cast, decided while nobody knows yet who will come.

A face gets its role when it is first to be shown, from what was seen up to then. Where it matters
what faces look like all roles are given anew after 1, 2, 4, ... seconds of a face, since a better
look may tell more. Whoever went is remembered as an average face with its looks, so that somebody
who comes back is known.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from fapvideo.config.schema import RunPreset
from fapvideo.plan.casting import assign
from fapvideo.plan.decide import found_protected
from fapvideo.plan.follow import Recognise, numbers_of
from fapvideo.plan.people import Cast
from fapvideo.plan.targets import Plan
from fapvideo.structs import Bytes, Face, Floats, Track
from fapvideo.track.choose import area, select
from fapvideo.track.identity import FaceSampler, Looks, link
from fapvideo.trust.protected import read_protected

REMEMBERED = 64
"""Tracks that have gone and are remembered; those with a role are forgotten last."""
TAKES_OVER = 2.0
"""How many times the area of the face that is swapped another one needs to take its place."""


class MovingCast:
    """Gives the faces of a stream their roles."""

    def __init__(self, cast: Cast, preset: RunPreset, recognise: Recognise | None = None) -> None:
        """Give the roles of `cast`; see `plan.casting.assign`, and `plan.follow` of `recognise`."""
        self.cast, self._preset = cast, preset
        self.roles: dict[int, int | None] = {}
        """Track -> index of its role; None: it stays as it is. Absent: not decided yet."""
        self.protected: dict[int, str] = {}
        """Track -> name of those who were to be swapped, and must not be."""
        self.used: set[int] = set()
        """Roles that somebody had."""
        self._by_rule = len(cast) == 1 and cast[0].who is None
        self._recognises = not self._by_rule or bool(read_protected())
        self._sampler = FaceSampler()
        self._net: Looks | None = None
        self._looks: dict[int, Floats] = {}
        self._recognise_by = recognise
        self._numbers: dict[int, Floats] = {}
        """Track -> what `recognise` makes of it."""
        self._gone: list[tuple[Track, int | None]] = []
        """Averages of tracks that have gone, and their roles."""
        self._again: dict[int, tuple[float, float]] = {}
        """Track -> since when it is known, and when it is looked at next, seconds."""
        self._beside: dict[int, float] = {}
        """Track -> area of the face that was swapped beside it."""

    def look(self, rgb: Bytes, faces: Sequence[tuple[int, Face]]) -> None:
        """Take a frame uint8 [H, W, 3] with its measured faces by track."""
        if self._recognises:
            self._sampler.look(rgb, faces)

    def decide(
        self,
        tracks: Mapping[int, Track],
        firsts: Mapping[int, int],
        cuts: Sequence[int],
        now: float,
    ) -> None:
        """Give roles to the tracks that are there.

        Args:
            tracks: track -> what is known of it within the window.
            firsts: track -> its first frame.
            cuts: first frames of shots.
            now: time of the frame that is shown next.

        Raises:
            ConsentError: somebody who is protected was to be swapped, and that is refused.
        """
        if self._by_rule and self._preset.track.faces == "largest":
            self._take_largest(tracks)
        elif self._by_rule:
            chosen = {
                track.id for track in select(tuple(tracks.values()), self._preset.track.faces)
            }
            for number in tracks.keys() - self.roles.keys():
                self.roles[number] = 0 if number in chosen else None
        due = [n for n in tracks if n not in self._again or now >= self._again[n][1]]
        if due and self._recognises:
            for number in due:
                self._look_again(number, now)
            self._recognise(tracks, firsts, cuts)
        self.used |= {role for role in self.roles.values() if role is not None}

    def forget(self, track: Track | None, number: int, first_frame: int) -> None:
        """Remember a track that has gone, `track` its last frames, as an average face."""
        role = self.roles.pop(number, None)
        self._sampler.forget(number)
        for kept in (self._again, self._beside, self.protected):
            kept.pop(number, None)
        if track is None or number not in self._looks:
            self._drop(number)
            return
        self._gone.append((average(track, first_frame), role))
        if len(self._gone) > REMEMBERED:
            idle = [one for one in self._gone if one[1] is None] or self._gone
            self._gone.remove(idle[0])
            self._drop(idle[0][0].id)

    def _drop(self, number: int) -> None:
        self._looks.pop(number, None)
        self._numbers.pop(number, None)

    def _take_largest(self, tracks: Mapping[int, Track]) -> None:
        """Choose by size as `select` does; who is swapped stays so unless another is far larger."""
        sizes = {number: area(track) / len(track) for number, track in tracks.items()}
        worth = {
            n: size * (TAKES_OVER if self.roles.get(n) == 0 else 1.0) for n, size in sizes.items()
        }
        chosen: list[Track] = []
        for number in sorted(worth, key=lambda n: -worth[n]):
            track = tracks[number]
            rivals = [
                one
                for one in chosen
                if one.first_frame <= track.last_frame and track.first_frame <= one.last_frame
            ]
            for one in rivals:
                self._beside[number] = max(self._beside.get(number, 0.0), sizes[one.id])
            # Who was seen beside a larger face is not the one that was meant, afterwards either.
            passed_over = sizes[number] < TAKES_OVER * self._beside.get(number, 0.0)
            if not rivals and not (passed_over and self.roles.get(number, 0) is None):
                chosen.append(track)
        for number in tracks:
            self.roles[number] = 0 if any(one.id == number for one in chosen) else None

    def _look_again(self, number: int, now: float) -> None:
        since, _ = self._again.get(number, (now, now))
        self._again[number] = since, now + max(1.0, now - since)
        self._net = self._net or Looks()
        look = self._sampler.look_of(number, self._net)
        if look is not None:
            self._looks[number] = look
        shots = self._sampler.best(number)
        if shots and self._recognise_by is not None:
            self._numbers[number] = numbers_of(shots, self._recognise_by)

    def _recognise(
        self, tracks: Mapping[int, Track], firsts: Mapping[int, int], cuts: Sequence[int]
    ) -> None:
        """Give roles by who people are; leave alone who is protected."""
        here = tuple(average(track, firsts[number]) for number, track in tracks.items())
        known = (*(track for track, _ in self._gone), *here)
        people = link(known, self._looks)
        plan = Plan(
            np.zeros(0), tuple(cuts), known, (), people=people, looks=self._looks,
            faces=self._numbers,
        )  # fmt: skip
        if not self._by_rule:
            roles = assign(plan, self.cast, self._preset.track.faces).roles
            self.roles |= {number: roles.get(number) for number in tracks}
        wanted = [
            number
            for number in tracks
            if (role := self.roles.get(number)) is not None and not self.cast[role].keep
        ]
        self.protected |= found_protected(plan, wanted, self._preset)


def average(track: Track, first_frame: int) -> Track:
    """Return a track from `first_frame` to the last one, with the mean face of what is known."""
    finite = track.landmarks[np.isfinite(track.landmarks).all(axis=(1, 2))]
    mean = finite.mean(axis=0) if len(finite) else track.landmarks[0]
    count = track.last_frame + 1 - first_frame
    none = np.broadcast_to(np.float32(0), (count,))
    faces = np.broadcast_to(mean.astype(np.float32), (count, *mean.shape))
    return Track(track.id, first_frame, faces, none, none, track.neutral)
