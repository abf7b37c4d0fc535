"""Pictures for pages."""

from __future__ import annotations

import hashlib
import io
import threading
from collections import OrderedDict

import cv2
import numpy as np
from PIL import Image

from fapvideo.structs import Bytes

QUALITY = 92
KEPT_BYTES = 96 * 2**20
"""Painted stills and strips that are kept in memory for pages to fetch."""
GAIN = 4.0
"""Of differences: what is to be seen at all."""


def jpeg(picture: Bytes) -> bytes:
    """Return a picture [H, W, 3] as JPEG."""
    out = io.BytesIO()
    Image.fromarray(picture).save(out, "JPEG", quality=QUALITY, subsampling=0)
    return out.getvalue()


def resized(picture: Bytes, width: int, height: int) -> Bytes:
    """Return a picture that fits into a box; a small one stays as it is."""
    share = min(1.0, width / picture.shape[1], height / picture.shape[0])
    if share == 1.0:
        return picture
    size = max(1, round(picture.shape[1] * share)), max(1, round(picture.shape[0] * share))
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)


def difference(before: Bytes, after: Bytes) -> Bytes:
    """Return what changed, on grey, enlarged."""
    change = (after.astype(np.float32) - before.astype(np.float32)) * GAIN
    return np.clip(128 + change, 0, 255).astype(np.uint8)


class Shown:
    """Pictures that pages may fetch; the oldest go."""

    def __init__(self) -> None:
        """Begin empty."""
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, bytes] = OrderedDict()
        self._bytes = 0

    def add(self, picture: Bytes) -> str:
        """Keep a picture; return its name."""
        data = jpeg(picture)
        name = hashlib.sha256(data).hexdigest()[:24]
        with self._lock:
            if name not in self._kept:
                self._kept[name] = data
                self._bytes += len(data)
            self._kept.move_to_end(name)
            while self._bytes > KEPT_BYTES:
                _, old = self._kept.popitem(last=False)
                self._bytes -= len(old)
        return name

    def get(self, name: str) -> bytes | None:
        """Return a picture as JPEG; None where it has gone."""
        return self._kept.get(name)
