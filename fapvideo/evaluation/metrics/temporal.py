"""How steady the result is over time, relative to the source clip's own steadiness.

Everything is measured in the aligned crop, where the head's motion is gone: the flow is small, a
face has one scale however large it is in the picture, and what resampling does to fine texture it
does to source and result alike.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import cv2
import numpy as np
import torch

from fapvideo.errors import WeightsError
from fapvideo.evaluation.definitions import Definition
from fapvideo.evaluation.metrics.optical_flow import SourceFlow, moved
from fapvideo.evaluation.metrics.relative import Relative, Spread
from fapvideo.evaluation.views import SIDE, Bools, FaceView, FramePair
from fapvideo.nets.perceptual import PerceptualDistance
from fapvideo.structs import Bytes, Floats
from fapvideo.training.faces.sets import set_folder, sets_folder

Embed = Callable[[Bytes, Floats, str], Floats]
"""(crop [SIDE, SIDE, 3], landmarks [478, 3] in it, part) -> feature vector of length 1."""

ZONES = ("mask", "ring", "outside")
PERCEPTUAL_SIDE = 128
"""The perceptual distance sees the crop at this side, for speed."""
EVERY = 5
"""Perceptual distance and embeddings look at one pair of frames in so many."""
FEWEST_PIXELS = 32
"""A zone with fewer pixels than this says nothing."""
FEWEST_LOOKS = 3
"""Looks at one part in one shot that make a standard deviation."""
LUMA, CHROMA = [0], [1, 2]
"""Channels of Y, Cr, Cb."""
NOISE = {
    "warp": (0.5, 1), "lpips": (0.002, 1), "landmarks": (0.1, 2), "luma": (0.2, 2),
    "chroma": (0.2, 2), "pixels": (0.5, 2), "embedding": (0.01, 2),
}  # fmt: skip
"""Noise floor, in levels of 255 or pixels of the crop (half a level is what rounding does), and
power: 1 averages values over time, 2 squares."""


SPOT = {"mask": "inside the mask", "ring": "in the ring", "outside": "outside"}


def _warp_definitions() -> list[Definition]:
    warp = (
        "Mean absolute difference between the result's frame and its frame before, moved by the "
        "source's optical flow, divided by the same of the source; pixels whose flow forward and "
        "back disagree are left out. "
    )
    where = {
        "mask": "Inside the mask: flicker and swimming of the swapped part.",
        "ring": "In the 8 px around the mask: a seam that trembles.",
        "outside": "Beyond: 1 unless the result changes what it must not touch (or is encoded).",
    }
    lai = "Lai et al., ECCV 2018 (warping error); Sundaram et al., ECCV 2010 (consistency)"
    return [
        Definition(
            f"temporal.warp.{zone}", f"Warp error, {zone}", "", "one", warp + where[zone], lai,
            headline=zone == "mask", curve=True,
        )
        for zone in ZONES
    ]  # fmt: skip


def _part_definitions() -> list[Definition]:
    return [
        Definition(
            "temporal.lpips.mask", "Flow-warped perceptual distance", "", "one",
            "LPIPS inside the mask between a frame and the frame before moved by the source's "
            f"flow, divided by the same of the source; one pair in {EVERY}.",
            "Chu et al., TOG 2020 (tLPIPS), with shift-tolerant LPIPS (arXiv 2207.13686)",
        ),
        Definition(
            "temporal.landmarks", "Landmark acceleration", "", "one",
            "RMS second difference of the landmarks inside the mask, measured anew in every frame, "
            "divided by the same of the source: shape that trembles, or that has stopped moving.",
            "own", curve=True,
        ),
        Definition(
            "temporal.embedding", "Part embedding over time", "", "one",
            "Standard deviation over time of the parts' feature vectors, divided by the source's: "
            "a look that drifts or changes.", "own",
        ),
        Definition(
            "temporal.joins", "Segment joins", "", "one",
            "Median warp error inside the mask at the joins of segments that were made apart, "
            "divided by the median elsewhere: 1 where joins cannot be told.", "own",
        ),
    ]  # fmt: skip


def _flicker_definitions() -> list[Definition]:
    out = []
    for name, what in (("luma", "mean brightness"), ("chroma", "mean colour (Cb, Cr)")):
        out += [
            Definition(
                f"temporal.{name}.{zone}", f"{name.capitalize()} flicker, {zone}", "", "one",
                f"RMS second difference in time of the {what} {SPOT[zone]}, divided by the "
                "source's: flicker of a whole zone.",
                "own", headline=(name, zone) == ("luma", "mask"), curve=zone != "outside",
            )
            for zone in ZONES
        ]  # fmt: skip
    out += [
        Definition(
            f"temporal.pixels.{zone}", f"Pixel flicker, {zone}", "", "one",
            f"RMS second difference in time of every pixel's brightness {SPOT[zone]} (half "
            "resolution, no flow), divided by the source's: flicker of a spot, sparkle.",
            "own", curve=zone == "mask",
        )
        for zone in ZONES
    ]  # fmt: skip
    return out


@dataclass(frozen=True)
class _Moment:
    """What later frames need of one face in one frame; result first, source second."""

    index: int
    view: FaceView
    grey: Bytes
    """[SIDE, SIDE] of the source, for the flow."""
    half: tuple[Floats, Floats]
    """[SIDE / 2, SIDE / 2] brightness."""
    means: Mapping[str, tuple[Floats, Floats]]
    """Zone -> mean [3] of Y, Cr, Cb."""


class Temporal:
    """Warp error, perceptual distance, landmark acceleration, flicker: groups `temporal.*`."""

    definitions: ClassVar[tuple[Definition, ...]] = (
        *_warp_definitions(),
        *_part_definitions(),
        *_flicker_definitions(),
    )

    def __init__(
        self,
        perceptual: PerceptualDistance | None = None,
        embed: Embed | None = None,
        joins: Sequence[int] = (),
    ) -> None:
        """Prepare for one clip; without `perceptual` or `embed` their keys are left out.

        Args:
            perceptual: with its trained weights, see `load_perceptual`.
            embed: features of a part.
            joins: first frames of segments that were made apart from the one before.
        """
        self._perceptual, self._embed, self._joins = perceptual, embed, frozenset(joins)
        self._flow = SourceFlow()
        self._past: dict[int, list[_Moment]] = {}
        self._seen: dict[str, Relative] = {}
        self._looks: dict[tuple[int, int, str], tuple[Spread, Spread]] = {}
        self._shot = 0

    def update(self, pair: FramePair) -> Mapping[str, float]:
        """Take the next frame; every curve comes from `curves`."""
        past: dict[int, list[_Moment]] = {}
        self._shot += pair.first_of_shot
        for view in pair.faces:
            before = [] if pair.first_of_shot else self._past.get(view.track, [])
            now = _moment(pair.index, view)
            if before:
                self._compare(before[-1], now)
            if len(before) > 1:
                self._second_differences(before[-2], before[-1], now)
            past[view.track] = [*before[-1:], now]
            if self._embed is not None and pair.index % EVERY == 0:
                self._look(view, self._embed)
        self._past = past
        return {}

    def summary(self) -> Mapping[str, float]:
        """Return the ratios over the whole clip."""
        out = {key: relative.value() for key, relative in self._seen.items()}
        return out | self._spread() | self._at_joins()

    def curves(self) -> Mapping[str, Mapping[int, float]]:
        """Return key -> frame -> ratio; a second difference belongs to its middle frame."""
        wanted = {one.key for one in self.definitions if one.curve}
        return {key: seen.curve() for key, seen in self._seen.items() if key in wanted}

    def notes(self) -> Sequence[str]:
        """Return what was left out, and why."""
        if self._perceptual is not None:
            return []
        return ["temporal.lpips left out: the public set `perceptual` is not on this disk"]

    # ------------------------------------------------------------------------ pairs

    def _compare(self, before: _Moment, now: _Moment) -> None:
        """Compare a frame with the one before it, moved along the source's flow."""
        where, trusted = self._flow.between(before.grey, now.grey)
        trusted &= before.view.inside_frame
        expected = [moved(crop, where) for crop in (before.view.result, before.view.source)]
        shown = (now.view.result, now.view.source)
        errors = [
            cv2.absdiff(a, b).astype(np.float32).mean(axis=2)
            for a, b in zip(expected, shown, strict=True)
        ]
        for zone in ZONES:
            here = _zone(now.view, zone) & trusted
            if here.sum() >= FEWEST_PIXELS:
                means = [float(error[here].mean()) for error in errors]
                self._add(f"temporal.warp.{zone}", now.index, means)
                if self._perceptual is not None and zone == "mask" and now.index % EVERY == 0:
                    distances = _distances(self._perceptual, expected, shown, here)
                    self._add("temporal.lpips.mask", now.index, distances)

    def _second_differences(self, first: _Moment, middle: _Moment, last: _Moment) -> None:
        """Compare a frame with the mean of its neighbours."""
        moments = (first, middle, last)
        halves = [_bend([moment.half[k] for moment in moments]) for k in (0, 1)]
        for zone in ZONES:
            if all(zone in moment.means for moment in moments):
                means = [_bend([moment.means[zone][k] for moment in moments]) for k in (0, 1)]
                for name, channels in (("luma", LUMA), ("chroma", CHROMA)):
                    sizes = [float(np.linalg.norm(mean[channels])) for mean in means]
                    self._add(f"temporal.{name}.{zone}", middle.index, sizes)
            here = _zone(middle.view, zone)[::2, ::2]
            if here.sum() >= FEWEST_PIXELS:
                sizes = [_rms(half[here]) for half in halves]
                self._add(f"temporal.pixels.{zone}", middle.index, sizes)
        inside = _landmarks_inside(middle.view)
        if inside.any():
            results = _bend([moment.view.measured_result[inside, :2] for moment in moments])
            sources = _bend([moment.view.measured_source[inside, :2] for moment in moments])
            self._add("temporal.landmarks", middle.index, [_rms(results), _rms(sources)])

    def _add(self, key: str, frame: int, values: Sequence[float]) -> None:
        """Add one point, (result, source), to the curve `key`."""
        seen = self._seen.setdefault(key, Relative(*NOISE[key.split(".")[1]]))
        seen.points.append((frame, values[0], values[1]))

    # ------------------------------------------------------------------------ whole clip

    def _look(self, view: FaceView, embed: Embed) -> None:
        for part in view.parts:
            spreads = self._looks.setdefault((self._shot, view.track, part), (Spread(), Spread()))
            for spread, crop in zip(spreads, (view.result, view.source), strict=True):
                spread.add(embed(crop, view.landmarks, part))

    def _spread(self) -> dict[str, float]:
        """Return the ratio of standard deviations, over all faces and parts."""
        seen = Relative(*NOISE["embedding"])
        for result, source in self._looks.values():
            if result.count >= FEWEST_LOOKS:
                seen.points.append((0, result.variance() ** 0.5, source.variance() ** 0.5))
        return {"temporal.embedding": seen.value()} if seen.points else {}

    def _at_joins(self) -> dict[str, float]:
        seen = self._seen.get("temporal.warp.mask")
        ratios = seen.ratios() if seen else {}
        at = [value for frame, value in ratios.items() if frame in self._joins]
        between = [value for frame, value in ratios.items() if frame not in self._joins]
        if not at or not between:
            return {}
        return {"temporal.joins": float(np.median(at) / np.median(between))}


