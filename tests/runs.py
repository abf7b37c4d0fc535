"""Swappers with the tiny bundle, a research bundle, a reader of whole files, an audit of books."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import face_clips
import numpy as np

from fapvideo.config.schema import RunPreset
from fapvideo.run.report import tracks_path
from fapvideo.structs import REASONS, STATES, Bytes, RunReport, VideoFrame, VideoInfo
from fapvideo.swapper import VideoSwapper
from fapvideo.video.reader import VideoReader
from fapvideo.weights.bundle import EMBEDDED

BRAND = str(face_clips.BRAND)
FAST = {"codec": "ffv1", "speed": "ultrafast"}


@dataclass(frozen=True)
class Decoded:
    """A whole file in memory."""

    info: VideoInfo
    frames: tuple[VideoFrame, ...]
    rgb: Bytes
    """[N, H, W, 3] as displayed."""

    @property
    def times(self) -> list[Any]:
        """Presentation times in seconds, exact."""
        return [frame.pts * self.info.time_base for frame in self.frames]

    def same_samples(self, other: Decoded, index: int) -> bool:
        """Tell whether one frame's samples are those of the other file."""
        return all(map(np.array_equal, self.frames[index].planes, other.frames[index].planes))


def decode(path: Path) -> Decoded:
    """Read every frame of a file."""
    with VideoReader(path) as reader:
        batches = list(reader.batches(8))
        frames = tuple(frame for batch in batches for frame in batch.frames)
        return Decoded(reader.info, frames, np.concatenate([batch.rgb for batch in batches]))


def preset(**tables: Any) -> RunPreset:
    """Return a preset: the brand face's mouth, tiny bundle, lossless, small crops, quick."""
    defaults: dict[str, Any] = {
        "name": "test",
        "bundle": "tiny",
        "references": {"mouth": BRAND},
        "video": FAST,
        "denoise": {"mode": "off"},
        "composite": {"max_size": 64},
    }
    wanted = {**defaults, **tables}
    if wanted["denoise"].get("mode") != "off":  # random networks paint no faces
        wanted["composite"] = {"check": False, **wanted["composite"]}
    return RunPreset.model_validate(wanted)


def swapper(**tables: Any) -> VideoSwapper:
    """Return a swapper with that preset, on the CPU."""
    return VideoSwapper(preset(**tables), "cpu")


def research_bundle(folder: Path) -> Path:
    """Return a copy of the packaged bundle whose weights say that they were made from CelebA."""
    shutil.copytree(EMBEDDED, folder)
    manifest = folder / "bundle.toml"
    text = manifest.read_text("utf-8")
    ours = "works of the US government: in the public domain in the United States"
    assert text.count(ours) == 2
    text = text.replace(ours, "CelebA: non-commercial research only")
    manifest.write_text(text, "utf-8")
    return folder


def read_tracks(output: Path) -> list[dict[str, Any]]:
    """Return the lines about every frame that lie beside an output."""
    return [json.loads(line) for line in tracks_path(output).read_text("utf-8").splitlines()]


def audit(report: RunReport, output: Path) -> list[dict[str, Any]]:
    """See that every face of every frame is accounted for, everywhere alike; return the lines."""
    rows = read_tracks(output)
    assert [row["frame"] for row in rows] == list(range(report.frames["total"]))
    faces = [(row["frame"], face) for row in rows for face in row["faces"]]
    assert len(faces) == report.faces["total"] == sum(track["frames"] for track in report.tracks)
    states, reasons = (Counter(face[name] for _, face in faces) for name in ("state", "reason"))
    assert {state: states[state] for state in STATES} == {s: report.faces[s] for s in STATES}
    assert reasons.pop("", 0) == states["swapped"]
    assert reasons == report.reasons
    assert set(reasons) <= set(REASONS)
    told: dict[tuple[int, int], tuple[str, str]] = {}
    for span in report.frame_log:
        for frame in range(span["first"], span["last"] + 1):
            assert told.setdefault((frame, span["track"]), (span["state"], span["reason"]))
            assert span["start_s"] - 1e-5 <= rows[frame]["time_s"] < span["end_s"]
    assert sum(s["last"] - s["first"] + 1 for s in report.frame_log) == len(told), "no overlap"
    fell = {(frame, face["track"]): (face["state"], face["reason"])
            for frame, face in faces if face["state"] != "swapped"}  # fmt: skip
    assert told == fell
    best = Counter(
        next((s for s in STATES if s in {face["state"] for face in row["faces"]}), "left")
        for row in rows
    )
    assert {"total": len(rows), **{state: best[state] for state in STATES}} == report.frames
    assert all((face["weight"] > 0) == (face["state"] != "left") for _, face in faces)
    for track in report.tracks:
        own = Counter(face["state"] for _, face in faces if face["track"] == track["id"])
        assert {state: own[state] for state in STATES} == {s: track["faces"][s] for s in STATES}
        for served in track["references"].values():
            frames = [f for one in served for a, b in one["spans"] for f in range(a, b + 1)]
            assert len(frames) == len(set(frames)) == sum(one["frames"] for one in served)
            assert len(frames) == track["frames"] - own["left"]
    return rows
