"""The layers of one frame: what was painted, where, and what is known of the face there.

`over` puts them back. A finished frame is the source's samples blended with colours in the
source's own encoding (`composite.planes`), so colour and opacity of that blend *are* the layer: in
R'G'B' of the source's matrix and transfer function, not in linear light, `source * (1 - a) + colour
* a` gives the finished picture. Nothing here is rounded; only files round.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

import cv2
import numpy as np

from fapvideo.composite.planes import Box, Stroke, blend
from fapvideo.guide.warp import source_map, triangle_map
from fapvideo.mask.occlusion import kept_at_size
from fapvideo.nets.occlusion import SIZE
from fapvideo.ops import mesh
from fapvideo.ops.geometry import Matrix, combined, invert, transform, warp
from fapvideo.ops.pose import CROP_INTEROCULAR, crop_matrix
from fapvideo.paint.painter import FaceJob
from fapvideo.parts import PARTS
from fapvideo.pipeline import SwappedBatch
from fapvideo.plan.targets import Plan
from fapvideo.structs import Floats, FrameBatch, VideoFrame, VideoInfo

TEXTURE = 1024
"""Side of the square in which ST maps look faces up, in its own pixels."""
TEXTURE_CENTRE = (0.5, 0.4)
"""Where in that square the middle between the eyes lies, from its upper left corner."""
OTHER_MATTES = ("inner_mouth", "occluders")
OF_A_PERSON = "_person"
"""In the name of a matte of one person alone: `eyes_person3`."""


@dataclass(frozen=True, slots=True)
class Mattes:
    """Which mattes a clip has."""

    names: tuple[str, ...] = ()
    """In their order: parts that are swapped and others, then the same of each person alone."""
    people: Mapping[int, int] = field(default_factory=dict)
    """Track -> its person; nothing where only one person is swapped."""

    @classmethod
    def of(cls, plan: Plan) -> Self:
        """Return those of a clip."""
        parts: dict[int, set[str]] = {}
        for target in plan.targets:
            person = plan.people.get(target.track.id, target.track.id)
            parts.setdefault(person, set()).update(target.parts)
        names = _named(set[str]().union(*parts.values()))
        if len(parts) < 2:
            return cls(names)
        for person in sorted(parts):
            names += tuple(f"{name}{OF_A_PERSON}{person}" for name in _named(parts[person]))
        tracks = (target.track.id for target in plan.targets)
        return cls(names, {track: plan.people.get(track, track) for track in tracks})

    def held_by(self, name: str, track: int) -> tuple[str, ...]:
        """Return the names of the mattes that a matte of a face belongs into."""
        if track not in self.people:
            return (name,)
        return name, f"{name}{OF_A_PERSON}{self.people[track]}"


def _named(parts: Collection[str]) -> tuple[str, ...]:
    return (*(part for part in PARTS if part in parts), *OTHER_MATTES)


@dataclass(frozen=True, slots=True)
class FrameLayers:
    """The layers of one frame, all of one box of it; outside of the box everything is 0."""

    frame: int
    """Index of the frame in the clip, from 0."""
    size: tuple[int, int]
    """(width, height) of the frame as displayed, pixels."""
    box: Box | None
    """x0, y0, x1, y1, display pixels; None where nothing is painted, and no layer has anything."""
    swap: Floats
    """[h, w, 4] the change: R'G'B' in the source's encoding, straight, 0 under alpha 0; alpha."""
    mattes: Mapping[str, Floats]
    """Name, of `Mattes` -> [h, w] in [0, 1]; the same names in every frame."""
    guide: Floats
    """[h, w, 4] what the painter started from, straight, under the part's mask."""
    st: Floats
    """[h, w, 3] s, t and coverage: where on the mean face (x to the right, y up, [0, 1])."""

    def whole(self, layer: Floats) -> Floats:
        """Return one of its layers at the size of the frame: [height, width(, C)]."""
        out = np.zeros((self.size[1], self.size[0], *layer.shape[2:]), np.float32)
        if self.box is not None:
            x0, y0, x1, y1 = self.box
            out[y0:y1, x0:x1] = layer
        return out


@dataclass(frozen=True, repr=False)
class LayeredBatch(FrameBatch):
    """Finished frames with the layers that were painted on them, one for each frame."""

    layers: tuple[FrameLayers, ...] = ()


def layered(
    done: FrameBatch, batch: FrameBatch, swapped: SwappedBatch, info: VideoInfo, plan: Plan
) -> LayeredBatch:
    """Return finished frames with their layers.

    Args:
        done: the finished frames.
        batch: as decoded.
        swapped: what was painted, with its strokes.
        info: of the clip.
        plan: of the clip.
    """
    layers = layers_of(batch, swapped, info, Mattes.of(plan))
    return LayeredBatch(done.frames, done.time_base, done.views, layers)


def layers_of(
    batch: FrameBatch, swapped: SwappedBatch, info: VideoInfo, mattes: Mattes
) -> tuple[FrameLayers, ...]:
    """Return the layers of a batch whose strokes were recorded.

    Args:
        batch: as decoded.
        swapped: what was painted on it.
        info: of the clip.
        mattes: of the clip.
    """
    done = []
    for frame, jobs, strokes in zip(batch.frames, swapped.jobs, swapped.strokes, strict=True):
        shown = [
            job for job in jobs if (frame.index, job.face.placement.track_id) not in swapped.refused
        ]
        done.append(_layers(frame.index, shown, strokes, info.display_size, mattes))
    return tuple(done)


def over(frame: VideoFrame, info: VideoInfo, swap: Floats) -> VideoFrame:
    """Return a source frame with a layer [height, width, 4] of its size over it, straight alpha."""
    width, height = info.display_size
    return blend(frame, info, swap[..., :3], swap[..., 3], (0, 0, width, height))


