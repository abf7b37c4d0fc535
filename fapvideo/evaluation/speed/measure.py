"""One clip swapped in a process of its own: seconds by stage, frames a second, memory."""

from __future__ import annotations

import json
import multiprocessing
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from fapvideo.config.schema import RunPreset
from fapvideo.evaluation.speed.clips import write_crowd
from fapvideo.run.report import STAGES

WARM_UP = 8
"""Frames of a first run, which loads and caches what every later one finds."""


@dataclass(frozen=True, slots=True)
class Case:
    """What is measured."""

    clip: Path
    """With one face."""
    size: tuple[int, int]
    """Width and height of the pictures that are swapped."""
    faces: int
    frames: int

    def to_dict(self) -> dict[str, Any]:
        """Return what tells it from others."""
        return {"size": list(self.size), "faces": self.faces, "frames": self.frames}


def measure(case: Case, preset: RunPreset, device: str, *, random_weights: bool) -> dict[str, Any]:
    """Return what one case takes, as plain JSON types.

    All faces are swapped. Seconds by stage are processor time where everything computes in one
    thread, so that other programs on the machine don't change them; frames a second are of another
    run with all threads.

    Raises:
        FapVideoError: one of its kinds.
    """
    track = preset.track.model_copy(update={"faces": "all"})
    preset = preset.model_copy(update={"track": track})
    with tempfile.TemporaryDirectory(prefix="fapvideo-bench-") as folder:
        clip, first = Path(folder, "clip.mp4"), Path(folder, "first.mp4")
        write_crowd(case.clip, clip, case.size, case.faces, case.frames)
        write_crowd(case.clip, first, case.size, case.faces, WARM_UP)
        told = preset.model_dump_json(), device, random_weights
        work = partial(_in_own_process, (clip, first), told)
        alone, together = work(_swap, threads=1), work(_swap, threads=0)
        bare_alone, bare_together = work(_transcode, threads=1), work(_transcode, threads=0)
        counted = work(_count, threads=0)
    frames = case.frames
    stages = {name: 1e3 * alone["timings"][_cpu(name)] / frames for name in STAGES}
    stages["other_s"] = 1e3 * alone["cpu_s"] / frames - sum(stages.values())
    slowest = max(together["timings"][name] for name in STAGES)
    return {
        **case.to_dict(),
        "cpu_ms_a_frame": {name.removesuffix("_s"): round(ms, 2) for name, ms in stages.items()},
        "cpu_ms_in_all": round(1e3 * alone["cpu_s"] / frames, 1),
        "cpu_ms_bare": round(1e3 * bare_alone["cpu_s"] / frames, 1),
        "network_gflop": round(counted["gflop"], 2),
        "fps": round(frames / together["wall_s"], 2),
        "fps_bare": round(frames / bare_together["wall_s"], 1),
        "wall_to_slowest_stage": round(together["wall_s"] / slowest, 2) if slowest else None,
        "swapped": together["swapped"],
        "peak_rss_mib": round(together["peak_rss"] / 2**20),
    }


def _cpu(stage: str) -> str:
    return f"{stage.removesuffix('_s')}_cpu_s"


Told = tuple[str, str, bool]
"""A preset as JSON, the device, whether weights are random: what a process can be sent."""


def _in_own_process(
    clips: tuple[Path, Path],
    told: Told,
    work: Callable[[tuple[Path, Path], Told, int], dict[str, Any]],
    *,
    threads: int,
) -> dict[str, Any]:
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, context) as pool:
        return pool.submit(work, clips, told, threads).result()


def _swap(clips: tuple[Path, Path], told: Told, threads: int) -> dict[str, Any]:
    """Swap a short clip and then the one that counts."""
    from fapvideo.run.networks import Shelf
    from fapvideo.swapper import VideoSwapper
    from fapvideo.weights.random import random_bundle

    _limit(threads)
    text, device, random_weights = told
    preset = RunPreset.model_validate_json(text)
    shelf = Shelf(random_bundle) if random_weights else None
    clip, first = clips
    with VideoSwapper(preset, device, shelf=shelf) as swapper:
        swapper.run(first, first.with_suffix(".out.mp4"), overwrite=True)
        cpu, wall = time.process_time(), time.perf_counter()
        report = swapper.run(clip, clip.with_suffix(".out.mp4"), overwrite=True)
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    return {
        "timings": dict(report.timings),
        "swapped": report.frames["swapped"],
        "peak_rss": report.peak_rss_bytes,
        "cpu_s": cpu,
        "wall_s": wall,
    }


