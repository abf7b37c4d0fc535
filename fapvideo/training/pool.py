"""A pool of ready-made samples on disk, made once by the real guide and the real image tower.

Making a sample costs about as much as a training step, so samples are made in advance, in parallel
and resumably: sample `i` is a function of (seed, i).
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from fapvideo.config.train import DataConfig
from fapvideo.fuse.tokens import PartSource, fuse_fractional
from fapvideo.structs import Array
from fapvideo.training.faces import FaceSet, load_faces
from fapvideo.training.samples import PARTS, Sample, SampleMaker

CHUNK = 32


@dataclass(frozen=True, slots=True)
class Pool:
    """Samples mapped from disk, all arrays of length N."""

    target: Array
    """[N, R, R, 3] uint8."""
    guide: Array
    """[N, R, R, 3] uint8."""
    core: Array
    """[N, R, R] uint8, 0 or 1."""
    tokens: Array
    """[N, G*G, C] float16 fused tokens."""
    flags: Path | None
    """File of one flag per chunk of samples: whether it is finished; None if all are."""

    def ready(self) -> Array:
        """Return the rows that are finished; the pool may still be growing."""
        if self.flags is None:
            return np.arange(len(self))
        rows = np.repeat(np.load(self.flags), CHUNK)[: len(self)]
        return np.nonzero(rows)[0]

    def resident(self) -> Pool:
        """Return the finished samples in memory: random reads from a mapped file starve a net."""
        rows = self.ready()
        target, guide, core, tokens = (
            np.array(array[rows]) for array in (self.target, self.guide, self.core, self.tokens)
        )
        return Pool(target, guide, core, tokens, None)

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.target)

    def batch(self, rows: Array, device: torch.device) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return target and guide [B, 3, R, R] in [-1, 1], core [B, 1, R, R], tokens."""

        def picture(array: Array) -> Tensor:
            pixels = torch.from_numpy(array[rows]).to(device).permute(0, 3, 1, 2)
            return pixels.float() / 127.5 - 1.0

        core = torch.from_numpy(self.core[rows]).to(device)[:, None].float()
        tokens = torch.from_numpy(self.tokens[rows]).to(device).float()
        return picture(self.target), picture(self.guide), core, tokens


def fused_tokens(encoder: nn.Module, samples: list[Sample]) -> Tensor:
    """Return [B, G*G, C] fused tokens of samples, as inference fuses them."""
    target = torch.stack([_tensor(s.target * (1 - s.core[..., None])) for s in samples])
    masks = torch.from_numpy(np.stack([s.parts for s in samples]))
    with torch.no_grad():
        fused: Tensor = encoder(target)
        grid = int(fused.shape[1] ** 0.5)
        small = nn.functional.adaptive_avg_pool2d(masks, grid)
        boxes = torch.from_numpy(np.stack([s.sources for s in samples]))
        for k in range(len(PARTS)):
            present = [i for i, s in enumerate(samples) if s.parts[k].any()]
            if not present:
                continue
            alone = torch.stack(
                [_tensor(samples[i].reference * samples[i].parts[k][..., None]) for i in present]
            )
            source = PartSource(encoder(alone), boxes[present, k])
            fused[present] = fuse_fractional(
                fused[present], [[source]], boxes[present, k : k + 1], small[present, k : k + 1]
            )
    return fused


def _tensor(image: Array) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1), np.float32))


def build_pool(
    folder: Path,
    faces: Path,
    chosen: list[int],
    count: int,
    seed: int,
    size: int,
    config: DataConfig,
    encoder: nn.Module,
    workers: int,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Pool:
    """Make (or finish making) `count` samples in `folder` and open them.

    Args:
        folder: one file per array, and `done` flags per chunk so that a stopped run goes on.
        faces: cache folder of `prepare`.
        chosen: which faces to draw from.
        count: number of samples.
        seed: of the whole sequence.
        size: the model's resolution.
        config: `[data]`.
        encoder: image tower; [B, 3, R, R] in [0, 1] -> [B, G*G, C].
        workers: processes that make samples.
        progress: called with (samples done, count).
    """
    folder.mkdir(parents=True, exist_ok=True)
    probe = fused_tokens(encoder, [SampleMaker(load_faces(faces), chosen, config, size).make(0, 0)])
    pool = _open(folder, count, size, tuple(probe.shape[1:]))
    flags_path = folder / "done.npy"
    chunks = range(0, count, CHUNK)
    flags = np.load(flags_path) if flags_path.is_file() else np.zeros(len(chunks), bool)
    missing = [start for k, start in enumerate(chunks) if not flags[k]]
    jobs = [(start, min(start + CHUNK, count), seed, size) for start in missing]
    with ProcessPoolExecutor(
        workers, initializer=_start_worker, initargs=(faces, chosen, config)
    ) as executor:
        for (start, stop, _, _), samples in zip(jobs, executor.map(_make, jobs), strict=True):
            pool.tokens[start:stop] = fused_tokens(encoder, samples).half().numpy()
            for i, sample in enumerate(samples):
                pool.target[start + i] = np.round(sample.target * 255)
                pool.guide[start + i] = np.round(sample.guide * 255)
                pool.core[start + i] = sample.core
            flags[start // CHUNK] = True
            partial = folder / "done.partial.npy"
            np.save(partial, flags)
            partial.replace(flags_path)
            progress(int(flags.sum()) * CHUNK, count)
    return pool


def open_pool(folder: Path) -> Pool:
    """Open a pool that `build_pool` made or is still making."""
    names = ("target", "guide", "core", "tokens")
    arrays = [np.load(folder / f"{name}.npy", mmap_mode="r") for name in names]
    return Pool(arrays[0], arrays[1], arrays[2], arrays[3], folder / "done.npy")


def _open(folder: Path, count: int, size: int, tokens: tuple[int, ...]) -> Pool:
    def array(name: str, shape: tuple[int, ...], dtype: type) -> Array:
        path = folder / f"{name}.npy"
        if path.is_file():
            return np.lib.format.open_memmap(path, mode="r+")
        return np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)

    return Pool(
        array("target", (count, size, size, 3), np.uint8),
        array("guide", (count, size, size, 3), np.uint8),
        array("core", (count, size, size), np.uint8),
        array("tokens", (count, *tokens), np.float16),
        folder / "done.npy",
    )


_worker: dict[str, object] = {}
"""Set once in each worker process, which serves one pool."""


def _start_worker(faces: Path, chosen: list[int], config: DataConfig) -> None:
    import cv2

    cv2.setNumThreads(1)
    _worker["faces"] = load_faces(faces)
    _worker["chosen"], _worker["config"] = chosen, config


def _make(job: tuple[int, int, int, int]) -> list[Sample]:
    start, stop, seed, size = job
    faces, chosen, config = _worker["faces"], _worker["chosen"], _worker["config"]
    assert isinstance(faces, FaceSet)
    assert isinstance(chosen, list)
    assert isinstance(config, DataConfig)
    maker = SampleMaker(faces, chosen, config, size)
    return [maker.make(seed, i) for i in range(start, stop)]
