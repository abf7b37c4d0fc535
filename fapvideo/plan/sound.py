"""Whether what a kept plan says of a target can be painted: a file may say anything."""

from __future__ import annotations

import zlib
from typing import Final

import numpy as np

from fapvideo.mask.leftovers import FAR as FAR_OUT
from fapvideo.mask.leftovers import SAMPLES
from fapvideo.mask.occlusion import TrackOcclusion
from fapvideo.nets.occlusion import SIZE
from fapvideo.ops.memory import release
from fapvideo.parts import PARTS
from fapvideo.plan.targets import Target
from fapvideo.structs import REASONS, STATES, Array, Reference

MAX_CROP = 2048
"""`composite.max_size` allows no larger ones."""
FAR: Final = 1e6
"""Pixels, or inter-ocular distances, that no landmark is away."""

AT_ONCE: Final = 1000
"""Frames whose landmarks are in memory together."""


def check_target(target: Target) -> None:
    """See that everything that painting looks up is there and in its bounds.

    Raises:
        ValueError: names the track, and what is not.
    """
    try:
        _check_numbers(target)
        _check_references(target)
        if target.boxes is not None:
            _check_boxes(target)
        for part, far in (target.growth or {}).items():
            _check_growth(part, far)
        if target.occlusion is not None:
            _check_occlusion(target.occlusion, len(target.track))
    except (TypeError, AttributeError) as error:
        raise ValueError(f"track {target.track.id}: {error}") from None


def _check_numbers(target: Target) -> None:
    name, length = f"track {target.track.id}", len(target.track)
    size, seed, frames = target.crop_size, target.seed, target.frames
    if type(size) is not int or not 1 <= size <= MAX_CROP:
        raise ValueError(f"{name}: a crop of {size!r} pixels")
    if type(seed) is not int or not 0 <= seed < 2**63:
        raise ValueError(f"{name}: seed {seed!r}")
    if isinstance(target.strength, bool) or not 0 <= target.strength <= 1:
        raise ValueError(f"{name}: strength {target.strength!r}")
    if not np.all((frames.weight >= 0) & (frames.weight <= 1)):
        raise ValueError(f"{name}: a weight outside [0, 1]")
    for what, words, known in (
        ("state", frames.state, STATES),
        ("reason", frames.reason, ("", *REASONS)),
    ):
        if len(words) != length or not set(words) <= set(known):
            raise ValueError(f"{name}: {what} does not say one for each frame")
    used, landmarks = np.unique(frames.source[frames.weight > 0]), target.track.landmarks
    for start in range(0, len(used), AT_ONCE):  # of a long clip they are large
        _check_near(f"{name}: landmarks", np.asarray(landmarks[used[start : start + AT_ONCE]]))
        release(landmarks)
    _check_near(f"{name}: neutral", target.track.neutral)


def _check_references(target: Target) -> None:
    name, length = f"track {target.track.id}", len(target.track)
    if not set(target.references) <= set(PARTS) or not target.references:
        raise ValueError(f"{name}: references of {sorted(target.references)}")
    if set(target.chosen) != set(target.references):
        raise ValueError(f"{name}: other parts are chosen than there are")
    for part, group in target.references.items():
        chosen = target.chosen[part]
        if len(chosen) != length or not all(
            type(one) is int and 0 <= one < len(group) for one in chosen
        ):
            raise ValueError(f"{name}: {part} does not choose a reference for each frame")
        for reference in group:
            _check_reference(reference, part)
    for what, table, most in (
        ("strengths", target.strengths, 1.0),
        ("expression", target.expression, 2.0),
    ):
        for part, value in table.items():
            if part not in target.references or type(value) is not float or not 0 <= value <= most:
                raise ValueError(f"{name}: {what} {value!r:.40} of {part!r:.40}")


def _check_reference(reference: Reference, part: str) -> None:
    crop, name = reference.crop, f"reference {reference.path!r:.300}"
    if reference.part != part:
        raise ValueError(f"{name} is of {reference.part!r:.40}, not {part}")
    if crop.shape[0] != crop.shape[1] or not 1 <= len(crop) <= MAX_CROP or crop.shape[2] != 3:
        raise ValueError(f"{name}: a crop of {list(crop.shape)}")
    if crop.min() < -1 or crop.max() > 2:
        raise ValueError(f"{name}: colours outside [0, 1]")
    _check_near(f"{name}: landmarks", reference.landmarks)
    _check_near(f"{name}: shape", reference.shape)
    if reference.shape.shape != reference.landmarks.shape:
        raise ValueError(f"{name}: shape is {list(reference.shape.shape)}")
    _check_near(f"{name}: box", reference.box)


def _check_boxes(target: Target) -> None:
    boxes, length = target.boxes, len(target.track)
    assert boxes is not None
    if not set(boxes.parts) <= set(PARTS) or set(boxes.keep_out) != set(boxes.strength):
        raise ValueError(f"track {target.track.id}: boxes of {sorted(boxes.parts)}")
    for table, shape in ((boxes.parts, (4,)), (boxes.keep_out, (4,)), (boxes.strength, ())):
        for label, rows in table.items():
            if rows.shape != (length, *shape):
                raise ValueError(f"boxes of {label!r:.40} are {list(rows.shape)}")
            _check_near(f"boxes of {label!r:.40}", rows)


def _check_occlusion(front: TrackOcclusion, length: int) -> None:
    packed, start = front.packed.tobytes(), 0
    for end in front.ends.tolist():
        if end > start:
            unpack = zlib.decompressobj()
            try:
                levels = unpack.decompress(packed[start:end], SIZE * SIZE + 1)
            except zlib.error as error:
                raise ValueError(f"a map of what is in front: {error}") from None
            if len(levels) != SIZE * SIZE or not unpack.eof:
                raise ValueError(f"a map of what is in front has {len(levels)} values")
        start = end
    for part, rows in front.shown.items():
        if part not in PARTS or len(rows) != length or not ((rows >= 0) & (rows <= 1)).all():
            raise ValueError(f"what is shown of {part!r:.40} is no share for each frame")


def _check_growth(part: str, far: Array) -> None:
    shape = (len(PARTS[part].outline) if part in PARTS else 0, SAMPLES)
    if far.dtype != np.float32 or far.shape != shape or not ((far >= 0) & (far <= FAR_OUT)).all():
        raise ValueError(f"how far {part!r:.40} reaches is {far.dtype}{list(far.shape)}")


def _check_near(name: str, array: Array) -> None:
    if array.dtype != np.float32 or not np.all(np.abs(array) < FAR):  # nan fails, too
        raise ValueError(f"{name}: not within {FAR:g}, or not finite")
