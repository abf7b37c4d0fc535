"""A pool of ready-made samples on disk, made once by the real guide and the real image tower.

Making a sample costs about as much as a training step, so samples are made in advance, in parallel
and resumably: sample `i` is a function of (seed, i).
"""

from __future__ import annotations

import copy
import math
import shutil
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import pairwise
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeVar

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from fapvideo.config.train import DataConfig
from fapvideo.errors import DeviceError, WeightsError
from fapvideo.fuse.tokens import PartSource, fuse_fractional
from fapvideo.nets.inputs import fill_hole, part_on_black
from fapvideo.nets.mobilenet import MobileNetV2Tokens
from fapvideo.ops.files import write_atomically
from fapvideo.ops.precision import resolve_dtype
from fapvideo.ops.token_grid import without_cls
from fapvideo.parts import TRAINED
from fapvideo.progress import OnProgress, Progress, ShouldStop
from fapvideo.structs import Array
from fapvideo.training.faces.prepare import load_faces
from fapvideo.training.samples.making import Sample, SampleMaker
from fapvideo.training.samples.moments import COARSE
from fapvideo.weights.encoder import ImageEncoder

CHUNK = 32
"""Samples that are flagged together."""
PIECE = 4
"""Samples that are made together; what is begun is finished before a run stops."""
ENCODED_AT_ONCE = 4
"""Pictures per call of the image tower: few enough for its widest layers to stay in the cache."""

T = TypeVar("T")
Batch = tuple[Tensor, Tensor, Tensor, Tensor]
"""Target and guide [B, 3, R, R] in [-1, 1], hole [B, 1, R, R], fused tokens [B, G*G, C]."""
TokenEncoder = MobileNetV2Tokens | ImageEncoder
"""An image tower: pictures [N, 3, S, S] in [0, 1] -> tokens [N, (1 +) grid*grid, width]."""


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
    elsewhere: Array
    """[N, R / 4, R / 4, 2] float16 places in the sample of the other moment, number i ^ 1."""
    flags: Path
    """File of one flag per chunk of samples: whether it is finished."""

    def ready(self) -> Array:
        """Return the rows that are finished; the pool may still be growing."""
        rows = np.repeat(np.load(self.flags), CHUNK)[: len(self)]
        return np.nonzero(rows)[0]

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.target)

    def batch(self, rows: Array, device: torch.device) -> Batch:
        """Return these rows."""
        arrays = (self.target, self.guide, self.core, self.tokens)
        target, guide, core, tokens = (torch.from_numpy(a[rows]).to(device) for a in arrays)
        return as_batch(target, guide, core, tokens)

    def places(self, rows: Array, device: torch.device) -> Tensor:
        """Return [B, R / 4, R / 4, 2] where in the other moment these rows' places are."""
        return torch.from_numpy(self.elsewhere[rows]).to(device).float()


def as_batch(target: Tensor, guide: Tensor, core: Tensor, tokens: Tensor) -> Batch:
    """Return rows as they are stored in the form that training takes."""

    def picture(pixels: Tensor) -> Tensor:
        return pixels.permute(0, 3, 1, 2).float() / 127.5 - 1.0

    return picture(target), picture(guide), core[:, None].float(), tokens.float()


@dataclass(frozen=True, slots=True)
class PoolRecipe:
    """All that a pool's samples depend on besides their numbers; sent to the workers."""

    faces: Path
    """Cache folder of `prepare`."""
    chosen: tuple[int, ...]
    """Which of its faces to draw from."""
    seed: int
    size: int
    """The model's resolution."""
    config: DataConfig
    encoder: TokenEncoder | None
    """Without one there are samples, but no tokens."""
    fill: tuple[float, float, float] = (-1.0, -1.0, -1.0)
    """Colour of the hole that the encoder sees, as in the bundle's manifest."""

    def draw(self, numbers: range) -> list[Sample]:
        """Return the samples of these numbers."""
        faces = load_faces(self.faces)
        maker = SampleMaker(faces, list(self.chosen), self.config, self.size)
        return [maker.make(self.seed, number) for number in numbers]

    def stored(self, samples: list[Sample]) -> dict[str, Array]:
        """Return samples as `Pool` stores them, with their tokens."""
        assert self.encoder is not None
        return {
            "target": _bytes([sample.target for sample in samples]),
            "guide": _bytes([sample.guide for sample in samples]),
            "core": np.stack([sample.core for sample in samples]).astype(np.uint8),
            "tokens": fused_tokens(self.encoder, samples, self.fill).half().numpy(),
            "elsewhere": np.stack([sample.elsewhere for sample in samples]).astype(np.float16),
        }

    def make(self, numbers: range) -> dict[str, Array]:
        """Return the samples of these numbers, as `Pool` stores them."""
        return self.stored(self.draw(numbers))


