"""The report of a run: what went in, what came out, what was done, with what."""

from __future__ import annotations

import json
import platform
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from fapvideo.config.schema import RunPreset, VideoConfig
from fapvideo.errors import Cancelled
from fapvideo.ops.files import fitting_name, sha256_file, write_atomically, write_text
from fapvideo.ops.pose import head_pose
from fapvideo.plan.people import Cast
from fapvideo.plan.targets import Plan
from fapvideo.run.books import Books, spans_of
from fapvideo.run.sources import Source
from fapvideo.structs import REASONS, STATES, RunReport, VideoInfo
from fapvideo.weights.bundle import Bundle

PACKAGES = ("fapvideo", "torch", "diffusers", "transformers", "av", "numpy")
STAGES = (
    "decode_s",
    "track_s",
    "reference_s",
    "guide_s",
    "denoise_s",
    "composite_s",
    "encode_s",
)
TIMINGS = (*STAGES, *(f"{stage.removesuffix('_s')}_cpu_s" for stage in STAGES), "wall_s")
"""Wall time by stage, processor time of the thread that worked at it, and the whole."""


def make_report(
    info: VideoInfo,
    output: Path | None,
    preset: RunPreset,
    made_with: tuple[dict[str, Any], list[dict[str, Any]]],
    plan: Plan,
    books: Books,
    seconds: Mapping[str, float],
    warnings: Sequence[str],
    hashes: tuple[str, str],
    provenance: Mapping[str, Any],
) -> RunReport:
    """Put the report together.

    `made_with` are the bundle and the references as `describe_bundle` and `describe_references`
    say, `hashes` the SHA-256 of input and output.
    """
    timings = {name: round(seconds.get(name, 0.0), 3) for name in TIMINGS}
    timings["fps"] = round(plan.frames / max(seconds["wall_s"], 1e-6), 3)
    bundle, references = made_with
    return RunReport(
        input=_input(info, plan, preset.video, hashes[0]),
        output={
            "path": str(output or ""),
            "sha256": hashes[1],
            "frames": books.frames["total"],
        },
        preset=preset.model_dump(mode="json"),
        seed=preset.seed,
        bundle=bundle,
        references=references,
        tracks=_tracks(plan, books),
        frames=dict(books.frames),
        outside_changed_samples=books.outside,
        timings=timings,
        peak_rss_bytes=_peak_rss(),
        warnings=tuple(warnings),
        versions=versions(),
        frame_log=books.spans(),
        faces=dict(books.faces),
        reasons={code: books.reasons[code] for code in REASONS if books.reasons[code]},
        provenance=provenance,
        anonymity=books.anonymity(),
    )


@contextmanager
def published(output: Path | None) -> Iterator[None]:
    """Say, where Ctrl-C comes while the report is made, that the output is there.

    Raises:
        Cancelled: it came.
    """
    try:
        yield
    except KeyboardInterrupt:
        if output is None:
            raise
        raise Cancelled(f"stopped; {output} is written, but no report beside it") from None


def hash_of(path: Path, warnings: list[str]) -> str:
    """Return the SHA-256 of a file; one that is gone by now has none, with a warning."""
    try:
        return sha256_file(path)
    except OSError as error:
        warnings.append(f"{path} has no hash in the report: {error.strerror or error}")
        return ""


def _input(info: VideoInfo, plan: Plan, config: VideoConfig, sha256: str) -> dict[str, Any]:
    """Describe the input."""
    held = held_frames(info, plan, config)
    return {
        "path": str(info.path),
        "sha256": sha256,
        "frames": plan.frames,
        "promised_frames": info.promised,
        "held_frames": held,
        "short": is_short(info, plan, held),
        "duration_s": round(info.duration_s, 6),
        "width": info.width,
        "height": info.height,
        "rotation": info.rotation,
        "vfr": info.vfr,
        "bit_depth": info.bit_depth,
        "field_order": info.field_order,
    }


def report_of(values: Mapping[str, Any]) -> RunReport:
    """Return the report whose `to_dict` gave these values.

    Raises:
        KeyError, TypeError: they are no report's.
    """
    return RunReport(**{**values, "warnings": tuple(values["warnings"])})


def report_path(output: Path) -> Path:
    """Return where the report of `output` lies."""
    return output.with_name(fitting_name(output.name, ".report.json"))


def tracks_path(output: Path) -> Path:
    """Return where the lines of `output` lie that say what became of every face."""
    return output.with_name(fitting_name(output.name, ".tracks.jsonl"))


def write_report(report: RunReport, lines: Path, output: Path) -> RunReport:
    """Write the report and the lines about every frame beside `output`, each whole or not at all.

    The output is there by now, so what cannot be written is a warning in the report that returns.
    """
    text = json.dumps(report.to_dict(), indent=2, default=str)
    try:
        with write_atomically(tracks_path(output)) as fresh:
            shutil.copyfile(lines, fresh)
        write_text(report_path(output), text + "\n")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        warning = f"{output} is written, but no report beside it: {reason}"
        return replace(report, warnings=(*report.warnings, warning))
    return report


