"""Letting those rest who are nobody in the cast, while a clip is followed.

Twenty people in a shot would cost twenty meshes a frame, and only so many are followed. Where
photos say who is meant, a face that is like none of them is measured now and then, and makes room
for others. Who somebody is, is not known for sure before the end of the clip: whoever was let rest
by mistake is in `Strangers.ever`, and the clip is followed again (`Engine.plan`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from fapvideo.structs import Bytes, Face, Floats, Track
from fapvideo.track.identity import SAMPLES, UNLIKE, FaceSampler, Looks, apart
from fapvideo.track.tracker import FaceTracker


class Strangers:
    """Compares faces with photos while they are followed."""

    def __init__(
        self, photos: Sequence[Floats], sampler: FaceSampler, tracker: FaceTracker
    ) -> None:
        """Compare the looks that `sampler` keeps with `photos`; let tracks of `tracker` rest."""
        self.ever: set[int] = set()
        """Ids of tracks that have rested."""
        self._photos, self._sampler, self._tracker = photos, sampler, tracker
        self._looks: Looks | None = None
        self._seen: dict[int, int] = {}

    def look(self, rgb: Bytes, faces: Iterable[tuple[int, Face]]) -> None:
        """Judge the faces of the newest frame, each at its 1st, 5th, 13th, 29th... sight."""
        for number, _ in faces:
            count = self._seen[number] = self._seen.get(number, 0) + 1
            if (count + 3) & (count + 2):  # more than one bit: none of those
                continue
            self._looks = self._looks or Looks()
            looks = self._sampler.look_of(number, self._looks)
            if looks is None:
                continue
            limit = UNLIKE[len(self._sampler.best(number)) >= SAMPLES]
            if min(apart(looks, photo) for photo in self._photos) > limit:
                self._tracker.resting.add(number)
                self.ever.add(number)
            else:
                self._tracker.resting.discard(number)

    def among(self, tracks: Sequence[Track]) -> tuple[int, ...]:
        """Return the ids of those tracks that have rested."""
        return tuple(track.id for track in tracks if track.id in self.ever)
