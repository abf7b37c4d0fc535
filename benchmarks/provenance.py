"""What signing costs: seconds and bytes that it adds to a minute of video.

python benchmarks/provenance.py [--output FILE] [--seconds 60]

Makes a minute of noisy 1920x1080 H.264, about as many bits as a camera's, and measures on it what a
run adds in CPU seconds: looking at the input's own credentials, tagging and signing the output
(with c2pa's check of its own work), and what `fapvideo verify` takes. Each is the best of three.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
from about import about

from fapvideo.config.schema import RunPreset
from fapvideo.run.seal import Seal
from fapvideo.trust.credentials import sidecar_path
from fapvideo.trust.verify import verify_file
from fapvideo.video.probe import probe

SIZE, RATE, BITS = (1920, 1080), 25, 10_000_000


def make_video(path: Path, seconds: int) -> None:
    """Write so many seconds of noise that drifts."""
    rng = np.random.default_rng(0)
    noise = rng.integers(60, 180, (SIZE[1] // 4, SIZE[0] // 4 + 64), np.uint8)
    with av.open(path, "w") as container:
        stream = container.add_stream("libx264", rate=RATE, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.bit_rate = *SIZE, BITS
        for index in range(seconds * RATE):
            view = np.roll(noise, index % 64, axis=1)[:, : SIZE[0] // 4]
            view = view + rng.integers(0, 24, view.shape, np.uint8)
            picture = np.repeat(np.repeat(view, 4, axis=0), 4, axis=1)
            frame = av.VideoFrame.from_ndarray(picture, "gray").reformat(format="yuv420p")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def best(action: Callable[[], object], times: int = 3) -> float:
    """Return the shortest of some goes, in CPU seconds of this process."""
    taken = []
    for _ in range(times):
        started = time.process_time()
        action()
        taken.append(time.process_time() - started)
    return round(min(taken), 3)


def main() -> None:
    """Measure, print and write down."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path)
    parser.add_argument("--seconds", type=int, default=60)
    given = parser.parse_args()
    found: dict[str, object] = {"seconds": given.seconds}
    with tempfile.TemporaryDirectory() as name:
        source = Path(name) / "source.mp4"
        make_video(source, given.seconds)
        found["megabytes"] = round(source.stat().st_size / 1e6, 1)
        info = probe(source)
        rows: dict[str, dict[str, float]] = {}
        Seal(RunPreset(), info)  # loads the libraries
        found["look_at_input_s"] = best(lambda: Seal(RunPreset(), info))
        for suffix in (".mp4", ".mkv"):
            output = Path(name) / f"out{suffix}"
            seal = Seal(RunPreset(), info)
            seal.opened(info, output, overwrite=True)

            def put_on(output: Path = output, seal: Seal = seal) -> None:
                shutil.copy(source, output)
                seal(output, output)

            copied = best(lambda output=output: shutil.copy(source, output))
            signed = best(put_on)
            beside = sidecar_path(output)
            more = output.stat().st_size - source.stat().st_size
            more += beside.stat().st_size if beside.exists() else 0
            rows[suffix[1:]] = {
                "sign_s": round(signed - copied, 3),
                "verify_s": best(lambda output=output: verify_file(output)),
                "added_bytes": more,
                "per_minute_s": round((signed - copied) * 60 / given.seconds, 3),
            }
    head = about(
        "What saying what it is adds to a minute of 1920x1080 H.264: CPU seconds for looking at "
        "the input, tagging and signing the output and checking the signature; bytes; and what "
        "`fapvideo verify` takes.",
        "python benchmarks/provenance.py --output FILE",
    )
    text = json.dumps({**head, **found, "containers": rows}, indent=1) + "\n"
    print(text)
    if given.output is not None:
        given.output.write_text(text, "utf-8")


if __name__ == "__main__":
    main()
