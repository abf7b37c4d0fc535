"""A photo that talks, blinks and turns by known mesh warps: video with exact ground truth.

Every output pixel reads the photo once, through the displacement of the face mesh inside the face
and a smooth continuation of it outside. Eyeballs and teeth do not follow lids and lips: they are
layers of their own behind the openings. The animated landmarks are known exactly, which no
recorded video offers, so tracking error and expression following can be measured.
"""

from __future__ import annotations

from copy import copy

import cv2
import numpy as np

from fapvideo.errors import ReferenceImageError
from fapvideo.guide.warp import source_map, triangle_map, without_teeth
from fapvideo.ops import mesh
from fapvideo.ops.geometry import Matrix, invert, scale_of, transform
from fapvideo.ops.image import blur, smoothstep
from fapvideo.ops.pose import HeadPose, head_pose
from fapvideo.structs import Bytes, Floats
from fapvideo.synth.motion import EYES, Eye, Motion, expressed, talking
from fapvideo.track.finder import FaceFinder
from fapvideo.track.older import OlderMesh

NECK = np.array([0.0, 0.95, 0.9])
"""The point of the head frame about which the head turns."""
LID_CORNERS = {EYES[0][0]: (33, 133), EYES[1][0]: (263, 362)}
TONGUE = np.array([0.66, 0.36, 0.36], np.float32)
"""Colour of the tongue, relative to the skin's."""
WARM_SHADOW = np.array([1.0, 1.3, 1.35], np.float32)
"""Shadow inside a mouth is red."""
SIDE_START, SIDE_DEPTH = 0.0, 0.35
"""Depth behind SIDE_START counts for this share only."""
NOSE_START, NOSE_DEPTH = -0.4, 0.6
"""Depth before NOSE_START likewise."""
PARTED = 0.06
"""Lips farther apart than this show the photo's own teeth, inter-ocular distances."""
FADE = 2.4
"""Reach of the displacement outside the face, inter-ocular distances."""
FINER = 4
"""Outlines are drawn this much larger, so that a closed one covers next to nothing."""
OVAL_STEPS = 5
GRID = 4
"""The continuation outside the face is computed on every GRID-th pixel."""


