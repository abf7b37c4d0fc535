"""Make `fapvideo/ops/data/mesh_canonical.npy`: the mean face mesh over a folder of portraits.

    python scripts/make_canonical.py PHOTOS

PHOTOS is a folder with one photo a person, such as the 707 portraits of members of the US Congress
in the public repository voteview/member_photos (docs/data.md). Every tenth by sorted name is left
out, and so are heads that are turned, and the half with the wider mouths: official portraits smile.
What is shipped is the mean of 289. No photo can be recovered from it.
"""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from fapvideo.ops import mesh
from fapvideo.ops.geometry import fit_similarity
from fapvideo.ops.pose import HeadPose
from fapvideo.track.detector import FaceDetector
from fapvideo.track.landmarks import FaceMesh

OUT = Path(__file__).parent.parent / "fapvideo" / "ops" / "data" / "mesh_canonical.npy"
UNIT = 0.937
"""Distance between the eyes, by which the whole is scaled: sizes in crops, and all constants in
"inter-ocular distances", were found with a mean of another mesh net's points, which fitted faces
this much smaller."""
STRAIGHT_DEG = 12.0
CORNERS = (61, 291)
"""Of the mouth."""

Shape = NDArray[np.float64]


def measured(folder: Path) -> list[Shape]:
    """Return the meshes [478, 3] of the photos that are not held out."""
    detector, face_mesh = FaceDetector(), FaceMesh()
    shapes = []
    for number, path in enumerate(sorted(folder.glob("*.jpg"))):
        rgb = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
        boxes, _, points = detector(rgb) if number % 10 else ((), (), ())
        if len(boxes):
            face = face_mesh.from_box(rgb, boxes[0], points[0])
            if face.presence > 0.9:
                shapes.append(face.landmarks.astype(np.float64))
    return shapes


def in_head(shape: Shape, mean: Shape) -> tuple[Shape, float]:
    """Return a mesh brought to the mean's place, and how far the head is turned, degrees."""
    stable = list(mesh.STABLE)
    pose = HeadPose(*fit_similarity(mean[stable], shape[stable]))
    return pose.to_head(shape).astype(np.float64), pose.yaw_deg


def levelled(mean: Shape) -> Shape:
    """Return a mean with its origin between the eyes, level, looking straight at the viewer."""
    mean = (mean - mesh.eye_centres(mean).mean(axis=0)) / mesh.interocular(mean)
    right, left = mesh.eye_centres(mean)
    axis = (left - right) / np.linalg.norm(left - right)
    down = mean[mesh.CHIN] - mean[mesh.FOREHEAD]
    down -= axis * (down @ axis)
    down /= np.linalg.norm(down)
    return mean @ np.stack([axis, down, np.cross(axis, down)]).T


def mean_of(shapes: list[Shape]) -> Shape:
    """Return the median of aligned meshes, mirrored left to right, inter-ocular distance 1."""
    mean = levelled(shapes[0])
    for _ in range(8):
        mean = levelled(np.median([in_head(shape, mean)[0] for shape in shapes], axis=0))
    mean = (mean + mean[mesh.mirror_pairs(mean)] * [-1, 1, 1]) / 2
    mean -= mesh.eye_centres(mean).mean(axis=0)
    return mean / mesh.interocular(mean)


def main(folder: Path) -> None:
    """Measure all photos, leave out who is turned or smiles, average, save."""
    shapes = measured(folder)
    everybody = mean_of(shapes)
    straight, widths = [], []
    for shape in shapes:
        head, yaw_deg = in_head(shape, everybody)
        if abs(yaw_deg) < STRAIGHT_DEG:
            straight.append(shape)
            widths.append(np.linalg.norm(np.subtract(*head[list(CORNERS)])))
    chosen = [straight[i] for i in np.argsort(widths)[: len(straight) // 2]]
    np.save(OUT, (UNIT * mean_of(chosen)).astype(np.float32))
    sys.stdout.write(f"{len(chosen)} of {len(shapes)} faces -> {OUT}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
