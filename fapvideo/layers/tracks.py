"""`tracks.jsonl` of a folder of layers: the lines of a run, with all the geometry of every face."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from fapvideo.layers.numbers import Numbers
from fapvideo.ops.geometry import stretched, transform
from fapvideo.ops.pose import crop_matrix, head_pose
from fapvideo.plan.targets import Plan
from fapvideo.structs import Floats, Track, VideoInfo
from fapvideo.track.coefficients import NAMES, CoefficientNet

SCHEMA_VERSION = 1
"""Of the lines: rises when a key goes, or changes its meaning."""


def write_tracks(lines: Path, output: Path, plan: Plan, info: VideoInfo, numbers: Numbers) -> None:
    """Write the lines of a run anew, with what a compositor needs.

    Args:
        lines: of `Books`.
        output: a file to be made.
        plan: of the clip.
        info: of the clip.
        numbers: of the clip.

    Raises:
        OSError: one of the files cannot be read or written.
    """
    geometry = Geometry(plan, info)
    with lines.open(encoding="utf-8") as given, output.open("w", encoding="utf-8") as file:
        for line in given:
            row = json.loads(line)
            timecode = numbers.timecode(row["frame"])
            told = {
                "schema_version": SCHEMA_VERSION,
                "frame": row["frame"],
                "number": numbers.number(row["frame"]),
                "timecode": None if timecode is None else str(timecode),
                "time_s": row["time_s"],
                "faces": [geometry.added(face, row["frame"]) for face in row["faces"]],
            }
            file.write(json.dumps(told, allow_nan=False, separators=(",", ":")) + "\n")


class Geometry:
    """Knows where every point of every face is in every frame."""

    def __init__(self, plan: Plan, info: VideoInfo) -> None:
        """Look faces up in a plan."""
        self._plan, self._shape = plan, info.pixel_shape
        self._tracks = {track.id: track for track in plan.tracks}
        self._coefficients = CoefficientNet()

    def added(self, face: dict[str, Any], frame: int) -> dict[str, Any]:
        """Return what a line says of a face, with its geometry; null where it is not known."""
        track = self._tracks[face["track"]]
        row = {
            "person": self._plan.people.get(track.id, track.id),
            "cast": self._plan.cast.get(track.id, ""),
            **face,
            **dict.fromkeys(("points", "pose", "crop", "expression")),
        }
        points = np.asarray(track.landmarks[frame - track.first_frame], np.float64)
        if not np.isfinite(points).all():
            return row
        pose = head_pose(points)
        matrix = crop_matrix(pose, 1)
        found = self._coefficients(transform(matrix, points))
        row["points"] = in_pixels(points, self._shape).round(2).tolist()
        row["pose"] = {
            "scale": round(float(pose.scale), 3),
            "rotation": pose.rotation.round(5).tolist(),
            "shift": pose.shift.round(2).tolist(),
        }
        row["crop"] = stretched(matrix, self._shape).round(7).tolist()
        named = zip(NAMES, found, strict=True)
        row["expression"] = {name: round(float(value), 4) for name, value in named}
        return row


def in_pixels(points: Floats, pixel_shape: tuple[float, float]) -> Floats:
    """Return landmarks [N, 3] in the frame's own pixels, which need not be square."""
    return np.asarray(points / np.array([*pixel_shape, 1.0]), np.float64)


def measured(track: Track) -> Iterator[tuple[int, Floats]]:
    """Yield (frame of the clip, landmarks [478, 3]) where a track has a place."""
    for index in range(len(track)):
        points = np.asarray(track.landmarks[index], np.float64)
        if np.isfinite(points).all():
            yield track.first_frame + index, points
