"""A plan of noise, small, with all that a plan may hold."""

from __future__ import annotations

import zlib

import numpy as np

from fapvideo.mask.leftovers import SAMPLES
from fapvideo.mask.occlusion import TrackOcclusion
from fapvideo.mask.open_set import TrackBoxes
from fapvideo.mask.policy import TrackPlan
from fapvideo.nets.occlusion import SIZE
from fapvideo.plan.targets import Plan, Target
from fapvideo.structs import NUM_LANDMARKS, Reference, Track

RNG = np.random.default_rng(3)


def random(*shape: int) -> np.ndarray:
    return RNG.random(shape).astype(np.float32)


def track(number: int, length: int) -> Track:
    shape = (NUM_LANDMARKS, 3)
    return Track(number, 10 * number, random(length, *shape), random(length), random(length),
                 random(*shape))  # fmt: skip


def reference(part: str, path: str) -> Reference:
    points = random(NUM_LANDMARKS, 3)
    return Reference(part, path, "0" * 64, 0.5, random(8, 8, 3), points, points + 1,
                     {"smile": 0.25}, random(4, 6), "tower 64px", random(4), False)  # fmt: skip


def small_plan() -> Plan:
    """Return a plan of three tracks, two of which are swapped."""
    tracks = (track(0, 5), track(3, 4))
    cast = {"eyes": (reference("eyes", "a.png"),),
            "mouth": (reference("mouth", "a.png"), reference("mouth", "b.png"))}  # fmt: skip
    other = {"mouth": cast["mouth"][1:]}
    fate = TrackPlan(random(5), np.arange(5), ("swapped",) * 4 + ("left",), ("",) * 4 + ("jumps",))
    boxes = TrackBoxes({"mouth": random(4, 4)}, {"glasses": random(4, 4)}, {"glasses": random(4)})
    maps = [zlib.compress(bytes([level]) * SIZE * SIZE) for level in (3, 200)]
    ends = np.cumsum([0, len(maps[0]), 0, len(maps[1])])
    front = TrackOcclusion(np.frombuffer(b"".join(maps), np.uint8), ends,
                           {"eyes": random(4, 2), "mouth": random(4, 1)})  # fmt: skip
    later = TrackPlan(random(4), np.zeros(4, np.int64), ("held",) * 4, ("profile",) * 4)
    targets = (
        Target(tracks[0], cast, fate, 128, {"eyes": [0] * 5, "mouth": [0, 1, 1, 0, 0]}, 7),
        Target(
            tracks[1],
            other,
            later,
            192,
            {"mouth": [0] * 4},
            2**62,
            boxes,
            0.25,
            front,
            {"mouth": np.full((1, SAMPLES), 0.05, np.float32)},
            {"mouth": 0.5},
            {"mouth": 1.25},
        ),
    )
    return Plan(
        np.arange(50) / 25,
        (30,),
        (*tracks, track(4, 2)),
        targets,
        ("track 3: no nose",),
        {0: 0, 3: 0, 4: 4},
        {0: random(6), 4: random(6)},
        {0: "left 1", 3: "left 1"},
        {4: "Anna"},
        np.arange(50) % 12 == 0,
        np.arange(50, dtype=np.uint32),
        2,
        {4: random(8)},
    )
