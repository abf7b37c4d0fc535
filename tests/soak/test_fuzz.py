"""Files damaged by chance: each gives a result or an error of ours, soon and in little memory."""

from __future__ import annotations

import io
import resource
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from mutations import mutations
from PIL import Image, ImageCms
from safetensors.torch import save
from small_plan import small_plan

from fapvideo.config.presets import load_preset, presets_root
from fapvideo.errors import FapVideoError
from fapvideo.nets.tiny import tiny_manifest
from fapvideo.plan.store import read_plan, write_plan
from fapvideo.reference.cache import FeatureCache
from fapvideo.reference.images import read_image
from fapvideo.weights.bundle import EMBEDDED, build_networks, load_bundle, save_bundle
from fapvideo.weights.detect import detect_file
from fapvideo.weights.foreign import read_foreign

SHORT = {"picture": 300, "preset": 300, "manifest": 12, "pickle": 60, "cache": 40, "plan": 40}
"""Mutated files of each kind in the normal tests."""
SOAK = 2000
"""Of each kind in `pytest -m soak`."""
LONGEST_S, MOST_BYTES = 20.0, 10**9

Try = Callable[[bytes], object]
RNG = np.random.default_rng(5)


def pictures() -> list[bytes]:
    x = np.linspace(0, 255, 48, dtype=np.uint8)
    rgb = np.stack(np.broadcast_arrays(x[:, None], x[None], x[::-1, None]), -1)
    image, grey = Image.fromarray(rgb), Image.fromarray(rgb[..., 0].astype(np.uint16) * 200)
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "maker"
    several = {"save_all": True, "append_images": [image.rotate(90)]}
    made = []
    for picture, options in (
        (image, {"format": "PNG", "icc_profile": profile, "exif": exif}),
        (image.quantize(16), {"format": "PNG"}),
        (grey, {"format": "PNG"}),
        (image, {"format": "PNG", **several}),
        (image, {"format": "JPEG", "exif": exif, "icc_profile": profile}),
        (image.convert("CMYK"), {"format": "JPEG", "progressive": True}),
        (image, {"format": "MPO", **several}),
        (image, {"format": "WEBP", "exif": exif, **several}),
        (image, {"format": "WEBP", "lossless": True, "icc_profile": profile}),
        (image, {"format": "BMP"}),
        (image, {"format": "TIFF", "compression": "tiff_lzw"}),
        (image, {"format": "TIFF", "compression": "jpeg"}),
        (grey, {"format": "TIFF"}),
        (image, {"format": "GIF", **several}),
        (image, {"format": "AVIF"}),
    ):
        file = io.BytesIO()
        picture.save(file, **options)
        made.append(file.getvalue())
    return made


def written(path: Path, read: Callable[[Path], object]) -> Try:
    """Return what puts bytes into a file and reads it."""

    def attempt(data: bytes) -> object:
        path.write_bytes(data)
        return read(path)

    return attempt


def preset_kind(folder: Path) -> tuple[list[bytes], Try]:
    samples = [path.read_bytes() for path in (presets_root() / "run").glob("*.toml")]
    rich = (
        b'[references]\neyes = ["pkg:brand_face.png", {path = "pkg:brand_face.png", weight = 2.0}]'
    )
    return [*samples, rich], written(folder / "a.toml", load_preset)


def manifest_kind(folder: Path) -> tuple[list[bytes], Try]:
    """Use a small bundle on the disk: what can be loaded has to encode, too."""
    manifest = tiny_manifest()
    parts = build_networks(manifest)
    specs = {}
    for name in ("encoder", "unet", "adapter"):
        spec = getattr(manifest, name)
        specs[name] = spec.model_copy(update={"file": f"{name}.safetensors"})
    tower = parts.encoder.tower.vision.state_dict()
    states = {
        "encoder.safetensors": {
            key if key.startswith("vision_model.") else f"vision_model.{key}": value
            for key, value in tower.items()
        },
        "unet.safetensors": parts.unet.state_dict(),
        "adapter.safetensors": parts.adapter.state_dict(),
    }
    bundle = folder / "bundle"
    save_bundle(bundle, manifest.model_copy(update=specs), states, licences="none")
    path = bundle / "bundle.toml"

    def load(_: Path) -> None:
        loaded = load_bundle(bundle)
        loaded.project(loaded.encoder(torch.zeros(1, 3, 64, 64)))

    load(path)
    embedded = (EMBEDDED / "bundle.toml").read_bytes()
    return [path.read_bytes(), path.read_bytes(), embedded], written(path, load)


