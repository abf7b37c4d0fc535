"""Eight kinds of files that come from elsewhere: samples, how they are damaged, what reads them."""

from __future__ import annotations

import io
import json
import random
import shutil
import tomllib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import face_clips
import numpy as np
import tomlkit
import torch
from clips import CLIPS, write_clip
from mutations import mutated
from PIL import Image, ImageCms
from safetensors.numpy import load_file, save_file
from safetensors.torch import save
from structure import (
    MAGIC,
    flipped,
    mutated_values,
    mutated_video,
    mutated_zip,
    number_set,
    repeated,
    truncated,
)

from fapvideo.config.presets import load_preset, presets_root
from fapvideo.config.schema import RunPreset, VideoConfig
from fapvideo.nets.tiny import tiny_manifest
from fapvideo.ops.sealed import read_sealed, write_sealed
from fapvideo.plan.kept import digests
from fapvideo.plan.store import read_plan, write_plan
from fapvideo.reference.cache import FeatureCache
from fapvideo.reference.images import read_image
from fapvideo.run.engine import Engine
from fapvideo.run.pieces import join_job
from fapvideo.swapper import VideoSwapper
from fapvideo.video.probe import probe
from fapvideo.video.reader import VideoReader
from fapvideo.video.writer import VideoWriter
from fapvideo.weights.bundle import EMBEDDED, build_networks, load_bundle, save_bundle
from fapvideo.weights.detect import detect_file
from fapvideo.weights.foreign import read_foreign

WHOLE_RUNS = 10
"""One in so many videos and presets goes through a whole run with the tiny bundle."""
QUICK = {"codec": "auto", "speed": "ultrafast"}
CLIP_NAMES = ("plain", "b_frames", "vfr_mp4", "rotated_90", "tracks_mp4", "hdr10", "timecode",
              "edit_list", "mjpeg", "yuv422_ten", "tracks_mkv", "ten_bit", "gray", "ffv1_alpha",
              "webm", "mpegts", "avi", "raw_h264", "nv12", "pal_601")  # fmt: skip


class Kind(Protocol):
    """One kind of file."""

    def attempt(self, seed: int) -> object:
        """Read a damaged file, always the same for a seed, and do with it what a user would."""


def brand_clip(folder: Path, frames: int = 3) -> Path:
    """Write a clip of a few frames with a face."""
    path = folder / "face.mp4"
    clip = replace(CLIPS["plain"], size=(192, 192), frames=frames)
    write_clip(path, clip, lambda i: face_clips.rendered(
        face_clips.animated_brand_face(), 0.7 + i / 25)[0].copy())  # fmt: skip
    return path


def tiny_preset(**tables: Any) -> RunPreset:
    """Return a preset that paints the brand face's mouth, quickly."""
    return RunPreset.model_validate({
        "name": "fuzz", "bundle": "tiny", "references": {"mouth": str(face_clips.BRAND)},
        "video": QUICK, "denoise": {"mode": "off"}, "composite": {"max_size": 64},
        "provenance": {"enabled": False}, **tables,
    })  # fmt: skip


