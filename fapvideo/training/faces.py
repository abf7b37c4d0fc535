"""Finding, aligning and filtering faces: photos in, one memory-mapped file of crops out."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from fapvideo.config.train import DataConfig
from fapvideo.errors import Cancelled, ReferenceImageError
from fapvideo.ops import mesh
from fapvideo.ops.geometry import transform, warp
from fapvideo.ops.pose import crop_matrix, head_pose
from fapvideo.reference.images import read_image
from fapvideo.structs import NUM_LANDMARKS, Bytes, Floats
from fapvideo.track.finder import FaceFinder

IMAGES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")
INDEX = "faces.json"

OnProgress = Callable[[int, int], None]
"""(done, total)."""


@dataclass(frozen=True, slots=True)
class Photo:
    """One photo of the training data."""

    name: str
    """`FOLDER/path/in/it.jpg`, with forward slashes: what photos are sorted and listed by."""
    path: Path

    @property
    def identity(self) -> str:
        """Whose photo it is, the subfolder it lies in; empty where there is none."""
        return "/".join(self.name.split("/")[:2]) if self.name.count("/") > 1 else ""


@dataclass(frozen=True, slots=True)
class FaceSet:
    """Aligned faces in the order of their photos' names."""

    crops: Bytes
    """[N or more, S, S, 3] RGB, mapped from disk; the first N rows count."""
    landmarks: Floats
    """[N, 478, 3] in crop pixels."""
    names: tuple[str, ...]
    heldout: tuple[bool, ...]
    """Whether the face is only ever used to measure."""
    identities: int
    """How many people the photos are sorted into; 0 where they are not sorted."""
    dropped: dict[str, str]
    """Photo name -> why it is not used: `reason: details`."""

    def __len__(self) -> int:
        """Return the number of faces."""
        return len(self.names)

    def indices(self, *, heldout: bool) -> list[int]:
        """Return the faces that are (not) held out."""
        return [i for i, held in enumerate(self.heldout) if held == heldout]

    def reasons(self) -> dict[str, int]:
        """Return how many photos were dropped for which reason, the most frequent first."""
        counts = Counter(reason.partition(":")[0] for reason in self.dropped.values())
        return dict(counts.most_common())

    def face(self, index: int, *, mirrored: bool = False) -> tuple[Floats, Floats]:
        """Return one crop [S, S, 3] in [0, 1] and its landmarks [478, 3], perhaps mirrored."""
        image = self.crops[index].astype(np.float32) / 255.0
        points = np.array(self.landmarks[index], np.float32)
        if mirrored:
            image = np.ascontiguousarray(image[:, ::-1])
            points = points[mesh.mirror()] * [-1, 1, 1] + [image.shape[1], 0, 0]
        return image, points.astype(np.float32)


def photos_in(folders: Iterable[Path]) -> list[Photo]:
    """Return all image files below `folders`, hidden ones left out, sorted by name.

    Raises:
        ReferenceImageError: a folder is not there, or there is no photo in any.
    """
    found = {}
    for folder in folders:
        if not folder.is_dir():
            raise ReferenceImageError(f"{folder} is not a folder", hint="--data takes folders")
        for path in folder.rglob("*"):
            inside = path.relative_to(folder)
            hidden = any(part.startswith(".") for part in inside.parts)
            if path.suffix.lower() in IMAGES and not hidden:
                found[path.resolve()] = Photo(f"{folder.resolve().name}/{inside.as_posix()}", path)
    if not found:
        listed = ", ".join(str(folder) for folder in folders)
        raise ReferenceImageError(
            f"no photos in {listed}", hint=f"photos are files ending in {', '.join(IMAGES)}"
        )
    return sorted(found.values(), key=lambda photo: (photo.name, str(photo.path)))


def prepare(
    photos: list[Photo],
    folder: Path,
    size: int,
    config: DataConfig,
    progress: OnProgress = lambda done, total: None,
    stop: Callable[[], bool] = lambda: False,
) -> FaceSet:
    """Measure `photos`, keep the usable ones, and cache their crops in `folder`.

    Writes `crops.npy`, `landmarks.npy` and, last, `faces.json`, which also lists every photo that
    was dropped and why. A finished cache is used again as it is: whoever changes photos or settings
    has to give another folder.

    Every `config.holdout`-th photo by sorted name, the first included, is held out, whether the
    photos between are usable or not.

    Args:
        photos: of `photos_in`.
        folder: of the cache.
        size: side of the crops, pixels.
        config: `[data]`.
        progress: called with (photos done, photos in all).
        stop: asked after every photo.

    Raises:
        ReferenceImageError: fewer than two usable faces.
        Cancelled: `stop` said so; nothing is kept.
    """
    if not (folder / INDEX).is_file():
        folder.mkdir(parents=True, exist_ok=True)
        _measure_all(photos, folder, size, config, progress, stop)
    return load_faces(folder)


