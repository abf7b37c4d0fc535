"""Whether the result does what the speaker does: expression and head pose, measured anew."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import ClassVar, TypeVar

import cv2
import numpy as np

from fapvideo.evaluation.definitions import Definition
from fapvideo.evaluation.views import FramePair
from fapvideo.ops.pose import expression, head_pose
from fapvideo.structs import Floats

SIGNALS = {
    "mouth_open": "Mouth opening",
    "smile": "Mouth width",
    "eye_open": "Eye opening",
    "brow_height": "Brow height",
    "gaze_x": "Gaze, sideways",
    "gaze_y": "Gaze, up and down",
}
LEAST_MOTION = {
    "mouth_open": 0.015, "smile": 0.0125, "eye_open": 0.007, "brow_height": 0.008,
    "gaze_x": 0.006, "gaze_y": 0.005,
}  # fmt: skip
"""Standard deviation of the source's own signal, inter-ocular distances, that a correlation needs.

Five times what is measured in a face that does not move, with picture noise of 4 levels: then the
noise alone lowers a correlation by no more than 0.04.
"""
SHUT = 0.6
"""Eyes open by less than this share of their median hide the iris: gaze is not measured."""
FEWEST_FRAMES = 8
"""Frames of one face in one shot before anything is said about them."""

Series = list[tuple[int, Floats, Floats]]
"""(frame, of the result, of the source)."""
Row = TypeVar("Row")


def _definitions() -> tuple[Definition, ...]:
    out = []
    for name, title in SIGNALS.items():
        out += [
            Definition(
                f"expression.{name}.r", f"{title}: correlation", "", "higher",
                f"Pearson correlation over time of the {title.lower()} in result and source, "
                "landmarks measured anew in each picture; left out where the source hardly moves "
                f"(standard deviation below {LEAST_MOTION[name]} inter-ocular distances)."
                + (" Frames with shut eyes do not count." if "gaze" in name else ""),
                "own; signals of ops.pose.expression",
                headline=name == "mouth_open",
            ),
            Definition(
                f"expression.{name}.error", f"{title}: error", "iod", "lower",
                f"Mean absolute difference of the {title.lower()} in result and source, in "
                "inter-ocular distances, after the median difference was taken away: another "
                "nose or lip at rest is no wrong expression.",
                "own; signals of ops.pose.expression",
                curve=name in ("mouth_open", "eye_open"),
            ),
        ]  # fmt: skip
    out.append(
        Definition(
            "expression.pose", "Head pose error", "degrees", "lower",
            "Mean angle between the head's rotation in result and source, after the median "
            "rotation between them was taken away (a new nose shifts the fit).",
            "own; pose error as in FaceForensics++ protocols, in degrees", curve=True,
        )
    )  # fmt: skip
    return tuple(out)


class Expression:
    """Expression following and head pose: group `expression.*`."""

    definitions: ClassVar[tuple[Definition, ...]] = _definitions()

    def __init__(self) -> None:
        """Prepare for one clip."""
        self._signals: dict[int, Series] = defaultdict(list)
        self._turns: dict[int, list[tuple[int, Floats]]] = defaultdict(list)

    def update(self, pair: FramePair) -> Mapping[str, float]:
        """Take the next frame; every curve comes from `curves`."""
        for view in pair.faces:
            measured = (view.measured_result, view.measured_source)
            signals = [expression(landmarks) for landmarks in measured]
            values = [np.array([one[name] for name in SIGNALS]) for one in signals]
            self._signals[view.track].append((pair.index, values[0], values[1]))
            result, source = (head_pose(landmarks).rotation for landmarks in measured)
            turn = cv2.Rodrigues(result @ source.T)[0][:, 0]
            self._turns[view.track].append((pair.index, np.degrees(turn)))
        return {}

    def summary(self) -> Mapping[str, float]:
        """Return correlations and errors over the whole clip, all faces together."""
        out: dict[str, float] = {}
        tracks = [_centred(series) for series in _long(self._signals)]
        if tracks:
            results, sources, errors = (
                np.concatenate([track[k] for track in tracks]) for k in (1, 2, 3)
            )
            for i, name in enumerate(SIGNALS):
                seen = ~np.isnan(errors[:, i])
                if not seen.any():
                    continue
                out[f"expression.{name}.error"] = float(errors[seen, i].mean())
                if sources[seen, i].std() >= LEAST_MOTION[name]:
                    out[f"expression.{name}.r"] = _pearson(results[seen, i], sources[seen, i])
        turns = [angle for _, angle in self._pose_errors()]
        if turns:
            out["expression.pose"] = float(np.mean(turns))
        return out

    def curves(self) -> Mapping[str, Mapping[int, float]]:
        """Return key -> frame -> error, of the worst face."""
        wanted = {one.key for one in self.definitions if one.curve}
        out: dict[str, dict[int, float]] = defaultdict(dict)

        def add(key: str, frame: int, value: float) -> None:
            if key in wanted and not np.isnan(value):
                out[key][frame] = max(value, out[key].get(frame, 0.0))

        for series in _long(self._signals):
            frames, _, _, errors = _centred(series)
            for frame, row in zip(frames, errors, strict=True):
                for name, value in zip(SIGNALS, row, strict=True):
                    add(f"expression.{name}.error", frame, float(value))
        for frame, angle in self._pose_errors():
            add("expression.pose", frame, angle)
        return out

    def _pose_errors(self) -> list[tuple[int, float]]:
        """Return (frame, degrees) of every face."""
        out = []
        for series in _long(self._turns):
            turns = np.array([turn for _, turn in series])
            angles = np.linalg.norm(turns - np.median(turns, axis=0), axis=1)
            out += [(frame, float(angle)) for (frame, _), angle in zip(series, angles, strict=True)]
        return out


def _long(tracks: Mapping[int, list[Row]]) -> list[list[Row]]:
    """Return the series that are long enough."""
    return [series for series in tracks.values() if len(series) >= FEWEST_FRAMES]


def _centred(series: Series) -> tuple[list[int], Floats, Floats, Floats]:
    """Return frames, result and source about their means, and errors about the median: [T, 6].

    Gaze is nan where the source's eyes are shut.
    """
    frames = [frame for frame, _, _ in series]
    result, source = (np.array([row[k] for row in series]) for k in (1, 2))
    opening = source[:, list(SIGNALS).index("eye_open")]
    shut = opening < SHUT * np.median(opening)
    for i, name in enumerate(SIGNALS):
        if name.startswith("gaze"):
            result[shut, i] = source[shut, i] = np.nan
    apart = result - source
    errors = np.abs(apart - np.nanmedian(apart, axis=0))
    return frames, result - np.nanmean(result, axis=0), source - np.nanmean(source, axis=0), errors


def _pearson(a: Floats, b: Floats) -> float:
    """Return the correlation of two centred series; 0 where one of them stands still."""
    size = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / size if size > 1e-9 else 0.0