def load_perceptual(folder: Path | None = None) -> PerceptualDistance | None:
    """Return the perceptual distance if its weights are in `folder`, by default `sets_folder()`.

    Raises:
        WeightsError: the file is damaged.
    """
    place = set_folder("perceptual", folder if folder is not None else sets_folder())
    files = sorted(place.glob("*.pth"))
    if not files:
        return None
    network = PerceptualDistance()
    try:
        network.load_state_dict(torch.load(files[0], weights_only=True, map_location="cpu"))
    except (OSError, RuntimeError, EOFError, IndexError, pickle.UnpicklingError) as error:
        raise WeightsError(
            f"{files[0]} cannot be read: {error}", hint=f"delete {place}; it is fetched again"
        ) from None
    return network


# ------------------------------------------------------------------------------------ one face


def _moment(index: int, view: FaceView) -> _Moment:
    half, means = [], []
    for crop in (view.result, view.source):
        planes = cv2.cvtColor(crop, cv2.COLOR_RGB2YCrCb)
        small = cv2.resize(planes[..., 0], (SIDE // 2, SIDE // 2), interpolation=cv2.INTER_AREA)
        half.append(small.astype(np.float32))
        means.append(
            {
                zone: np.array(cv2.mean(planes, here.astype(np.uint8))[:3])
                for zone in ZONES
                if (here := _zone(view, zone)).sum() >= FEWEST_PIXELS
            }
        )
    both = {zone: (means[0][zone], means[1][zone]) for zone in means[0]}
    grey = cv2.cvtColor(view.source, cv2.COLOR_RGB2GRAY)
    return _Moment(index, view, grey, (half[0], half[1]), both)


def _zone(view: FaceView, name: str) -> Bools:
    here: Bools = getattr(view, name)
    return here & view.inside_frame


def _landmarks_inside(view: FaceView) -> Bools:
    """Return [478] which landmarks lie in the mask."""
    x, y = np.clip(view.landmarks[:, :2].astype(int), 0, SIDE - 1).T
    return view.mask[y, x]


def _bend(values: Sequence[Floats]) -> Floats:
    """Return the second difference of three in a row."""
    return values[0] - 2 * values[1] + values[2]


def _rms(values: Floats) -> float:
    return float(np.sqrt(np.square(values).mean()))


def _distances(
    network: PerceptualDistance,
    first: Sequence[Floats | Bytes],
    second: Sequence[Floats | Bytes],
    here: Bools,
) -> list[float]:
    """Return the distances of pairs of [SIDE, SIDE, 3] pictures where `here` is true."""
    size = (PERCEPTUAL_SIDE, PERCEPTUAL_SIDE)

    def batch(pictures: Sequence[Floats | Bytes]) -> torch.Tensor:
        small = [cv2.resize(one, size, interpolation=cv2.INTER_AREA) for one in pictures]
        return torch.from_numpy(np.stack(small)).permute(0, 3, 1, 2).float() / 127.5 - 1

    weight = cv2.resize(here.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    with torch.inference_mode():
        weights = torch.from_numpy(weight)[None, None].expand(len(first), -1, -1, -1)
        return [float(value) for value in network(batch(first), batch(second), weights)]
