"""What one file of the training data gives: its usable faces, or why there are none."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import cv2

from fapvideo.config.train import DataConfig
from fapvideo.errors import ReferenceImageError
from fapvideo.nets.realesrgan import RRDBNet
from fapvideo.progress import ShouldStop
from fapvideo.reference.images import read_image
from fapvideo.structs import Bytes
from fapvideo.track.finder import FaceFinder
from fapvideo.training.faces.alignment import Measured, measure
from fapvideo.training.faces.clips import clip_faces
from fapvideo.training.faces.sources import Source

THUMBNAIL = 72
"""Side of a thumbnail, pixels."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One file: what became of it."""

    source: Source
    person: str
    """Whose face it is; empty where nobody says."""
    heldout: bool
    names: tuple[str, ...] = ()
    """Of its usable faces."""
    reason: str = ""
    """Why there is none: `reason: details`."""
    looked_at: int = 1
    """Frames."""
    reasons: dict[str, int] = field(default_factory=dict)
    """Of a video: why frames were left out, and how many."""
    thumbnail: bytes = b""
    """JPEG of what could not be used."""


def examine(
    source: Source,
    finder: FaceFinder,
    size: int,
    config: DataConfig,
    heldout: bool,
    stop: ShouldStop,
    enlarger: RRDBNet | None = None,
) -> tuple[Finding, list[Measured]]:
    """Return what became of a photo or video, and its faces in crops of `size` px.

    A photo's face that is smaller is drawn by `enlarger`, where there is one.

    Raises:
        Cancelled: `stop` said so.
    """
    blank = Finding(source, source.person(one_person=config.one_person), heldout)
    if source.path.name in config.leave_out:
        return replace(blank, reason="left out by data.leave_out", looked_at=0), []
    if source.is_video:
        return _examine_video(blank, finder, size, config, stop)
    return _examine_photo(blank, finder, size, config, enlarger)


def _examine_photo(
    blank: Finding, finder: FaceFinder, size: int, config: DataConfig, enlarger: RRDBNet | None
) -> tuple[Finding, list[Measured]]:
    try:
        rgb, _ = read_image(blank.source.path)
    except ReferenceImageError:
        return replace(blank, reason="not a readable image"), []
    found = measure(rgb, finder, size, config, enlarger)
    if isinstance(found, str):
        return replace(blank, reason=found, thumbnail=thumbnail(rgb)), []
    return replace(blank, names=(blank.source.name,)), [found]


def _examine_video(
    blank: Finding, finder: FaceFinder, size: int, config: DataConfig, stop: ShouldStop
) -> tuple[Finding, list[Measured]]:
    found = clip_faces(blank.source.path, finder, size, config, stop)
    if isinstance(found, str):
        return replace(blank, reason=found, looked_at=0), []
    seen = replace(blank, looked_at=found.looked_at, reasons=found.reasons)
    if found.kept:
        names = tuple(f"{blank.source.name}@{time:.3f}" for time, _ in found.kept)
        return replace(seen, names=names), [face for _, face in found.kept]
    counts = ", ".join(f"{count} {reason}" for reason, count in found.reasons.items())
    image = b"" if found.sample is None else thumbnail(found.sample)
    return replace(seen, reason=f"no usable frame: {counts}", thumbnail=image), []


def thumbnail(rgb: Bytes) -> bytes:
    """Return a picture as a small JPEG file, at most `THUMBNAIL` px wide and high."""
    scale = THUMBNAIL / max(rgb.shape[:2])
    if scale < 1:
        width, height = (max(1, round(side * scale)) for side in rgb.shape[1::-1])
        rgb = cv2.resize(rgb, (width, height), interpolation=cv2.INTER_AREA)
    done, data = cv2.imencode(
        ".jpg", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 70]
    )
    return data.tobytes() if done else b""