def describe_bundle(bundle: Bundle | None) -> dict[str, Any]:
    """Return which networks paint: their bundle, and its files with hash and licence."""
    return {
        "name": bundle.manifest.name if bundle else "none",
        "runtime": bundle.runtime if bundle else "none",
        "files": [
            {"name": file.path, "sha256": file.sha256, "licence": file.licence}
            for file in (bundle.files if bundle else ())
        ],
    }


def describe_references(cast: Cast) -> list[dict[str, Any]]:
    """Return all references; `cast` is the entry of `[[people]]` that has them, if any."""
    return [
        {
            "part": part,
            "path": one.path,
            "sha256": one.sha256,
            "licence": one.licence,
            "cached": one.cached,
            "cast": "" if role.who is None else str(role.who),
        }
        for role in cast
        for part, group in role.references.items()
        for one in group
    ]


def describe_tracks(plan: Plan) -> list[dict[str, Any]]:
    """Return all tracks: of whom, for whom in the cast, and whether it was to be swapped."""
    chosen = {item.track.id for item in plan.targets}
    return [
        {
            "id": track.id,
            "first_frame": track.first_frame,
            "last_frame": track.last_frame,
            "frames": len(track),
            "person": plan.people.get(track.id, track.id),
            "cast": plan.cast.get(track.id, ""),
            "swapped": track.id in chosen,
        }
        for track in plan.tracks
    ]


def _tracks(plan: Plan, books: Books) -> list[dict[str, Any]]:
    """Return all tracks, what became of their faces, and which reference served which frames."""
    served = books.served()
    return [
        {**row, "faces": _counts(books, row["id"]), "references": served[row["id"]]}
        for row in describe_tracks(plan)
    ]


def _counts(books: Books, track: int) -> dict[str, int]:
    """Return how many faces of a track ended in which state, and how many were cut off."""
    return {name: books.tracks[track][name] for name in (*STATES, "cut_off")}


def inspection(source: Source, plan: Plan, config: VideoConfig) -> dict[str, Any]:
    """Return what `fapvideo inspect` shows: video, faces, tracks, frames, warnings."""
    info = source.info
    video = asdict(info)
    video["path"] = str(info.path)
    for name in ("sample_aspect_ratio", "frame_rate", "time_base", "origin_s"):
        video[name] = str(video[name])
    video["joints"] = [{**joint, "shift_s": float(joint["shift_s"])} for joint in video["joints"]]
    faces = []
    for track in plan.tracks:
        shapes = track.landmarks[:: max(1, len(track) // 50)]
        poses = [head_pose(shape) for shape in shapes if np.isfinite(shape).all()]
        sizes, yaws = [pose.scale for pose in poses], [abs(pose.yaw_deg) for pose in poses]
        faces.append(
            {
                "track": track.id,
                "interocular_px": round(float(np.median(sizes or [0.0])), 1),
                "largest_yaw_deg": round(max(yaws, default=0.0), 1),
                "lost_frames": int((track.presence <= 0).sum()),
            }
        )
    return {
        "video": video,
        "frames": plan.frames,
        "cuts": list(plan.cuts),
        "faces": faces,
        "tracks": describe_tracks(plan),
        "frame_log": spans_of(plan, info),
        "warnings": clip_warnings(info, plan, config),
    }


def is_short(info: VideoInfo, plan: Plan, held: int) -> bool:
    """Tell whether a file is cut off, or gave fewer frames than promised because of damage."""
    missing = info.frames < info.promised or (plan.damaged > 0 and held < info.promised)
    return info.cut or missing


def held_frames(info: VideoInfo, plan: Plan, config: VideoConfig) -> int:
    """Return how many frames the file holds: those that were decoded, if that was all of it."""
    whole = config.start_s <= 0 and config.end_s is None
    return plan.frames if whole or not info.frames else info.frames


def clip_warnings(info: VideoInfo, plan: Plan, config: VideoConfig) -> list[str]:
    """Return what the user should know about an input that was followed, and about its faces."""
    held = held_frames(info, plan, config)
    return [*_input_warnings(info, plan, held), *_face_warnings(plan)]


def _input_warnings(info: VideoInfo, plan: Plan, held: int) -> list[str]:
    out = list(info.warnings)
    if is_short(info, plan, held) and held < info.promised:
        out.append(
            f"the input holds {held} of {info.promised} frames: it ends before its header or "
            "index says, as a copy that was broken off does, or is damaged"
        )
    elif info.cut:
        out.append(
            f"the input holds {held} frames and ends in the middle of its data: "
            "it was cut off, and nothing says how much is missing"
        )
    return out


def _face_warnings(plan: Plan) -> list[str]:
    out = list(plan.warnings)
    if not plan.tracks:
        out.append("no face was found: the output shows what the input shows")
    elif not plan.targets and not plan.cast and not plan.warnings:
        ids = ", ".join(str(track.id) for track in plan.tracks)
        out.append(f"no face matches track.faces; the tracks are {ids}")
    if plan.damaged:
        out.append(f"{plan.damaged} damaged packets of the input were skipped")
    return out


def _peak_rss() -> int:
    """Return the largest resident size of this process so far, bytes."""
    try:
        import resource
    except ImportError:  # Windows
        return int(psutil.Process().memory_info().peak_wset)
    factor = 1 if platform.system() == "Darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * factor


def versions() -> dict[str, str]:
    """Return the versions that decide what comes out."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "unknown"
    return found