def pickle_kind(folder: Path) -> tuple[list[bytes], Try]:
    state = {"unet": {"a.weight": torch.ones(3, 4), "n": 3}, "image_proj2": {"b": torch.ones(2)}}
    path = folder / "a.bin"
    samples = []
    for new in (True, False):
        torch.save(state, path, _use_new_zipfile_serialization=new)
        samples.append(path.read_bytes())
    samples.append(save({"a.weight": torch.ones(3, 4), "b": torch.ones(2, dtype=torch.int8)}))

    def read(path: Path) -> None:
        detect_file(path)
        for tensor in read_foreign(path).values():
            tensor.clone()

    return samples, written(path, read)


def cache_kind(folder: Path) -> tuple[list[bytes], Try]:
    """What comes out is what was put in, whatever stands in the file."""
    tokens = RNG.normal(size=(16, 8)).astype(np.float32)
    cache = FeatureCache(folder / "cache", "an encoder")
    cache.get("0" * 64, "eyes", lambda: tokens)
    path = cache.path("0" * 64, "eyes")

    def read(_: Path) -> None:
        found, _ = cache.get("0" * 64, "eyes", lambda: tokens)
        np.testing.assert_array_equal(found, tokens)

    return [path.read_bytes()], written(path, read)


def plan_kind(folder: Path) -> tuple[list[bytes], Try]:
    """One after another of its files is damaged; only the whole one is read."""
    write_plan(small_plan(), folder / "plan", {"input": "a"})
    files = sorted((folder / "plan").iterdir())
    whole = {path: path.read_bytes() for path in files}
    turn = iter(range(10**9))

    def attempt(data: bytes) -> None:
        path = files[next(turn) % len(files)]
        path.write_bytes(next(mutations([whole[path]], 1, seed=next(turn))))
        try:
            read_plan(folder / "plan", {"input": "a"})
        finally:
            path.write_bytes(whole[path])

    return list(whole.values()), attempt


KINDS: dict[str, Callable[[Path], tuple[list[bytes], Try]]] = {
    "picture": lambda folder: (pictures(), written(folder / "a.png", read_image)),
    "preset": preset_kind,
    "manifest": manifest_kind,
    "pickle": pickle_kind,
    "cache": cache_kind,
    "plan": plan_kind,
}


def escapes(kind: str, folder: Path, count: int, seed: int = 0) -> tuple[list[str], int]:
    """Return what came of mutated files but results and our errors, and how many were errors."""
    samples, attempt = KINDS[kind](folder)
    found, refused = [], 0
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for number, data in enumerate(mutations(samples, count, seed)):
        started = time.perf_counter()
        try:
            attempt(data)
        except FapVideoError:
            refused += 1
        except Exception as error:
            found.append(f"{kind} {seed + number}: {type(error).__name__}: {error}"[:300])
        took = time.perf_counter() - started
        if took > LONGEST_S:
            found.append(f"{kind} {seed + number}: {took:.0f} s")
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    if grown > MOST_BYTES:
        found.append(f"{kind}: {grown / 1e9:.1f} GB")
    return found, refused


@pytest.mark.parametrize("kind", KINDS)
def test_a_few_damaged_files(kind: str, tmp_path: Path) -> None:
    found, refused = escapes(kind, tmp_path, SHORT[kind])
    assert found == []
    assert refused or kind == "cache", "nothing was damaged enough to be refused"


@pytest.mark.soak
@pytest.mark.parametrize("kind", KINDS)
def test_many_damaged_files(kind: str, tmp_path: Path) -> None:
    found, _ = escapes(kind, tmp_path, SOAK, seed=100_000)
    assert found == []
