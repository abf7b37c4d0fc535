"""Memory of a session while a long stream goes through it.

    python benchmarks/session_memory.py [--frames 600] [--lookahead 0.5] [--size 320 240]

The stream is the packaged brand face, talking, a second that goes to and fro; nothing of it is kept
here. The bundle is the tiny one and paints nothing (`denoise.mode = "off"`): what is looked for is
memory that a session holds on to frame by frame, not that of networks. Written to
`session_memory.json` among the results: the resident set at every hundredth frame.
"""

from __future__ import annotations

import argparse
import gc
import json
import time
from pathlib import Path

import psutil
from about import about
from talking import RATE, pictures

from fapvideo import VideoSwapper, stream_info

EVERY = 100
SETTINGS = {"bundle": "tiny", "denoise.mode": "off", "composite.max_size": 64}
RESULTS = Path(__file__).parent / "results" / "session_memory.json"


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=600)
    parser.add_argument("--lookahead", type=float, default=0.5)
    parser.add_argument("--size", type=int, nargs=2, default=(320, 240))
    parser.add_argument("--out", type=Path, default=RESULTS)
    args = parser.parse_args()
    width, height = args.size
    rows, waited, process = [], 0, psutil.Process()
    started = time.perf_counter()
    with VideoSwapper.from_preset("brand_avatar", device="cpu", overrides=SETTINGS) as swapper:
        session = swapper.session(stream_info(width, height, RATE), args.lookahead)
        came = 0
        for number, picture in enumerate(pictures(args.frames, (width, height)), 1):
            came += len(session.push(picture))
            waited = max(waited, number - came)
            if number % EVERY == 0:
                gc.collect()
                rows.append(
                    {
                        "frames": number,
                        "rss_mib": round(process.memory_info().rss / 2**20, 1),
                        "seconds": round(time.perf_counter() - started, 1),
                    }
                )
                print(rows[-1], flush=True)
        session.flush()
        report = session.report()
    given = f"--frames {args.frames} --lookahead {args.lookahead:g} --size {width} {height}"
    result = about(
        "Memory of a session while a long stream goes through it: the resident set at every"
        " hundredth frame. The tiny bundle, nothing painted by a network. Seconds are wall time of"
        " a machine with other work.",
        f"python benchmarks/session_memory.py {given}",
    )
    result |= {
        "most_frames_waiting": waited,
        "faces": {state: count for state, count in report["faces"].items() if count},
        "rows": rows,
    }
    args.out.write_text(json.dumps(result, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    main()
