"""Face boxes: MediaPipe's BlazeFace (short range) through OpenCV, any way up, in wide shots too."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from fapvideo.ops.geometry import (
    box_areas,
    invert,
    iou,
    shared_areas,
    transform,
    turned_square,
    warp,
)
from fapvideo.ops.packaged import read_packaged
from fapvideo.structs import Bytes, Floats

INPUT = 128
TILE_ABOVE = 360
"""Frames whose shorter side is larger than this are also searched tile by tile."""
FINE_SIDE = 300
"""Smallest side of the squares in which small faces are looked for, pixels."""
UP = np.array([1.0, 0.0], np.float32)
QUARTERS = tuple(np.array(v, np.float32) for v in ((0.0, 1.0), (-1.0, 0.0), (0.0, -1.0)))
"""From the right eye to the left one: of an upright face, and of one turned by quarters."""
UPRIGHT = 0.75
"""An upright face scores above this; one on its head up to 0.7, with its points in wrong places."""
SURE = 0.85
"""A find under this is looked at from all four sides."""
AROUND = 3.0
"""Side of the square around a find in which it is looked at again, in sides of its box."""


def read_net(name: str) -> cv2.dnn.Net:
    """Load a vendored TFLite network from `fapvideo/track/models`.

    Raises:
        WeightsError: it is missing or was changed.
    """
    buffer = np.frombuffer(read_packaged(f"track/models/{name}.tflite"), np.uint8)
    if hasattr(cv2.dnn, "ENGINE_CLASSIC"):  # OpenCV 5's new engine shows one of two outputs only
        read: Any = cv2.dnn.readNetFromTFLite  # the stubs of OpenCV 4 do not know `engine`
        return read(buffer, engine=cv2.dnn.ENGINE_CLASSIC)
    return cv2.dnn.readNetFromTFLite(buffer)


def _anchors() -> Floats:
    """Return [896, 2] anchor centres, pixels: two per cell at stride 8, six at stride 16."""
    rows = []
    for grid, count in ((16, 2), (8, 6)):
        y, x = np.mgrid[0:grid, 0:grid]
        centres = (np.stack([x, y], -1).reshape(-1, 2) + 0.5) / grid
        rows.append(np.repeat(centres, count, axis=0))
    return INPUT * np.concatenate(rows).astype(np.float32)


def nms(boxes: Floats, scores: Floats, max_iou: float = 0.3) -> NDArray[np.int64]:
    """Return the indices that survive non-maximum suppression, best first.

    A box that lies mostly inside a better one goes too: tiles see parts of a face as a face.
    """
    order = list(np.argsort(-scores))
    areas = box_areas(boxes)
    keep: list[int] = []
    while order:
        best = order.pop(0)
        keep.append(int(best))
        rest = np.array(order, np.int64)
        (shared,) = shared_areas(boxes[[best]], boxes[rest])
        inside = shared / np.maximum(np.minimum(areas[best], areas[rest]), 1e-6)
        order = list(rest[(iou(boxes[best], boxes[rest])[0] < max_iou) & (inside < 0.7)])
    return np.array(keep, np.int64)


@dataclass(frozen=True, slots=True)
class _Found:
    """What one or several looks found."""

    boxes: Floats
    """[N, 4]"""
    scores: Floats
    """[N]"""
    points: Floats
    """[N, 6, 2]"""


class FaceDetector:
    """Finds faces in one picture.

    Source: BlazeFace short range (model card: Google MediaPipe), vendored under Apache-2.0.
    """

    def __init__(self, min_score: float = 0.5) -> None:
        """Load the network; detections under `min_score` (0..1) are dropped."""
        self.min_score = min_score
        self._net = read_net("face_detection_short_range")
        self._names = self._net.getUnconnectedOutLayersNames()
        self._anchors = _anchors()

    def __call__(
        self, rgb: Bytes, *, tiles: bool = True, fine: Sequence[Floats] = ()
    ) -> tuple[Floats, Floats, Floats]:
        """Return boxes [N, 4] (x0, y0, x1, y1), scores [N], keypoints [N, 6, 2], best first.

        Keypoints: right eye, left eye, nose tip, mouth, right ear, left ear. `rgb` is uint8
        [H, W, 3]. With `tiles`, large frames are also searched in overlapping squares, so that a
        face of some 40 px is found in a shot of 1280x720; and where nothing upright is found, the
        picture is searched turned by quarters, too. `fine` are some of `fine_windows` to search.

        Every find is looked at again in a square of its own: in a wide shot the box of a small
        face takes in the hair, and its points are coarse.
        """
        height, width = rgb.shape[:2]
        windows = [_window(width / 2, height / 2, max(width, height))]
        if tiles and min(width, height) > TILE_ABOVE:
            windows += _tiles(width, height, min(width, height) / 2)
        elif tiles and max(width, height) > 1.2 * min(width, height):
            windows += _tiles(width, height, min(width, height))
        found = self._all(rgb, [*windows, *fine], UP)
        upright = len(found.scores)
        if tiles and (not len(found.scores) or found.scores.max() < UPRIGHT):
            turned = [self._all(rgb, windows, quarter) for quarter in QUARTERS]
            found = _joined([found, *turned])
        found = self._closer(rgb, found, upright)
        keep = nms(found.boxes, found.scores)
        return found.boxes[keep], found.scores[keep], found.points[keep]

    def among(self, rgb: Bytes, windows: Sequence[Floats]) -> tuple[Floats, Floats, Floats]:
        """Search some of `fine_windows` only; the rest as for a whole picture."""
        found = self._all(rgb, windows, UP)
        found = self._closer(rgb, found, len(found.scores))
        keep = nms(found.boxes, found.scores)
        return found.boxes[keep], found.scores[keep], found.points[keep]

    def near(
        self, rgb: Bytes, centre: Floats, side: float, direction: Floats
    ) -> tuple[Floats, float, Floats] | None:
        """Return box [4], score and keypoints [6, 2] of the face nearest to a place, or None.

        Args:
            rgb: uint8 [H, W, 3].
            centre: [2] where a face is thought to be.
            side: of the square that is searched, pixels.
            direction: [2] from the right eye to the left one, so that the face stands upright.
        """
        found = self._turned(rgb, centre, side, direction)
        if not len(found.scores):
            return None
        middles = (found.boxes[:, :2] + found.boxes[:, 2:]) / 2
        # A sure find a little farther off counts as much as a doubtful one in the middle.
        away = np.linalg.norm(middles - centre[:2], axis=-1) / side - found.scores / 4
        best = int(away.argmin())
        return found.boxes[best], float(found.scores[best]), found.points[best]

    def _all(self, rgb: Bytes, windows: Sequence[Floats], up: Floats) -> _Found:
        """Search all `windows`, turned so that `up`, the direction between the eyes, is level."""
        if up is UP:
            return _joined([self._search(rgb, window) for window in windows])
        return _joined([self._turned(rgb, w[:2] + w[2] / 2, float(w[2]), up) for w in windows])

    def _turned(self, rgb: Bytes, centre: Floats, side: float, direction: Floats) -> _Found:
        """Search one square turned along `direction`; boxes come back as upright ones about it."""
        matrix = turned_square(centre, direction, side, INPUT)
        crop = warp(rgb, matrix, (INPUT, INPUT), border=cv2.BORDER_CONSTANT)
        found = self._run(crop.astype(np.float32) / 127.5 - 1.0)
        back = invert(matrix)
        middles = transform(back, (found.boxes[:, :2] + found.boxes[:, 2:]) / 2)
        half = (found.boxes[:, 2:] - found.boxes[:, :2]) / 2 * (side / INPUT)
        boxes = np.concatenate([middles - half, middles + half], axis=1)
        return _Found(boxes, found.scores, transform(back, found.points))

    def _closer(self, rgb: Bytes, found: _Found, upright: int) -> _Found:
        """Look at every find again, the way up that suits it best; scores stay the first look's.

        Where the second look sees nothing the first one stays if it is one of the `upright` first
        ones; a find in a turned picture has to look like a face from near by, too.
        """
        rows = []
        for i in nms(found.boxes, found.scores):
            box, score, points = found.boxes[i], float(found.scores[i]), found.points[i]
            centre, side = _square_of(box)
            eyes = points[1] - points[0]
            ways = sorted((UP, *QUARTERS), key=lambda way: -float(way @ eyes))
            # Coarse points can have a face lie on its side, where it looks like one, a little less.
            tried = ways[:1] if ways[0] is UP else [ways[0], UP]
            looks = [self.near(rgb, centre, AROUND * side, way) for way in tried]
            if max((look[1] for look in looks if look), default=0.0) < SURE:
                rest = (way for way in ways[1:] if way is not tried[-1])
                looks += [self.near(rgb, centre, AROUND * side, way) for way in rest]
            near = [look for look in looks if look and _same_face(look[0], box)]
            best = max(near, key=lambda look: look[1], default=(box, score, points))
            if i < upright or best[1] >= UPRIGHT:
                rows.append((best[0], score, best[2]))
        if not rows:
            return _Found(*(getattr(found, name)[:0] for name in ("boxes", "scores", "points")))
        return _Found(*(np.array(column, np.float32) for column in zip(*rows, strict=True)))

    def _search(self, rgb: Bytes, window: Floats) -> _Found:
        """Run the network on one square `window` (x0, y0, side); pixels outside are black."""
        x0, y0, side = (float(value) for value in window)
        height, width = rgb.shape[:2]
        left, top = max(0, round(x0)), max(0, round(y0))
        right, bottom = min(width, round(x0 + side)), min(height, round(y0 + side))
        scale = INPUT / side
        part = cv2.resize(
            rgb[top:bottom, left:right],
            (max(1, round((right - left) * scale)), max(1, round((bottom - top) * scale))),
            interpolation=cv2.INTER_AREA,
        )
        canvas = np.zeros((INPUT, INPUT, 3), np.float32)
        px, py = max(0, round((left - x0) * scale)), max(0, round((top - y0) * scale))
        part = part[: INPUT - py, : INPUT - px]
        canvas[py : py + part.shape[0], px : px + part.shape[1]] = part / 127.5 - 1.0
        found, origin = self._run(canvas), np.array([x0, y0], np.float32)
        return _Found(
            found.boxes / scale + np.tile(origin, 2), found.scores, found.points / scale + origin
        )

    def _run(self, crop: Floats) -> _Found:
        """Run the network on [128, 128, 3] in [-1, 1]; boxes and points in its pixels."""
        self._net.setInput(crop.transpose(2, 0, 1)[None])
        logits, values = self._net.forward(self._names)
        scores = 1.0 / (1.0 + np.exp(-np.clip(logits.reshape(-1), -60, 60)))
        chosen = np.nonzero(scores >= self.min_score)[0]
        raw = values.reshape(896, 16)[chosen]
        centre, half = self._anchors[chosen] + raw[:, :2], raw[:, 2:4] / 2
        points = raw[:, 4:].reshape(-1, 6, 2) + self._anchors[chosen][:, None]
        return _Found(
            np.concatenate([centre - half, centre + half], axis=1).astype(np.float32),
            scores[chosen].astype(np.float32),
            points.astype(np.float32),
        )


def _joined(finds: list[_Found]) -> _Found:
    return _Found(
        *(
            np.concatenate([getattr(f, name) for f in finds])
            for name in ("boxes", "scores", "points")
        )
    )


def _same_face(near: Floats, far: Floats) -> bool:
    """Tell whether a box seen from near by is of the face that was seen from afar.

    From afar a box takes in the hair: it may be three times as wide.
    """
    (a, small), (b, large) = _square_of(near), _square_of(far)
    return bool(np.abs(a - b).max() < large / 2 and 0.3 < small / large < 1.5)


def _square_of(box: Floats) -> tuple[Floats, float]:
    """Return centre [2] and side of the square about a box."""
    return (box[:2] + box[2:]) / 2, float(max(box[2:] - box[:2]))


def fine_windows(width: int, height: int) -> list[Floats]:
    """Return squares (x0, y0, side) in which faces of 32 px in a frame of 1920x1080 are found.

    None for frames so small that the ordinary ones find such faces. There are many (84 at
    1920x1080): a few at a time find everybody within a second at little cost.
    """
    side = max(FINE_SIDE, min(width, height) / 3.6)
    return _tiles(width, height, side) if min(width, height) > 2.6 * side else []


def _window(x: float, y: float, side: float) -> Floats:
    """Return (x0, y0, side) of a square around (x, y)."""
    return np.array([x - side / 2, y - side / 2, side], np.float32)


def _tiles(width: int, height: int, side: float) -> list[Floats]:
    """Cover the frame with squares of `side` that overlap by half."""

    def starts(length: int) -> NDArray[np.float64]:
        count = max(1, int(np.ceil((length - side) / (side / 2))) + 1)
        return np.linspace(0, max(0.0, length - side), count)

    return [np.array([x, y, side], np.float32) for y in starts(height) for x in starts(width)]
