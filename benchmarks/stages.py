"""CPU seconds that a run spends in each stage, as JSON; does not mind a busy machine.

    python benchmarks/stages.py [CLIP] [--preset brand_avatar] [--set key=value]

Everything computes in one thread here, and seconds are CPU time of that thread: unlike the wall
times in a run's report, they can be compared when other programs share the machine. What the
decoder's and encoder's own threads use is `other_s`.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

os.environ["OMP_NUM_THREADS"] = "1"

import cv2
import torch

from fapvideo import VideoSwapper
from fapvideo.progress import Stopwatch

STAGES = ("decode_s", "track_s", "reference_s", "guide_s", "denoise_s", "composite_s", "encode_s")
EXAMPLE = Path(__file__).parents[1] / "examples/talking_portrait.mp4"


class CpuStopwatch(Stopwatch):
    """Counts the calling thread's CPU time instead of wall time."""

    @contextmanager
    def measure(self, stage: str) -> Iterator[None]:
        """Add the CPU time of a `with` block to `stage`."""
        started = time.thread_time()
        try:
            yield
        finally:
            self.seconds[stage] = self.seconds.get(stage, 0.0) + time.thread_time() - started


def measure(clip: Path, preset: str, overrides: dict[str, str]) -> dict[str, float]:
    """Return the CPU seconds per stage of one run, after a first one that fills the caches."""
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    with (
        tempfile.TemporaryDirectory() as folder,
        VideoSwapper.from_preset(preset, device="cpu", overrides=overrides) as swapper,
        patch("fapvideo.run.work.Stopwatch", CpuStopwatch),
    ):
        for number in range(2):
            started = time.process_time()
            report = swapper.run(clip, Path(folder) / f"{number}.mp4")
            total = time.process_time() - started
    stages = {name: value for name, value in report.timings.items() if name in STAGES}
    frames = report.frames["total"]
    other = total - sum(stages.values())
    rows = {**stages, "other_s": other, "total_s": total, "frames": frames}
    return {name: round(value, 3) for name, value in rows.items()}


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clip", nargs="?", type=Path, default=EXAMPLE)
    parser.add_argument("--preset", default="brand_avatar")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    given = parser.parse_args()
    overrides = dict(item.split("=", 1) for item in given.set)
    print(json.dumps(measure(given.clip, given.preset, overrides), indent=2))


if __name__ == "__main__":
    main()
