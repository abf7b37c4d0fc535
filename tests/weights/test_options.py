"""What a preset may change about a bundle: resolution, fast codec, LoRA; and compiling."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderTiny
from safetensors.torch import save_file
from torch import Tensor

from fapvideo.config.schema import DenoiseConfig, FuseConfig
from fapvideo.denoise.denoiser import Denoiser
from fapvideo.denoise.noise import track_noise
from fapvideo.errors import WeightsError
from fapvideo.weights.bundle import Bundle, load_bundle

torch.set_num_threads(1)
LAYER = "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q"
CONV = "down_blocks.0.resnets.0.conv1"


def inputs(denoiser: Denoiser) -> tuple[Tensor, ...]:
    """Return target, guide, hole, tokens and noise of one sample."""
    side = denoiser.bundle.manifest.resolution
    image = torch.linspace(-1, 1, side).expand(1, 3, side, side)
    hole = torch.zeros(1, 1, side, side)
    hole[..., side // 4 : side // 2, side // 4 : side // 2] = 1
    noise = track_noise(0, 0, denoiser.noise_shape)[None]
    return image, image, hole, denoiser.bundle.encoder(image / 2 + 0.5), noise


def run(bundle: Bundle, **config: Any) -> Tensor:
    denoiser = Denoiser(bundle, DenoiseConfig(**config), FuseConfig())
    result = denoiser(*inputs(denoiser))
    denoiser.close()
    return result


@pytest.mark.parametrize(
    "side", [64, 256, *(pytest.param(x, marks=pytest.mark.slow) for x in (192, 384, 512))]
)
def test_resolution_of_a_bundle_with_a_vae(side: int) -> None:
    bundle = load_bundle("tiny_sd15", options=DenoiseConfig(resolution=side))
    assert run(bundle).shape == (1, 3, side, side)


def test_resolution_of_the_embedded_kind_is_fixed() -> None:
    assert load_bundle("tiny", options=DenoiseConfig(resolution=64)).manifest.resolution == 64
    with pytest.raises(WeightsError, match="64 px only"):
        load_bundle("tiny", options=DenoiseConfig(resolution=128))


@pytest.mark.slow
def test_taesd_takes_the_place_of_the_vae(tmp_path: Path) -> None:
    torch.manual_seed(0)
    path = tmp_path / "taesd.safetensors"
    save_file(AutoencoderTiny().state_dict(), path)
    options = DenoiseConfig(codec_file=path)
    bundle = load_bundle("tiny_sd15", options=options)
    assert run(bundle).shape == (1, 3, 128, 128)
    assert not torch.allclose(run(bundle), run(load_bundle("tiny_sd15")), atol=1e-2)
    assert [entry.path for entry in bundle.files] == ["taesd.safetensors"]
    with pytest.raises(WeightsError, match="does not fit bundle tiny"):
        load_bundle("tiny", options=options)
    other = tmp_path / "other.safetensors"
    save_file({"a": torch.zeros(1)}, other)
    with pytest.raises(WeightsError, match=r"is no AutoencoderTiny \(TAESD\); it is: unknown file"):
        load_bundle("tiny_sd15", options=DenoiseConfig(codec_file=other))


def lora_tensors(style: str) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return a LoRA file's tensors, and what it should add to each layer."""
    torch.manual_seed(1)
    linear = torch.randn(8, 2) * 0.1, torch.randn(2, 8) * 0.1
    conv = torch.randn(8, 2, 1, 1) * 0.1, torch.randn(2, 8, 3, 3) * 0.1
    adds = {
        LAYER: linear[0] @ linear[1],
        CONV: torch.einsum("or,rikl->oikl", conv[0][..., 0, 0], conv[1]),
    }
    tensors: dict[str, Tensor] = {}
    for name, (up, down) in ((LAYER, linear), (CONV, conv)):
        if style == "kohya":
            key = f"lora_unet_{name.replace('.', '_')}"
            tensors |= {f"{key}.lora_up.weight": up, f"{key}.lora_down.weight": down}
            tensors[f"{key}.alpha"] = torch.tensor(1.0)
        else:
            up_name, down_name = (
                ("lora_B", "lora_A") if style == "peft" else ("lora.up", "lora.down")
            )
            tensors |= {
                f"unet.{name}.{up_name}.weight": up,
                f"unet.{name}.{down_name}.weight": down,
            }
    scale = 0.5 if style == "kohya" else 1.0  # alpha / rank
    return tensors, {name: scale * add for name, add in adds.items()}


