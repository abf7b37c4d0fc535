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
from fapvideo.config.presets import local_path
from fapvideo.config.schema import ReferenceConfig, RunPreset
from fapvideo.errors import PresetError, ReferenceImageError
from fapvideo.ops.image import picture_fault
from fapvideo.parts import PARTS
from fapvideo.reference.cache import FeatureCache
from fapvideo.reference.images import (
    AlignedFace,
    FindFaces,
    align,
    align_picture,
    part_warnings,
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
    return item.path, item.weight


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
        Part -> its references, in the order of `PARTS`, and warnings about them.

    Raises:
        ReferenceImageError: an image that cannot be used.
        PresetError: parts that the painter does not have, or tokens of another bundle.
    """
    finder = functools.cache(FaceFinder)  # loads its networks for the first photo, if there is one
    wanted = encoder.takes(asked.sources)
    cached = config.cache and encoder.identity != ""
    cache = FeatureCache(config.cache_dir, encoder.identity, enabled=cached)
    faces: dict[str, AlignedFace] = {}
    cast: dict[str, tuple[Reference, ...]] = {}
    warnings: list[str] = []
    for part in (part for part in PARTS if wanted.get(part)):
        group: list[Reference] = []
        for item in wanted[part]:
            if isinstance(item, Reference):
                group.append(_fitting(item, encoder))
                continue
            if item.path not in faces:
                faces[item.path] = align_source(
                    item.path, asked.pictures, lambda rgb: finder()(rgb), config
                )
                warnings += faces[item.path].warnings
            face = faces[item.path]
            warnings += part_warnings(face, part)
            group.append(_encoded(face, part, item.weight, encoder, cache))
        cast[part] = tuple(group)
    return cast, tuple(warnings)


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
    if path not in pictures:
        return align(Path(path), find_faces, config)
    digest = hashlib.sha256(pictures[path].tobytes()).hexdigest()
    return align_picture(pictures[path], digest, path, find_faces, config)


def _encoded(
    face: AlignedFace, part: str, weight: float, encoder: ReferenceEncoder, cache: FeatureCache
) -> Reference:
    tokens, cached = cache.get(face.sha256, part, lambda: encoder.encode(face, part))
    return Reference(
        part=part,
        path=face.path,
        sha256=face.sha256,
        weight=weight,
        crop=face.crop,
        landmarks=face.landmarks,
        shape=face.shape,
        expression=face.expression,
        tokens=tokens,
        encoder=encoder.identity,
        box=encoder.box(face, part),
        cached=cached,
    )
