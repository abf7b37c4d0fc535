"""How a preset does on clips as people film them: where it holds, where it slips, what it says.

    python benchmarks/clips.py FOLDER [--preset brand_avatar] [--start 0.5] [--seconds 2]
                               [--set KEY=VALUE ...] [--only NAME ...] [--name now]
                               [--keep DIR] [--results DONE] [--plans DIR]

Adds the run `--name` to benchmarks/results/clips.json; with `--results` what another version made
of the same stretches (DONE/NAME.mkv and its report) is judged in place of a new run. Give it a
folder of one-person clips; the
numbers in the repository are of eleven examples of the public repository KwaiVGI/LivePortrait
(commit 1986663b, assets/examples/driving: d*, and source: s*), which are not ours to ship.

The judge is nothing that the program follows with: in every frame on its own the detector finds
the face, the older mesh and its iris net measure it in source and result, in the same three crops,
and the three are averaged. What is reported:

- slip: how far a part (either eye, nose, mouth) moves against the source's, its centre's place in
  the head after the clip's median was taken away (another nose is no slip), inter-ocular
  distances; of every frame the median of the four parts; frames that are called swapped.
- r, slope: of eye and mouth opening, result against source.
- seam (dE), warp, flicker, likeness, success: the evaluation's own metrics (docs/evaluation.md),
  measured where the program's plan has the faces, for another version's results, too.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "2")

import numpy as np
from about import about

from fapvideo.config.overrides import parse_overrides
from fapvideo.config.presets import load_preset
from fapvideo.config.schema import RunPreset
from fapvideo.evaluation import views
from fapvideo.evaluation.measure import measure
from fapvideo.evaluation.metrics.seam import Seam
from fapvideo.evaluation.metrics.similarity import PartSimilarity
from fapvideo.evaluation.metrics.temporal import Temporal
from fapvideo.evaluation.suites.material import aligned_references
from fapvideo.ops import mesh
from fapvideo.ops.display import square_pixels
from fapvideo.ops.pose import expression, head_pose
from fapvideo.run.clip import Clip
from fapvideo.structs import Bytes, Floats
from fapvideo.swapper import VideoSwapper
from fapvideo.track.detector import FaceDetector
from fapvideo.track.landmarks import upright_square
from fapvideo.track.older import OlderMesh
from fapvideo.video.reader import VideoReader

RESULT = Path(__file__).parent / "results" / "clips.json"
PARTS = (
    mesh.RIGHT_EYE_LIDS, mesh.LEFT_EYE_LIDS, mesh.NOSE, mesh.LIPS_OUTER,
)  # fmt: skip
SIGNALS = ("eye_open", "mouth_open")
ZOOMS = (0.92, 1.0, 1.08)
MEASURES = {
    "seam": "seam.colour",
    "warp": "temporal.warp.mask",
    "flicker": "temporal.luma.mask",
    "sparkle": "temporal.pixels.mask",
    "likeness": "similarity.reference",
    "success": "success",
}
"""Column -> key of the evaluation."""


class Judge:
    """Measures one face per picture, each picture on its own."""

    def __init__(self) -> None:
        """Load the networks."""
        self._detector, self._mesh = FaceDetector(0.3), OlderMesh()

    def __call__(self, source: Bytes, result: Bytes) -> tuple[Floats, Floats] | None:
        """Return [478, 3] landmarks of the surest face in both; None where the source has none."""
        boxes, _, points = self._detector(source)
        if not len(boxes):
            return None
        square = upright_square(self._mesh.from_box(source, boxes[0], points[0]).landmarks)
        first, second = (
            np.mean([self._mesh.measure(rgb, square, zoom) for zoom in ZOOMS], axis=0)
            for rgb in (source, result)
        )
        return first, second


def options(description: str | None) -> argparse.ArgumentParser:
    """Return a parser of what the benchmarks on a folder of clips ask for."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--preset", default="brand_avatar")
    parser.add_argument("--start", type=float, default=0.5)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--set", action="append", default=[], dest="overrides")
    parser.add_argument("--only", nargs="*", default=())
    parser.add_argument("--name", default="now")
    parser.add_argument("--plans", type=Path, help="folder where plans are kept, and found again")
    parser.add_argument("--results", type=Path, help="folder of results that are there already")
    return parser


def stretch(asked: argparse.Namespace, **more: Any) -> RunPreset:
    """Return the preset that was asked for, on the stretch that was."""
    times = {"video.start_s": asked.start, "video.end_s": asked.start + asked.seconds}
    return load_preset(asked.preset, {**parse_overrides(asked.overrides), **times, **more})


def chosen(asked: argparse.Namespace) -> list[Path]:
    """Return the clips that were asked for."""
    paths = sorted(asked.folder.glob("*.mp4"))
    return [path for path in paths if not asked.only or path.stem in asked.only]