class Videos:
    """Through probe, reader and writer; some through a whole run. Nothing may be left behind."""

    def __init__(self, folder: Path) -> None:
        self.samples = []
        for name in CLIP_NAMES:
            clip = CLIPS.get(name) or replace(CLIPS["plain"], start=-1536)
            path = folder / f"{name}{clip.suffix}"
            write_clip(path, replace(clip, frames=6))
            self.samples.append(path.read_bytes())
        self.faces = [brand_clip(folder).read_bytes()]
        self.folder = folder / "work"
        self.folder.mkdir()
        self._swapper: VideoSwapper | None = None

    def warm_up(self) -> None:
        """Load what a whole run needs: that takes time and is not the file's doing."""
        self._swapper = VideoSwapper(tiny_preset(), "cpu")
        path, output = self.folder / "in.bin", self.folder / "out.mp4"
        path.write_bytes(self.faces[0])
        self._swapper.run(path, output, overwrite=True)
        for file in self.folder.iterdir():
            file.unlink()

    def attempt(self, seed: int) -> None:
        chance, whole = random.Random(seed), seed % WHOLE_RUNS == 0
        path = self.folder / "in.bin"
        path.write_bytes(mutated_video(self.faces if whole else self.samples, chance))
        output = self.folder / chance.choice(("out.mp4", "out.mkv", "out.mov"))
        try:
            if whole:
                self._swapper = self._swapper or VideoSwapper(tiny_preset(), "cpu")
                self._swapper.run(path, output)
                return
            info = probe(path)
            config = VideoConfig.model_validate(QUICK)
            with VideoReader(info, config) as reader, VideoWriter(output, info, config) as writer:
                for batch in reader.batches(4):
                    writer.write(batch)
            times = [frame.time_s for frame in batch.frames[-1:]]
            if chance.random() < 0.2:
                reader.frames_at([0.0, *times])
        finally:
            left = {file.name for file in self.folder.iterdir()}
            for file in self.folder.iterdir():
                shutil.rmtree(file) if file.is_dir() else file.unlink()
            named = {output.name, f"{output.name}.report.json", f"{output.name}.tracks.jsonl"}
            if whole:  # a run that fails leaves its job, for the next one to go on with
                named.add(f".{output.name}.fapvideo")
            if left - named - {"in.bin"}:
                raise AssertionError(f"left behind: {sorted(left)}")


class Pictures:
    """Photos as references: decoded, turned, brought to sRGB."""

    def __init__(self, folder: Path) -> None:
        self.samples, self.path = pictures(), folder / "a.png"

    def attempt(self, seed: int) -> None:
        chance = random.Random(seed)
        data = chance.choice(self.samples)
        if seed % 2:
            data = mutated(self.samples, seed)
        else:
            for _ in range(chance.randint(1, 3)):
                way = chance.choice((flipped, flipped, number_set, repeated, truncated))
                data = data[:MAGIC] + (way(data[MAGIC:] or b"\0", chance))
        self.path.write_bytes(data)
        rgb, _ = read_image(self.path)
        assert rgb.dtype == np.uint8
        assert rgb.shape[2:] == (3,)


class Presets:
    """TOML of people: read; what is accepted has to run."""

    def __init__(self, folder: Path) -> None:
        shipped = sorted((presets_root() / "run").glob("*.toml"))
        self.samples = [path.read_bytes() for path in shipped]
        self.samples.append(RICH.encode())
        self.path, self.clip = folder / "a.toml", brand_clip(folder, 2)
        self.output = folder / "out.mkv"

    def warm_up(self) -> None:
        """Load what a whole run needs."""
        with VideoSwapper(tiny_preset(), "cpu") as swapper:
            swapper.run(self.clip, self.output, overwrite=True)

    def attempt(self, seed: int) -> None:
        chance = random.Random(seed)
        if seed % 3 == 0:
            data = mutated(self.samples, seed)
        else:
            tables = tomllib.loads(chance.choice(self.samples).decode("utf-8-sig"))
            data = toml_of(mutated_values(tables, chance)) or mutated(self.samples, seed)
        self.path.write_bytes(data)
        preset = load_preset(self.path)
        if seed % WHOLE_RUNS:
            return
        with VideoSwapper(preset.model_copy(update={"bundle": "tiny"}), "cpu") as swapper:
            swapper.run(self.clip, self.output, overwrite=True)


class Manifests:
    """A bundle's manifest, its files as they were: what can be loaded has to encode, too."""

    def __init__(self, folder: Path) -> None:
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
        self.bundle = folder / "bundle"
        save_bundle(self.bundle, manifest.model_copy(update=specs), states, licences="none")
        self.path = self.bundle / "bundle.toml"
        embedded = (EMBEDDED / "bundle.toml").read_bytes()
        self.samples = [self.path.read_bytes(), self.path.read_bytes(), embedded]
        self._load()

    def attempt(self, seed: int) -> None:
        chance = random.Random(seed)
        data = mutated(self.samples, seed)
        if seed % 3:
            tables = tomllib.loads(chance.choice(self.samples[:2]).decode())
            data = toml_of(mutated_values(tables, chance)) or data
        self.path.write_bytes(data)
        self._load()

    def _load(self) -> None:
        loaded = load_bundle(self.bundle)
        side = loaded.manifest.encoder.image_size
        loaded.project(loaded.encoder(torch.zeros(1, 3, side, side)))


