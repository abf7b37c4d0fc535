"""Pictures of a report: before, after and difference of chosen frames, film strips, one video.

One pass over the source and all results together; only the chosen frames are kept, encoded.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Collection, Container, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np

from fapvideo.evaluation.views import SIDE, Clip, FaceView, FramePair, Material
from fapvideo.ops.geometry import scale_of
from fapvideo.reference.images import AlignedFace
from fapvideo.structs import Bytes
from fapvideo.video.embed import EmbeddedVideo

FULL_SCALE = 64
"""Difference at the bright end of the heat map, levels of 255."""
TICKS = (0, 1, 4, 16, 36, 64)
"""Differences that the scale names; the colour follows the square root."""
THUMBNAIL = 128
"""Side of a film strip's picture, pixels."""
THUMBNAIL_QUALITY = 72
"""WebP's."""
VIDEO_SECONDS = 20.0
"""Longer videos are cut off here."""
TILE = {2: 560, 3: 420, 4: 480}
"""Longer side of a tile by the number of tiles, pixels; `SMALL_TILE` for more."""
SMALL_TILE = 360
COLUMNS = {1: 1, 2: 2, 3: 3, 4: 2, 5: 3, 6: 3}
"""Columns of the video by the number of tiles; 4 for more."""
MARGIN = 0.45
"""What the video shows around the faces, of their common box's size, on each side."""


@dataclass(frozen=True, slots=True)
class Fineness:
    """How large and how well the pictures of a strip are kept."""

    side: int
    quality: int
    heat_quality: int
    bytes: int
    """What a picture takes on average, as text of the page."""


FINENESS = (
    Fineness(256, 82, 60, 17_000),
    Fineness(192, 76, 50, 10_000),
    Fineness(160, 70, 45, 7_000),
)
"""The finest first; the others are for many clips and systems."""


@dataclass(frozen=True, slots=True)
class Shot:
    """What one system made of one frame: data URIs."""

    after: str
    difference: str
    peak: int
    """Largest difference in the crop, levels."""


@dataclass(frozen=True, slots=True)
class Strip:
    """One frame, by the position it has in the curves."""

    position: int
    before: str
    shots: Mapping[str, Shot]
    faces: int
    """How many faces the frame has; the largest is shown, or the frame if there is none."""
    reference: int
    """Which of `ClipPictures.references`; -1 if the photos are not known."""


@dataclass(frozen=True, slots=True)
class VideoPlan:
    """How source and results lie side by side in the video."""

    region: tuple[int, int, int, int]
    """x, y, width, height that is shown, pixels of the frame."""
    tile: tuple[int, int]
    """(width, height) of a tile, both even."""
    columns: int
    rate: Fraction
    bits_per_s: int
    cut: bool
    """Whether the clip is longer than what is shown."""
    cropped: bool
    """Whether `region` is less than the frame."""


@dataclass(slots=True)
class ClipPictures:
    """All pictures of one clip."""

    strips: dict[int, Strip] = field(default_factory=dict)
    film: dict[int, tuple[str, ...]] = field(default_factory=dict)
    """Position -> thumbnails: the source, then each system."""
    references: dict[tuple[str, ...], str] = field(default_factory=dict)
    """What each photo is, in reading order -> the photos in one square picture, a data URI."""
    video: str = ""
    plan: VideoPlan | None = None


def collect(
    clip: Material,
    results: Mapping[str, Path],
    frames: Collection[int],
    film: Collection[int],
    plan: VideoPlan | None,
    fineness: Fineness = FINENESS[0],
) -> ClipPictures:
    """Make the pictures of one clip and what each system made of it.

    `frames` and `film` are the positions to make strips and thumbnails of; without `plan` there is
    no video.

    Raises:
        VideoReadError: the source or a result cannot be read.
    """
    made = ClipPictures(plan=plan)
    video = None if plan is None else _open_video(plan, 1 + len(results))
    wanted = {*frames, *film}
    with video or nullcontext():
        began_s: float | None = None
        for position, row in enumerate(_rows(clip, results, wanted)):
            first = row[0]
            began_s = first.time_s if began_s is None else began_s
            if position in frames:
                made.strips[position] = _strip(position, row, tuple(results), made, fineness)
            if position in film:
                made.film[position] = _thumbnails(row)
            if video and plan and first.time_s - began_s <= VIDEO_SECONDS:
                pictures = [first.source_rgb, *(pair.result_rgb for pair in row)]
                video.add(tiled(pictures, plan), first.time_s - began_s)
    if video is not None and video.data:
        made.video = _uri("video/mp4", video.data)
    return made


