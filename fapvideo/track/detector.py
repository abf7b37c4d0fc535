"""Face boxes: MediaPipe's short-range BlazeFace through OpenCV, tiled for wide shots."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from fapvideo.ops.geometry import box_areas, iou, shared_areas
from fapvideo.ops.packaged import read_packaged
from fapvideo.structs import Bytes, Floats

INPUT = 128
TILE_ABOVE = 360
"""Frames whose shorter side is larger than this are also searched tile by tile."""


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
    """Return [896, 2] anchor centres in [0, 1]: two per cell at stride 8, six at stride 16."""
    rows = []
    for grid, count in ((16, 2), (8, 6)):
        y, x = np.mgrid[0:grid, 0:grid]
        centres = (np.stack([x, y], -1).reshape(-1, 2) + 0.5) / grid
        rows.append(np.repeat(centres, count, axis=0))
    return np.concatenate(rows).astype(np.float32)


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

    def __call__(self, rgb: Bytes, *, tiles: bool = True) -> tuple[Floats, Floats, Floats]:
        """Return boxes [N, 4] (x0, y0, x1, y1), scores [N], keypoints [N, 6, 2], best first.

        Keypoints: right eye, left eye, nose tip, mouth, right ear, left ear. `rgb` is uint8
        [H, W, 3]. With `tiles`, large frames are also searched in overlapping squares, so that a
        face of some 40 px is found in a shot of 1280x720.
        """
        height, width = rgb.shape[:2]
        windows = [_window(width / 2, height / 2, max(width, height))]
        if tiles and min(width, height) > TILE_ABOVE:
            windows += _tiles(width, height, min(width, height) / 2)
        elif tiles and max(width, height) > 1.2 * min(width, height):
            windows += _tiles(width, height, min(width, height))
        found = [self._search(rgb, window) for window in windows]
        boxes, scores, points = (np.concatenate(part) for part in zip(*found, strict=True))
        keep = nms(boxes, scores)
        return boxes[keep], scores[keep], points[keep]

    def _search(self, rgb: Bytes, window: Floats) -> tuple[Floats, Floats, Floats]:
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
        self._net.setInput(canvas.transpose(2, 0, 1)[None])
        logits, values = self._net.forward(self._names)
        scores = 1.0 / (1.0 + np.exp(-np.clip(logits.reshape(-1), -60, 60)))
        chosen = np.nonzero(scores >= self.min_score)[0]
        raw = values.reshape(896, 16)[chosen] / INPUT
        centre = self._anchors[chosen] + raw[:, :2]
        half = raw[:, 2:4] / 2
        boxes = np.concatenate([centre - half, centre + half], axis=1)
        points = raw[:, 4:].reshape(-1, 6, 2) + self._anchors[chosen][:, None]
        origin = np.array([x0, y0], np.float32)
        return (
            (boxes * side + np.tile(origin, 2)).astype(np.float32),
            scores[chosen].astype(np.float32),
            (points * side + origin).astype(np.float32),
        )


def _window(x: float, y: float, side: float) -> Floats:
    """Return (x0, y0, side) of a square around (x, y)."""
    return np.array([x - side / 2, y - side / 2, side], np.float32)


def _tiles(width: int, height: int, side: float) -> list[Floats]:
    """Cover the frame with squares of `side` that overlap by half."""

    def starts(length: int) -> NDArray[np.float64]:
        count = max(1, int(np.ceil((length - side) / (side / 2))) + 1)
        return np.linspace(0, max(0.0, length - side), count)

    return [np.array([x, y, side], np.float32) for y in starts(height) for x in starts(width)]