class Pickles:
    """Weights of others, as torch.save writes them, and safetensors."""

    def __init__(self, folder: Path) -> None:
        state = {
            "unet": {"a.weight": torch.ones(3, 4), "n": 3},
            "image_proj2": {"b": torch.ones(2)},
        }
        self.path = folder / "a.bin"
        self.samples = []
        for new in (True, False):
            torch.save(state, self.path, _use_new_zipfile_serialization=new)
            self.samples.append(self.path.read_bytes())
        self.samples.append(save({"a": torch.ones(3, 4), "b": torch.ones(2, dtype=torch.int8)}))

    def attempt(self, seed: int) -> None:
        data = mutated(self.samples, seed)
        if seed % 2:
            data = mutated_zip(self.samples[0], random.Random(seed))
        self.path.write_bytes(data)
        detect_file(self.path)
        for tensor in read_foreign(self.path).values():
            tensor.clone()


class Caches:
    """Kept features: what comes out is what was put in, or sealed by another, and finite."""

    def __init__(self, folder: Path) -> None:
        rng = np.random.default_rng(5)
        self.tokens = rng.normal(size=(16, 8)).astype(np.float32)
        self.cache = FeatureCache(folder / "cache", "an encoder")
        self.cache.get("0" * 64, "eyes", lambda: self.tokens)
        self.path = self.cache.path("0" * 64, "eyes")
        self.sample = self.path.read_bytes()

    def attempt(self, seed: int) -> None:
        chance, sealed = random.Random(seed), seed % 2
        if sealed:  # as a program would that writes the same format
            self.path.unlink(missing_ok=True)
            tokens = np.ascontiguousarray(mutated_array(self.tokens, chance))
            seal = sha256_of(tokens)
            name = chance.choice(("tokens", "tokens", "tokens", "token"))
            metadata = {"sha256": chance.choice((seal, seal, seal, "", "0"))}
            save_file({name: tokens}, self.path, metadata)
        else:
            self.path.write_bytes(mutated([self.sample], seed))
        found, _ = self.cache.get("0" * 64, "eyes", lambda: self.tokens)
        if sealed:
            assert found.ndim == 2
            assert found.dtype == np.float32
            assert np.isfinite(found).all()
        else:
            np.testing.assert_array_equal(found, self.tokens)


class Plans:
    """A plan in a folder; what is read has to be painted."""

    def __init__(self, folder: Path) -> None:
        clip = brand_clip(folder)
        self.swapper = VideoSwapper(tiny_preset(), "cpu")
        with self.swapper.open(clip, folder=folder / "made"):
            pass
        self.made_from = json.loads((folder / "made" / "plan.json").read_text())["made_from"]
        plan = read_plan(folder / "made", self.made_from)
        assert plan is not None
        assert plan.targets
        self.folder, self.reader = folder / "plan", VideoReader(clip)
        write_plan(plan, self.folder, self.made_from)
        self.whole = {path: path.read_bytes() for path in sorted(self.folder.iterdir())}

    def attempt(self, seed: int) -> None:
        chance, sealed = random.Random(seed), seed % 2
        for path, data in self.whole.items():
            path.write_bytes(data)
        if sealed or chance.random() < 0.5:
            self._change(chance)
        else:
            path = chance.choice(list(self.whole))
            path.write_bytes(mutated([self.whole[path]], seed))
        if sealed:
            file = self.folder / "plan.json"
            text = json.loads(file.read_text())
            if isinstance(text, dict):
                text["digests"] = digests(text, self.folder)
                file.write_text(json.dumps(text))
        plan = read_plan(self.folder, self.made_from)
        if plan is not None:
            engine: Engine = self.swapper._bench.engine()
            for _ in engine.swap(self.reader, plan):
                pass

    def _change(self, chance: random.Random) -> None:
        """Change values of the JSON, or an array."""
        if chance.random() < 0.5:
            file = self.folder / "plan.json"
            text = json.loads(file.read_text())
            kept = {name: text.pop(name) for name in ("schema_version", "made_from", "digests")}
            file.write_text(json.dumps({**mutated_values(text, chance), **kept}))
        elif chance.random() < 0.5:
            file = self.folder / "arrays.safetensors"
            arrays = load_file(file)
            name = chance.choice(sorted(arrays))
            array = arrays.pop(name)
            if chance.random() < 0.8:
                arrays[name] = np.ascontiguousarray(mutated_array(array, chance))
            save_file(arrays, file)
        else:
            file = chance.choice([f for f in self.whole if f.suffix == ".npy"])
            np.save(file, mutated_array(np.load(io.BytesIO(self.whole[file])), chance))


