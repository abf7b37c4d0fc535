"""The published projections against their recorded numbers."""

from __future__ import annotations

import torch
from golden_vectors import golden, manifest_of

from fapvideo.nets.projector import MlpProjector, Resampler

torch.set_num_threads(1)


def state(name: str) -> dict[str, torch.Tensor]:
    return {k.removeprefix("state."): v for k, v in golden(name).items() if k.startswith("state.")}


def published_resampler() -> Resampler:
    config = manifest_of("resampler")["config"]
    return Resampler(
        width=config["dim"],
        depth=config["depth"],
        heads=config["heads"],
        head_width=config["dim_head"],
        queries=config["num_queries"],
        in_width=config["embedding_dim"],
        out_width=config["output_dim"],
        ff_mult=config["ff_mult"],
    )


def test_mlp_projector_matches() -> None:
    data = golden("mlp_proj")
    net = MlpProjector(40, 48)
    net.load_state_dict(state("mlp_proj"))
    with torch.no_grad():
        assert torch.allclose(net(data["input"]), data["output"], rtol=0, atol=1e-5)
        # negative control: the tanh approximation of gelu is another function
        net.proj[1] = torch.nn.GELU(approximate="tanh")
        assert not torch.allclose(net(data["input"]), data["output"], rtol=0, atol=1e-5)


def test_resampler_matches() -> None:
    data = golden("resampler")
    net = published_resampler()
    net.load_state_dict(state("resampler"))
    with torch.no_grad():
        assert torch.allclose(net(data["input"]), data["output"], rtol=0, atol=2e-5)
        shifted = net(data["input"].roll(1, 1))
        assert torch.allclose(shifted, data["output"], rtol=0, atol=2e-5)  # it sees a set
        without_cls = net(data["input"][:, 1:])
        assert not torch.allclose(without_cls, data["output"], rtol=0, atol=1e-3)