@pytest.mark.slow
@pytest.mark.parametrize(
    "style",
    ["kohya", *(pytest.param(x, marks=pytest.mark.slow) for x in ("peft", "diffusers"))],
)
def test_a_lora_is_merged(tmp_path: Path, style: str) -> None:
    tensors, adds = lora_tensors(style)
    dead = f"unet.{LAYER.replace('attn1', 'attn2')}"
    tensors |= {
        f"{dead}.lora_A.weight": torch.ones(2, 8),
        f"{dead}.lora_B.weight": torch.ones(8, 2),
    }
    text = "lora_te_x"  # of a text encoder
    tensors |= {f"{text}.lora_{half}.weight": torch.ones(2, 2) for half in ("up", "down")}
    path = tmp_path / "lora.safetensors"
    save_file(tensors, path)
    plain, changed = (
        load_bundle("tiny_sd15"),
        load_bundle("tiny_sd15", options=DenoiseConfig(lora_file=path)),
    )
    for name, weight in plain.unet.state_dict().items():
        wanted = (
            weight + adds.get(name.removesuffix(".weight"), 0)
            if name.endswith("weight")
            else weight
        )
        assert torch.allclose(changed.unet.state_dict()[name], wanted, atol=1e-6), name
    assert torch.isfinite(run(changed, sampler="lcm", steps=4)).all()
    assert changed.files[-1].path == "lora.safetensors"


def test_a_lora_of_another_architecture_is_refused(tmp_path: Path) -> None:
    tensors, _ = lora_tensors("peft")
    path = tmp_path / "lora.safetensors"
    wrong = {key.replace("down_blocks.0", "down_blocks.7"): value for key, value in tensors.items()}
    save_file(wrong, path)
    with pytest.raises(WeightsError, match=r"down_blocks\.7.*is unknown"):
        load_bundle("tiny_sd15", options=DenoiseConfig(lora_file=path))
    save_file({key: torch.ones(3, 3) for key in tensors}, path)
    with pytest.raises(WeightsError, match="changes"):
        load_bundle("tiny_sd15", options=DenoiseConfig(lora_file=path))
    half = {key: value for key, value in tensors.items() if "lora_A" in key}
    save_file(half, path)
    with pytest.raises(WeightsError, match="second half"):
        load_bundle("tiny_sd15", options=DenoiseConfig(lora_file=path))


def test_compiling_pads_the_last_batch_and_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The compiler itself is torch's; that a compiled UNet sees one batch size only is ours."""
    bundle, sizes = load_bundle("tiny"), []

    def compiled(unet: torch.nn.Module) -> torch.nn.Module:
        unet.register_forward_pre_hook(lambda _m, given: sizes.append(len(given[0])))
        return unet

    monkeypatch.setattr(torch, "compile", compiled)
    plain = run(load_bundle("tiny"))
    assert torch.allclose(run(bundle, compile=True, batch_size=3), plain, atol=1e-4)
    assert sizes == [3, 3]


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["aot_eager", pytest.param("inductor", marks=pytest.mark.gpu)])
def test_the_real_compiler_agrees_and_compiles_once(
    backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Later batches and other tokens must not compile again. The last step takes a GPU: its C++
    for a plain CPU is not compiled within half an hour."""
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend=backend))
    torch._dynamo.reset()
    plain, bundle = run(load_bundle("tiny_sd15")), load_bundle("tiny_sd15")
    denoiser = Denoiser(bundle, DenoiseConfig(compile=True, batch_size=2), FuseConfig())
    graphs = torch._dynamo.utils.counters["stats"]
    graphs.clear()
    image, _, hole, tokens, noise = inputs(denoiser)
    assert torch.allclose(denoiser(image, image, hole, tokens, noise), plain, rtol=0, atol=1e-4)
    other = denoiser(image, image, hole, tokens.flip(1), noise)
    assert not torch.allclose(other, plain, atol=1e-4)
    denoiser(*(x.expand(2, *x.shape[1:]) for x in (image, image, hole, tokens, noise)))
    denoiser.close()
    assert graphs["unique_graphs"] == 1
