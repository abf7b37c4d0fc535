"""Finding, aligning and filtering faces: photos in, one memory-mapped file of crops out."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from fapvideo.config.train import DataConfig
from fapvideo.errors import ReferenceImageError
from fapvideo.ops import mesh
from fapvideo.ops.geometry import transform, warp
from fapvideo.ops.pose import crop_matrix, head_pose
from fapvideo.structs import NUM_LANDMARKS, Bytes, Floats
from fapvideo.track.detector import FaceDetector
from fapvideo.track.landmarks import FaceMesh

IMAGES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")


@dataclass(frozen=True, slots=True)
class FaceSet:
    """Aligned faces in a fixed order; the photos' names sorted."""

    crops: Bytes
    """[N, S, S, 3] RGB, mapped from disk."""
    landmarks: Floats
    """[N, 478, 3] in crop pixels."""
    names: tuple[str, ...]
    heldout: tuple[bool, ...]

    def __len__(self) -> int:
        """Return the number of faces."""
        return len(self.names)

    def indices(self, *, heldout: bool) -> list[int]:
        """Return the faces that are (not) held out."""
        return [i for i, held in enumerate(self.heldout) if held == heldout]

    def face(self, index: int, *, mirrored: bool = False) -> tuple[Floats, Floats]:
        """Return one crop [S, S, 3] in [0, 1] and its landmarks [478, 3], perhaps mirrored."""
        image = self.crops[index].astype(np.float32) / 255.0
        points = np.array(self.landmarks[index], np.float32)
        if mirrored:
            image = np.ascontiguousarray(image[:, ::-1])
            points = points[mesh.mirror()] * [-1, 1, 1] + [image.shape[1], 0, 0]
        return image, points.astype(np.float32)


def photos_in(folders: Iterable[Path]) -> list[Path]:
    """Return all image files below `folders`, sorted by name."""
    found = {
        path for folder in folders for path in folder.rglob("*") if path.suffix.lower() in IMAGES
    }
    return sorted(found, key=lambda path: (path.name, str(path)))


def prepare(photos: list[Path], folder: Path, size: int, config: DataConfig) -> FaceSet:
    """Measure `photos`, keep the usable ones, and cache their crops in `folder`.

    Writes `crops.npy` (memory-mapped later), `landmarks.npy` and `faces.json`, which also lists
    every photo that was dropped and why. A finished cache is used again.

    Raises:
        ReferenceImageError: fewer than two usable faces.
    """
    index = folder / "faces.json"
    if not index.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        _measure_all(photos, folder, size, config)
    return load_faces(folder)


def load_faces(folder: Path) -> FaceSet:
    """Open a cache that `prepare` wrote."""
    listed = json.loads((folder / "faces.json").read_text("utf-8"))
    return FaceSet(
        np.load(folder / "crops.npy", mmap_mode="r"),
        np.load(folder / "landmarks.npy"),
        tuple(listed["names"]),
        tuple(listed["heldout"]),
    )


def _measure_all(photos: list[Path], folder: Path, size: int, config: DataConfig) -> None:
    detector, face_mesh = FaceDetector(), FaceMesh()
    crops, landmarks, names, heldout = [], [], [], []
    dropped: dict[str, str] = {}
    for number, path in enumerate(photos):
        result = _measure(path, detector, face_mesh, size, config)
        if isinstance(result, str):
            dropped[path.name] = result
            continue
        crops.append(result[0])
        landmarks.append(result[1])
        names.append(path.name)
        heldout.append(number % config.holdout == 0)
    if len(crops) < 2:
        reasons = "; ".join(f"{name}: {why}" for name, why in list(dropped.items())[:5])
        raise ReferenceImageError(
            f"{len(crops)} of {len(photos)} photos have a usable face ({reasons})",
            hint="give photos with one sharp face, seen from the front",
        )
    np.save(folder / "crops.npy", np.stack(crops))
    np.save(folder / "landmarks.npy", np.stack(landmarks))
    listed = {"names": names, "heldout": heldout, "dropped": dropped}
    (folder / "faces.json").write_text(json.dumps(listed, indent=1), "utf-8")


def _measure(
    path: Path, detector: FaceDetector, face_mesh: FaceMesh, size: int, config: DataConfig
) -> tuple[Bytes, Floats] | str:
    """Return (crop, landmarks), or why the photo is not used."""
    image = cv2.imread(str(path))
    if image is None:
        return "not a readable image"
    rgb = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
    boxes, _, points = detector(rgb)
    if not len(boxes):
        return "no face"
    face = face_mesh.from_box(rgb, boxes[0], points[0])
    if face.presence < config.min_presence:
        return f"mesh presence {face.presence:.2f}"
    pose = head_pose(face.landmarks)
    if abs(pose.yaw_deg) > config.max_yaw_deg:
        return f"turned by {pose.yaw_deg:.0f} degrees"
    if mesh.interocular(face.landmarks) < config.min_face_px:
        return f"eyes only {mesh.interocular(face.landmarks):.0f} px apart"
    matrix = crop_matrix(pose, size)
    crop = warp(rgb, matrix, (size, size), interpolation=cv2.INTER_CUBIC)
    landmarks = transform(matrix, face.landmarks).reshape(NUM_LANDMARKS, 3)
    return crop, landmarks
