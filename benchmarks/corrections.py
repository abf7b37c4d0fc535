"""What the network changes in the guide on video, part by part: how much, whither, how steadily.

    python benchmarks/corrections.py CLIP... [--frames 8] [--preset brand_avatar] [--set key=value]

For a few consecutive frames of each clip, from half a second on, and every part, of the finished
crop against the guide it was made from:

* `change`: mean difference in the part, levels of 255;
* `light`, `tint_a`, `tint_b`: its mean, CIE Lab;
* `to_target`: how far it goes towards the part that is to be replaced, 0 not at all, 1 all the way;
* `sharpness`: fine detail, guide's is 1;
* `unsteady`: what changes from frame to frame in the correction alone, in proportion to what
  changes in the guide;
* `likeness`: to the reference's part, the guide's (`guide_likeness`) taken away;
* `likeness_half`, `likeness_level`: the same with half the correction, and without its slow part;
* `rim`: the correction where the mask fades out, CIE Lab: a step that the guide does not have;
  `rim_level`, `unsteady_level`: without the slow part.

Negative likeness with `to_target` above 0 says that the part is pulled back to its owner.
Everything computes in one thread. No frame is kept.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any
from unittest.mock import patch

os.environ["OMP_NUM_THREADS"] = "1"

import cv2
import numpy as np
import torch

from fapvideo import VideoSwapper
from fapvideo.evaluation.metrics.features import MEASURED, PartFeatures
from fapvideo.guide.sharpness import fineness
from fapvideo.ops.image import blur, luma
from fapvideo.ops.pose import CROP_INTEROCULAR
from fapvideo.paint.guided import GuidedPainter
from fapvideo.paint.painter import FaceJob
from fapvideo.run.sources import FrameSource
from fapvideo.structs import Bytes, Floats
from fapvideo.video.reader import VideoReader

START_S = 0.5
SLOW = 0.2
"""Sigma of the slow part of a correction, inter-ocular distances."""
Painted = tuple[FaceJob, Floats]
"""A job, and its finished crop."""
Seen = tuple[FaceJob, Floats, Floats]
"""The same, and the crop without the slow part of its correction."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("clips", nargs="+", type=Path)
    parser.add_argument("--frames", type=int, default=8)
    parser.add_argument("--preset", default="brand_avatar")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    given = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    overrides = dict(item.split("=", 1) for item in given.set)
    with VideoSwapper.from_preset(given.preset, device="cpu", overrides=overrides) as swapper:
        for path in given.clips:
            painted = list(painted_in(swapper, path, given.frames))
            print(json.dumps({"clip": path.stem, **measured(painted)}), flush=True)


def painted_in(swapper: VideoSwapper, path: Path, count: int) -> Iterator[Painted]:
    """Yield what is painted into some consecutive frames, face by face."""
    found: list[Painted] = []
    paint = GuidedPainter.paint

    def listening(self: GuidedPainter, jobs: Sequence[FaceJob]) -> list[Floats]:
        results = paint(self, jobs)
        found.extend(zip(jobs, results, strict=True))
        return results

    pictures = frames_of(path, count)
    listened = patch.object(GuidedPainter, "paint", listening)
    with listened, swapper.open(FrameSource(pictures)) as clip:
        clip.strip(0.0, float(clip.plan.times_s[-1] - clip.plan.times_s[0]) + 0.04)
    yield from found


def frames_of(path: Path, count: int) -> list[Bytes]:
    """Return some consecutive pictures from half a second on."""
    reader = VideoReader(path)
    start = round(START_S * float(reader.info.frame_rate))
    return [rgb for _, rgb in islice(reader.pictures(), start, start + count)]


def measured(painted: Sequence[Painted]) -> dict[str, Any]:
    """Return part -> name -> mean over the frames."""
    features, rows = PartFeatures.packaged(), {}
    for part in painted[0][0].face.target.parts if painted else ():
        before: Seen | None = None
        values: dict[str, list[float]] = {}
        for number, (job, result) in enumerate(painted):
            level = levelled(job, result)
            now = of_part(job, result, part) | steadiness(before, (job, result, level), part)
            now |= {"rim": at_rim(job, result, part), "rim_level": at_rim(job, level, part)}
            if part in MEASURED and number % 2 == 0:
                now |= likeness(features, job, (result, level), part)
            for name, value in now.items():
                values.setdefault(name, []).append(value)
            before = job, result, level
        rows[part] = {name: round(float(np.mean(each)), 4) for name, each in values.items()}
    return rows