def main() -> None:
    """Run, measure, print, write."""
    parser = options(__doc__)
    parser.add_argument("--keep", type=Path, help="folder for the results, to look at")
    asked = parser.parse_args()
    preset = stretch(asked, **{"video.codec": "ffv1"})
    rows: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as scratch, VideoSwapper(preset) as swapper:
        for path in chosen(asked):
            output = (asked.results or asked.keep or Path(scratch)) / f"{path.stem}.mkv"
            with swapper.open(path, folder=asked.plans and asked.plans / path.stem) as clip:
                if not asked.results:
                    swapper.run(clip, output, overwrite=True)
                rows[path.stem] = judged(path, output, preset) | measured(clip, output, preset)
            print(path.stem, rows[path.stem], flush=True)
    write(asked, rows)


def measured(clip: Clip, output: Path, preset: RunPreset) -> dict[str, float]:
    """Return what the evaluation says of a result, where the plan of `clip` has the faces."""
    parts, references = tuple(preset.references), aligned_references(preset)
    material = views.Clip(clip.info, preset, parts, references, clip.plan)
    found = measure(material, output, [Seam(), Temporal(), PartSimilarity()]).values
    return {name: round(found[key], 3) for name, key in MEASURES.items() if key in found}


def judged(path: Path, output: Path, preset: RunPreset) -> dict[str, Any]:
    """Return what became of a clip's frames, and how well those that were swapped sit."""
    report = json.loads(Path(f"{output}.report.json").read_text("utf-8"))
    total = report["frames"]["total"]
    swapped = [True] * total  # a version that kept no books said that all were
    lines = Path(f"{output}.tracks.jsonl")
    if lines.exists():
        rows = (json.loads(line) for line in lines.read_text("utf-8").splitlines())
        swapped = [any(face["state"] == "swapped" for face in row["faces"]) for row in rows]
    judge, both = Judge(), []
    for source, result in pairs(path, output, preset):
        both.append(judge(source, result))
    seen = [i for i, pair in enumerate(both) if pair is not None and swapped[i]]
    row: dict[str, Any] = {
        "frames": total,
        **{k: v for k, v in report["frames"].items() if v and k != "total"},
        "reasons": report.get("reasons", {}),
        "judged": len(seen),
    }
    if len(seen) < 8:
        return row
    apart = slips([both[i] for i in seen])  # type: ignore[misc]
    worst = np.argsort(-apart)[:4]
    row |= {
        "slip median": round(float(np.median(apart)), 3),
        "slip p95": round(float(np.percentile(apart, 95)), 3),
        "slip worst frames": [seen[i] for i in worst],
    }
    signals = [[expression(points) for points in both[i]] for i in seen]  # type: ignore[union-attr]
    for name in SIGNALS:
        source, result = (np.array([pair[k][name] for pair in signals]) for k in (0, 1))
        row[f"{name} r"] = round(float(np.corrcoef(source, result)[0, 1]), 2)
        row[f"{name} slope"] = round(float(np.polyfit(source, result, 1)[0]), 2)
    return row


def slips(both: Sequence[tuple[Floats, Floats]]) -> Floats:
    """Return [T] the slip of every frame; see the top of this file."""
    places = []
    for source, result in both:
        pose = head_pose(source)
        axes = np.array(
            [[np.cos(pose.roll), -np.sin(pose.roll)], [np.sin(pose.roll), np.cos(pose.roll)]]
        )
        moved = [(result[list(part), :2] - source[list(part), :2]).mean(axis=0) for part in PARTS]
        places.append(np.array(moved) @ axes / pose.scale)
    away = np.linalg.norm(places - np.median(places, axis=0), axis=-1)
    return np.median(away, axis=1)


def pairs(path: Path, output: Path, preset: RunPreset) -> Iterator[tuple[Bytes, Bytes]]:
    """Yield the frames of source and result, on square pixels."""
    source, result = VideoReader(path, preset.video), VideoReader(output)
    for (_, before), (_, after) in zip(source.pictures(), result.pictures(), strict=True):
        yield square_pixels(before, source.info), square_pixels(after, source.info)


def write(asked: argparse.Namespace, rows: dict[str, Any]) -> None:
    """Put the run beside the others in the file of results."""
    record = json.loads(RESULT.read_text("utf-8")) if RESULT.exists() else {}
    record |= about(
        "Clips as people film them, two seconds of each: frames by state, reasons, slip of "
        "the parts against the head (inter-ocular distances), eye and mouth opening of the result "
        "against the source's, judged by a detector and a mesh in every frame on its own; seam "
        "(dE), warp error and flicker (source: 1), likeness to the reference and swap success. The "
        "clips are examples of the public repository KwaiVGI/LivePortrait (commit 1986663b).",
        "python benchmarks/clips.py FOLDER --name NAME",
    )
    record[asked.name] = {**record.get(asked.name, {}), **rows}
    RESULT.write_text(json.dumps(record, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