def _rows(
    clip: Material, results: Mapping[str, Path], wanted: Container[int]
) -> Iterator[tuple[FramePair, ...]]:
    """Yield the pairs of all results of one frame after the other."""
    options = {"faces_of": wanted} if isinstance(clip, Clip) else {}
    return zip(*(clip.pairs(path, **options) for path in results.values()), strict=True)


# ---------------------------------------------------------------------------------- stills


def heat_map(source: Bytes, result: Bytes, view: FaceView | None = None) -> Bytes:
    """Show where two pictures differ: the largest difference of R, G, B under `FULL_SCALE`.

    All are uint8 [H, W, 3]; it is black where nothing changed, and the outline of the view's mask
    is drawn. The colour map (inferno) rises evenly in lightness, with the square root of the
    difference, so that single levels show.
    """
    coloured = _ramp(cv2.absdiff(source, result).max(axis=2))
    if view is not None:
        outlines, _ = cv2.findContours(
            view.mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE
        )
        cv2.drawContours(coloured, outlines, -1, (120, 190, 200), 1)
    return coloured


def heat_scale() -> str:
    """Return the heat map's scale, left to right 0 to `FULL_SCALE`, as a data URI."""
    levels = np.linspace(0, 1, 256) ** 2 * FULL_SCALE
    return still(_ramp(np.tile(levels, (8, 1))), 95)


def still(rgb: Bytes, quality: int) -> str:
    """Return a picture uint8 [H, W, 3] as a WebP data URI."""
    options = (cv2.IMWRITE_WEBP_QUALITY, quality)
    done, data = cv2.imencode(".webp", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), options)
    if not done:
        raise ValueError(f"a picture of shape {rgb.shape} cannot be encoded")
    return _uri("image/webp", data.tobytes())


def reference_faces(references: Mapping[str, Sequence[AlignedFace]]) -> dict[str, AlignedFace]:
    """Return up to four different photos by what they are; of every part the first one."""
    shown: dict[str, tuple[AlignedFace, list[str]]] = {}
    for part, photos in references.items():
        for photo in photos[:1]:
            shown.setdefault(photo.sha256, (photo, []))[1].append(part)
    named = {f"{', '.join(parts)}: {Path(face.path).name}": face for face, parts in shown.values()}
    return dict(list(named.items())[:4])


def reference_sheet(faces: Sequence[AlignedFace]) -> Bytes:
    """Return one to four photos in one square picture, in reading order."""
    count = 1 if len(faces) == 1 else 2
    side = SIDE // count
    sheet = np.zeros((SIDE, SIDE, 3), np.uint8)
    for place, face in enumerate(faces):
        crop = (np.clip(face.crop, 0, 1) * 255 + 0.5).astype(np.uint8)
        y, x = side * (place // count), side * (place % count)
        sheet[y : y + side, x : x + side] = _scaled(crop, side)
    return sheet


def _strip(
    position: int,
    row: Sequence[FramePair],
    systems: Sequence[str],
    made: ClipPictures,
    fineness: Fineness,
) -> Strip:
    """Encode one frame of all systems; new reference photos go to `made`."""
    shots: dict[str, Shot] = {}
    before = row[0].source_rgb
    for system, pair in zip(systems, row, strict=True):
        view, before, after = _squares(pair)
        shots[system] = Shot(
            after=still(_scaled(after, fineness.side), fineness.quality),
            difference=still(
                _scaled(heat_map(before, after, view), fineness.side), fineness.heat_quality
            ),
            peak=int(cv2.absdiff(before, after).max()),
        )
    faces = reference_faces(row[0].references)
    labels = tuple(faces)
    if labels and labels not in made.references:
        sheet = _scaled(reference_sheet(list(faces.values())), fineness.side)
        made.references[labels] = still(sheet, fineness.quality)
    return Strip(
        position=position,
        before=still(_scaled(before, fineness.side), fineness.quality),
        shots=shots,
        faces=len(row[0].faces),
        reference=list(made.references).index(labels) if labels else -1,
    )


def _thumbnails(row: Sequence[FramePair]) -> tuple[str, ...]:
    """Encode the film strip's column of one frame."""
    crops = [_squares(row[0])[1], *(_squares(pair)[2] for pair in row)]
    return tuple(still(_scaled(crop, THUMBNAIL), THUMBNAIL_QUALITY) for crop in crops)


def _squares(pair: FramePair) -> tuple[FaceView | None, Bytes, Bytes]:
    """Return the largest face, source and result of it; the whole frame if there is none."""
    view = min(pair.faces, key=lambda face: scale_of(face.matrix), default=None)
    if view is None:
        return None, _fitted(pair.source_rgb), _fitted(pair.result_rgb)
    return view, view.source, view.result


def _scaled(square: Bytes, side: int) -> Bytes:
    """Scale a square picture down."""
    if len(square) == side:
        return square
    return np.asarray(cv2.resize(square, (side, side), interpolation=cv2.INTER_AREA), np.uint8)


def _fitted(rgb: Bytes) -> Bytes:
    """Fit a whole frame into the square of a crop."""
    height, width = rgb.shape[:2]
    scale = SIDE / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)
    out = np.zeros((SIDE, SIDE, 3), np.uint8)
    y, x = (SIDE - size[1]) // 2, (SIDE - size[0]) // 2
    out[y : y + size[1], x : x + size[0]] = small
    return out