def load_faces(folder: Path) -> FaceSet:
    """Open a cache that `prepare` wrote."""
    listed = json.loads((folder / INDEX).read_text("utf-8"))
    return FaceSet(
        np.load(folder / "crops.npy", mmap_mode="r"),
        np.load(folder / "landmarks.npy"),
        tuple(listed["names"]),
        tuple(listed["heldout"]),
        listed.get("identities", 0),
        listed["dropped"],
    )


def _measure_all(
    photos: list[Photo],
    folder: Path,
    size: int,
    config: DataConfig,
    progress: OnProgress,
    stop: Callable[[], bool],
) -> None:
    finder = FaceFinder(min_presence=0.0)
    shape = (len(photos), size, size, 3)
    crops = np.lib.format.open_memmap(folder / "crops.npy", "w+", np.uint8, shape)
    landmarks: list[Floats] = []
    kept: list[tuple[Photo, bool]] = []
    dropped: dict[str, str] = {}
    for number, photo in enumerate(photos):
        if stop():
            raise Cancelled(f"stopped after {number} of {len(photos)} photos")
        result = _measure(photo.path, finder, size, config)
        progress(number + 1, len(photos))
        if isinstance(result, str):
            dropped[photo.name] = result
            continue
        crops[len(kept)] = result[0]
        landmarks.append(result[1])
        kept.append((photo, number % config.holdout == 0))
    if len(kept) < 2:
        reasons = "; ".join(f"{name}: {why}" for name, why in list(dropped.items())[:5])
        raise ReferenceImageError(
            f"{len(kept)} of {len(photos)} photos have a usable face ({reasons or 'no others'})",
            hint="give at least two photos with one sharp face, seen from the front",
        )
    crops.flush()
    np.save(folder / "landmarks.npy", np.stack(landmarks))
    _write_index(folder / INDEX, kept, dropped)


def _write_index(path: Path, kept: list[tuple[Photo, bool]], dropped: dict[str, str]) -> None:
    """Write `faces.json`; both sides of the split get a face, whatever was dropped."""
    heldout = [held for _, held in kept]
    if not any(heldout):
        heldout[0] = True
    if all(heldout):
        heldout[1:] = [False] * (len(heldout) - 1)
    people = {photo.identity for photo, _ in kept} - {""}
    listed: dict[str, Any] = {
        "names": [photo.name for photo, _ in kept],
        "heldout": heldout,
        "identities": len(people),
        "dropped": dropped,
    }
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(listed, indent=1), "utf-8")
    partial.replace(path)


def _measure(
    path: Path, finder: FaceFinder, size: int, config: DataConfig
) -> tuple[Bytes, Floats] | str:
    """Return (crop, landmarks) of the largest face, or why the photo is not used."""
    try:
        rgb, _ = read_image(path)
    except ReferenceImageError:
        return "not a readable image"
    faces = finder(rgb)
    if not faces:
        return "no face found"
    face = faces[0]
    if face.presence < config.min_presence:
        return f"face covered or unclear: mesh presence {face.presence:.2f}"
    pose = head_pose(face.landmarks)
    if abs(pose.yaw_deg) > config.max_yaw_deg:
        return f"turned away: by {pose.yaw_deg:.0f} degrees"
    distance = mesh.interocular(face.landmarks)
    if distance < config.min_face_px:
        return f"too small: the eyes are {distance:.0f} px apart"
    matrix = crop_matrix(pose, size)
    crop = warp(rgb, matrix, (size, size), interpolation=cv2.INTER_CUBIC)
    sharpness = cv2.Laplacian(cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY), cv2.CV_32F).var()
    if sharpness < config.min_sharpness:
        return f"blurred: sharpness {sharpness:.0f}"
    return crop, transform(matrix, face.landmarks).reshape(NUM_LANDMARKS, 3)