def of_part(job: FaceJob, result: Floats, part: str) -> dict[str, float]:
    """Return how a part was changed in one frame."""
    mask = job.masks.parts[part] * job.masks.core
    weight = mask[..., None] / max(3 * float(mask.sum()), 1e-6)
    change, way = result - job.guide, job.face.picture - job.guide
    shift = [float((plane * mask).sum() / max(mask.sum(), 1e-6))
             for plane in np.moveaxis(lab(result) - lab(job.guide), -1, 0)]  # fmt: skip
    unit = CROP_INTEROCULAR * len(result) / 44
    fine = [fineness(luma(p), mask, max(1.0, unit)) for p in (job.guide, result)]
    return {
        "change": 255 * float((np.abs(change) * weight).sum()),
        "light": shift[0],
        "tint_a": shift[1],
        "tint_b": shift[2],
        "to_target": float((change * way * weight).sum() / max((way * way * weight).sum(), 1e-9)),
        "sharpness": float(fine[1] / max(fine[0], 1e-6)),
    }


def levelled(job: FaceJob, result: Floats) -> Floats:
    """Return the crop with the fast part of its correction alone."""
    change, core = result - job.guide, job.masks.core
    sigma = SLOW * CROP_INTEROCULAR * len(result)
    slow = blur(change * core[..., None], sigma) / np.maximum(blur(core, sigma), 0.05)[..., None]
    return np.clip(job.guide + (change - slow) * core[..., None], 0, 1)


def at_rim(job: FaceJob, result: Floats, part: str) -> float:
    """Return how far the crop is off the guide where the part's mask fades out, CIE Lab."""
    smooth = blur(result - job.guide, 0.03 * CROP_INTEROCULAR * len(result))
    off = np.linalg.norm(lab(job.guide + smooth) - lab(job.guide), axis=-1)
    mask = job.masks.parts[part] * job.masks.hole
    rim = (mask > 0.2) & (mask < 0.8)
    return float(off[rim].mean()) if rim.any() else 0.0


def steadiness(before: Seen | None, now: Seen, part: str) -> dict[str, float]:
    """Return how much the corrections change between two frames against how much the guide does."""
    if before is None or before[1].shape != now[1].shape:
        return {}
    mask = np.minimum(before[0].masks.parts[part], now[0].masks.parts[part])[..., None]
    moved = now[0].guide - before[0].guide
    whole = float((np.abs(moved) * mask).sum())
    return {
        name: float((np.abs(now[k] - before[k] - moved) * mask).sum()) / max(whole, 1e-6)
        for name, k in (("unsteady", 1), ("unsteady_level", 2))
    }


def likeness(
    features: PartFeatures, job: FaceJob, results: tuple[Floats, Floats], part: str
) -> dict[str, float]:
    """Return how much more than the guide the results are like the reference's part."""
    target = job.face.target
    photo = target.references[part][target.chosen[part][job.face.placement.index]]
    pictures = [job.guide, results[0], (job.guide + results[0]) / 2, results[1]]
    wanted = unit(features.embed(pixels(photo.crop), photo.landmarks, part))
    shown = [unit(features.embed(pixels(each), job.wanted[part], part)) for each in pictures]
    guide, whole, half, level = (float(each @ wanted) for each in shown)
    return {
        "guide_likeness": guide,
        "likeness": whole - guide,
        "likeness_half": half - guide,
        "likeness_level": level - guide,
    }


def lab(rgb: Floats) -> Floats:
    """Return [H, W, 3] CIE Lab."""
    return cv2.cvtColor(np.ascontiguousarray(rgb, np.float32), cv2.COLOR_RGB2LAB)


def pixels(picture: Floats) -> Bytes:
    """Return uint8 of [H, W, 3] in [0, 1]."""
    return np.rint(np.clip(picture, 0, 1) * 255).astype(np.uint8)


def unit(vector: Floats) -> Floats:
    """Return the vector at length 1."""
    return np.ravel(vector) / max(float(np.linalg.norm(vector)), 1e-9)


if __name__ == "__main__":
    main()