class Jobs:
    """A job's folder with all segments done: joined, or a run goes on with it."""

    def __init__(self, folder: Path) -> None:
        self.clip = brand_clip(folder, 8)
        self.swapper = VideoSwapper(tiny_preset(video={**QUICK, "segment_s": 0.1}), "cpu")
        self.folder, self.output = folder / ".out.mp4.fapvideo", folder / "out.mp4"
        for segment in self.swapper.plan(self.clip, self.folder, container=".mp4"):
            self.swapper.segment(self.folder, segment.index)
        join_job(self.folder, self.output, keep_work=True)
        self.wanted = self.output.read_bytes()
        files = [path for path in sorted(self.folder.rglob("*")) if path.is_file()]
        self.whole = {path: path.read_bytes() for path in files}

    def attempt(self, seed: int) -> None:
        chance, sealed = random.Random(seed), seed % 2
        shutil.rmtree(self.folder, ignore_errors=True)
        for path, data in self.whole.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        names = [path for path in self.whole if path.suffix == ".json"] if sealed else self.whole
        path = chance.choice([one for one in names if one.name not in ("plan.json", "owner.json")])
        if sealed:
            write_sealed(path, mutated_values(read_sealed(path), chance))
        else:
            path.write_bytes(mutated([self.whole[path]], seed))
        if seed % WHOLE_RUNS == 0:
            self.swapper.run(self.clip, self.output, overwrite=True)
        else:
            join_job(self.folder, self.output, overwrite=True)
        if not sealed:
            assert self.output.read_bytes() == self.wanted, "damage came through"


KINDS: dict[str, Callable[[Path], Kind]] = {
    "video": Videos,
    "picture": Pictures,
    "preset": Presets,
    "manifest": Manifests,
    "pickle": Pickles,
    "cache": Caches,
    "plan": Plans,
    "job": Jobs,
}

RICH = """schema_version = 1
name = "rich"
seed = 7
[references]
eyes = ["pkg:brand_face.png", {path = "pkg:brand_face.png", weight = 2.0}]
mouth = "pkg:brand_face.png"
[track]
faces = "all"
[mask]
feather = 0.1
[denoise]
mode = "off"
[composite]
max_size = 64
[video]
speed = "ultrafast"
[[spans]]
from_s = 0.0
to_s = 0.04
[spans.mask]
feather = 0.2
"""


def sha256_of(tokens: np.ndarray) -> str:
    from fapvideo.reference.cache import _digest

    return _digest(tokens)


def toml_of(tables: dict[str, Any]) -> bytes | None:
    """Return TOML, None where it has no form for the values."""
    try:
        return tomlkit.dumps(tables).encode()
    except Exception:
        return None


def mutated_array(array: np.ndarray, chance: random.Random) -> np.ndarray:
    """Return an array of another type, shape or content."""
    kind = chance.randrange(7)
    if kind == 0:
        return array.astype(chance.choice((np.float64, np.float16, np.int64, np.uint8)))
    if kind == 1:
        return array.reshape(-1) if array.ndim > 1 else array[None]
    if kind == 2:
        return array[: len(array) // 2]
    if kind == 3:
        return np.concatenate([array, array])
    if kind == 4:
        return array[:0]
    out = array.copy()
    flat = out.reshape(-1)
    for _ in range(chance.randint(1, 4) if len(flat) else 0):
        odd = (np.nan, np.inf, 3e38, -1e9, 0.0) if out.dtype.kind == "f" else (-1, 0, 2**31 - 1)
        flat[chance.randrange(len(flat))] = np.array(chance.choice(odd)).astype(out.dtype)
    return out


def pictures() -> list[bytes]:
    """Return small pictures of every format that is read, and one that is not."""
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
