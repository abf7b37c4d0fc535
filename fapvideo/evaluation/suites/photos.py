"""Pairs of photos: people who get parts of other people, as frames that metrics can go through."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from fapvideo.config.evaluation import PairsConfig
from fapvideo.config.presets import load_preset
from fapvideo.config.schema import RunPreset
from fapvideo.config.train import DataConfig, load_train_preset
from fapvideo.errors import Cancelled, ReferenceImageError, VideoReadError
from fapvideo.evaluation.suites.kept import digest
from fapvideo.evaluation.suites.material import aligned, lossless
from fapvideo.evaluation.views import FramePair, face_view
from fapvideo.ops.pose import head_pose
from fapvideo.progress import ShouldStop
from fapvideo.reference.images import read_image
from fapvideo.run.sources import FrameSource
from fapvideo.structs import Bytes, Face
from fapvideo.track.finder import FaceFinder
from fapvideo.track.older import OlderMesh
from fapvideo.training.faces.sets import fetch, sets_folder

IMAGES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")


@dataclass(frozen=True, slots=True)
class PhotoPair:
    """One photo, and the photos whose parts it gets."""

    target: Path
    face: Face
    references: Mapping[str, tuple[Path, ...]]


@dataclass(frozen=True, slots=True)
class PhotoPairs:
    """Photo pairs as material for metrics: frames that have nothing to do with each other."""

    chosen: tuple[PhotoPair, ...]
    preset: RunPreset
    """`[mask]` and `[reference]` are used."""
    key: str
    """Changes with the choice of photos."""
    path: Path
    """Folder of the photos."""
    frame_rate: float = 1.0
    """One a second: metrics over time do not apply, and are told so by `first_of_shot`."""

    @property
    def parts(self) -> tuple[str, ...]:
        """What is swapped."""
        return tuple(self.chosen[0].references)

    @property
    def frames(self) -> int:
        """How many pairs there are."""
        return len(self.chosen)

    def pairs(self, result: Path) -> Iterator[FramePair]:
        """Yield every photo with the result's picture `0000.png`, `0001.png` and so on.

        Raises:
            VideoReadError: a picture is missing, or has another size.
        """
        mesh = OlderMesh()
        finder = FaceFinder(mesh=mesh)
        for index, pair in enumerate(self.chosen):
            rgb = read_image(pair.target)[0]
            other = self._result(result, index, rgb)
            references = aligned(pair.references, finder, self.preset.reference)
            face, config = pair.face, self.preset.mask
            view = face_view(
                rgb, other, face.landmarks, self.parts, config, mesh, presence=face.presence
            )
            frames = [FrameSource(picture[None], 1).frame(0) for picture in (rgb, other)]
            yield FramePair(
                index, float(index), frames[0], rgb, frames[1], other, (view,), True, references
            )

    def _result(self, folder: Path, index: int, source: Bytes) -> Bytes:
        """Read one picture of a result, brought to the source's size."""
        path = picture_path(folder, index)
        try:
            other = read_image(path)[0]
        except ReferenceImageError as error:
            raise VideoReadError(
                str(error), hint="one picture for each pair: 0000.png ..."
            ) from None
        if other.shape != source.shape:
            size = (source.shape[1], source.shape[0])
            other = cv2.resize(other, size, interpolation=cv2.INTER_AREA).astype(np.uint8)
        return other


def picture_path(folder: Path, index: int) -> Path:
    """Return the file of one result."""
    return folder / f"{index:04d}.png"


def photo_pairs(config: PairsConfig, cancel: ShouldStop = lambda: False) -> PhotoPairs:
    """Choose the photos of `[pairs]`, and who gets whose parts.

    Every photo gets the parts of the next one in a shuffled ring, so none gets its own.

    Raises:
        PresetError, WeightsError: a preset is wrong, a set cannot be fetched.
        ReferenceImageError: fewer than two usable photos.
        Cancelled: `cancel` said so.
    """
    preset = lossless(load_preset(config.preset, config.settings))
    demands = load_train_preset(config.training).data
    folder = Path(config.folder)
    if not config.folder:
        folder = fetch(config.set, sets_folder())[0].parent
    photos = sorted(p for p in folder.rglob("*") if p.suffix.lower() in IMAGES)
    heldout = photos[:: demands.holdout] if config.set and not config.folder else photos
    usable = _usable(heldout, demands, config.count, cancel)
    if len(usable) < 2:
        raise ReferenceImageError(
            f"{folder}: {len(usable)} of {len(heldout)} photos have a usable face",
            hint="give at least two sharp photos of one face each, seen from the front",
        )
    order = random.Random(config.seed).sample(range(len(usable)), len(usable))
    giver = dict(zip(order, order[1:] + order[:1], strict=True))
    photo_of = [Path(config.reference or usable[giver[k]][0]) for k in range(len(usable))]
    pairs = tuple(
        PhotoPair(path, face, dict.fromkeys(config.parts, (photo,)))
        for (path, face), photo in zip(usable, photo_of, strict=True)
    )
    named = [
        (p.target.name, [str(r) for given in p.references.values() for r in given]) for p in pairs
    ]
    return PhotoPairs(pairs, preset, digest(named, config.parts), folder)


def _usable(
    photos: Sequence[Path], demands: DataConfig, count: int, cancel: ShouldStop
) -> list[tuple[Path, Face]]:
    """Return the first `count` photos with one face that meets the training's demands."""
    finder, found = FaceFinder(mesh=OlderMesh()), []
    for path in photos:
        if cancel():
            raise Cancelled("stopped while looking at photos")
        faces = finder(read_image(path)[0])
        if len(faces) != 1 or faces[0].presence < demands.min_presence:
            continue
        if abs(head_pose(faces[0].landmarks).yaw_deg) <= demands.max_yaw_deg:
            found.append((path, faces[0]))
        if len(found) == count:
            break
    return found