def _ramp(levels: np.ndarray) -> Bytes:
    """Colour differences, levels."""
    share = np.sqrt(np.clip(levels.astype(np.float32) / FULL_SCALE, 0, 1))
    bgr = cv2.applyColorMap((share * 255 + 0.5).astype(np.uint8), cv2.COLORMAP_INFERNO)
    return np.ascontiguousarray(bgr[..., ::-1])


def _uri(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"


# ----------------------------------------------------------------------------------- video


def plan_video(clip: Clip, systems: int, duration_s: float, budget: int) -> VideoPlan:
    """Decide what the side-by-side video shows; the file may have about `budget` bytes.

    Its faces decide what is shown of a large frame.
    """
    width, height = clip.info.display_size
    shape = np.array(clip.info.pixel_shape)
    shapes = [item.track.landmarks[..., :2] / shape for item in clip.plan.targets]
    low = np.min([shape.min(axis=(0, 1)) for shape in shapes], axis=0)
    high = np.max([shape.max(axis=(0, 1)) for shape in shapes], axis=0)
    margin = MARGIN * float((high - low).max())
    x0, y0 = (max(0, math.floor(value - margin)) for value in low)
    x1 = min(width, math.ceil(high[0] + margin))
    y1 = min(height, math.ceil(high[1] + margin))
    if (x1 - x0) * (y1 - y0) > 0.6 * width * height or x1 - x0 < 16 or y1 - y0 < 16:
        x0, y0, x1, y1 = 0, 0, width, height
    count = 1 + systems
    scale = min(1.0, TILE.get(count, SMALL_TILE) / max(x1 - x0, y1 - y0))
    tile = (_even((x1 - x0) * scale), _even((y1 - y0) * scale))
    shown_s = min(duration_s, VIDEO_SECONDS)
    return VideoPlan(
        region=(x0, y0, x1 - x0, y1 - y0),
        tile=tile,
        columns=COLUMNS.get(count, 4),
        rate=clip.info.frame_rate,
        bits_per_s=min(3_000_000, int(8 * budget / max(shown_s, 0.5))),
        cut=duration_s > VIDEO_SECONDS,
        cropped=(x1 - x0, y1 - y0) != (width, height),
    )


def tiled(pictures: Sequence[Bytes], plan: VideoPlan) -> Bytes:
    """Put the planned region of frames [H, W, 3] side by side, row by row."""
    x, y, width, height = plan.region
    across, down = plan.tile
    rows = -(-len(pictures) // plan.columns)
    sheet = np.zeros((rows * down, plan.columns * across, 3), np.uint8)
    for place, picture in enumerate(pictures):
        top, left = down * (place // plan.columns), across * (place % plan.columns)
        sheet[top : top + down, left : left + across] = cv2.resize(
            picture[y : y + height, x : x + width], plan.tile, interpolation=cv2.INTER_AREA
        )
    return sheet


def _open_video(plan: VideoPlan, tiles: int) -> EmbeddedVideo:
    size = (plan.columns * plan.tile[0], -(-tiles // plan.columns) * plan.tile[1])
    return EmbeddedVideo(size, plan.rate, bits_per_s=plan.bits_per_s)


def _even(value: float) -> int:
    """Return the nearest even size."""
    return max(2, 2 * round(value / 2))