def _count(clips: tuple[Path, Path], told: Told, threads: int) -> dict[str, Any]:
    """Return what layers of torch's networks compute for a frame of the short clip, in GFLOP.

    Convolutions and linear layers of image tower, UNet and VAE; not the nets that follow faces.
    """
    from torch import Tensor, nn
    from torch.nn.modules.module import register_module_forward_hook

    from fapvideo.run.networks import Shelf
    from fapvideo.swapper import VideoSwapper
    from fapvideo.video.reader import VideoReader
    from fapvideo.weights.random import random_bundle

    _limit(threads)
    preset = RunPreset.model_validate_json(told[0])
    preset = preset.model_copy(
        update={"denoise": preset.denoise.model_copy(update={"runtime": "torch"})}
    )
    with VideoReader(clips[1]) as reader:
        picture = next(iter(reader.batches(1))).rgb[0]
    shelf = Shelf(random_bundle) if told[2] else None
    with VideoSwapper(preset, told[1], shelf=shelf) as swapper:
        swapper.swap_image(picture)  # encodes the references
        flop = 0

        def add(layer: nn.Module, given: object, made: Tensor) -> None:
            nonlocal flop
            if isinstance(layer, nn.Conv2d | nn.Linear):
                flop += 2 * made.numel() * layer.weight[0].numel()

        hook = register_module_forward_hook(add)
        try:
            swapper.swap_image(picture)
        finally:
            hook.remove()
    return {"gflop": flop / 1e9}


def _transcode(clips: tuple[Path, Path], told: Told, threads: int) -> dict[str, Any]:
    from fapvideo.video.bare import transcode

    _limit(threads)
    config = RunPreset.model_validate_json(told[0]).video
    transcode(clips[1], ".mp4", config)
    cpu, wall = time.process_time(), time.perf_counter()
    transcode(clips[0], ".mp4", config)
    return {"cpu_s": time.process_time() - cpu, "wall_s": time.perf_counter() - wall}


def _limit(threads: int) -> None:
    """Let everything that computes here use so many threads; 0: as many as it would."""
    import cv2
    import torch

    if threads:
        cv2.setNumThreads(threads)
        torch.set_num_threads(threads)


def growth(rows: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Fit processor time in all to frames, faces and pixels; return milliseconds and the misfit.

    `a_frame`, `a_face` and `a_megapixel` are of each frame; those that no two rows differ in are
    left out. `worst_misfit` is the largest share by which a row is off the fit.
    """
    size = [row["size"][0] * row["size"][1] / 1e6 for row in rows]
    columns = {
        "once": [1.0] * len(rows),
        "a_frame": [row["frames"] for row in rows],
        "a_face": [row["frames"] * row["faces"] for row in rows],
        "a_megapixel": [row["frames"] * pixels for row, pixels in zip(rows, size, strict=True)],
    }
    varying = {
        "once": len({row["frames"] for row in rows}) > 1,
        "a_frame": True,
        "a_face": len({row["faces"] for row in rows}) > 1,
        "a_megapixel": len(set(size)) > 1,
    }
    names = [name for name in columns if varying[name]]
    if len(rows) <= len(names):
        return {}
    spent = np.array([row["cpu_ms_in_all"] * row["frames"] for row in rows])
    given = np.array([columns[name] for name in names], np.float64).T
    # Rows of long clips count no more than those of short ones.
    found = np.linalg.lstsq(given / spent[:, None], np.ones(len(rows)), rcond=None)[0]
    misfit = np.abs(given @ found / spent - 1).max()
    fit = {name: round(float(value), 1) for name, value in zip(names, found, strict=True)}
    return {**fit, "worst_misfit": round(float(misfit), 3)}


def bench(
    cases: Sequence[Case],
    preset: RunPreset,
    device: str,
    *,
    random_weights: bool,
    told: Callable[[dict[str, Any]], None],
) -> dict[str, Any]:
    """Measure all cases, `told` of each when it is done; return rows and what they grow with."""
    rows = []
    for case in cases:
        rows.append(measure(case, preset, device, random_weights=random_weights))
        told(json.loads(json.dumps(rows[-1])))
    return {"rows": rows, "growth_ms": growth(rows)}
