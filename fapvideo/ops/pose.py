"""Head pose from landmarks, the canonical head frame, and the aligned crop."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fapvideo.ops import mesh
from fapvideo.ops.geometry import Matrix, Points, fit_similarity

CROP_INTEROCULAR = 0.34
"""Inter-ocular distance in the crop, as a share of its side."""
CROP_ANCHOR_HEAD = np.array([0.0, 0.5, -0.35])
"""The point of the canonical head that is pinned in the crop: the middle of the nose ridge."""
CROP_ANCHOR = np.array([0.5, 0.51])
"""Where that point lies in the crop; the eyes of a frontal face come to rest at y = 0.34,
which leaves room for a wide open mouth."""


@dataclass(frozen=True, slots=True)
class HeadPose:
    """Weak-perspective pose: `landmark = scale * rotation @ head_point + shift`.

    Head points have their origin between the eyes, x to the viewer's right, y down, z away from the
    viewer; most people's eyes are 0.94 apart (`mesh.canonical`), which is called one inter-ocular
    distance all the same.
    """

    scale: float
    rotation: NDArray[np.float64]
    shift: NDArray[np.float64]

    def to_head(self, landmarks: Points) -> NDArray[np.float32]:
        """Map landmarks [N, 3] into the head frame."""
        return ((landmarks - self.shift) @ self.rotation / self.scale).astype(np.float32)

    def to_image(self, points: Points) -> NDArray[np.float32]:
        """Map head points [N, 3] into the picture."""
        return (self.scale * points @ self.rotation.T + self.shift).astype(np.float32)

    def turn(self, offsets: Points) -> NDArray[np.float32]:
        """Rotate and scale head-frame offsets [N, 3] (no shift) into the picture."""
        return (self.scale * offsets @ self.rotation.T).astype(np.float32)

    @property
    def roll(self) -> float:
        """In-plane angle, radians, clockwise as seen."""
        r = self.rotation
        return float(np.arctan2(r[1, 0] - r[0, 1], r[0, 0] + r[1, 1]))

    @property
    def yaw_deg(self) -> float:
        """Turn to the side, degrees; positive when the face looks to the viewer's right."""
        forward = self.rotation @ np.array([0.0, 0.0, -1.0])
        return float(np.degrees(np.arctan2(forward[0], -forward[2])))

    @property
    def pitch_deg(self) -> float:
        """Nod, degrees; positive when the face looks down."""
        forward = self.rotation @ np.array([0.0, 0.0, -1.0])
        return float(np.degrees(np.arctan2(forward[1], np.hypot(forward[0], forward[2]))))


def head_pose(landmarks: Points) -> HeadPose:
    """Fit the canonical face's stable points to `landmarks` [478, 3]."""
    stable = list(mesh.STABLE)
    scale, rotation, shift = fit_similarity(mesh.canonical()[stable], landmarks[stable])
    return HeadPose(scale, rotation, shift)


def crop_matrix(pose: HeadPose, size: int) -> Matrix:
    """Return the similarity from the picture into the aligned crop of `size` px.

    Scale and centre come from the 3-D pose, so the crop neither shrinks nor drifts when the head
    turns; only the in-plane angle is undone.
    """
    scale = CROP_INTEROCULAR * size / pose.scale
    cos, sin = np.cos(pose.roll), np.sin(pose.roll)
    linear = scale * np.array([[cos, sin], [-sin, cos]])
    anchor = pose.scale * pose.rotation @ CROP_ANCHOR_HEAD + pose.shift
    return np.column_stack([linear, CROP_ANCHOR * size - linear @ anchor[:2]])


def expression(landmarks: Points) -> dict[str, float]:
    """Return expression measures in inter-ocular distances, from landmarks [478, 3].

    Keys: `mouth_open`, `smile` (mouth width), `eye_open` (mean of both), `brow_height`, `gaze_x`
    and `gaze_y` (iris against the middle of the lid corners). Measured in the head frame, so pose
    does not count as expression.
    """
    head: dict[str, Any] = {}
    p = head_pose(landmarks).to_head(landmarks).astype(np.float64)

    def gap(a: int, b: int) -> float:
        return float(np.linalg.norm(p[a] - p[b]))

    centres = mesh.eye_centres(p)
    gaze = (p[[468, 473]] - centres).mean(axis=0)
    head["mouth_open"] = gap(mesh.UPPER_LIP, mesh.LOWER_LIP)
    head["smile"] = gap(*mesh.MOUTH_CORNERS)
    head["eye_open"] = (gap(159, 145) + gap(386, 374)) / 2
    brows = p[list(mesh.RIGHT_BROW[:5] + mesh.LEFT_BROW[:5]), 1].mean()
    head["brow_height"] = float(centres[:, 1].mean() - brows)
    head["gaze_x"], head["gaze_y"] = float(gaze[0]), float(gaze[1])
    return head
