"""Whether every movement of the face is there at its full size: coefficients, blinks, gaze, lag.

Two judges, each on the same crop of source and result: `follower`, the landmark net that the
program itself follows faces with, which is the finest there is; and `older`, the mesh and the eye
net that it does not use, whose lids close by half of what they should, but alike in both pictures.
The source, encoded again and cut a hair closer, goes through the same judges: where they say
something else of it is the noise floor.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import ClassVar

import cv2
import numpy as np

from fapvideo.evaluation.definitions import Definition
from fapvideo.evaluation.metrics.movements import (
    GROUPS,
    MOVING,
    NAMES,
    blink_events,
    centred,
    fit,
    gaze_errors,
    lag,
    matched,
    reading,
)
from fapvideo.evaluation.views import FaceView, FramePair
from fapvideo.structs import Bytes, Floats
from fapvideo.track.coefficients import CoefficientNet
from fapvideo.track.landmarks import FaceMesh
from fapvideo.track.older import OlderMesh

JUDGES = {
    "follower": "the landmark net that the program follows with",
    "older": "the older mesh and eye net, which it does not use",
}
FEWEST_FRAMES = 8
"""Frames of one face before anything is said about it."""
QUALITY, NEARER = 80, 1 / 1.06
"""JPEG quality of the source encoded again, and how much closer it is cut: what a judge then says
otherwise is the floor."""
SHOWN = ("jawOpen", "mouthSmile", "eyeBlinkLeft", "eyeBlinkRight", "browInnerUp", "gazeX")
"""Movements that have curves."""
OWN = "own; coefficients of MediaPipe's blendshape net"


def _definitions() -> tuple[Definition, ...]:
    """Return what is measured by each judge, and by which."""
    out = []
    for judge, words in JUDGES.items():
        out += [
            Definition(
                f"{judge}.all.r", f"Movements: correlation ({judge})", "", "higher",
                "Mean Pearson correlation over time, result against source, of the expression "
                f"coefficients that move in the source (standard deviation over {MOVING}); judge: "
                f"{words}.", OWN, headline=judge == "follower",
            ),
            Definition(
                f"{judge}.all.slope", f"Movements: amplitude ({judge})", "", "one",
                "Mean slope of the same coefficients, result against source: 1 is the full "
                f"movement, 0.5 half of it. Judge: {words}.", OWN, headline=judge == "follower",
            ),
            Definition(
                f"{judge}.*.r", f"Movement: correlation ({judge}), part", "", "higher",
                f"The same of one coefficient or of a group ({', '.join(GROUPS)}); `floor`: of the "
                "source encoded again, the best that can be measured.", OWN,
            ),
            Definition(
                f"{judge}.*.slope", f"Movement: amplitude ({judge}), part", "", "one",
                "Its slope; `floor` likewise.", OWN,
            ),
            Definition(
                f"{judge}.gaze.error", f"Gaze error ({judge})", "eye widths", "lower",
                "Mean distance between where the irises lie between their eyes' corners in result "
                "and source, each eye on its own, after the median was taken away; frames in which "
                f"the source's eye is nearly shut do not count. Judge: {words}.", "own",
            ),
            Definition(
                f"{judge}.gaze.floor", f"Gaze error, noise floor ({judge})", "eye widths", "lower",
                "The same between the source and itself encoded again.", "own",
            ),
        ]  # fmt: skip
    out += [
        Definition(
            "blinks.precision", "Blinks: precision", "", "higher",
            "Share of the result's closings of an eye (each eye on its own: winks count) that the "
            "source has at the same time, within two frames. Judge: follower.", OWN,
        ),
        Definition(
            "blinks.recall", "Blinks: recall", "", "higher",
            "Share of the source's closings of an eye that the result has.", OWN, headline=True,
        ),
        Definition(
            "lag.frames", "Lag", "frames", "lower",
            "How many frames the result's movements come after (or before) the source's.", OWN,
        ),
        Definition(
            "signal.*", "Movement over time, part", "", "higher",
            "The result's movement; the page draws the source's under it. Judge: follower.", OWN,
            curve=True,
        ),
        Definition("signal_source.*", "Movement of the source, part", "", "higher", "As above.",
                   OWN, curve=True),
    ]  # fmt: skip
    return tuple(out)


class Following:
    """Full movement: groups `follower.*`, `older.*`, `blinks.*`, `lag.*`, `signal.*`."""

    definitions: ClassVar[tuple[Definition, ...]] = _definitions()

    def __init__(self) -> None:
        """Load the judges."""
        self._net, self._meshes = CoefficientNet(), {"follower": FaceMesh(), "older": OlderMesh()}
        self._rows: dict[str, dict[int, list[Floats]]] = {
            judge: defaultdict(list) for judge in JUDGES
        }
        self._frames: dict[int, list[int]] = defaultdict(list)

    def update(self, pair: FramePair) -> Mapping[str, float]:
        """Take the next frame; every curve comes from `curves`."""
        for view in pair.faces:
            self._frames[view.track].append(pair.index)
            for judge in JUDGES:
                self._rows[judge][view.track].append(self._read(judge, view))
        return {}

    def _read(self, judge: str, view: FaceView) -> Floats:
        """Return [3, K] movements in the result, the source, and the source encoded again."""
        if judge == "older":
            points = [view.measured_result, view.measured_source]
        else:
            points = [self._measure(judge, picture, view) for picture in (view.result, view.source)]
        points.append(self._measure(judge, _again(view.source), view, NEARER))
        return np.stack([reading(one, self._net(one)) for one in points])

    def _measure(self, judge: str, picture: Bytes, view: FaceView, side: float = 1.0) -> Floats:
        """Return landmarks [478, 3] measured in a crop, in a square of `side` times the face's."""
        middle = view.landmarks.mean(axis=0)
        about = middle + side * (view.landmarks - middle)
        return self._meshes[judge].from_landmarks(picture, about).landmarks

    def _tracks(self, judge: str) -> Iterator[tuple[list[int], Floats]]:
        """Yield (frames, [T, 3, K]) of every face that is seen long enough."""
        for track, rows in self._rows[judge].items():
            if len(rows) >= FEWEST_FRAMES:
                yield self._frames[track], np.stack(rows)

    def summary(self) -> Mapping[str, float]:
        """Return what was found over the whole clip, all faces together."""
        out: dict[str, float] = {}
        for judge in JUDGES:
            tracks = [rows for _, rows in self._tracks(judge)]
            if not tracks:
                return {}
            result, source, again = np.moveaxis(np.concatenate([centred(t) for t in tracks]), 1, 0)
            found = fit(result, source)
            for name, (r, slope) in found.items():
                out |= {f"{judge}.{name}.r": r, f"{judge}.{name}.slope": slope}
            if found:
                r, slope = fit(again, source)["all"]
                out |= {f"{judge}.floor.r": r, f"{judge}.floor.slope": slope}
            for name, which in (("error", 0), ("floor", 2)):
                errors = np.concatenate([gaze_errors(t[:, which], t[:, 1]) for t in tracks])
                if len(errors):
                    out[f"{judge}.gaze.{name}"] = float(errors.mean())
            if judge == "follower":
                out |= _blinks(tracks)
                late = lag(result, source)
                out |= {} if late is None else {"lag.frames": late}
        return out

    def curves(self) -> Mapping[str, Mapping[int, float]]:
        """Return key -> frame -> movement, of the face that is seen longest."""
        tracks = sorted(self._tracks("follower"), key=lambda track: -len(track[0]))
        out: dict[str, dict[int, float]] = {}
        for frames, rows in tracks[:1]:
            for name in SHOWN:
                column = NAMES.index(name)
                for key, which in (("signal", 0), ("signal_source", 1)):
                    values = rows[:, which, column]
                    out[f"{key}.{name}"] = dict(zip(frames, map(float, values), strict=True))
        return out


def _blinks(tracks: list[Floats]) -> dict[str, float]:
    """Return precision and recall over all eyes; what has no event is left out."""
    pairs = [
        (blink_events(t[:, 0, NAMES.index(eye)]), blink_events(t[:, 1, NAMES.index(eye)]))
        for t in tracks
        for eye in ("eyeBlinkLeft", "eyeBlinkRight")
    ]
    out = {}
    for key, one, other in (("precision", 0, 1), ("recall", 1, 0)):
        total = sum(len(pair[one]) for pair in pairs)
        if total:
            out[f"blinks.{key}"] = sum(matched(p[one], p[other]) for p in pairs) / total
    return out


def _again(picture: Bytes) -> Bytes:
    """Return a picture [H, W, 3], encoded as JPEG and decoded."""
    _, data = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    decoded = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR))
    return np.ascontiguousarray(decoded[..., ::-1])
