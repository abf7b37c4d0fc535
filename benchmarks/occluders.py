"""What stands in front of a face: is it seen, does it stay, and is nothing else kept?

    python benchmarks/occluders.py FOLDER [--photos PORTRAITS] [--only NAME ...] [--frames 12]
                                   [--name now] [--sheets OUT]

Draws a hand, a microphone, a cup, a lock of hair and glasses before the faces of real clips, moving
(glasses on the head's own pose), swaps the parts with the guide alone (the masks are the same with
a network) with `mask.occluders` keep and off; adds the run to benchmarks/results/occluders.json.
FOLDER is one of one-person clips, the numbers in the repository are of examples of the public
repository KwaiVGI/LivePortrait (commit 1986663b); PORTRAITS, a folder of portraits of which every
tenth by sorted name was left out when the net learned, and is measured on here.

- unchanged: share of the samples under the opaque occluder, within the parts' own masks, that the
  result leaves exactly as they were; `off` the same without the mask.
- iou: of what is kept and the occluder (both over one half), within the masks as they would be.
- flicker: change from frame to frame in a band along the occluder's edge, result over source.
- lost: share of the parts' masks that is kept where nothing is in front (clips without glasses,
  portraits).
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "2")

import cv2
import numpy as np
from about import about

from fapvideo.config.presets import load_preset
from fapvideo.mask.occlusion import SURE, WORN_SURE, Occluders, kept_at_size, sure_areas
from fapvideo.mask.parts import part_masks
from fapvideo.nets.occlusion import SIZE
from fapvideo.ops.display import square_pixels
from fapvideo.ops.geometry import combined, invert, transform, warp
from fapvideo.ops.pose import CROP_INTEROCULAR, crop_matrix, head_pose
from fapvideo.plan.targets import Target
from fapvideo.run.clip import Clip
from fapvideo.run.sources import FrameSource
from fapvideo.structs import Bytes, Floats
from fapvideo.swapper import VideoSwapper
from fapvideo.track.finder import FaceFinder
from fapvideo.training.samples.hiding import Portrait, draw
from fapvideo.video.reader import VideoReader

RESULT = Path(__file__).parent / "results" / "occluders.json"
KINDS = ("hand", "microphone", "cup", "lock", "eyewear")
GLASSES = ("d12", "d13", "d19")
"""Clips whose people wear some; nothing is drawn before them."""
PARTS = ("eyes", "brows", "nose", "mouth")
DRAWN = 384
"""Side of the crop that occluders are drawn in, pixels."""


@dataclass(frozen=True, slots=True)
class Staged:
    """Frames with something before the face."""

    pictures: list[Bytes]
    alphas: list[Floats]
    """Per frame [H, W]."""
    kept: list[Floats]
    """Per frame [H, W]: what of it hides the face."""


def staged(pictures: Sequence[Bytes], shapes: Sequence[Floats], kind: str, seed: int) -> Staged:
    """Draw one thing before the face of consecutive frames, whose landmarks are known."""
    out = Staged([], [], [])
    height, width = pictures[0].shape[:2]
    first = crop_matrix(head_pose(shapes[0]), DRAWN)
    cover = None
    for number, (rgb, shape) in enumerate(zip(pictures, shapes, strict=True)):
        matrix = crop_matrix(head_pose(shape), DRAWN) if kind == "eyewear" else first
        if cover is None or kind == "eyewear":
            crop = warp(rgb, matrix, (DRAWN, DRAWN))
            points = transform(matrix, shape)
            stuff = [Portrait(np.ascontiguousarray(rgb[: rgb.shape[1]]), points, False)]
            rng = np.random.default_rng(seed)
            cover = draw(rng, crop.astype(np.float32) / 255, points, kind, stuff)
        sway = 0.0 if kind == "eyewear" else 0.05 * DRAWN * np.sin(0.35 * number)
        back = invert(matrix)
        back[:, 2] += back[:, :2] @ np.array([sway, 0.4 * sway])
        alpha, kept, shadow = (
            warp(plane, back, (width, height), border=cv2.BORDER_CONSTANT)
            for plane in (cover.thing.alpha, cover.kept, cover.thing.shadow)
        )
        colour = warp(cover.thing.colour, back, (width, height))
        dark = rgb.astype(np.float32) / 255 * (1 - shadow[..., None])
        mixed = dark + alpha[..., None] * (colour - dark)
        out.pictures.append(np.rint(np.clip(mixed, 0, 1) * 255).astype(np.uint8))
        out.alphas.append(alpha)
        out.kept.append(kept)
    return out


def frames_of(path: Path, count: int) -> list[Bytes]:
    """Return some consecutive pictures from half a second on."""
    reader = VideoReader(path)
    start = round(0.5 * float(reader.info.frame_rate))
    shown = islice(reader.pictures(), start, start + count)
    return [square_pixels(rgb, reader.info) for _, rgb in shown]


def views(clip: Clip, pictures: Sequence[Bytes]) -> Iterator[tuple[int, Target, Floats, Floats]]:
    """Yield frame, target, what is kept [H, W], and the masks as they would be [H, W]."""
    for number, rgb in enumerate(pictures):
        for target, placement in clip.plan.placements(number):
            size = target.crop_size
            matrix = crop_matrix(head_pose(placement.landmarks), size)
            crop = warp(rgb, matrix, (size, size)).astype(np.float32) / 255
            chance = None if target.occlusion is None else target.occlusion.at(placement.index)
            aligned = crop_matrix(head_pose(placement.landmarks), SIZE)
            kept = np.zeros((size, size), np.float32)
            if chance is not None:
                kept = kept_at_size(chance, crop, combined(matrix, invert(aligned)))
            masks = part_masks(
                [transform(matrix, placement.landmarks)],
                PARTS,
                load_preset("brand_avatar").mask,
                size,
                CROP_INTEROCULAR * size,
            )
            shape = (rgb.shape[1], rgb.shape[0])
            yield (
                number,
                target,
                warp(kept, invert(matrix), shape, border=cv2.BORDER_CONSTANT),
                warp(masks.hole, invert(matrix), shape, border=cv2.BORDER_CONSTANT),
            )


def judged(swapper: VideoSwapper, scene: Staged, sheet: Path | None) -> dict[str, float]:
    """Return the figures of one clip with one occluder."""
    sums: dict[str, float] = dict.fromkeys(
        ("same", "off", "all", "both", "either", "src", "res"), 0
    )
    with swapper.open(FrameSource(scene.pictures)) as clip:
        end = float(clip.plan.times_s[-1] - clip.plan.times_s[0]) + 0.04
        results = {
            name: clip.strip(0.0, end, settings={"mask.occluders": name})
            for name in ("keep", "off")
        }
        for number, _, kept, hole in views(clip, scene.pictures):
            solid = (scene.kept[number] > 0.98) & (hole > 0.02)
            sums["all"] += 3 * solid.sum()
            for name, done in (("same", results["keep"]), ("off", results["off"])):
                sums[name] += (done[number] == scene.pictures[number])[solid].sum()
            there, said = scene.kept[number] > 0.5, kept > 0.5
            sums["both"] += (there & said & (hole > 0.02)).sum()
            sums["either"] += ((there | said) & (hole > 0.02)).sum()
            if number:
                thick = np.ones((5, 5), np.uint8)
                edge = cv2.morphologyEx(there.astype(np.uint8), cv2.MORPH_GRADIENT, thick)
                band = (edge > 0) & (hole > 0.02)
                for key, shown in (("src", scene.pictures), ("res", results["keep"])):
                    step = shown[number].astype(np.float32) - shown[number - 1]
                    sums[key] += float(np.abs(step)[band].sum())
    if sheet is not None:
        rows = [scene.pictures, list(results["off"]), list(results["keep"])]
        save_sheet(sheet, [row[:: max(1, len(row) // 6)][:6] for row in rows])
    return {
        "unchanged": round(sums["same"] / max(sums["all"], 1), 4),
        "off": round(sums["off"] / max(sums["all"], 1), 4),
        "iou": round(sums["both"] / max(sums["either"], 1), 4),
        "flicker": round(sums["res"] / max(sums["src"], 1e-6), 3),
        "samples": int(sums["all"]),
    }


def lost_of(clip: Clip, pictures: Sequence[Bytes]) -> float:
    """Return the share of the masks that is kept."""
    whole, kept = 0.0, 0.0
    for _, _, taken, hole in views(clip, pictures):
        whole += float(hole.sum())
        kept += float(np.minimum(hole, taken).sum())
    return round(kept / max(whole, 1e-6), 5)


def portraits(folder: Path) -> dict[str, Any]:
    """Return the share of the masks that is kept on the photos that were left out of learning."""
    from fapvideo.config.schema import DenoiseConfig, MaskConfig, ReferenceConfig
    from fapvideo.errors import ReferenceImageError
    from fapvideo.reference.fitness import Probes
    from fapvideo.reference.images import align

    see, finder, probes, shares = Occluders(DenoiseConfig()), FaceFinder(), Probes(), []
    config = ReferenceConfig(min_face_px=16, max_yaw_deg=60, min_sharpness=0)
    for path in sorted(folder.iterdir())[::10]:
        try:
            face = align(path, finder, config)
        except ReferenceImageError:
            continue
        if probes.look(face)["glasses"] > 0.05:
            continue
        small = cv2.resize(face.crop, (SIZE, SIZE), interpolation=cv2.INTER_AREA)
        zoom = len(face.crop) / SIZE
        seen = see(np.rint(small * 255).astype(np.uint8), face.landmarks / zoom)
        chance = np.maximum(sure_areas(seen[0], SURE), sure_areas(seen[1], WORN_SURE))
        kept = kept_at_size(chance, face.crop, np.array([[zoom, 0, 0], [0, zoom, 0]]))
        iod = CROP_INTEROCULAR * len(face.crop)
        hole = part_masks([face.landmarks], PARTS, MaskConfig(), len(face.crop), iod).hole
        shares.append(float(np.minimum(hole, kept).sum() / hole.sum()))
    return {
        "faces": len(shares),
        "lost mean": round(float(np.mean(shares)), 5),
        "over 1 %": int((np.array(shares) > 0.01).sum()),
        "worst": round(float(np.max(shares)), 4),
    }


def save_sheet(path: Path, rows: Sequence[Sequence[Bytes]]) -> None:
    """Write pictures in rows, 280 px wide each."""
    wide = 280
    small = [
        np.hstack([cv2.resize(p, (wide, round(wide * p.shape[0] / p.shape[1])),
                              interpolation=cv2.INTER_AREA) for p in row])
        for row in rows
    ]  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), cv2.cvtColor(np.vstack(small), cv2.COLOR_RGB2BGR))


def main() -> None:
    """Draw, swap, measure, print, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--photos", type=Path)
    parser.add_argument("--only", nargs="*", default=())
    parser.add_argument("--kinds", nargs="*", default=KINDS)
    parser.add_argument("--frames", type=int, default=12)
    parser.add_argument("--name", default="now")
    parser.add_argument("--sheets", type=Path)
    asked = parser.parse_args()
    preset = load_preset("brand_avatar", {"denoise.mode": "off"})
    rows: dict[str, Any] = {}
    if asked.photos:
        rows["portraits"] = portraits(asked.photos)
        print("portraits", rows["portraits"], flush=True)
    with VideoSwapper(preset) as swapper:
        for path in sorted(asked.folder.glob("*.mp4")):
            if (asked.only and path.stem not in asked.only) or path.stem in GLASSES:
                continue
            pictures = frames_of(path, asked.frames)
            with swapper.open(FrameSource(pictures)) as clip:
                row: dict[str, Any] = {"lost": lost_of(clip, pictures)}
                shapes = [
                    np.array(place.landmarks)
                    for number in range(len(pictures))
                    for _, place in clip.plan.placements(number)[:1]
                ]
            print(path.stem, row, flush=True)
            if len(shapes) == len(pictures):
                for number, kind in enumerate(asked.kinds):
                    scene = staged(pictures, shapes, kind, 100 * len(rows) + number)
                    sheet = asked.sheets and asked.sheets / f"{path.stem}_{kind}.png"
                    row[kind] = judged(swapper, scene, sheet)
                    print(path.stem, kind, row[kind], flush=True)
            rows[path.stem] = row
    write(asked, rows)


def write(asked: argparse.Namespace, rows: dict[str, Any]) -> None:
    """Put the run beside the others in the file of results."""
    record = json.loads(RESULT.read_text("utf-8")) if RESULT.exists() else {}
    means = {
        kind: {
            figure: round(float(np.mean([row[kind][figure] for row in rows.values()
                                         if kind in row and row[kind]["samples"] > 0])), 4)
            for figure in ("unchanged", "off", "iou", "flicker")
        }
        for kind in asked.kinds
        if any(kind in row and row[kind]["samples"] > 0 for row in rows.values())
    }  # fmt: skip
    record |= about(
        "Things drawn before the faces of real clips, with mask.occluders keep (unchanged, "
        "iou, flicker) and off; share of the masks lost where nothing is drawn. The clips are "
        "examples of the public repository KwaiVGI/LivePortrait (commit 1986663b).",
        "python benchmarks/occluders.py FOLDER --photos PORTRAITS --name NAME",
    )
    record[asked.name] = {"means": means, **rows}
    RESULT.write_text(json.dumps(record, indent=1) + "\n", "utf-8")
    print("means", means)


if __name__ == "__main__":
    main()
