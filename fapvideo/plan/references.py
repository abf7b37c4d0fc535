"""The references of a run: read, checked, aligned, encoded, cached."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from fapvideo.config.schema import PARTS, RunPreset
from fapvideo.mask.parts import part_boxes, part_masks
from fapvideo.ops.image import resize
from fapvideo.ops.pose import CROP_INTEROCULAR
from fapvideo.ops.token_grid import without_cls
from fapvideo.paint.published import part_alone, published_sources
from fapvideo.reference.cache import FeatureCache
from fapvideo.reference.images import AlignedFace, align, part_warnings
from fapvideo.structs import Floats, Reference
from fapvideo.track.finder import FaceFinder
from fapvideo.weights.bundle import Bundle


@dataclass(frozen=True, slots=True)
class LoadedReference:
    """A reference with the measurements that the guide needs."""

    reference: Reference
    face: AlignedFace


def load_references(
    wanted: Mapping[str, Sequence[tuple[str, float]]], bundle: Bundle, preset: RunPreset
) -> tuple[tuple[LoadedReference, ...], tuple[str, ...]]:
    """Read, check, align and encode reference images; features come from the cache if known.

    Args:
        wanted: part -> (path, weight) of each image.
        bundle: its encoder.
        preset: `[reference]` and `[mask]`.

    Returns:
        The references in the order of `PARTS`, and warnings about them.

    Raises:
        ReferenceImageError: an image that cannot be used.
        PresetError: parts that `denoise.mode = "published"` does not have.
    """
    finder = FaceFinder()
    config = preset.reference
    identity = f"{bundle.encoder.identity} {bundle.manifest.resolution}px"
    if preset.denoise.mode == "published":
        wanted = published_sources(wanted)
        identity += " published"
    cache = FeatureCache(config.cache_dir, identity, enabled=config.cache)
    faces: dict[str, AlignedFace] = {}
    loaded: list[LoadedReference] = []
    warnings: list[str] = []
    for part in [part for part in PARTS if part in wanted]:
        for path, weight in wanted[part]:
            if path not in faces:
                faces[path] = align(Path(path), finder, config)
                warnings += faces[path].warnings
            face = faces[path]
            warnings += part_warnings(face, part)
            loaded.append(_encode(face, part, weight, bundle, preset, cache))
    return tuple(loaded), tuple(warnings)


def _encode(
    face: AlignedFace,
    part: str,
    weight: float,
    bundle: Bundle,
    preset: RunPreset,
    cache: FeatureCache,
) -> LoadedReference:
    """Return the tokens of the part alone on black."""
    size = bundle.manifest.resolution
    landmarks = face.landmarks * (size / face.crop.shape[0])
    published = preset.denoise.mode == "published"

    def compute() -> Floats:
        if published:
            alone_in_box, _ = part_alone(face.crop, face.landmarks, part, size)
            return without_cls(bundle.encoder.as_published(alone_in_box))[0].cpu().numpy()
        masks = part_masks(
            [landmarks], [part], preset.mask.as_reference(), size, CROP_INTEROCULAR * size
        )
        alone = resize(face.crop, size) * masks.parts[part][..., None]
        pixels = torch.from_numpy(alone.transpose(2, 0, 1)[None])
        return without_cls(bundle.encoder(pixels))[0].cpu().numpy()

    tokens, cached = cache.get(face.sha256, part, compute)
    box = part_boxes(landmarks, [part], size)[0]
    if published:
        box = part_alone(face.crop, face.landmarks, part, size)[1]
    reference = Reference(
        part, face.path, face.sha256, weight, face.crop, face.landmarks, tokens, box, cached
    )
    return LoadedReference(reference, face)


def by_part(references: Sequence[LoadedReference]) -> dict[str, list[LoadedReference]]:
    """Group references by their part, in the order of `PARTS`."""
    groups: dict[str, list[LoadedReference]] = {}
    for loaded in references:
        groups.setdefault(loaded.reference.part, []).append(loaded)
    return groups
