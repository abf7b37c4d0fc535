"""Which of the tracks of a clip are meant: `track.faces`."""

from __future__ import annotations

import numpy as np

from fapvideo.ops import mesh
from fapvideo.structs import Track


def select(tracks: tuple[Track, ...], rule: str) -> tuple[Track, ...]:
    """Return the tracks that `TrackConfig.faces` asks for.

    `largest` takes, among faces seen at the same time, the one with the largest area over time.
    """
    if rule == "all":
        return tracks
    kind, _, number = rule.partition(":")
    if kind == "id":
        return tuple(t for t in tracks if t.id == int(number))
    if kind == "left":
        return tuple(t for t in tracks if _rank_from_left(t, tracks) == int(number))
    chosen: list[Track] = []
    for track in sorted(tracks, key=area, reverse=True):
        if all(
            t.first_frame > track.last_frame or t.last_frame < track.first_frame for t in chosen
        ):
            chosen.append(track)
    return tuple(sorted(chosen, key=lambda t: t.id))


def area(track: Track) -> float:
    """Return the squared inter-ocular distance summed over (a sample of) the track's frames."""
    step = max(1, len(track) // 50)
    sizes = [mesh.interocular(shape) ** 2 for shape in track.landmarks[::step]]
    return float(np.mean([size for size in sizes if np.isfinite(size)] or [0.0])) * len(track)


def _rank_from_left(track: Track, tracks: tuple[Track, ...]) -> int:
    """Return 1 for the leftmost of the faces that are there when `track` first appears."""

    def x_of(other: Track) -> float:
        return float(other.landmarks[track.first_frame - other.first_frame, :468, 0].mean())

    frame = track.first_frame
    # Faces of the same shot are found within one search interval of each other.
    beside = [t for t in tracks if t.first_frame <= frame <= t.last_frame]
    return 1 + sum(x_of(other) < x_of(track) for other in beside)