def _layers(
    frame: int,
    jobs: Sequence[FaceJob],
    strokes: Sequence[Stroke],
    size: tuple[int, int],
    wanted: Mattes,
) -> FrameLayers:
    box = _around((*(stroke.box for stroke in strokes), *(_seen(job) for job in jobs)), size)
    if box is None or not strokes:
        mattes = {name: np.zeros((0, 0), np.float32) for name in wanted.names}
        none = np.zeros((0, 0, 4), np.float32)
        return FrameLayers(frame, size, None, none, mattes, none, none[..., :3])
    shape = box[3] - box[1], box[2] - box[0]
    mattes = {name: np.zeros(shape, np.float32) for name in wanted.names}
    guide, st = np.zeros((*shape, 4), np.float32), np.zeros((*shape, 3), np.float32)
    for job in jobs:
        placed = invert(job.face.raster)
        placed[:, 2] -= box[:2]
        for name, matte in _mattes(job).items():
            there = _put(matte, placed, shape)
            for held in wanted.held_by(name, job.face.placement.track_id):
                if held in mattes:
                    np.maximum(mattes[held], there, out=mattes[held])
        alpha = _put(job.masks.hole, placed, shape)
        picture = warp(job.guide, placed, shape[::-1], interpolation=cv2.INTER_CUBIC)
        guide = _laid(guide, np.clip(picture, 0.0, 1.0), alpha)
        st = np.where((found := _st(job, placed, shape))[..., 2:] > 0, found, st)
    return FrameLayers(frame, size, box, _flattened(strokes, box), mattes, _straight(guide), st)


def _flattened(strokes: Iterable[Stroke], box: Box) -> Floats:
    """Return [h, w, 4] of all strokes, one over the other, straight."""
    out = np.zeros((box[3] - box[1], box[2] - box[0], 4), np.float32)
    for stroke in strokes:
        x0, y0, x1, y1 = stroke.box
        window = np.s_[y0 - box[1] : y1 - box[1], x0 - box[0] : x1 - box[0]]
        out[window] = _laid(out[window], stroke.rgb, stroke.alpha)
    return _straight(out)


def _laid(below: Floats, rgb: Floats, alpha: Floats) -> Floats:
    """Return premultiplied `below` [h, w, 4] with a straight colour [h, w, 3] over it."""
    weight = alpha[..., None]
    colour = np.where(weight > 0, rgb, 0.0)
    over_it = np.concatenate([colour, np.ones_like(weight)], axis=-1)
    return np.asarray(below * (1.0 - weight) + over_it * weight, np.float32)


def _straight(rgba: Floats) -> Floats:
    alpha = rgba[..., 3:]
    colour = np.divide(rgba[..., :3], alpha, out=np.zeros_like(rgba[..., :3]), where=alpha > 0)
    return np.concatenate([np.clip(colour, 0.0, 1.0), alpha], axis=-1)


def _mattes(job: FaceJob) -> dict[str, Floats]:
    """Return the mattes of a face, in its crop."""
    out = {**job.masks.parts, "inner_mouth": job.masks.inner_mouth}
    occlusion, face = job.face.target.occlusion, job.face
    chance = None if occlusion is None else occlusion.at(face.placement.index)
    if chance is not None:
        into = combined(face.matrix, invert(crop_matrix(face.pose, SIZE)))
        out["occluders"] = kept_at_size(chance, face.picture, into)
    return out


def _put(mask: Floats, placed: Matrix, shape: tuple[int, int]) -> Floats:
    """Return a mask of the crop in its place in the box."""
    moved = warp(mask, placed, shape[::-1], border=cv2.BORDER_CONSTANT)
    return np.clip(moved, 0.0, 1.0).astype(np.float32)


def _st(job: FaceJob, placed: Matrix, shape: tuple[int, int]) -> Floats:
    """Return [h, w, 3]: s, t and coverage of the visible mesh."""
    side = TEXTURE * CROP_INTEROCULAR
    where = mesh.canonical()[:, :2] * side + np.array(TEXTURE_CENTRE, np.float32) * TEXTURE
    ids = triangle_map(job.face.landmarks, len(job.guide))
    found = source_map(job.face.landmarks, where, ids) / TEXTURE
    seen = (ids >= 0).astype(np.float32)
    st = np.dstack([found[..., 0], 1.0 - found[..., 1], np.ones_like(seen)]) * seen[..., None]
    moved = warp(st.astype(np.float32), placed, shape[::-1], border=cv2.BORDER_CONSTANT)
    covered = moved[..., 2:]
    # Between two points of the face the map is linear; at its rim it must not run towards 0.
    full = np.divide(moved, covered, out=np.zeros_like(moved), where=covered > 0.5)
    return np.clip(full, 0.0, 1.0)


def _seen(job: FaceJob) -> Box:
    """Return the box of a face's crop, which may lie outside the frame."""
    side = len(job.guide)
    corners = np.array([(x, y) for x in (0, side) for y in (0, side)], np.float64)
    ends = transform(invert(job.face.raster), corners)
    low, high = np.floor(ends.min(axis=0)).astype(int), np.ceil(ends.max(axis=0)).astype(int)
    return int(low[0]), int(low[1]), int(high[0]), int(high[1])


def _around(boxes: Sequence[Box], size: tuple[int, int]) -> Box | None:
    """Return what the boxes take of the frame, all in all."""
    if not boxes:
        return None
    low = np.maximum(np.min(boxes, axis=0)[:2], 0)
    high = np.minimum(np.max(boxes, axis=0)[2:], size)
    if (high <= low).any():
        return None
    return int(low[0]), int(low[1]), int(high[0]), int(high[1])
