"""Training the additive injection on an SD-1.5-class UNet: noise prediction on DDPM's schedule.

The published training code draws its references so that it ends in self-copy, and cannot be loaded
by the published inference (docs/fuseanypart.md, 3). Here samples are those of every
other training: the reference is another photo or a changed view, its tokens are fused as inference
fuses them, and what is trained is exported as a bundle.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from fapvideo.config.bundle import AdapterSpec, BundleManifest
from fapvideo.config.schema import DenoiseConfig, FuseConfig
from fapvideo.config.train import TrainPreset
from fapvideo.denoise.denoiser import Denoiser, Sampling
from fapvideo.denoise.sampler import TRAIN_TIMESTEPS, alphas_cumprod
from fapvideo.nets.adapter import Adapter, AttentionAdapter, ResnetAdapter
from fapvideo.nets.inputs import conditioning, fill_hole
from fapvideo.nets.projector import MlpProjector
from fapvideo.nets.unet import silence_cross_attention
from fapvideo.ops.precision import mixed_precision
from fapvideo.ops.token_grid import without_cls
from fapvideo.paint.published import PUBLISHED
from fapvideo.structs import Bytes
from fapvideo.training.learning.adversary import Adversary
from fapvideo.training.learning.draws import Draws
from fapvideo.training.learning.losses import held_out_metrics, hole_weight
from fapvideo.training.learning.network import stored, tune
from fapvideo.training.learning.task import TrainedNetwork, contact_sheet
from fapvideo.training.samples.pool import Batch
from fapvideo.training.samples.resident import Samples
from fapvideo.weights.bundle import Bundle, default_blocks

MEASURED = 32
"""Held-out samples that are sampled from; noise is predicted on all of them."""
SHOWN = 6
STEPS = 8
"""Sampler steps of the metrics and of the sheet, without guidance."""


def adapter_manifest(preset: TrainPreset, start: Bundle) -> BundleManifest:
    """Return the manifest of the bundle that training on top of `start` makes."""
    given = start.manifest
    variant = preset.model.variant
    projector = "projector.safetensors" if variant == "B" else None

    def named(spec: Any, file: str) -> Any:
        return spec.model_copy(update={"file": file})

    return given.model_copy(
        update={
            "name": preset.name,
            "description": preset.description,
            "codec": named(given.codec, "codec.safetensors"),
            "encoder": named(given.encoder, "encoder.safetensors"),
            "unet": named(given.unet, "unet.safetensors"),
            "adapter": AdapterSpec(
                variant=variant, file="adapter.safetensors", projector_file=projector
            ),
            "files": (),
        }
    )


class AdapterNetwork(TrainedNetwork):
    """UNet, adapter A or B and projector as one module that predicts noise.

    The same arithmetic as `Denoiser`, in a form that takes gradients and one time per sample.
    """

    alphas: Tensor
    unconditional: Tensor

    def __init__(self, manifest: BundleManifest, start: Bundle, *, train_unet: bool) -> None:
        """Take over the networks of `start`; an adapter of another variant begins at zero."""
        super().__init__()
        self.codec, self.unet = start.codec, start.unet
        self.adapter, self.projector = _injection(manifest, start)
        self.trains_unet = train_unet
        self.unet.requires_grad_(train_unet)
        self.adapter.requires_grad_(True)
        if self.projector is not None:
            self.projector.requires_grad_(True)
        side = manifest.resolution // start.codec.factor
        self.latent_shape = (start.codec.channels, side, side)
        self.fill, self.hole_noise = manifest.hole_fill, manifest.hole_noise
        self.register_buffer("alphas", alphas_cumprod(), persistent=False)
        empty = torch.zeros(1, start.encoder.grid**2, start.encoder.width)
        if self.projector is not None:  # variant B knows what no reference looks like
            with torch.no_grad():
                empty = without_cls(start.encoder.unconditional()).cpu()
        self.register_buffer("unconditional", empty, persistent=False)
        self.adapter.inject()

    def forward(
        self,
        target: Tensor,
        core: Tensor,
        tokens: Tensor,
        time: Tensor,
        noise: Tensor,
        hole_noise: Tensor,
        injected: Tensor,
    ) -> Tensor:
        """Return the predicted noise [B, c, h, w].

        Args:
            target: [B, 3, R, R] the truth in [-1, 1].
            core: [B, 1, R, R] the hole.
            tokens: [B, G*G, C] fused tokens.
            time: [B] integers in [0, 1000).
            noise: [B, c, h, w] standard normal, what is to be predicted.
            hole_noise: [B, c, h, w] standard normal, in the known latents' hole.
            injected: [B] 1 where the tokens are injected, 0 for guidance's unconditional branch.
        """
        with torch.no_grad():  # the codec is frozen, and wanted as exact as it can be had
            known = self.codec.encode(fill_hole(target, core, self.fill))
            latents = self.codec.encode(target)
        noise_in_hole = hole_noise if self.hole_noise else None
        given = conditioning(known, self.codec.mask(core), hole_noise=noise_in_hole)
        alpha = self.alphas[time].view(-1, 1, 1, 1)
        noisy = alpha.sqrt() * latents + (1 - alpha).sqrt() * noise
        x, maps = torch.cat([noisy, given], 1), self._maps(tokens, injected)
        return self.adapter.predict(self.unet, x, time, maps).float()

    def _maps(self, tokens: Tensor, injected: Tensor) -> dict[str, Tensor]:
        """Return the injection maps; dropped ones as `Bundle.unconditional` has them."""
        if self.projector is None:
            given = self.adapter.project(tokens)
            return {name: value * injected.view(-1, 1, 1, 1) for name, value in given.items()}
        tokens = torch.where(injected.view(-1, 1, 1) > 0, tokens, self.unconditional)
        return self.adapter.project(self.projector(tokens))

    def files(self) -> dict[str, dict[str, Tensor]]:
        """See `TrainedNetwork`: in float16; a frozen UNet is left to `export.base_files`."""
        modules: dict[str, nn.Module] = {"adapter.safetensors": self.adapter}
        if self.projector is not None:
            modules["projector.safetensors"] = self.projector
        if self.trains_unet:
            modules["unet.safetensors"] = self.unet
        return {name: stored(each.state_dict(), torch.float16) for name, each in modules.items()}


def _injection(manifest: BundleManifest, start: Bundle) -> tuple[Adapter, MlpProjector | None]:
    """Return adapter and projector of the wanted variant: those of `start`, or new ones.

    A new adapter adds nothing at first.
    """
    start.adapter.eject()
    if manifest.adapter.variant == start.manifest.adapter.variant:
        return start.adapter, start.projector
    width = start.encoder.width
    if manifest.adapter.variant == "A":
        blocks = default_blocks(manifest, start.unet)
        silence_cross_attention(start.unet)
        return ResnetAdapter(start.unet, width, blocks, zero_init=True), None
    features = int(manifest.unet.config["cross_attention_dim"])
    adapter = AttentionAdapter(start.unet, features)
    for parameter in adapter.parameters():
        nn.init.zeros_(parameter)
    return adapter, MlpProjector(width, features)


class AdapterTask:
    """The injection of an SD-1.5-class UNet, and the UNet itself if that is wanted; see `Task`."""

    adversary: Adversary | None = None

    def __init__(self, preset: TrainPreset, device: torch.device, start: Bundle) -> None:
        """Take over the networks of `start`, on `device`."""
        self.optim, self.device, self.start = preset.optim, device, start
        self.manifest = adapter_manifest(preset, start)
        self.network = AdapterNetwork(self.manifest, start, train_unet=preset.optim.train_unet)
        self.network.to(device)
        tune(self.network.unet, self.network.adapter, preset.optim)

    def loss(
        self, batch: Batch, draws: Draws, step: int, places: Tensor | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """See `Task`: mean squared error of the noise, heavier in the hole."""
        target, _, core, tokens = batch
        count = len(target)
        injected = draws.uniform(count) >= self.optim.injection_dropout
        time = draws.integers(TRAIN_TIMESTEPS, count).to(self.device)
        noise = draws.normal(count, *self.network.latent_shape)
        hole_noise = draws.normal(count, *self.network.latent_shape)
        given = (target, core, tokens, time, noise, hole_noise, injected.float().to(self.device))
        error = (self.network(*given) - noise).square()
        mask = self.network.codec.mask(core)
        loss = (error * hole_weight(mask, self.optim.outside_weight)).mean()
        return loss, {"loss": loss.detach(), "hole": _mean_in(mask, error).detach()}

    @torch.no_grad()
    def measure(self, network: TrainedNetwork, heldout: Samples) -> dict[str, float]:
        """Return the error of predicted noise in the hole, and metrics of results from the guide.

        Both with and without injection. Times, noise and samples are the same at every call.
        """
        assert isinstance(network, AdapterNetwork)
        rows = heldout.ready()
        generator = torch.Generator().manual_seed(0)
        errors: dict[str, list[Tensor]] = {"noise_error": [], "noise_error_no_injection": []}
        for start in range(0, len(rows), 8):
            target, _, core, tokens = heldout.batch(rows[start : start + 8], self.device)
            shape = (len(target), *self.network.latent_shape)
            time = torch.randint(TRAIN_TIMESTEPS, shape[:1], generator=generator).to(self.device)
            noise, hole_noise = (
                torch.randn(shape, generator=generator).to(self.device) for _ in range(2)
            )
            mask = self.network.codec.mask(core)
            for name, injected in zip(errors, (1.0, 0.0), strict=True):
                ones = torch.full(shape[:1], injected, device=self.device)
                with mixed_precision(self.device):
                    found = network(target, core, tokens, time, noise, hole_noise, ones)
                errors[name].append(_mean_in(mask, (found - noise).square(), of_each=True))
        means = {name: float(torch.cat(values).mean()) for name, values in errors.items()}
        return means | self._sampled(network, heldout.batch(rows[:MEASURED], self.device))

    @torch.no_grad()
    def sheet(self, network: TrainedNetwork, heldout: Samples) -> Bytes:
        """Return hole, guide, result, without injection, from noise as published, and truth."""
        assert isinstance(network, AdapterNetwork)
        batch = heldout.batch(heldout.ready()[:SHOWN], self.device)
        target, guide, core, _ = batch
        ways: list[dict[str, Any]] = [{}, {"scale": 0.0}, {"sampling": PUBLISHED}]
        pasted = [torch.lerp(target, self._result(network, batch, **way), core) for way in ways]
        return contact_sheet([target * (1 - core) - core, guide, *pasted, target])

    def _sampled(self, network: AdapterNetwork, batch: Batch) -> dict[str, float]:
        target, guide, core, _ = batch
        results = {
            "guide_{}": guide,
            "{}": self._result(network, batch),
            "{}_no_injection": self._result(network, batch, scale=0.0),
        }
        return {
            form.format(name): float(values.mean())
            for form, picture in results.items()
            for name, values in held_out_metrics(
                torch.lerp(target, picture, core), target, core, None
            ).items()
        }

    def _result(
        self,
        network: AdapterNetwork,
        batch: Batch,
        scale: float = 1.0,
        sampling: Sampling | None = None,
    ) -> Tensor:
        """Return what `Denoiser` makes of a batch."""
        config = DenoiseConfig(steps=STEPS, guidance=1.0, batch_size=8)
        bundle = replace(
            self.start,
            manifest=self.manifest,
            codec=network.codec,
            torch_unet=lambda: network.unet,
            adapter=network.adapter,
            projector=network.projector,
        )
        denoiser = Denoiser(bundle, config, FuseConfig(scale=scale), default=sampling)
        target, guide, core, tokens = batch
        generator = torch.Generator().manual_seed(0)
        noise = torch.randn((len(target), *denoiser.noise_shape), generator=generator)
        with mixed_precision(self.device):
            return denoiser(target, guide, core, tokens, noise).to(self.device)


def _mean_in(mask: Tensor, error: Tensor, *, of_each: bool = False) -> Tensor:
    """Return the mean of [B, c, h, w] inside the mask [B, 1, h, w]: of all, or [B] of each."""
    sums = (error * mask).sum((1, 2, 3))
    counts = mask.sum((1, 2, 3)) * error.shape[1]
    if of_each:
        return sums / counts.clamp_min(1)
    return sums.sum() / counts.sum().clamp_min(1)