def build_pool(
    folder: Path,
    recipe: PoolRecipe,
    count: int,
    workers: int = 1,
    progress: OnProgress = lambda now: None,
    stop: ShouldStop = lambda: False,
    stage: str = "samples",
) -> Pool:
    """Make (or finish making) `count` samples in `folder` and open them.

    Args:
        folder: one file per array, and a file of flags so that a stopped run goes on.
        recipe: what is made; the caller sees to it that it is the same when a run goes on.
        count: number of samples.
        workers: processes that make samples; 1 makes them in this one. More start by importing the
            main program again, which has to allow that (`if __name__ == "__main__":`).
        progress: told of every few samples.
        stop: asked every few samples; the pool is returned as far as it is then.
        stage: under which progress is told.

    Raises:
        WeightsError: not enough space, or the folder holds another number of samples.
        DeviceError: a process was ended by somebody else; what was finished is kept.
    """
    encoder = recipe.encoder
    assert encoder is not None
    pool = _create(folder, count, recipe.size, (encoder.grid**2, encoder.width))
    starts = range(0, count, CHUNK)
    if not pool.flags.is_file():
        np.save(pool.flags, np.zeros(len(starts), bool))
    flags = np.load(pool.flags)
    missing = [
        range(start, min(start + PIECE, count))
        for k, chunk in enumerate(starts)
        if not flags[k]
        for start in range(chunk, min(chunk + CHUNK, count), PIECE)
    ]
    with _made(recipe, missing, workers) as made:
        for numbers in missing:
            if stop():
                break
            for name, rows in next(made).items():
                getattr(pool, name)[numbers.start : numbers.stop] = rows
            if numbers.stop % CHUNK == 0 or numbers.stop == count:
                flags[numbers.start // CHUNK] = True
                with write_atomically(pool.flags) as fresh:
                    np.save(fresh, flags)
                progress(Progress(stage, min(int(flags.sum()) * CHUNK, count), count))
    return pool


def fused_tokens(
    encoder: TokenEncoder,
    samples: list[Sample],
    fill: tuple[float, float, float] = (-1.0, -1.0, -1.0),
) -> Tensor:
    """Return [B, G*G, C] fused tokens of samples, as inference fuses them."""
    masks = np.stack([sample.parts for sample in samples])
    numbers, swapped = np.nonzero(masks.any(axis=(2, 3)))
    holes = torch.from_numpy(np.stack([sample.core for sample in samples]))[:, None]
    faces = fill_hole(_pictures([sample.target for sample in samples]), holes, fill, unit=True)
    shown = _pictures([sample.reference for sample in samples], numbers)
    outlines = np.stack([sample.reference_parts for sample in samples])[numbers, swapped]
    alone = part_on_black(shown, torch.from_numpy(outlines)[:, None])
    tokens = encode(encoder, torch.cat([faces, alone]))
    face = tokens[: len(samples)]
    parts = torch.zeros(len(samples), len(TRAINED), *face.shape[1:])
    parts[torch.from_numpy(numbers), torch.from_numpy(swapped)] = tokens[len(samples) :]
    given = torch.from_numpy(np.stack([sample.sources for sample in samples]))
    boxes = torch.from_numpy(np.stack([sample.boxes for sample in samples]))
    # Not as the pipeline does it: its masks come in any size, so OpenCV averages them, which
    # differs from torch in the last bits; here it is always whole blocks of pixels.
    small = nn.functional.adaptive_avg_pool2d(torch.from_numpy(masks), int(face.shape[1] ** 0.5))
    # A part that is not swapped has an empty mask: its zeros go nowhere.
    sources = [[PartSource(parts[:, k], given[:, k])] for k in range(len(TRAINED))]
    return fuse_fractional(face, sources, boxes, small)


@torch.no_grad()
def encode(encoder: TokenEncoder, pictures: Tensor) -> Tensor:
    """Return tokens [N, G*G, C], float32, on the CPU, of pictures [N, 3, S, S] in [0, 1]."""
    tokens = [encoder(few).float().cpu() for few in pictures.split(ENCODED_AT_ONCE)]
    return without_cls(torch.cat(tokens))


def quick_copy(encoder: MobileNetV2Tokens) -> MobileNetV2Tokens:
    """Return a copy for the CPU at hand, 3 to 6 times as fast: normalisation folded into weights.

    In bfloat16 where the CPU multiplies that natively; tokens then differ by about 5 % from those
    of inference, a noise that the trained network learns to bear.
    """
    quick = copy.deepcopy(encoder)
    for layers in [module for module in quick.modules() if isinstance(module, nn.Sequential)]:
        for i, (first, second) in enumerate(pairwise(layers)):
            if isinstance(first, nn.Conv2d) and isinstance(second, nn.BatchNorm2d):
                layers[i], layers[i + 1] = fuse_conv_bn_eval(first, second), nn.Identity()
    memory: Any = {"memory_format": torch.channels_last}
    quick.features.to(resolve_dtype("auto", "cpu"), **memory)
    return quick


# ------------------------------------------------------------------------------------ storage


def _create(folder: Path, count: int, size: int, tokens: tuple[int, int]) -> Pool:
    """Open the arrays for writing; make them where they are not there."""
    shapes = {
        "target": ((count, size, size, 3), np.uint8),
        "guide": ((count, size, size, 3), np.uint8),
        "core": ((count, size, size), np.uint8),
        "tokens": ((count, *tokens), np.float16),
        "elsewhere": ((count, size // COARSE, size // COARSE, 2), np.float16),
    }
    folder.mkdir(parents=True, exist_ok=True)
    absent = [name for name in shapes if not (folder / f"{name}.npy").is_file()]
    sizes = {name: math.prod(shape) * np.dtype(of).itemsize for name, (shape, of) in shapes.items()}
    needed = sum(sizes[name] for name in absent)
    free = shutil.disk_usage(folder).free
    if needed > free:  # a mapped file that finds the disk full ends the process without a word
        raise WeightsError(
            f"{folder} needs {needed / 2**20:.0f} MiB, {free / 2**20:.0f} MiB are free",
            hint="choose another --output, or fewer samples: --set data.pool=2000",
        )
    arrays = {}
    for name, (shape, dtype) in shapes.items():
        path = folder / f"{name}.npy"
        mode, kind = ("w+", dtype) if name in absent else ("r+", None)
        arrays[name] = np.lib.format.open_memmap(path, mode, kind, shape)
        if arrays[name].shape != shape:
            raise WeightsError(
                f"{path} has shape {arrays[name].shape}, wanted is {shape}",
                hint="--fresh makes new samples",
            )
    return Pool(**arrays, flags=folder / "done.npy")


def _pictures(pictures: list[Array], rows: Array | slice = slice(None)) -> Tensor:
    """Return `rows` of pictures [S, S, 3] as float32 [N, 3, S, S], channels last in memory."""
    return torch.from_numpy(np.stack(pictures)[rows].astype(np.float32)).permute(0, 3, 1, 2)


def _bytes(pictures: list[Array]) -> Array:
    return np.round(np.stack(pictures) * 255).astype(np.uint8)


@contextmanager
def _made(
    recipe: PoolRecipe, jobs: list[range], workers: int
) -> Iterator[Iterator[dict[str, Array]]]:
    """Yield the stored samples of `jobs`, one dictionary each.

    A small image tower goes to every process. A large one, which may be on a GPU, stays here, and
    the processes draw the samples for it.
    """
    if isinstance(recipe.encoder, MobileNetV2Tokens):
        quick = replace(recipe, encoder=quick_copy(recipe.encoder))
        with _mapped(quick.make, jobs, workers) as made:
            yield made
    else:
        with _mapped(replace(recipe, encoder=None).draw, jobs, workers) as drawn:
            yield map(recipe.stored, drawn)


@contextmanager
def _mapped(make: Callable[[range], T], jobs: list[range], workers: int) -> Iterator[Iterator[T]]:
    """Yield the results of `make` in the order of `jobs`; what is not taken is not made."""
    if workers <= 1 or len(jobs) <= 1:
        yield map(make, jobs)
        return
    executor = ProcessPoolExecutor(
        min(workers, len(jobs)), mp_context=get_context("spawn"), initializer=_start_worker
    )
    try:
        yield executor.map(make, jobs)
    except BrokenProcessPool:
        raise DeviceError(
            f"one of {workers} processes that make samples was ended from outside",
            hint="if it was for lack of memory, use --workers 1; the same command goes on",
        ) from None
    finally:
        executor.shutdown(cancel_futures=True)


def _start_worker() -> None:
    """One thread per process; Ctrl-C is for the process that asked."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
