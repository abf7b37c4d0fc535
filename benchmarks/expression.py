"""How fully results follow their clips: coefficients, blinks, gaze, by two judges.

    python benchmarks/expression.py FOLDER [--preset brand_avatar] [--start 0.5] [--seconds 2]
                                    [--set KEY=VALUE ...] [--only NAME ...] [--name now]
                                    [--results DONE] [--plans DIR]

Adds the run `--name` to benchmarks/results/expression.json, clip by clip, so that a run that was
stopped keeps what it had. What the keys mean is in docs/evaluation.md (`follower.*`, `older.*`);
faces are cut out where the program's own plan has them. `points.*` compares the points that the
guide is warped to, before anything is painted, with the source's: what they have and the result
has not is lost in the picture, or in the judge's eye for it. The clips are those of `clips.py`,
and so are `--results` (of its `--keep`) and `--plans`, with which nothing is followed and swapped
again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "2")

import numpy as np
from about import about
from clips import chosen, options, stretch

from fapvideo.config.schema import MaskConfig, RunPreset
from fapvideo.evaluation.metrics.following import Following
from fapvideo.evaluation.metrics.movements import GROUPS, centred, fit, reading
from fapvideo.evaluation.views import face_view
from fapvideo.guide.shape import guide_landmarks, shape_weights
from fapvideo.ops.display import square_pixels
from fapvideo.ops.geometry import transform
from fapvideo.ops.pose import crop_matrix, head_pose
from fapvideo.parts import TRAINED
from fapvideo.run.clip import Clip
from fapvideo.structs import Bytes, Floats
from fapvideo.swapper import VideoSwapper
from fapvideo.track.coefficients import CoefficientNet
from fapvideo.track.older import OlderMesh
from fapvideo.video.reader import VideoReader

RESULT = Path(__file__).parent / "results" / "expression.json"
UPRIGHT = 256
"""Side of the crop in which points are compared, pixels."""


def main() -> None:
    """Swap, measure, print, write."""
    asked = options(__doc__).parse_args()
    preset = stretch(asked)
    with VideoSwapper(preset) as swapper:
        for path in chosen(asked):
            with swapper.open(path, folder=asked.plans and asked.plans / path.stem) as clip:
                row = measured(clip, path, preset, asked.results)
            print(path.stem, row, flush=True)
            write(asked.name, path.stem, row)


def measured(clip: Clip, path: Path, preset: RunPreset, results: Path | None) -> dict[str, float]:
    """Return what both judges say of one clip."""
    mesh, judges = OlderMesh(), Following()
    pictures = VideoReader(path, preset.video).pictures()
    done = swapped(clip) if results is None else shown(results / f"{path.stem}.mkv")
    for index, ((_, source), result) in enumerate(zip(pictures, done, strict=True)):
        before, after = (square_pixels(rgb, clip.info) for rgb in (source, result))
        views = tuple(
            face_view(before, after, place.landmarks, TRAINED, MaskConfig(), mesh)
            for _, place in clip.plan.placements(index)
        )
        pair: Any = SimpleNamespace(index=index, faces=views)
        judges.update(pair)
    return shortened({**judges.summary(), **points(clip, preset)})


def points(clip: Clip, preset: RunPreset) -> dict[str, float]:
    """Return r and slope of the guide's points against the source's, as the plan has them."""
    net, weights, rows = CoefficientNet(), shape_weights(preset.guide.shape, TRAINED), []
    for index in range(len(clip.plan.times_s)):
        for target, place in clip.plan.placements(index):
            pose = head_pose(place.landmarks)
            reference: Floats = next(iter(target.references.values()))[0].shape
            given = pose, target.track.neutral, reference, weights
            both = place.landmarks, guide_landmarks(place.landmarks, *given)
            upright = [transform(crop_matrix(pose, UPRIGHT), shape) for shape in both]
            rows.append([reading(shape, net(shape)) for shape in upright])
    source, guide = centred(np.array(rows)).transpose(1, 0, 2)
    return {
        f"points.{group}.{name}": value
        for group, found in fit(guide, source).items()
        for name, value in zip(("r", "slope"), found, strict=True)
    }


def swapped(clip: Clip) -> Iterator[Bytes]:
    """Yield the swapped frames."""
    first, last = float(clip.plan.times_s[0]), float(clip.plan.times_s[-1])
    return (look.after for look in clip.looks(first, last - first + 1.0))


def shown(path: Path) -> Iterator[Bytes]:
    """Yield the frames of a result."""
    return (rgb for _, rgb in VideoReader(path).pictures())


def shortened(values: Any) -> dict[str, float]:
    """Return the values of all, of the groups and of the floor, not of every coefficient."""
    kept = {"all", "floor", "gaze", *GROUPS}
    return {
        key: round(float(value), 3)
        for key, value in values.items()
        if key.split(".")[0] in ("blinks", "lag") or key.split(".")[1] in kept
    }


def write(name: str, clip: str, row: dict[str, float]) -> None:
    """Put one clip's row into the file of results."""
    record = json.loads(RESULT.read_text("utf-8")) if RESULT.exists() else {}
    record |= about(
        "Clips as people film them, two seconds of each: how the result's expression "
        "follows the source's, correlation and slope of the coefficients that move, by two judges; "
        "blinks; gaze in eye widths. `floor` is the source against itself, encoded again. The "
        "clips are examples of the public repository KwaiVGI/LivePortrait (commit 1986663b).",
        "python benchmarks/expression.py FOLDER --name NAME",
    )
    record.setdefault(name, {})[clip] = row
    RESULT.write_text(json.dumps(record, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
