"""Finding the faces of a single picture."""

from __future__ import annotations

from dataclasses import replace

from fapvideo.structs import Bytes, Face
from fapvideo.track.detector import FaceDetector
from fapvideo.track.landmarks import FaceMesh


class FaceFinder:
    """Detector and mesh together, for pictures that are no video."""

    def __init__(
        self,
        min_score: float = 0.5,
        min_presence: float = 0.5,
        *,
        mesh: FaceMesh | None = None,
        doubter: FaceMesh | None = None,
    ) -> None:
        """Load the networks; weaker detections and meshes are dropped.

        Args:
            min_score: of a detection.
            min_presence: of a mesh.
            mesh: what measures, if it is to be another one than the program follows with.
            doubter: another mesh whose presence counts, too: the lesser of the two is taken.
        """
        self._detector = FaceDetector(min_score)
        self._mesh, self._doubter = mesh or FaceMesh(), doubter
        self._min_presence = min_presence

    def __call__(self, rgb: Bytes) -> list[Face]:
        """Return the faces in uint8 [H, W, 3], the largest first."""
        boxes, _, points = self._detector(rgb)
        faces = [self._mesh.from_box(rgb, b, p) for b, p in zip(boxes, points, strict=True)]
        if self._doubter is not None:
            faces = [
                replace(face, presence=min(face.presence, other.presence))
                for face in faces
                for other in [self._doubter.from_landmarks(rgb, face.landmarks)]
            ]
        kept = [face for face in faces if face.presence >= self._min_presence]
        return sorted(kept, key=lambda face: -float((face.box[2:] - face.box[:2]).prod()))
