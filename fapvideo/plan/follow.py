"""Following every face through the whole clip: the part of the first pass that takes time."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from fapvideo.config.schema import TrackConfig
from fapvideo.plan.targets import Plan
from fapvideo.structs import FrameBatch
from fapvideo.track.identity import FaceSampler, link
from fapvideo.track.tracker import FaceTracker


def follow(
    batches: Iterable[FrameBatch],
    frame_rate: float,
    config: TrackConfig,
    scratch: Path,
    advance: Callable[[int], None] = lambda frames: None,
) -> Plan:
    """Return a plan with all tracks, of whom each is, and no targets yet (`decide` chooses them).

    Args:
        batches: the whole clip.
        frame_rate: frames per second.
        config: `[track]`.
        scratch: an existing folder for the landmarks; needed as long as the result is used.
        advance: called with the number of frames done.
    """
    tracker = FaceTracker(config, scratch)
    sampler = FaceSampler()
    times: list[float] = []
    for batch in batches:
        for picture in batch.rgb:
            tracker.update(picture)
            sampler.look(picture, tracker.seen())
        times += batch.times_s.tolist()
        advance(len(batch))
    tracks = tracker.tracks(frame_rate)
    looks = sampler.looks(tracks)
    return Plan(
        np.array(times, np.float64),
        tuple(tracker.cuts),
        tracks,
        (),
        people=link(tracks, looks),
        looks=looks,
    )
