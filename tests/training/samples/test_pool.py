"""Pools: the same samples however they are made, and tokens fused as inference fuses them."""

from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from fapvideo.errors import DeviceError, WeightsError
from fapvideo.fuse.tokens import PartSource, fuse_fractional
from fapvideo.training.faces.prepare import load_faces
from fapvideo.training.samples import pool as pool_module
from fapvideo.training.samples.making import Sample, SampleMaker
from fapvideo.training.samples.pool import (
    Pool,
    PoolRecipe,
    build_pool,
    encode,
    fused_tokens,
    quick_copy,
)

ARRAYS = ("target", "guide", "core", "tokens")


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_module, "CHUNK", 2)
    monkeypatch.setattr(pool_module, "PIECE", 1)


@pytest.fixture(scope="module")
def samples(recipe: PoolRecipe) -> list[Sample]:
    maker = SampleMaker(load_faces(recipe.faces), list(recipe.chosen), recipe.config, 64)
    return [maker.make(recipe.seed, index) for index in range(4)]


def assert_equal(a: Pool, b: Pool) -> None:
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))


@pytest.mark.slow
def test_a_stopped_pool_goes_on_and_ends_the_same(recipe: PoolRecipe, tmp_path: Path) -> None:
    straight = build_pool(tmp_path / "straight", recipe, 5)
    asked = iter([False, False, False, True])  # in the middle of the second chunk
    part = build_pool(tmp_path / "parts", recipe, 5, stop=lambda: next(asked))
    assert part.ready().tolist() == [0, 1]
    heard: list[tuple[int, int]] = []
    whole = build_pool(
        tmp_path / "parts", recipe, 5, progress=lambda now: heard.append((now.done, now.total))
    )
    assert heard == [(4, 5), (5, 5)]  # nothing is made twice
    assert whole.ready().tolist() == [0, 1, 2, 3, 4]
    assert_equal(whole, straight)
    assert_equal(build_pool(tmp_path / "parts", recipe, 5), straight)


@pytest.mark.slow
@pytest.mark.parametrize("workers", ["threads", pytest.param("processes", marks=pytest.mark.slow)])
def test_workers_make_the_same_pool(
    recipe: PoolRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: str
) -> None:
    alone = build_pool(tmp_path / "alone", recipe, 4)
    if workers == "threads":  # processes begin by importing torch
        monkeypatch.setattr(
            pool_module, "ProcessPoolExecutor", lambda count, **_: ThreadPoolExecutor(count)
        )
        recipe = pickle.loads(pickle.dumps(recipe))
    assert_equal(build_pool(tmp_path / "two", recipe, 4, workers=2), alone)


def test_a_process_that_dies_is_reported(
    recipe: PoolRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ended(self: object, *arguments: object) -> object:
        raise BrokenProcessPool("a process was terminated abruptly")
        yield  # as `map`: it shows when results are asked for

    monkeypatch.setattr(pool_module.ProcessPoolExecutor, "map", ended)
    with pytest.raises(DeviceError, match="one of 2 processes") as error:
        build_pool(tmp_path, recipe, 4, workers=2)
    assert "--workers 1" in error.value.hint


def test_a_pool_of_another_size_is_refused(recipe: PoolRecipe, tmp_path: Path) -> None:
    build_pool(tmp_path, recipe, 2)
    with pytest.raises(WeightsError, match=r"shape \(2, 64, 64, 3\), wanted is \(4, 64"):
        build_pool(tmp_path, recipe, 4)


def test_too_little_space_is_found_out_before(
    recipe: PoolRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(WeightsError, match=r"needs \d+ MiB, \d+ MiB are free") as error:
        build_pool(tmp_path, recipe, 10**9)
    assert "data.pool" in error.value.hint
    assert list(tmp_path.iterdir()) == []


def test_stored_samples_are_the_made_ones(pool: Pool, samples: list[Sample]) -> None:
    device = torch.device("cpu")
    target, guide, core, tokens = pool.batch(np.arange(4), device)
    for i, sample in enumerate(samples):
        for stored, made in ((target, sample.target), (guide, sample.guide)):
            shown = (stored[i].permute(1, 2, 0).numpy() + 1) / 2
            assert np.abs(shown - made).max() <= 0.5 / 255 + 1e-6
        np.testing.assert_array_equal(core[i, 0].numpy(), sample.core)
    assert tokens.shape == (4, 256, 96)


def picture(pixels: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(pixels).permute(2, 0, 1)[None]


@pytest.mark.slow
def test_tokens_are_fused_part_by_part_as_in_inference(recipe: PoolRecipe) -> None:
    """The batch of all parts of all samples, against one sample and one part at a time.

    The reference is another photo of the person: its parts lie elsewhere than the target's.
    """
    faces = load_faces(recipe.faces)
    faces = replace(faces, people=("anna",) * len(faces))
    config = recipe.config.model_copy(update={"same_person": 1.0, "occluders": 0.5, "intact": 0.0})
    maker = SampleMaker(faces, list(recipe.chosen), config, 64)
    samples = [maker.make(recipe.seed, index) for index in range(4)]
    fused = fused_tokens(recipe.encoder, samples)
    for i, sample in enumerate(samples):
        tokens = encode(recipe.encoder, picture(sample.target * (1 - sample.core[..., None])))
        for k in np.nonzero(sample.parts.any(axis=(1, 2)))[0]:
            part = sample.reference * sample.reference_parts[k][..., None]
            alone = encode(recipe.encoder, picture(part))
            mask = torch.from_numpy(sample.parts[k])[None, None]
            small = torch.nn.functional.adaptive_avg_pool2d(mask, 16)
            source, box = (torch.from_numpy(b[k])[None] for b in (sample.sources, sample.boxes))
            assert not torch.equal(source, box)
            tokens = fuse_fractional(tokens, [[PartSource(alone, source)]], box[:, None], small)
        scale = float(tokens.std())  # a random tower's tokens are tiny
        torch.testing.assert_close(fused[i] / scale, tokens[0] / scale, atol=1e-3, rtol=1e-3)


def test_the_quick_tower_gives_nearly_the_same_tokens(recipe: PoolRecipe) -> None:
    tower = recipe.encoder
    for module in tower.modules():  # statistics as after training, not 0 and 1
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean = torch.linspace(-0.2, 0.2, module.num_features)
            module.running_var = torch.linspace(0.5, 1.5, module.num_features)
    pictures = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected, found = tower(pictures), quick_copy(tower)(pictures).float()
    error = (found - expected).square().mean().sqrt() / expected.square().mean().sqrt()
    assert error < 0.1  # bfloat16 where the machine has it
    assert "running_mean" in str(tower.state_dict().keys())  # the original is left alone
