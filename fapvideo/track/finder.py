"""Finding the faces of a single picture."""

from __future__ import annotations

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
    ) -> None:
        """Load the networks; weaker detections and meshes are dropped.

        `mesh` is what measures, if it is to be another one than the program follows with.
        """
        self._detector = FaceDetector(min_score)
        self._mesh = mesh or FaceMesh()
        self._min_presence = min_presence

    def __call__(self, rgb: Bytes) -> list[Face]:
        """Return the faces in uint8 [H, W, 3], the largest first."""
        boxes, _, points = self._detector(rgb)
        faces = [self._mesh.from_box(rgb, b, p) for b, p in zip(boxes, points, strict=True)]
        kept = [face for face in faces if face.presence >= self._min_presence]
        return sorted(kept, key=lambda face: -float((face.box[2:] - face.box[:2]).prod()))
