"""Following every face through the whole clip: the part of the first pass that takes time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np

from fapvideo.config.schema import TrackConfig
from fapvideo.ops.display import square_pixels
from fapvideo.plan.strangers import Strangers
from fapvideo.plan.targets import Plan
from fapvideo.structs import Bytes, Face, Floats, FrameBatch, Track, VideoInfo
from fapvideo.track.identity import FaceSampler, Shot, link
from fapvideo.track.landmarks import FaceMesh
from fapvideo.track.tracker import FaceTracker

Recognise = Callable[[Bytes, Floats], Floats]
"""Makes numbers [D] of the face with these landmarks [478, 3] in a picture."""
Look = Callable[[Bytes, Sequence[tuple[int, Face]]], None]
"""Shown every frame's picture, with square pixels, and the tracks and faces measured in it."""


def follow(
    batches: Iterable[FrameBatch],
    info: VideoInfo,
    config: TrackConfig,
    scratch: Path,
    advance: Callable[[int], None] = lambda frames: None,
    *,
    mesh: FaceMesh | None = None,
    look: Look | None = None,
    identify_single: bool = True,
    recognise: Recognise | None = None,
    photos: Sequence[Floats] = (),
) -> Plan:
    """Return a plan with all tracks, of whom each is, and no targets yet (`decide` chooses them).

    Args:
        batches: the whole clip.
        info: of the clip; says how wide its pixels are.
        config: `[track]`.
        scratch: an existing folder for the landmarks; needed as long as the result is used.
        advance: called with the number of frames done.
        mesh: what measures, if it is to be another one than the program's.
        look: takes part in looking at the pictures.
        identify_single: whether to find out what a track looks like that is the only one; who is
            meant by a photo depends on it, and nothing else.
        recognise: a second opinion about who a track is, for `Plan.faces`.
        photos: of the only faces that matter (`Role.looks`); others may rest (`Plan.rested`).
    """
    tracker = FaceTracker(config, scratch, mesh)
    sampler = FaceSampler()
    strangers = Strangers(photos, sampler, tracker)
    watches = (sampler.look, strangers.look if photos else None, look)
    times: list[float] = []
    keys: list[bool] = []
    fingerprints: list[int] = []
    for batch in batches:
        for rgb, time_s in zip(batch.rgb, batch.times_s, strict=True):
            picture = square_pixels(rgb, info)
            tracker.update(picture, float(time_s))
            for watch in filter(None, watches):
                watch(picture, tracker.seen())
        times += batch.times_s.tolist()
        keys += [frame.key_frame for frame in batch.frames]
        fingerprints += [frame.fingerprint() for frame in batch.frames]
        advance(len(batch))
    tracks = tracker.tracks()
    looks = sampler.looks(tracks) if identify_single or len(tracks) > 1 else {}
    return Plan(
        np.array(times, np.float64),
        tuple(tracker.cuts),
        tracks,
        (),
        people=link(tracks, looks),
        looks=looks,
        faces=_recognised(tracks, sampler, recognise) if recognise is not None else {},
        keys=np.array(keys, np.bool_),
        fingerprints=np.array(fingerprints, np.uint32),
        rested=strangers.among(tracks),
        overlooked=tracker.overlooked,
    )


def _recognised(
    tracks: Sequence[Track], sampler: FaceSampler, recognise: Recognise
) -> dict[int, Floats]:
    """Return track id -> the median of what `recognise` makes of its best looks."""
    seen = {track.id: sampler.best(track.id) for track in tracks}
    return {number: numbers_of(shots, recognise) for number, shots in seen.items() if shots}


def numbers_of(shots: Sequence[Shot], recognise: Recognise) -> Floats:
    """Return the median of what `recognise` makes of these looks at one face."""
    return np.median([recognise(shot.crop, shot.points) for shot in shots], axis=0)
