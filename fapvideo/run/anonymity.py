"""The promise of `[anonymize]`: no frame shows a face that recognition takes for the filmed one.

What was painted is compared with what was filmed, face by face and frame by frame, by a network
that is not the painter's own (`trust.recognition`). Where the two are nearer than asked, the whole
face is blurred, more and more, until they are not.
"""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from fapvideo.composite.paste import cut, paste
from fapvideo.composite.planes import FrameCanvas, Stroke
from fapvideo.ops import mesh
from fapvideo.ops.geometry import Matrix, stretched, transform
from fapvideo.ops.pose import CROP_INTEROCULAR, crop_matrix, head_pose
from fapvideo.pipeline import SwappedBatch
from fapvideo.plan.targets import Target
from fapvideo.run.stretches import Painted
from fapvideo.structs import Floats, VideoFrame, VideoInfo
from fapvideo.trust.recognition import IdentityEmbedding, recognised_apart

SIDE = 256
"""Of the crop that is compared and blurred, pixels."""
BLURS = (0.15, 0.3, 0.6)
"""Deviations of the blur that are tried in turn, in inter-ocular distances; then a flat colour."""
GROWN, SOFT = 0.25, 0.08
"""How far the blur reaches beyond the face's outline, and its edge, in inter-ocular distances."""


class Anonymous:
    """Blurs what can still be recognised; a `Finish` of `Stretches`."""

    def __init__(self, info: VideoInfo, distance: float, embed: IdentityEmbedding) -> None:
        """Compare with `embed`; faces nearer than `distance` to what was filmed are blurred."""
        self._info, self._distance, self._embed = info, distance, embed

    def __call__(self, painted: Painted, swapped: SwappedBatch) -> SwappedBatch:
        """See that nobody is recognised."""
        frames, apart, strokes = [], {}, []
        plan = painted[0][1].prepared.plan
        filmed_frames = (one for _, part in painted for one in part.prepared.batch.frames)
        recorded = swapped.strokes or ((),) * len(swapped.frames)
        for filmed, shown, before in zip(filmed_frames, swapped.frames, recorded, strict=True):
            after: list[Stroke] = []
            for target in plan.targets:
                index = filmed.index - target.track.first_frame
                if 0 <= index < len(target.track):
                    shown, distance, blur = self._hidden(filmed, shown, target, index)
                    apart[filmed.index, target.track.id] = (distance, bool(blur))
                    after += blur
            frames.append(shown)
            strokes.append((*before, *after))
        recorded = tuple(strokes) if swapped.strokes else ()
        return replace(swapped, frames=tuple(frames), apart=apart, strokes=recorded)

    def _hidden(
        self, filmed: VideoFrame, shown: VideoFrame, target: Target, index: int
    ) -> tuple[VideoFrame, float, list[Stroke]]:
        """Return the frame, how far its face is from the filmed one, and the blur if it has one."""
        shape = np.asarray(target.track.landmarks[index], np.float32)
        if not np.isfinite(shape).all():
            return shown, float("inf"), []  # where it is nobody knows, and nothing was painted
        matrix = crop_matrix(head_pose(shape), SIDE)
        raster = stretched(matrix, self._info.pixel_shape)
        points = transform(matrix, shape)
        before = self._embed(self._crop(filmed, raster), points)
        picture = self._crop(shown, raster)
        distance = recognised_apart(before, self._embed(picture, points))
        if distance >= self._distance:
            return shown, distance, []
        alpha = _whole_face(points)
        for deviation in (*BLURS, None):
            canvas = FrameCanvas(shown, self._info, record=True)
            blurred = _blurred(picture, alpha, deviation)
            paste(canvas, blurred, alpha, raster, self._info.display_size)
            frame = canvas.frame()
            distance = recognised_apart(before, self._embed(self._crop(frame, raster), points))
            if distance >= self._distance:
                break
        return frame, distance, canvas.strokes

    def _crop(self, frame: VideoFrame, raster: Matrix) -> Floats:
        return cut(FrameCanvas(frame, self._info), raster, SIDE, self._info.display_size)


def _whole_face(points: Floats) -> Floats:
    """Return [SIDE, SIDE] of what is blurred: the face's outline, grown, with a soft edge."""
    unit = CROP_INTEROCULAR * SIDE
    hull = cv2.convexHull(points[list(mesh.FACE_OVAL), :2].astype(np.float32))
    drawn = np.zeros((SIDE, SIDE), np.uint8)
    cv2.fillConvexPoly(drawn, np.round(hull).astype(np.int32), 1)
    reach = round(GROWN * unit)
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    grown = cv2.dilate(drawn, kernel).astype(np.float32)
    return np.asarray(cv2.GaussianBlur(grown, (0, 0), SOFT * unit), np.float32)


def _blurred(picture: Floats, alpha: Floats, deviation: float | None) -> Floats:
    """Return the crop blurred; with None as one colour, the mean under `alpha`."""
    if deviation is None:
        mean = (picture * alpha[..., None]).sum(axis=(0, 1)) / max(float(alpha.sum()), 1e-6)
        return np.broadcast_to(mean, picture.shape).astype(np.float32)
    sigma = deviation * CROP_INTEROCULAR * SIDE
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), sigma), np.float32)
