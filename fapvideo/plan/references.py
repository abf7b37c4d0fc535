"""The references of a run: asked for in many forms, read, checked, aligned, encoded, cached."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from fapvideo.config.casting import ReferenceSource
from fapvideo.config.presets import local_path, packaged_licence
from fapvideo.config.schema import DenoiseConfig, ReferenceConfig, RunPreset
from fapvideo.errors import PresetError, ReferenceImageError
from fapvideo.mask.frames import without_frames
from fapvideo.mask.occlusion import Occluders
from fapvideo.ops.image import picture_fault
from fapvideo.parts import PARTS
from fapvideo.reference.cache import FeatureCache
from fapvideo.reference.fitness import CHECKED, Judge, Judgement
from fapvideo.reference.images import (
    AlignedFace,
    FindFaces,
    align_picture,
    part_warnings,
    read_image,
)
from fapvideo.structs import Bytes, Floats, Reference
from fapvideo.track.finder import FaceFinder

ReferenceLike = str | Path | Bytes | ReferenceSource | Reference
"""A photo's path (`pkg:NAME` is a packaged one), its pixels uint8 [H, W, 3], a path with a weight,
or what `encode_reference` returned."""
References = Mapping[str, ReferenceLike | Sequence[ReferenceLike]]
"""Part -> its reference, or several."""
Sources = Mapping[str, Sequence[ReferenceSource | Reference]]


class ReferenceEncoder(Protocol):
    """What a painter wants of a reference."""

    @property
    def identity(self) -> str:
        """What decides the tokens; empty where there are none."""

    def takes(self, wanted: Sources) -> Sources:
        """Return what is used of the references; raise `PresetError` for parts it does not have."""

    def encode(self, face: AlignedFace, part: str) -> Floats:
        """Return the tokens [N, C] of the part alone."""

    def box(self, face: AlignedFace, part: str) -> Floats:
        """Return [4] y0, x0, y1, x1 of the part, as shares of the picture it was encoded from."""


@dataclass(frozen=True, slots=True)
class Asked:
    """Which references a run asks for."""

    sources: Sources
    pictures: Mapping[str, Bytes] = field(default_factory=dict)
    """Name -> pixels, of sources that are no files."""

    @property
    def key(self) -> str:
        """What tells two askings apart."""
        return repr({part: [_name(item) for item in given] for part, given in self.sources.items()})


def _name(item: ReferenceSource | Reference) -> tuple[Any, ...]:
    if isinstance(item, Reference):
        return item.part, item.path, item.sha256, item.weight, item.encoder
    return item.path, item.weight, item.licence


def asked_references(references: References | None, preset: RunPreset) -> Asked:
    """Bring the given references, or the preset's where none are given, into one form.

    Raises:
        PresetError: an unknown part, or no reference at all.
        ReferenceImageError: an array that is no picture.
    """
    if references is None:
        asked = Asked({str(part): given for part, given in preset.references.items()})
    else:
        pictures: dict[str, Bytes] = {}
        sources = {
            part: [_source(item, part, pictures) for item in _listed(given)]
            for part, given in references.items()
        }
        asked = Asked(sources, pictures)
    unknown = sorted(set(asked.sources) - set(PARTS))
    if unknown:
        raise PresetError(f"unknown part {unknown[0]!r}", hint=f"the parts are {', '.join(PARTS)}")
    if not any(asked.sources.values()):
        raise PresetError(
            f"preset {preset.name!r} names no reference images",
            hint="add --reference eyes=photo.png, or a [references] table",
        )
    return asked


def _listed(given: ReferenceLike | Sequence[ReferenceLike]) -> Sequence[ReferenceLike]:
    """Return a list, also of one."""
    single = isinstance(given, str | Path | np.ndarray | ReferenceSource | Reference)
    return [given] if single else given  # type: ignore[list-item, return-value]


def _source(
    item: ReferenceLike, part: str, pictures: dict[str, Bytes]
) -> ReferenceSource | Reference:
    """Return one reference in its one form; remember the pixels of an array in `pictures`."""
    if isinstance(item, ReferenceSource):
        return item.model_copy(update={"path": local_path(item.path)})
    if isinstance(item, Reference):
        if item.part != part:
            raise PresetError(f"a reference of {item.part!r} was given for {part!r}")
        return item
    return ReferenceSource(path=picture_source(item, f"reference of {part!r}", pictures))


def picture_source(item: str | Path | Bytes, what: str, pictures: dict[str, Bytes]) -> str:
    """Return a picture's path, or for pixels a name, under which `pictures` has them then.

    Raises:
        ReferenceImageError: an array that is no picture; `what` it was to be is said.
    """
    if isinstance(item, str | Path):
        return local_path(str(item))
    fault = picture_fault(item)
    if fault:
        raise ReferenceImageError(
            f"{what}: {fault}", hint="give a path, or RGB pixels uint8 [height, width, 3]"
        )
    name = f"pixels {hashlib.sha256(repr(item.shape).encode() + item.tobytes()).hexdigest()[:16]}"
    pictures[name] = item
    return name


def load_references(
    asked: Asked, encoder: ReferenceEncoder, config: ReferenceConfig
) -> tuple[dict[str, tuple[Reference, ...]], tuple[str, ...]]:
    """Read, check, align and encode reference images; features come from the cache if known.

    Args:
        asked: what is wanted.
        encoder: the painter's side of it.
        config: `[reference]`.

    Returns:
        Part -> its references, in the order of `PARTS`, without those that `config.unfit` leaves
        out, and warnings about them.

    Raises:
        ReferenceImageError: an image that cannot be used.
        PresetError: parts that the painter does not have, or tokens of another bundle.
    """
    wanted = encoder.takes(asked.sources)
    cached = config.cache and encoder.identity != ""
    cache = FeatureCache(config.cache_dir, encoder.identity, enabled=cached)
    photos = _Photos(wanted, asked.pictures, config)
    cast: dict[str, tuple[Reference, ...]] = {}
    for part in (part for part in PARTS if wanted.get(part)):
        group: list[Reference] = []
        taken = photos.taken(part)
        for item in wanted[part]:
            if isinstance(item, Reference):
                group.append(_fitting(item, encoder))
            elif item.path in taken:
                group.append(_encoded(taken[item.path], part, item, encoder, cache))
        cast[part] = tuple(group)
    return cast, tuple(photos.warnings)


class _Photos:
    """The photos of a run: each read, aligned and judged once; those that do not fit left out."""

    def __init__(
        self, wanted: Sources, pictures: Mapping[str, Bytes], config: ReferenceConfig
    ) -> None:
        """Take which photos each part has; the networks load with the first one."""
        self.warnings: list[str] = []
        self._wanted, self._pictures, self._config = wanted, pictures, config
        self._finder = functools.cache(FaceFinder)
        self._faces: dict[str, AlignedFace | ReferenceImageError] = {}
        self._judgements: dict[str, Mapping[str, Judgement]] = {}
        self._judge = Judge(config)
        # Of torch, whatever computes the run: what a photo without frames looks like is cached.
        self._occluders = functools.cache(lambda: Occluders(DenoiseConfig(runtime="torch")))
        self._bare: dict[str, AlignedFace] = {}

    def taken(self, part: str) -> Mapping[str, AlignedFace]:
        """Return path -> face of the photos that are used for `part`, and warn about them.

        Raises:
            ReferenceImageError: one cannot be read, or none has a usable face.
        """
        paths = [item.path for item in self._wanted[part] if isinstance(item, ReferenceSource)]
        faces = {path: self._face(path) for path in dict.fromkeys(paths)}
        usable = {path: face for path, face in faces.items() if isinstance(face, AlignedFace)}
        errors = [face for face in faces.values() if isinstance(face, ReferenceImageError)]
        leaves = self._config.unfit == "leave_out"
        if errors and not (leaves and (usable or len(paths) < len(self._wanted[part]))):
            raise errors[0]
        judged = {path: self._judged(path, usable[path])[part] for path in usable}
        used = [path for path in usable if not (leaves and judged[path].unfit)]
        if not used and usable and len(paths) == len(self._wanted[part]):
            used = [max(usable, key=lambda path: judged[path].score)]
            if len(faces) > 1:
                self._warn(
                    f"none of the {len(faces)} references of {part!r} fits: "
                    "the least bad one is used"
                )
        for error in errors:
            self._warn(f"{error}: left out of {part!r}")
        for path, face in usable.items():
            self._speak(face, judged[path], used=path in used)
        worn = {path for path in used if "glasses" in judged[path].unfit}
        return {path: self._bared(usable[path]) if path in worn else usable[path] for path in used}

    def _bared(self, face: AlignedFace) -> AlignedFace:
        """Return a face without the frames of its glasses; features are cached by its new look."""
        if face.path not in self._bare:
            crop = without_frames(face.crop, face.landmarks, self._occluders())
            digest = hashlib.sha256(face.sha256.encode() + b"bare" + crop.tobytes()).hexdigest()
            self._bare[face.path] = replace(face, crop=crop, sha256=digest)
        return self._bare[face.path]

    def _face(self, path: str) -> AlignedFace | ReferenceImageError:
        """Return the face of a photo, or why it has no usable one."""
        if path not in self._faces:
            rgb, digest = read_source(path, self._pictures)
            try:
                self._faces[path] = align_picture(
                    rgb, digest, path, lambda picture: self._finder()(picture), self._config
                )
            except ReferenceImageError as error:
                self._faces[path] = error
        return self._faces[path]

    def _judged(self, path: str, face: AlignedFace) -> Mapping[str, Judgement]:
        if path not in self._judgements:
            parts = [
                part
                for part, items in self._wanted.items()
                if any(isinstance(item, ReferenceSource) and item.path == path for item in items)
            ]
            self._judgements[path] = self._judge(face, parts)
        return self._judgements[path]

    def _speak(self, face: AlignedFace, judged: Judgement, *, used: bool) -> None:
        """Warn about a photo: what was left out and why, what is unfit and used all the same."""
        if not used:
            self._warn(
                f"{face.path}: left out of {judged.part!r}: {'; '.join(judged.unfit.values())}"
            )
            return
        for text in (*face.warnings, *part_warnings(face, judged.part)):
            self._warn(text)
        for term, reason in judged.unfit.items():
            if term == "glasses":
                self._warn(
                    f"{face.path}: {reason}; their frames were taken out of the photo for"
                    f" {judged.part!r}, a photo without glasses is better"
                )
            elif term not in CHECKED:
                self._warn(f"{face.path}: {reason}; a poor reference for {judged.part!r}")

    def _warn(self, text: str) -> None:
        if text not in self.warnings:
            self.warnings.append(text)


def _fitting(reference: Reference, encoder: ReferenceEncoder) -> Reference:
    if reference.encoder != encoder.identity:
        raise PresetError(
            f"the reference {reference.path} of {reference.part!r} was encoded for another bundle",
            hint="encode it with this swapper's encode_reference, or give the photo's path",
        )
    return replace(reference, cached=True)


def align_source(
    path: str, pictures: Mapping[str, Bytes], find_faces: FindFaces, config: ReferenceConfig
) -> AlignedFace:
    """Align the face in a file, or in the pixels that `pictures` has under this name.

    Raises:
        ReferenceImageError: not a picture, or no usable face.
    """
    return align_picture(*read_source(path, pictures), path, find_faces, config)


def read_source(path: str, pictures: Mapping[str, Bytes]) -> tuple[Bytes, str]:
    """Return the pixels [H, W, 3] of a file, or of `pictures`, and a SHA-256.

    Raises:
        ReferenceImageError: missing, or not a picture.
    """
    if path not in pictures:
        return read_image(Path(path))
    return pictures[path], hashlib.sha256(pictures[path].tobytes()).hexdigest()


def _encoded(
    face: AlignedFace,
    part: str,
    source: ReferenceSource,
    encoder: ReferenceEncoder,
    cache: FeatureCache,
) -> Reference:
    tokens, cached = cache.get(face.sha256, part, lambda: encoder.encode(face, part))
    return Reference(
        part=part,
        path=face.path,
        sha256=face.sha256,
        weight=source.weight,
        crop=face.crop,
        landmarks=face.landmarks,
        shape=face.shape,
        expression=face.expression,
        tokens=tokens,
        encoder=encoder.identity,
        box=encoder.box(face, part),
        cached=cached,
        licence=source.licence or packaged_licence(source.path),
    )
