"""One published training step of variant A: input, tokens, prediction, loss and gradients."""

from __future__ import annotations

import torch
from golden_vectors import golden, manifest_of
from published_toy import toy_a
from torch.nn import functional

from fapvideo.denoise.sampler import add_noise
from fapvideo.nets.projector import Resampler

torch.set_num_threads(1)


def test_training_forward_and_gradients_match() -> None:
    data, manifest = golden("training_a"), manifest_of("training_a")
    config = manifest["config"]["resampler"]
    resampler = Resampler(
        width=config["dim"],
        depth=config["depth"],
        heads=config["heads"],
        head_width=config["dim_head"],
        queries=config["num_queries"],
        in_width=config["embedding_dim"],
        out_width=config["output_dim"],
    )
    prefix = "resampler_state."
    resampler.load_state_dict(
        {k.removeprefix(prefix): v for k, v in data.items() if k.startswith(prefix)}
    )
    unet, adapter = toy_a()
    unet.train()
    adapter.inject()

    mask = data["mask32"].float()
    noisy = add_noise(data["latents"], data["noise"], int(data["timestep"]))
    known = data["masked_target_latents"] * (1 - mask) + data["hole_noise"] * mask
    sample = torch.cat([noisy, known, mask], 1)
    assert torch.allclose(sample, data["unet_input"], rtol=0, atol=1e-6)

    features = golden("unet_a_cases")["image_feature0"]
    context = resampler(torch.cat([data["cls_token"], features], 1))
    assert torch.allclose(context, data["resampler_tokens"], rtol=0, atol=2e-5)

    maps = adapter.project(features)
    predicted = adapter.predict(unet, sample, data["timestep"], maps, context)
    loss = functional.mse_loss(predicted, data["noise"])
    loss.backward()
    assert torch.allclose(predicted, data["noise_pred"], rtol=0, atol=3e-5)
    assert torch.allclose(loss, data["loss"][0], rtol=0, atol=1e-6)

    found = {
        f"unet.{k}": p.grad for k, p in (*unet.named_parameters(), *adapter.named_parameters())
    }
    found |= {f"image_proj_model.{k}": p.grad for k, p in resampler.named_parameters()}
    names = manifest["training"]["grad_names"]
    assert len(names) == len(data["grad_norms"]) == len(found)
    assert set(names) == set(found)
    for name, norm in zip(names, data["grad_norms"], strict=True):
        grad = found[name]
        assert grad is not None, name
        assert abs(grad.double().norm() - norm) <= 1e-3 * norm + 1e-7, name
    for name, wanted in manifest["training"]["alpha_grads"].items():
        assert abs(found[name].item() - wanted) < 1e-5, name  # type: ignore[union-attr]
