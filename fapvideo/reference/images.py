"""Reading reference images: one usable face each, aligned, with its faults named."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from fapvideo.config.schema import ReferenceConfig
from fapvideo.errors import ReferenceImageError
from fapvideo.ops.geometry import Matrix, invert, transform, warp
from fapvideo.ops.image import luma
from fapvideo.ops.packaged import check_if_packaged
from fapvideo.ops.pose import HeadPose, crop_matrix, expression, head_pose
from fapvideo.reference.decode import MAX_BYTES, Unusable, decode_picture
from fapvideo.structs import Bytes, Face, Floats

CROP_SIZE = 512
OPEN_MOUTH, CLOSED_EYES = 0.06, 0.08
"""Inter-ocular distances; see `ops.pose.expression`."""
LARGE = 2**24
"""Pixels of a picture above which only the surroundings of the face are made floats."""
DOMINANT = 2.0
"""How much larger (in area) the largest face must be to be taken as the one that is meant."""

FindFaces = Callable[[Bytes], list[Face]]


@dataclass(frozen=True, slots=True)
class AlignedFace:
    """The face of one reference image."""

    path: str
    sha256: str
    crop: Floats
    """[512, 512, 3] RGB in [0, 1]."""
    landmarks: Floats
    """[478, 3] in the crop."""
    shape: Floats
    """[478, 3] in the head frame."""
    expression: dict[str, float]
    warnings: tuple[str, ...]
    sharpness: float
    """Variance of the Laplacian over the face, as `ReferenceConfig.min_sharpness` means it."""
    interocular_px: float
    """Distance between the eyes in the photo, pixels."""


def read_image(path: Path) -> tuple[Bytes, str]:
    """Return sRGB uint8 [H, W, 3], upright as its EXIF says, and the file's SHA-256.

    Raises:
        ReferenceImageError: missing, or not a readable image; see `decode_picture`.
        WeightsError: a packaged one was changed.
    """
    try:
        if path.exists() and not path.is_file():
            what = "a directory" if path.is_dir() else "not a file but a pipe or a device"
            raise ReferenceImageError(f"{path}: {what}", hint="give the file of a photo")
        if path.stat().st_size > MAX_BYTES:
            raise ReferenceImageError(
                f"{path}: larger than {MAX_BYTES >> 20} MiB", hint="give a photo, scaled down"
            )
        check_if_packaged(path)
        data = path.read_bytes()
        return decode_picture(data), hashlib.sha256(data).hexdigest()
    except Unusable as error:
        raise ReferenceImageError(f"{path}: {error}", hint=error.hint) from None
    except (OSError, ValueError) as error:  # ValueError: NUL in the name
        reason = getattr(error, "strerror", None) or error
        raise ReferenceImageError(f"{path}: {reason}") from None


def align(path: Path, find_faces: FindFaces, config: ReferenceConfig) -> AlignedFace:
    """Read one photo, find its face, bring it into the aligned crop.

    Raises:
        ReferenceImageError: not a picture, or as `align_picture`.
    """
    return align_picture(*read_image(path), str(path), find_faces, config)


def align_picture(
    rgb: Bytes, digest: str, name: str, find_faces: FindFaces, config: ReferenceConfig
) -> AlignedFace:
    """Find the face of a picture, bring it into the aligned crop.

    Args:
        rgb: [H, W, 3].
        digest: SHA-256 of what it was read from.
        name: what messages call it.
        find_faces: finds all faces, the largest first.
        config: demands on it.

    Raises:
        ReferenceImageError: no face, several of similar size, far too small, or turned away.
    """
    face, warnings = _the_face(name, find_faces(rgb))
    pose = head_pose(face.landmarks)
    warnings += _check(name, face, pose, config)
    matrix = crop_matrix(pose, CROP_SIZE)
    size = (CROP_SIZE, CROP_SIZE)
    near, shift = _around(rgb, matrix)
    crop = warp(near.astype(np.float32) / 255.0, shift, size, interpolation=cv2.INTER_CUBIC)
    crop = np.clip(crop, 0.0, 1.0)
    sharpness = _sharpness(rgb, face)
    if sharpness < config.min_sharpness:
        warnings.append(
            f"{name}: the face is blurred (sharpness {sharpness:.1f}, "
            f"wanted {config.min_sharpness:g})"
        )
    return AlignedFace(
        name,
        digest,
        crop.astype(np.float32),
        transform(matrix, face.landmarks),
        pose.to_head(face.landmarks),
        expression(face.landmarks),
        tuple(warnings),
        sharpness,
        pose.scale,
    )


def _around(rgb: Bytes, matrix: Matrix) -> tuple[Bytes, Matrix]:
    """Return the surroundings of the crop in a large picture, and the transform from there.

    As floats, a photo of 64 megapixels would take more than a gigabyte.
    """
    if rgb.shape[0] * rgb.shape[1] <= LARGE:
        return rgb, matrix
    corners = np.array([[0, 0], [1, 0], [0, 1], [1, 1]]) * float(CROP_SIZE)
    places = transform(invert(matrix), corners)
    low = np.maximum(places.min(axis=0) // 64 * 64 - 64, 0).astype(int)
    x1, y1 = (places.max(axis=0) + 64).astype(int)
    moved = matrix.copy()
    moved[:, 2] += matrix[:, :2] @ low
    return rgb[low[1] : y1, low[0] : x1], moved


def part_warnings(face: AlignedFace, part: str) -> list[str]:
    """Return what is unfit about `face` as a reference for `part`."""
    if part == "mouth" and face.expression["mouth_open"] > OPEN_MOUTH:
        return [f"{face.path}: the mouth is open; a closed, relaxed mouth works best for 'mouth'"]
    if part == "eyes" and face.expression["eye_open"] < CLOSED_EYES:
        return [f"{face.path}: the eyes are nearly closed; open eyes work best for 'eyes'"]
    return []


def _the_face(name: str, faces: list[Face]) -> tuple[Face, list[str]]:
    """Return the face that is meant."""
    if not faces:
        raise ReferenceImageError(
            f"{name}: no face found", hint="use a photo with one face, seen from the front"
        )
    if len(faces) == 1:
        return faces[0], []
    areas = [float((face.box[2:] - face.box[:2]).prod()) for face in faces[:2]]
    if areas[0] < DOMINANT * areas[1]:
        raise ReferenceImageError(
            f"{name}: {len(faces)} faces of similar size",
            hint="crop the photo to the face that is meant",
        )
    return faces[0], [f"{name}: {len(faces)} faces; the largest is used"]


def _check(name: str, face: Face, pose: HeadPose, config: ReferenceConfig) -> list[str]:
    """Return warnings about size and pose; far beyond the limits is an error."""
    warnings = []
    side = float(max(face.box[2:] - face.box[:2]))
    if side < config.min_face_px / 2:
        raise ReferenceImageError(
            f"{name}: the face is only {side:.0f} px wide, wanted are {config.min_face_px}",
            hint="use a larger photo",
        )
    if side < config.min_face_px:
        warnings.append(f"{name}: the face is small ({side:.0f} px); the part will be soft")
    yaw = abs(pose.yaw_deg)
    if yaw > 1.5 * config.max_yaw_deg:
        raise ReferenceImageError(
            f"{name}: the face is turned away by {yaw:.0f} degrees",
            hint="use a photo taken from the front",
        )
    if yaw > config.max_yaw_deg:
        warnings.append(f"{name}: the face is turned by {yaw:.0f} degrees; the far side is guessed")
    return warnings


def _sharpness(rgb: Bytes, face: Face) -> float:
    """Return the variance of the Laplacian over the face, brought to 256 px width at most."""
    x0, y0 = (int(max(0, value)) for value in face.box[:2])
    x1, y1 = (int(np.ceil(value)) for value in face.box[2:])
    patch = rgb[y0:y1, x0:x1]
    if patch.shape[1] > 256:
        scale = 256 / patch.shape[1]
        patch = cv2.resize(patch, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return float(cv2.Laplacian(luma(patch.astype(np.float32)), cv2.CV_32F).var())
