"""A session against the two passes: how far its frames are apart, how long they wait, memory.

    python benchmarks/session.py examples/talking_portrait.mp4 --out benchmarks/results/session.json

Both paint the same frames by the same preset. Compared inside whatever either of them changed; the
worst step is the largest change from a frame to the next one, as a multiple of the two-pass one's.
Slip is the distance of the landmarks that crops and masks come from, in inter-ocular distances.
"""

from __future__ import annotations

import argparse
import gc
import json
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import psutil
from about import about

from fapvideo import VideoSwapper
from fapvideo.composite.planes import displayed
from fapvideo.ops import mesh
from fapvideo.ops.files import scratch_folder
from fapvideo.run.session import Session
from fapvideo.structs import Bytes, Floats, VideoFrame
from fapvideo.video.probe import probe
from fapvideo.video.reader import VideoReader

Places = dict[int, Floats]
"""Frame -> landmarks of the face that is painted."""


def two_passes(swapper: VideoSwapper, clip: Path) -> tuple[list[Bytes], Places]:
    """Return the finished pictures, and where the face is."""
    source = VideoReader(probe(clip), swapper.preset.video)
    engine, cast = swapper._bench.engine(), swapper._bench.cast(None, None)[0]
    with scratch_folder() as scratch:
        plan = engine.plan(source, cast, scratch)
        pictures = [
            displayed(frame, source.info)
            for _, swapped in engine.swap(source, plan)
            for frame in swapped.frames
        ]
        places = {
            frame: np.array(place.landmarks)
            for frame in range(plan.frames)
            for _, place in plan.placements(frame)[:1]
        }
    return pictures, places


def streamed(session: Session, frames: list[VideoFrame]) -> tuple[list[Bytes], Places, int]:
    """Return the same of a session, and the most frames that waited in it."""
    pictures: list[Bytes] = []
    places: Places = {}
    waited = 0

    def take(done: list[VideoFrame]) -> None:
        pictures.extend(displayed(frame, session.info) for frame in done)

    for number, frame in enumerate(frames):
        done = session.push(frame)
        if number == 0:
            _listen(session, places)
        take(done)
        waited = max(waited, number + 1 - len(pictures))
    take(session.flush())
    return pictures, places, waited


def _listen(session: Session, places: Places) -> None:
    """Keep where faces are painted, as far as the session's plans say."""
    moving = session._moving
    assert moving is not None
    planned = moving.plan

    def plan(first: int, stop: int) -> Any:
        found = planned(first, stop)
        for frame in range(first, stop):
            for _, place in found.placements(frame)[:1]:
                places[frame] = np.array(place.landmarks)
        return found

    moving.plan = plan  # type: ignore[method-assign]


def compared(clip: list[Bytes], stream: list[Bytes], filmed: list[Bytes]) -> dict[str, float]:
    """Return how far two results are apart inside what either of them changed."""
    psnr, steps = [], []
    for i, (one, other, source) in enumerate(zip(clip, stream, filmed, strict=True)):
        inside = ((one != source) | (other != source)).any(axis=-1)
        if inside.any():
            error = float(((one[inside].astype(float) - other[inside]) ** 2).mean())
            psnr.append(10 * np.log10(255**2 / max(error, 1e-3)))
            if i:
                before, after = (
                    np.abs(now[i][inside].astype(float) - now[i - 1][inside]).mean()
                    for now in (clip, stream)
                )
                steps.append(after / max(before, 0.1))
    return {
        "mean_psnr_db": round(float(np.mean(psnr)), 2),
        "worst_psnr_db": round(float(np.min(psnr)), 2),
        "worst_step": round(float(np.max(steps)), 3),
    }


def slip(clip: Places, stream: Places) -> dict[str, float]:
    """Return how far landmarks are apart, in inter-ocular distances."""
    both = sorted(clip.keys() & stream.keys())
    away = [
        np.linalg.norm(clip[i][:, :2] - stream[i][:, :2], axis=-1).mean()
        / mesh.interocular(clip[i])
        for i in both
    ]
    return {
        "mean_slip": round(float(np.mean(away)), 5),
        "worst_slip": round(float(np.max(away)), 5),
    }


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clip", type=Path)
    parser.add_argument("--frames", type=int, default=0, help="the first so many; 0: all")
    parser.add_argument("--lookahead", type=float, nargs="+", default=[0.25, 0.5, 1.0])
    parser.add_argument("--set", action="append", default=[], help="KEY=VALUE of the preset")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--sheet", type=Path, help="PNG: two-pass over session, eight moments")
    args = parser.parse_args()
    info = probe(args.clip)
    seconds = args.frames / float(info.frame_rate) if args.frames else None
    overrides: dict[str, Any] = dict(item.split("=", 1) for item in args.set)
    overrides |= {"video.end_s": seconds} if seconds else {}
    rows = []
    with VideoSwapper.from_preset("brand_avatar", overrides=overrides) as swapper:
        source = VideoReader(info, swapper.preset.video)
        at_once = swapper._bench.engine().batch(info)
        frames = [frame for batch in source.batches(8) for frame in batch.frames]
        filmed = [displayed(frame, info) for frame in frames]
        started = time.perf_counter()
        clip, places = two_passes(swapper, args.clip)
        whole_s = time.perf_counter() - started
        for lookahead_s in args.lookahead:
            gc.collect()
            before = psutil.Process().memory_info().rss
            started = time.perf_counter()
            session = swapper.session(info, lookahead_s)
            stream, found, waited = streamed(session, frames)
            rows.append(
                {
                    "lookahead_s": lookahead_s,
                    **compared(clip, stream, filmed),
                    **slip(places, found),
                    "latency_frames": waited,
                    "latency_s": round(waited / float(info.frame_rate), 3),
                    "seconds": round(time.perf_counter() - started, 1),
                    "rss_mib": round(psutil.Process().memory_info().rss / 2**20),
                    "rss_grown_mib": round((psutil.Process().memory_info().rss - before) / 2**20),
                }
            )
            print(rows[-1], flush=True)
            if args.sheet and lookahead_s == 0.5:
                some = np.linspace(0, len(clip) - 1, 8).astype(int)
                sheet = np.vstack([np.hstack([now[i] for i in some]) for now in (clip, stream)])
                cv2.imwrite(str(args.sheet), cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR))
    words = [
        *(["--frames", str(args.frames)] if args.frames else []),
        *(f"--set {s}" for s in args.set),
    ]
    command = f"python benchmarks/session.py {args.clip} {' '.join(words)}".strip()
    result = about(
        "A session against the two passes: PSNR inside what either changed, landmarks, the largest"
        " step from frame to frame against the two passes', frames that wait. Seconds are wall time"
        " of a machine with other work; memory is of the whole process, both passes before it"
        " included.",
        command,
    )
    result |= {
        "clip": f"{args.clip.name}, {len(frames)} frames {info.width}x{info.height}",
        "frames_in_a_batch": at_once,
        "two_passes_s": round(whole_s, 1),
        "rows": rows,
    }
    args.out.write_text(json.dumps(result, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    main()
