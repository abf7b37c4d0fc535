"""Peak memory of whole runs on clips of different lengths, each in a process of its own.

    python benchmarks/memory.py [--frames 200 2000] [--set key=value] [--quick] [--out FILE]

The clip is the packaged brand face, talking, 640x360, a second that goes to and fro; so it costs
little to make, and all lengths show the same. The bundle is the tiny one: memory that a run holds
on to frame by frame is looked for, not that of networks. `--frames 200 2000 20000` takes hours;
with `--quick` what a network said of a picture is remembered, nothing is painted, nothing in front
of faces is looked for, and pictures are small: of the rest, from the decoder over landmarks, books
and segments to the signed output, all is as ever.
Written to benchmarks/results/memory.json: per length the largest resident set, the part of it that
is the process' own (`anonymous`) when it was largest, and seconds.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from about import about

SIZE, QUICK_SIZE = (640, 360), (192, 108)
RESULTS = Path(__file__).parent / "results" / "memory.json"


def memory_of(pid: int) -> tuple[int, int]:
    """Return the bytes of a process' resident set, and of the part that is its own."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    found = dict(line.split(":", 1) for line in lines)
    return tuple(int(found[name].split()[0]) << 10 for name in ("VmRSS", "RssAnon"))  # type: ignore[return-value]


@contextmanager
def remembered() -> Iterator[None]:
    """Let every picture be measured once, and be painted as it is."""
    from unittest.mock import patch

    from fapvideo.paint.guided import GuidedPainter
    from fapvideo.paint.painter import FaceCrop, FaceJob
    from fapvideo.structs import Floats, PartMasks
    from fapvideo.track.detector import FaceDetector
    from fapvideo.track.landmarks import FaceMesh

    def prepare(_: object, face: FaceCrop) -> FaceJob:
        hole = np.zeros(face.picture.shape[:2], np.float32)
        hole[40:80, 40:80] = 1
        return FaceJob(face, PartMasks({}, hole, hole, 0 * hole), face.picture, {})

    def paint(_: object, jobs: Sequence[FaceJob]) -> list[Floats]:
        return [job.guide for job in jobs]

    def once(kind: type, name: str) -> Any:
        known: dict[Any, Any] = {}
        genuine = getattr(kind, name)

        def call(self: Any, rgb: Any, *rest: Any, **named: Any) -> Any:
            key = hash(rgb.tobytes())
            if key not in known:
                known[key] = genuine(self, rgb, *rest, **named)
            return known[key]

        return patch.object(kind, name, call)

    measured = [once(FaceDetector, name) for name in ("__call__", "near", "among")] + [
        once(FaceMesh, "from_landmarks"),
        once(FaceMesh, "from_box"),
        patch.object(GuidedPainter, "prepare", prepare),
        patch.object(GuidedPainter, "paint", paint),
    ]
    with ExitStack() as stack:
        for each in measured:
            stack.enter_context(each)
        yield


def one_run(clip: Path, overrides: dict[str, str], quick: bool) -> None:
    """Swap the clip in this process; print what the run says of itself."""
    from fapvideo.config.presets import load_preset
    from fapvideo.swapper import VideoSwapper

    wanted = {"bundle": "tiny", "composite.check": False, "video.speed": "ultrafast"}
    if quick:
        wanted |= {"mask.occluders": "off", "mask.leftovers": False}
    preset = load_preset("mouth_only", {**wanted, **overrides})
    stages: dict[str, int] = {}

    def watch(now: object) -> None:
        stage = now.stage  # type: ignore[attr-defined]
        stages[stage] = max(stages.get(stage, 0), memory_of(os.getpid())[0])

    with ExitStack() as stack:
        if quick:
            stack.enter_context(remembered())
        swapper = stack.enter_context(VideoSwapper(preset, "cpu"))
        report = swapper.run(clip, clip.with_suffix(".out.mp4"), progress=watch)
    told = {"frames": report.frames, "peak_rss": report.peak_rss_bytes, "stages": stages}
    print(json.dumps(told))


def watched(command: Sequence[str]) -> tuple[int, int, str]:
    """Run a program; return its largest resident set, what was its own of that, and its output."""
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    peak = own = 0
    while child.poll() is None:
        try:
            rss, anonymous = memory_of(child.pid)
        except (OSError, KeyError):  # it has just ended
            break
        peak, own = max((peak, own), (rss, anonymous))
        time.sleep(0.05)
    text, _ = child.communicate()
    if child.returncode:
        raise SystemExit(f"{' '.join(command)} failed")
    return peak, own, text


def measure(frames: int, overrides: list[str], quick: bool) -> dict[str, object]:
    """Run a clip of that many frames in a fresh process; return what it took."""
    from talking import write_clip  # with libraries that are not this one's to bring into the run

    with tempfile.TemporaryDirectory() as folder:
        clip = Path(folder) / "clip.mp4"
        write_clip(clip, frames, QUICK_SIZE if quick else SIZE)
        started = time.perf_counter()
        command = [sys.executable, __file__, "--clip", str(clip)]
        command += ["--quick"] if quick else []
        command += [word for item in overrides for word in ("--set", item)]
        _, own, text = watched(command)
        told = json.loads(text.splitlines()[-1])
        return {
            "frames": frames,
            "swapped": told["frames"]["swapped"],
            "peak_rss_mib": round(told["peak_rss"] / 2**20, 1),
            "anonymous_mib": round(own / 2**20, 1),
            "stages_mib": {name: round(size / 2**20, 1) for name, size in told["stages"].items()},
            "seconds": round(time.perf_counter() - started, 1),
        }


def main() -> None:
    """Parse, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, nargs="+", default=[200, 2000])
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--clip", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.clip:
        from fapvideo.config.overrides import parse_overrides

        one_run(given.clip, parse_overrides(given.set), given.quick)
        return
    rows = []
    for frames in given.frames:
        rows.append(measure(frames, given.set, given.quick))
        print(json.dumps(rows[-1]), flush=True)
    known = json.loads(given.out.read_text("utf-8")) if given.out.exists() else {}
    command = f"python benchmarks/memory.py {' '.join(sys.argv[1:])}".strip()
    known |= about(known.get("what", "Largest resident memory of runs by length, MiB."), command)
    known["quick" if given.quick else "whole"] = {
        "size": QUICK_SIZE if given.quick else SIZE,
        "rows": rows,
    }
    given.out.write_text(json.dumps(known, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
