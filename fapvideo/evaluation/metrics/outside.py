"""What the result changes where it must not: everything beyond mask and ring, frame by frame."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import cv2
import numpy as np

from fapvideo.composite.planes import Region, changed_outside
from fapvideo.evaluation.definitions import Definition
from fapvideo.evaluation.views import SIDE, FaceView, FramePair
from fapvideo.ops.display import to_display
from fapvideo.ops.geometry import invert, scale_of, transform, warp
from fapvideo.ops.yuv import plane_layout
from fapvideo.structs import Bytes, Floats, VideoInfo

EQUAL_DB = 100.0
"""PSNR that stands for "no difference at all"."""
ENCODED_SHARE = 0.02
"""More samples than this, changed far from every face, were changed by an encoder."""
SMALLEST_SHARE = 0.05
"""In a close-up less than this lies far from the face: then the whole picture is looked at."""


class Outside:
    """Changed samples and PSNR beyond mask and ring: group `outside.*`."""

    definitions: ClassVar[tuple[Definition, ...]] = (
        Definition(
            "outside.changed", "Changed samples outside", "samples/frame", "lower",
            "Samples of the decoded planes that differ from the source's beyond mask and ring, "
            "per frame. Only for results that were encoded without loss, in the source's size and "
            "pixel format.", "own", curve=True,
        ),
        Definition(
            "outside.psnr", "PSNR outside", "dB", "higher",
            "PSNR of the displayed RGB picture beyond mask and ring; shows what an encoder lost "
            f"and what was repainted. {EQUAL_DB:.0f} means no difference.", "own",
            headline=True, curve=True,
        ),
    )  # fmt: skip

    def __init__(self, info: VideoInfo | None = None) -> None:
        """Prepare for one clip, whose source is `info`; without, samples are not counted."""
        self._info = info
        self._changed: list[int] = []
        self._frames = self._encoded = self._other_format = 0
        self._errors: list[float] = []

    def update(self, pair: FramePair) -> Mapping[str, float]:
        """Compare one frame."""
        self._frames += 1
        regions = [_region(view, view.mask | view.ring) for view in pair.faces]
        out: dict[str, float] = {}
        height, width = pair.source_rgb.shape[:2]
        beyond = 1 - _allowed((width, height), regions)
        error = _squared_error(pair, beyond, self._info)
        if error is not None:
            self._errors.append(error)
            out["outside.psnr"] = _psnr(error)
        if self._info is None:
            return out
        if not _same_format(pair):
            self._other_format += 1
        elif _looks_encoded(pair, self._info):
            self._encoded += 1
        else:
            changed = changed_outside(pair.source, pair.result, self._info, regions)
            self._changed.append(changed)
            out["outside.changed"] = changed
        return out

    def summary(self) -> Mapping[str, float]:
        """Return the means over all frames; no count for a result encoded with loss."""
        out: dict[str, float] = {}
        if self._errors:
            out["outside.psnr"] = _psnr(float(np.mean(self._errors)))
        if self._changed and 2 * len(self._changed) > self._frames:
            out["outside.changed"] = float(np.mean(self._changed))
        return out

    def notes(self) -> Sequence[str]:
        """Return why samples were not compared."""
        out = []
        if self._other_format:
            out.append(
                "outside.changed left out: the result has another size or pixel format "
                f"({self._other_format} of {self._frames} frames)"
            )
        if self._encoded:
            out.append(
                f"outside.changed left out: more than {ENCODED_SHARE:.0%} of the samples far from "
                f"every face differ in {self._encoded} of {self._frames} frames; the result was "
                "encoded with loss, or changed everywhere: outside.psnr says how much"
            )
        return out


def _looks_encoded(pair: FramePair, info: VideoInfo) -> bool:
    """Tell whether even the picture far from every face is changed throughout.

    An edit that spills over its mask stays near the face; the losses of an encoder are everywhere.
    """
    everywhere = np.ones((SIDE, SIDE), bool)
    faces = [_region(view, everywhere) for view in pair.faces]
    share_far = 1.0 - float(_allowed(info.display_size, faces).mean())
    if share_far < SMALLEST_SHARE:
        faces, share_far = [], 1.0
    far = changed_outside(pair.source, pair.result, info, faces)
    return far > ENCODED_SHARE * share_far * sum(plane.size for plane in pair.source.planes)


def _same_format(pair: FramePair) -> bool:
    return pair.source.pixel_format == pair.result.pixel_format and all(
        a.shape == b.shape for a, b in zip(pair.source.planes, pair.result.planes, strict=True)
    )


def _region(view: FaceView, keep: np.ndarray) -> Region:
    """Return where in the frame `keep` [SIDE, SIDE] lies: a box, and above 0 what belongs to it."""
    inverse = invert(view.matrix)
    margin = 2.0 + scale_of(inverse)
    corners = transform(inverse, np.array([[0, 0], [SIDE, 0], [0, SIDE], [SIDE, SIDE]], float))
    low = np.floor(corners.min(axis=0) - margin).astype(int).clip(0, view.frame_size)
    high = np.ceil(corners.max(axis=0) + margin).astype(int).clip(0, view.frame_size)
    x0, y0, x1, y1 = (int(value) for value in (*low, *high))
    inverse[:, 2] -= low
    size = (x1 - x0, y1 - y0)
    alpha: Floats = np.zeros(size[::-1], np.float32)
    if min(size) > 0:
        alpha = warp(keep.astype(np.float32), inverse, size, border=cv2.BORDER_CONSTANT)
    return (x0, y0, x1, y1), alpha


def _allowed(size: tuple[int, int], regions: Sequence[Region]) -> Bytes:
    """Return [height, width] 1 where a region lies."""
    allowed = np.zeros(size[::-1], np.uint8)
    for (x0, y0, x1, y1), alpha in regions:
        allowed[y0:y1, x0:x1] |= (alpha > 0).astype(np.uint8)
    return allowed


def _squared_error(pair: FramePair, outside: Bytes, info: VideoInfo | None) -> float | None:
    """Return the mean squared error of RGB where `outside` is 1; None where that is nowhere.

    A pixel none of whose samples changed counts as equal, even if the two files' tags make them
    be displayed a level apart.
    """
    count = int(np.count_nonzero(outside))
    if not count:
        return None
    if info is not None and _same_format(pair):
        outside = outside & _changed_pixels(pair, info)
    total = cv2.norm(pair.source_rgb, pair.result_rgb, cv2.NORM_L2SQR, outside)
    return float(total) / (3 * count)


def _changed_pixels(pair: FramePair, info: VideoInfo) -> Bytes:
    """Return [height, width] 1 where the displayed pixel has a changed sample."""
    layout = plane_layout(pair.source.pixel_format)
    size = (info.width, info.height)
    out = np.zeros(size[::-1], np.uint8)
    for plane, (a, b) in enumerate(zip(pair.source.planes, pair.result.planes, strict=True)):
        changed = (a != b).astype(np.uint8)
        shift_x, shift_y = layout.shifts(plane)
        if shift_x or shift_y:
            cells = np.ones((1 << shift_y, 1 << shift_x), np.uint8)
            changed = np.kron(changed, cells)[: size[1], : size[0]]
        out |= changed
    return np.ascontiguousarray(to_display(out, info))


def _psnr(error: float) -> float:
    return float(min(EQUAL_DB, 10 * np.log10(255**2 / max(error, 1e-12))))
