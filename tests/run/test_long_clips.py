"""A long clip takes no more memory than a short one, from landmarks to plan and books."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from runs import swapper

from fapvideo import stream_info

CODE = """
import json, resource, sys, tempfile
from pathlib import Path
import numpy as np
from fapvideo.config.schema import MaskConfig, TrackConfig
from fapvideo.mask.policy import plan_track
from fapvideo.ops import mesh
from fapvideo.ops.memory import release
from fapvideo.ops.scratch import Rows
from fapvideo.plan.targets import Plan, Target
from fapvideo.structs import Face
from fapvideo.track.tracker import SHAPE, FaceTracker, _Open

frames, scratch = int(sys.argv[1]), Path(tempfile.mkdtemp(dir=sys.argv[2]))
chance = np.random.default_rng(0)
times = np.arange(frames) / 25
shape = (mesh.canonical() * 60 + 200).astype(np.float32)
tracker = FaceTracker(TrackConfig(), scratch)
rows = Rows(scratch / "track0.f32", SHAPE)
track = _Open(0, 0, rows, Face(np.zeros(4, np.float32), shape, 1.0))
for number in range(frames):
    rows.append(shape + chance.normal(0, 0.2, SHAPE).astype(np.float32))
    track.presence.append(1.0)
    track.faults.append("")
done = tracker._finish(track, times)
fates = plan_track(done, MaskConfig(), times, fade_in=False, fade_out=False)
target = Target(done, {}, fates, 128, {}, 0)
plan = Plan(times, (), (done,), (target,))
swapped = 0
for frame in range(frames):
    ((_, place),) = plan.placements(frame)
    swapped += place.weight > 0
    if frame % 256 == 0:
        release(done.landmarks)
used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps({"swapped": int(swapped), "mib": used / 1024}))
"""


@pytest.mark.slow
def test_ten_times_the_frames_take_the_same_memory(tmp_path) -> None:
    """In a process each, since the largest resident size never falls again."""
    found = {}
    for frames in (2_000, 20_000):
        command = [sys.executable, "-c", CODE, str(frames), str(tmp_path)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        found[frames] = json.loads(done.stdout)
        assert found[frames]["swapped"] == frames
    assert found[20_000]["mib"] < 1.06 * found[2_000]["mib"], found


def test_a_cpu_takes_fewer_of_large_frames() -> None:
    """Some ten batches are under way at once; a batch of four of 1080p took 300 MiB more."""
    sizes = {(640, 480): 4, (1280, 720): 2, (1920, 1080): 1, (3840, 2160): 1}
    with swapper() as one:
        engine = one._bench.engine()
        assert {size: engine.batch(stream_info(*size, 25)) for size in sizes} == sizes
