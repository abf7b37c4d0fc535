"""Targets as video shows them: small faces enlarged, moved, noisy, coded."""

from __future__ import annotations

import cv2
import numpy as np

from fapvideo.ops.image import resize
from fapvideo.structs import Bytes, Floats
from fapvideo.video.recoded import recoded

MOVED, INTERLACED = 0.2, 0.04
"""Shares that moved while they were exposed, and whose fields are of two moments."""
H264, JPEG = 0.7, 0.15
"""Shares that are coded as video and as a photo; the others are not."""
RATES = (20, 38)
"""H.264's constant rate factor: hardly seen to blocks."""
BEFORE = 0.4
"""Largest shift, pixels at 128, from the frame from which a coded one is predicted."""


def filmed(rng: np.random.Generator, grain: np.random.Generator, image: Floats) -> Floats:
    """Return a picture [S, S, 3] in [0, 1] as a frame of small, noisy, compressed video.

    Two moments of one recording have the same `rng` and another `grain`.
    """
    size = image.shape[0]
    unit = size / 128
    out = image
    moved, interlaced, coding = rng.random(3)
    angle, length = rng.uniform(0, np.pi), rng.uniform(1.5, 6.0) * unit
    shift = rng.uniform(0.5, 2.0) * unit
    if moved < MOVED:
        out = _blurred_along(out, angle, length)
    smaller = np.exp(rng.uniform(np.log(1.05), np.log(3.5)))
    small = max(16, round(size / smaller / 2) * 2)
    way = (cv2.INTER_LINEAR, cv2.INTER_CUBIC)[int(rng.integers(2))]
    out = resize(out, small)
    if interlaced < INTERLACED:
        out = out.copy()
        out[::2] = _shifted(out, shift * small / size)[::2]
    noise, rate, quality = rng.uniform(0, 0.02), int(rng.integers(*RATES)), rng.integers(35, 95)
    pixels = _pixels(out + grain.normal(0, noise, out.shape))
    if coding < H264:
        before = _pixels(_shifted(out, grain.uniform(-BEFORE, BEFORE) * small / size))
        pixels = recoded([before, pixels], rate)[-1]
    elif coding < H264 + JPEG:
        pixels = _as_jpeg(pixels, int(quality))
    out = pixels.astype(np.float32) / 255
    out = cv2.resize(out, (size, size), interpolation=way) if small != size else out
    return np.clip(out, 0.0, 1.0).astype(np.float32)


def _blurred_along(image: Floats, angle: float, length: float) -> Floats:
    """Return the picture averaged along a line of `length` pixels."""
    side = 2 * int(np.ceil(length / 2)) + 1
    kernel = np.zeros((side, side), np.float32)
    reach = np.array([np.cos(angle), np.sin(angle)]) * length / 2
    ends = [tuple(round((side // 2 + sign * way) * 16) for way in reach) for sign in (-1, 1)]
    cv2.line(kernel, ends[0], ends[1], 1.0, 1, cv2.LINE_AA, 4)
    return cv2.filter2D(image, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REFLECT_101)


def _shifted(image: Floats, pixels: float) -> Floats:
    """Return the picture moved to the right."""
    matrix = np.array([[1.0, 0, pixels], [0, 1, 0]])
    height, width = image.shape[:2]
    return cv2.warpAffine(image, matrix, (width, height), borderMode=cv2.BORDER_REFLECT_101)


def _pixels(image: Floats) -> Bytes:
    return np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8)


def _as_jpeg(pixels: Bytes, quality: int) -> Bytes:
    options = [cv2.IMWRITE_JPEG_QUALITY, quality]
    data = cv2.imencode(".jpg", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), options)[1]
    return np.asarray(cv2.cvtColor(cv2.imdecode(data, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB))
