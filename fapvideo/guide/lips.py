"""The dark line between the lips and at their corners: the target's own, not the reference's.

It is a shadow, and says how lips and cheeks are held. A reference's line, warped, is a whisker
beside lips that are rounded, and where lips meet as the target's do, only the target has it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from fapvideo.ops import mesh
from fapvideo.ops.image import (
    as_rgb,
    blur,
    closed,
    luma,
    signed_distance,
    smoothstep,
    soft_edge,
    window_of,
)
from fapvideo.structs import Floats

CORNERS = ((61, 78, 291), (291, 308, 61))
"""Right and left corners of the mouth: of the lips, of what is between them, and the other one."""
TIP, BEFORE = 0.13, 0.08
"""How far beyond a corner the line may go on, and how far before it lips touch even if they are
parted, inter-ocular distances."""
CORE, SOFT = 0.02, 0.03
"""Half width of the zone about the line, and softness of its edge, inter-ocular distances."""
THICK, BROAD = 0.022, 0.06
"""Radii of what closes over the line: dark lines up to twice as thick are found; and over the shade
on the skin beside a photo's corners, inter-ocular distances."""
STAIRS = 0.008
"""Blur that smooths the warp's edge from lip to lip, inter-ocular distances."""
DARKEST = 0.3
"""What a line may multiply brightness by at least."""
SHUT, PARTED = 0.03, 0.1
"""Openings up to which lips touch, and from which on there is only a line at the corners."""


def without_line(photo: Floats, landmarks: Floats) -> Floats:
    """Return a photo [S, S, 3] of a face without the line at the lips and beside their corners.

    Args:
        photo: RGB in [0, 1].
        landmarks: [478, >=2] in it.
    """
    unit = mesh.interocular(landmarks)
    zone = _zone(landmarks, len(photo), unit)
    if not zone.any():
        return photo
    out = photo.copy()
    window = window_of(zone, 4 * BROAD * unit)
    below = out[window]
    for where, radius in ((zone, THICK), (_beside(landmarks, len(photo), unit), BROAD)):
        below += as_rgb(where[window]) * np.maximum(closed(below, radius * unit) - below, 0.0)
    return out


def guide_photo(photo: Floats, landmarks: Floats, parts: Sequence[str]) -> Floats:
    """Return a reference's photo [S, S, 3] as it is warped when it gives `parts`."""
    return without_line(photo, landmarks) if "mouth" in parts else photo


def draw_line(
    picture: Floats, target: Floats, landmarks: Floats, shown: Floats, interocular: float
) -> None:
    """Put the target's line on a guide [S, S, 3], in place, where its lips meet like stairs.

    Args:
        picture: RGB in [0, 1].
        target: [S, S, 3] target crop.
        landmarks: [478, >=2] of the target in it.
        shown: [S, S] in [0, 1] where the guide is shown.
        interocular: pixels.
    """
    zone = _zone(landmarks, len(picture), interocular) * shown
    if not zone.any():
        return
    window = window_of(zone, 4 * THICK * interocular)
    zone = zone[window]
    below = picture[window]
    below += as_rgb(zone) * (blur(below, STAIRS * interocular) - below)
    below *= as_rgb(1.0 + zone * (_shade(target[window], interocular) - 1.0))


def _zone(landmarks: Floats, size: int, unit: float) -> Floats:
    """Return [size, size] in [0, 1] where the line is looked for."""
    points = np.asarray(landmarks[:, :2], np.float32)
    inner = points[list(mesh.LIPS_INNER)]
    gap = float(np.linalg.norm(points[13] - points[14])) / unit
    shut = 1.0 - float(smoothstep(np.array((gap - SHUT) / (PARTED - SHUT))))
    tips = [
        np.stack([points[within] - BEFORE * along, points[corner], points[corner] + TIP * along])
        for corner, within, along in _ways(points, unit)
    ]
    corners = _about(tips, size, unit)
    return corners if shut <= 0.0 else np.maximum(corners, shut * _about([inner], size, unit))


def _beside(landmarks: Floats, size: int, unit: float) -> Floats:
    """Return [size, size] in [0, 1] the skin beside the corners of the mouth."""
    points = np.asarray(landmarks[:, :2], np.float32)
    ways = [(points[corner], along) for corner, _, along in _ways(points, unit)]
    tips = [np.stack([at, at + TIP / 2 * along, at + TIP * along]) for at, along in ways]
    lips = signed_distance([points[list(mesh.LIPS_OUTER)]], size, (CORE + SOFT) * unit)
    return _about(tips, size, unit) * smoothstep(lips / (CORE * unit))


def _about(polygons: Sequence[Floats], size: int, unit: float) -> Floats:
    """Return [size, size] 1 in polygons and up to CORE about them, 0 from there on by SOFT."""
    distance = signed_distance(polygons, size, (CORE + SOFT) * unit)
    return soft_edge(distance, CORE * unit, SOFT * unit)


def _ways(points: Floats, unit: float) -> Iterator[tuple[int, int, Floats]]:
    """Yield both corners, outside and within, and the ways [2] on from there, of length `unit`."""
    for corner, within, other in CORNERS:
        along = points[corner] - points[other]
        yield corner, within, along * (unit / max(float(np.linalg.norm(along)), 1e-6))


def _shade(image: Floats, unit: float) -> Floats:
    """Return [H, W] in [DARKEST, 1]: how much darker than their surroundings thin lines are."""
    grey = luma(image)
    return np.clip(grey / np.maximum(closed(grey, THICK * unit), 0.02), DARKEST, 1.0)
