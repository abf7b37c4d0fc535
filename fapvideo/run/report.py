"""The report of a run: what went in, what came out, what was done, with what."""

from __future__ import annotations

import json
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from fapvideo.config.schema import RunPreset
from fapvideo.ops.files import sha256_file, write_text
from fapvideo.ops.pose import head_pose
from fapvideo.plan.decide import Cast
from fapvideo.plan.targets import Plan
from fapvideo.structs import FrameBatch, RunReport, VideoInfo
from fapvideo.weights.bundle import Bundle

PACKAGES = ("fapvideo", "torch", "diffusers", "transformers", "av", "numpy")
TIMINGS = (
    "decode_s",
    "track_s",
    "reference_s",
    "guide_s",
    "denoise_s",
    "composite_s",
    "encode_s",
    "wall_s",
)


@dataclass(slots=True)
class Counts:
    """Frames by what was done to them."""

    frames: int = 0
    outside: int = 0
    """Samples that changed outside every mask."""
    states: dict[str, int] = field(
        default_factory=lambda: {"swapped": 0, "kept": 0, "held": 0, "faded": 0}
    )

    def add(self, batch: FrameBatch, plan: Plan, outside: int) -> None:
        """Count a batch; a frame with several faces counts as its most intact one."""
        self.frames += len(batch)
        self.outside += outside
        for frame in batch.frames:
            states = {place.state for _, place in plan.placements(frame.index)}
            order = ("swapped", "held", "faded")
            self.states[next((s for s in order if s in states), "kept")] += 1


def make_report(
    info: VideoInfo,
    output: Path | None,
    preset: RunPreset,
    bundle: Bundle | None,
    plan: Plan,
    counts: Counts,
    cast: Cast,
    seconds: dict[str, float],
    warnings: Sequence[str],
) -> RunReport:
    """Put the report together; reads input and output once more for their hashes."""
    timings = {name: round(seconds.get(name, 0.0), 3) for name in TIMINGS}
    timings["fps"] = round(plan.frames / max(seconds["wall_s"], 1e-6), 3)
    return RunReport(
        input={
            "path": str(info.path),
            "sha256": sha256_file(info.path) if info.container else "",
            "frames": plan.frames,
            "duration_s": round(info.duration_s, 6),
            "width": info.width,
            "height": info.height,
            "rotation": info.rotation,
            "vfr": info.vfr,
            "bit_depth": info.bit_depth,
        },
        output={
            "path": str(output or ""),
            "sha256": sha256_file(output) if output else "",
            "frames": counts.frames,
        },
        preset=preset.model_dump(mode="json"),
        seed=preset.seed,
        bundle={
            "name": bundle.manifest.name if bundle else "none",
            "files": [
                {"name": f.path, "sha256": f.sha256, "licence": f.licence}
                for f in (bundle.files if bundle else ())
            ],
        },
        references=[
            {"part": part, "path": one.path, "sha256": one.sha256, "cached": one.cached}
            for part, group in cast.items()
            for one in group
        ],
        tracks=describe_tracks(plan),
        frames={"total": counts.frames, **counts.states},
        outside_changed_samples=counts.outside,
        timings=timings,
        peak_rss_bytes=_peak_rss(),
        warnings=tuple(warnings),
        versions=_versions(),
        frame_log=describe_frames(plan),
    )


def report_path(output: Path) -> Path:
    """Return where the report of `output` lies."""
    return output.with_name(f"{output.name}.report.json")


def write_report(report: RunReport, output: Path) -> None:
    """Write the report beside `output`, whole or not at all."""
    text = json.dumps(report.to_dict(), indent=2, default=str)
    write_text(report_path(output), text + "\n")


def describe_tracks(plan: Plan) -> list[dict[str, Any]]:
    """Return all tracks, and whether each was chosen to be swapped."""
    chosen = {item.track.id for item in plan.targets}
    return [
        {
            "id": track.id,
            "first_frame": track.first_frame,
            "last_frame": track.last_frame,
            "frames": len(track),
            "swapped": track.id in chosen,
        }
        for track in plan.tracks
    ]


def describe_frames(plan: Plan) -> list[dict[str, Any]]:
    """Return spans of frames that were not plainly swapped, and why."""
    spans: list[dict[str, Any]] = []
    for item in plan.targets:
        fates = zip(item.frames.state, item.frames.reason, strict=True)
        for frame, (state, reason) in enumerate(fates, item.track.first_frame):
            if state == "swapped":
                continue
            last = spans[-1] if spans else None
            same = {"track": item.track.id, "state": state, "reason": reason}
            if last and last["last"] == frame - 1 and same.items() <= last.items():
                last["last"] = frame
            else:
                spans.append({"first": frame, "last": frame, **same})
    return spans


def inspection(info: VideoInfo, plan: Plan, damaged: int) -> dict[str, Any]:
    """Return what `fapvideo inspect` shows: video, faces, tracks, frames, warnings."""
    video = asdict(info)
    video["path"] = str(info.path)
    for name in ("sample_aspect_ratio", "frame_rate", "time_base"):
        video[name] = str(video[name])
    faces = []
    for track in plan.tracks:
        poses = [head_pose(shape) for shape in track.landmarks[:: max(1, len(track) // 50)]]
        faces.append(
            {
                "track": track.id,
                "interocular_px": round(float(np.median([pose.scale for pose in poses])), 1),
                "largest_yaw_deg": round(max(abs(pose.yaw_deg) for pose in poses), 1),
                "lost_frames": int((track.presence <= 0).sum()),
            }
        )
    return {
        "video": video,
        "frames": plan.frames,
        "cuts": list(plan.cuts),
        "faces": faces,
        "tracks": describe_tracks(plan),
        "frame_log": describe_frames(plan),
        "warnings": face_warnings(plan, damaged),
    }


def face_warnings(plan: Plan, damaged: int) -> list[str]:
    """Return what the user should know about the faces and the input."""
    out = list(plan.warnings)
    if not plan.tracks:
        out.append("no face was found: the output shows what the input shows")
    elif not plan.targets:
        ids = ", ".join(str(track.id) for track in plan.tracks)
        out.append(f"no face matches track.faces; the tracks are {ids}")
    if damaged:
        out.append(f"{damaged} damaged packets of the input were skipped")
    return out


def _peak_rss() -> int:
    """Return the largest resident size of this process so far, bytes."""
    try:
        import resource
    except ImportError:  # Windows
        return int(psutil.Process().memory_info().peak_wset)
    factor = 1 if platform.system() == "Darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * factor


def _versions() -> dict[str, str]:
    """Return the versions that decide what comes out."""
    versions = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = "unknown"
    return versions