class AnimatedPortrait:
    """Renders a photo of one face as a moving picture whose landmarks are known."""

    def __init__(
        self,
        photo: Bytes,
        size: tuple[int, int],
        view: Matrix | None = None,
        landmarks: Floats | None = None,
    ) -> None:
        """Measure the face in `photo`, uint8 [H, W, 3] RGB, the largest if there are several.

        Args:
            photo: a near-frontal face with open eyes.
            size: (width, height) of the pictures to render.
            view: [2, 3] similarity from the photo into the picture; by default the photo fills it.
            landmarks: [478, 3] of the face, where they are known.

        Raises:
            ReferenceImageError: no face is found in the photo.
        """
        self.size = size
        height, width = photo.shape[:2]
        if view is None:
            scale = max(size[0] / width, size[1] / height)
            view = np.array([[scale, 0, 0], [0, scale, 0]], np.float64)
            view[:, 2] = np.array(size) / 2 - scale * np.array([width, height]) / 2
        self.view = view
        self.landmarks = _measured(photo) if landmarks is None else landmarks
        """[478, 3] landmarks of the photo, in its own pixels."""
        self._photo = photo.astype(np.float32) / 255.0
        self._pose = head_pose(self.landmarks)
        self._head = self._pose.to_head(self.landmarks).astype(np.float64)
        self._flat = _shallow(self._head)
        self._offset = self.landmarks - self._pose.to_image(self._flat)
        self._skin = _skin(self._photo, self.landmarks, self._pose.scale)
        lips = self.landmarks[[mesh.UPPER_LIP, mesh.LOWER_LIP], :2]
        self._rest = float(np.linalg.norm(lips[1] - lips[0])) / self._pose.scale
        self._mouth = _mouth_layer(self._photo, self.landmarks, self._pose.scale)

    def render(self, t: float) -> tuple[Bytes, Floats]:
        """Return the picture at `t` seconds, uint8 [h, w, 3], and its landmarks [478, 3]."""
        return self.draw(talking(t))

    def draw(self, motion: Motion) -> tuple[Bytes, Floats]:
        """Return the picture of one `motion`, uint8 [h, w, 3], and its landmarks [478, 3]."""
        pose, moved = self._moved(motion)
        rigid = pose.to_image(self._flat) + self._offset
        camera = self._camera(motion)
        points = transform(camera, moved)
        where, share = self._inside(points)
        outside = self._outside(moved, camera)
        where = outside + share[..., None] * (where - outside)
        picture = _read(self._photo, where)
        unit = self._pose.scale * scale_of(camera)
        behind = self._behind(transform(camera, rigid))
        eyeballs = _read(self._photo, behind)
        for eye, lids in zip(EYES, (mesh.RIGHT_EYE_LIDS, mesh.LEFT_EYE_LIDS), strict=True):
            mask = _opening(points[list(lids), :2], self.size, 0.012 * unit)
            eyeball = eyeballs * _shade(mask, 0.05 * unit, 0.75)
            picture += mask[..., None] * (eyeball - picture)
            if motion.blink > 0:
                self._paint_lid(picture, eye, points, transform(camera, rigid), motion.blink)
        mask = _opening(points[list(mesh.LIPS_INNER), :2], self.size, 0.012 * unit)
        inner = _read(self._mouth, behind)
        tongue = _tongue(points, self.size, unit)[..., None]
        inner += 0.7 * tongue * (self._skin * TONGUE - inner)
        inner *= _shade(mask, 0.06 * unit, 0.45) ** WARM_SHADOW
        mask *= self._parted(points, unit)
        picture += mask[..., None] * (inner - picture)
        return (np.clip(picture, 0, 1) * 255 + 0.5).astype(np.uint8), points

    def landmarks_at(self, motion: Motion) -> Floats:
        """Return the landmarks [478, 3] that `draw` of this motion returns."""
        return transform(self._camera(motion), self._moved(motion)[1])

    def seen_through(self, view: Matrix) -> AnimatedPortrait:
        """Return the same face under another `view`."""
        other = copy(self)
        other.view = view
        return other

    def _moved(self, motion: Motion) -> tuple[HeadPose, Floats]:
        """Return the head's pose and the face's landmarks [478, 3], in the photo's pixels."""
        pose = self._turned(motion)
        moved = pose.to_image(expressed(self._flat, motion)) + self._offset
        moved[:, 2] = pose.to_image(expressed(self._head, motion))[:, 2]
        return pose, moved

    def _parted(self, points: Floats, unit: float) -> float:
        """Return how much of the inner mouth to show: closed lips of the photo stay as they are."""
        if self._rest > PARTED:
            return 1.0
        gap = float(np.linalg.norm(points[mesh.UPPER_LIP, :2] - points[mesh.LOWER_LIP, :2])) / unit
        return float(smoothstep(np.array((gap - self._rest) / PARTED)))

    def _paint_lid(
        self, picture: Floats, eye: Eye, points: Floats, rigid: Floats, blink: float
    ) -> None:
        """Cover the part of a lid that was folded away with skin, and draw its lashes."""
        upper, _, above, _ = eye
        unit = mesh.interocular(points[:, :2])
        crease = rigid[list(upper), :2] + 0.35 * (
            rigid[list(above[0]), :2] - rigid[list(upper), :2]
        )
        edge = points[list(upper), :2]
        mask = _opening(np.concatenate([crease, edge[::-1]]), self.size, 0.02 * unit)
        strength = float(smoothstep(np.array(2 * blink)))
        half = 0.03 * self._pose.scale
        spots = [_spot(self._photo, self.landmarks[i], half) for i in above[1][1:-1]]
        skin = 0.5 * (np.mean(spots, axis=0) + self._skin)
        light = 0.84 + 0.16 * blur(mask, 0.07 * unit)  # the ball of the eye below
        picture += strength * 0.85 * mask[..., None] * (light[..., None] * skin - picture)
        ends = rigid[list(LID_CORNERS[upper]), :2]
        line = np.concatenate([ends[:1], edge, ends[1:]])
        lashes = _stroke(line, self.size, 0.03 * unit)
        picture += strength * 0.75 * lashes[..., None] * (0.3 * skin - picture)

    # ------------------------------------------------------------------------ geometry

    def _camera(self, motion: Motion) -> Matrix:
        """Return photo -> picture with the motion's zoom, about the picture's middle, and pan."""
        middle = np.array(self.size) / 2
        matrix = self.view * motion.zoom
        matrix[:, 2] += middle * (1 - motion.zoom) - np.array(motion.pan) * self.size[0]
        return matrix

    def _turned(self, motion: Motion) -> HeadPose:
        """Return the photo's head pose turned about the neck."""
        angles = np.radians([-motion.pitch_deg, -motion.yaw_deg, motion.roll_deg])
        extra = np.eye(3)
        for axis, angle in enumerate(angles):
            extra = cv2.Rodrigues(np.eye(3)[axis] * angle)[0] @ extra
        pose = self._pose
        rotation = extra @ pose.rotation
        neck = pose.scale * (pose.rotation - rotation) @ NECK
        return HeadPose(pose.scale, rotation, pose.shift + neck)

    def _inside(self, points: Floats) -> tuple[Floats, Floats]:
        """Return where in the photo the face's pixels come from, and how far they are the face's.

        The second is 1 inside and falls to 0 over a narrow band at the outline.
        """
        width, height = self.size
        ids = triangle_map(points, max(self.size))[:height, :width]
        square = np.full((max(self.size),) * 2, -1, np.int32)
        square[:height, :width] = ids
        source = without_teeth(self.landmarks)
        where = source_map(points, source, square)[:height, :width]
        corners = source[mesh.triangles(), :2]  # a sliver seen edge on must not read far away
        low, high = corners.min(axis=1), corners.max(axis=1)
        chosen = np.maximum(ids, 0)
        where = np.clip(where, low[chosen] - 1, high[chosen] + 1)
        depth = cv2.distanceTransform((ids >= 0).astype(np.uint8), cv2.DIST_L2, 5)
        return where, smoothstep((depth - 1) / (0.05 * mesh.interocular(points)))

    def _outside(self, moved: Floats, camera: Matrix) -> Floats:
        """Continue the displacement of the face's outline; it fades to nothing with distance.

        Inverse-distance weights interpolate the outline exactly, so nothing tears there.
        """
        width, height = self.size
        coarse = (-(-width // GRID) + 2, -(-height // GRID) + 2)  # a cell beyond each border
        axes = [(np.arange(count) - 0.5) * GRID for count in coarse]
        pixels = np.stack(np.meshgrid(*axes), axis=-1).reshape(-1, 2)
        places = transform(invert(camera), pixels).astype(np.float64)
        ring = _dense(moved[list(mesh.FACE_OVAL), :2])
        shift = _dense(self.landmarks[list(mesh.FACE_OVAL), :2]) - ring
        squared = ((places[:, None] - ring[None]) ** 2).sum(axis=-1) + 1e-4
        weights = squared**-1.5
        offset = weights @ shift / weights.sum(axis=1, keepdims=True)
        distance = np.sqrt(squared.min(axis=1)) / self._pose.scale
        faded = places + offset * smoothstep(1 - distance / FADE)[:, None]
        field = faded.reshape(coarse[1], coarse[0], 2).astype(np.float32)
        fine = cv2.resize(field, (coarse[0] * GRID, coarse[1] * GRID))
        return fine[GRID : GRID + height, GRID : GRID + width]

    def _behind(self, rigid: Floats) -> Floats:
        """Return where eyeballs and teeth come from: they turn with the head, nothing else.

        One affine transform, fitted to the points around eyes and mouth.
        """
        chosen = list(mesh.RIGHT_EYE_LIDS + mesh.LEFT_EYE_LIDS + mesh.LIPS_INNER)
        ones = np.ones((len(chosen), 1))
        source = np.concatenate([rigid[chosen, :2], ones], axis=1).astype(np.float64)
        affine = np.linalg.lstsq(source, self.landmarks[chosen, :2].astype(np.float64))[0]
        x, y = np.meshgrid(*(np.arange(count) + 0.5 for count in self.size))
        return (np.stack([x, y, np.ones_like(x)], axis=-1) @ affine).astype(np.float32)


# ---------------------------------------------------------------------------------- layers


def _measured(photo: Bytes) -> Floats:
    """Return [478, 3] the landmarks of a photo's largest face."""
    faces = FaceFinder(mesh=OlderMesh())(photo)
    if not faces:
        raise ReferenceImageError(
            "no face found in the photo to animate", hint="give a sharp, frontal portrait"
        )
    return faces[0].landmarks


def _shallow(head: Floats) -> Floats:
    """Flatten the sides and the nose, so that a turn neither folds nor tears their outlines."""
    out = head.copy()
    out[:, 2] -= (1 - SIDE_DEPTH) * np.maximum(head[:, 2] - SIDE_START, 0)
    out[:, 2] -= (1 - NOSE_DEPTH) * np.minimum(head[:, 2] - NOSE_START, 0)
    return out


def _mouth_layer(photo: Floats, landmarks: Floats, unit: float) -> Floats:
    """Return the photo with its mouth laid bare: upper teeth before a dark cavity.

    Teeth are the photo's own where its lips are parted, otherwise a hint of a row.
    """
    inner = landmarks[list(mesh.LIPS_INNER), :2]
    height, width = photo.shape[:2]
    x, y = np.meshgrid(*(np.arange(count, dtype=np.float32) + 0.5 for count in (width, height)))
    upper, lower = landmarks[mesh.UPPER_LIP, :2], landmarks[mesh.LOWER_LIP, :2]
    skin = _skin(photo, landmarks, unit)
    depth = np.clip((y - upper[1]) / (0.5 * unit), 0, 1)[..., None]
    cavity = skin * np.array([0.34, 0.17, 0.16], np.float32) * (1 - 0.35 * depth)
    if np.linalg.norm(lower - upper) > PARTED * unit:
        shown = _opening(inner, (width, height), 0.04 * unit)[..., None]
        return (cavity + shown * (photo - cavity)).astype(np.float32)
    across, down = (x - upper[0]) / unit, (y - upper[1]) / unit
    curve = down + 0.35 * across**2
    row = smoothstep((0.12 - curve) / 0.03) * smoothstep((0.34 - np.abs(across)) / 0.16)
    gaps = 1 - 0.07 * np.exp(-((((across / 0.1) % 1.0) - 0.5) ** 2) / 0.006)
    tooth = float(skin.max()) * np.array([0.86, 0.79, 0.72], np.float32)
    return (cavity + row[..., None] * (tooth * gaps[..., None] - cavity)).astype(np.float32)


def _skin(photo: Floats, landmarks: Floats, unit: float) -> Floats:
    """Return [3] the colour of the cheeks."""
    spots = [_spot(photo, landmarks[index], 0.08 * unit) for index in (50, 280)]
    return np.mean(spots, axis=0)


def _spot(photo: Floats, place: Floats, half: float) -> Floats:
    """Return [3] the median colour within `half` pixels of a place."""
    reach = max(1, round(half))
    x, y = (int(value) for value in place[:2])
    patch = photo[max(0, y - reach) : y + reach, max(0, x - reach) : x + reach]
    return np.median(patch.reshape(-1, 3), axis=0)


def _tongue(points: Floats, size: tuple[int, int], unit: float) -> Floats:
    """Return [h, w] how much of the tongue is seen: behind the lower lip, in a wide mouth."""
    lower, upper = points[mesh.LOWER_LIP, :2], points[mesh.UPPER_LIP, :2]
    gap = float(np.linalg.norm(lower - upper)) / unit
    x, y = np.meshgrid(*(np.arange(count, dtype=np.float32) + 0.5 for count in size))
    across, up = (x - lower[0]) / unit, (lower[1] - y) / unit
    back = 0.42 * gap - 0.7 * across**2
    return smoothstep((back - up) / 0.06) * smoothstep(np.array((gap - 0.1) / 0.15))


def _opening(outline: Floats, size: tuple[int, int], feather: float) -> Floats:
    """Return [h, w] 1 inside a closed outline [N, 2], soft by `feather` pixels."""
    mask = np.zeros((size[1], size[0]), np.float32)
    low = np.clip(np.floor(outline.min(axis=0)) - 1, 0, size).astype(int)
    high = np.clip(np.ceil(outline.max(axis=0)) + 1, 0, size).astype(int)
    width, height = high - low
    if min(width, height) < 1:
        return mask
    fine = np.zeros((height * FINER, width * FINER), np.uint8)
    corners = np.round(((outline - low) * FINER - 0.5) * 16).astype(np.int32)
    cv2.fillPoly(fine, [corners], 255, lineType=cv2.LINE_AA, shift=4)
    part = cv2.resize(fine, (int(width), int(height)), interpolation=cv2.INTER_AREA)
    mask[low[1] : high[1], low[0] : high[0]] = part / 255.0
    return blur(mask, feather)


def _stroke(line: Floats, size: tuple[int, int], width: float) -> Floats:
    """Return [h, w] a soft line through points [N, 2], thinner towards its ends."""
    normal = np.gradient(line, axis=0)[:, ::-1] * [-1, 1]
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-6)
    half = width / 2 * np.sin(np.linspace(0, np.pi, len(line)))[:, None] ** 0.5
    outline = np.concatenate([line + half * normal, (line - half * normal)[::-1]])
    return _opening(outline, size, 0.25 * width)


def _shade(mask: Floats, width: float, darkest: float) -> Floats:
    """Return [h, w, 1] the light inside an opening: its rim casts a shadow inwards."""
    light = np.clip(2 * blur(mask, width) - 0.6, 0, 1)
    return (darkest + (1 - darkest) * light)[..., None]


def _dense(ring: Floats) -> Floats:
    """Put points on the edges of a closed polygon [N, 2]."""
    following = np.roll(ring, -1, axis=0)
    steps = np.arange(OVAL_STEPS)[:, None, None] / OVAL_STEPS
    return (ring + steps * (following - ring)).reshape(-1, 2).astype(np.float64)


def _read(image: Floats, where: Floats) -> Floats:
    """Read an image [H, W, 3] at `where` [h, w, 2], bicubic; reflected beyond its border."""
    x, y = where[..., 0] - 0.5, where[..., 1] - 0.5
    return cv2.remap(image, x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101)
