"""An imported bundle whose manifest asks for open_clip's tower computes the same tokens."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import tomlkit
import torch
from published_toy import toy_manifest
from toy_files import shrink, write_published_files

from fapvideo.ops.torchvision_shim import make_torchvision_importable
from fapvideo.weights.bundle import load_bundle
from fapvideo.weights.importer import import_bundle

make_torchvision_importable()
open_clip = pytest.importorskip("open_clip")  # of the extra `clip`


@pytest.mark.slow
def test_an_imported_tower_runs_in_open_clip(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shrink(monkeypatch, tmp_path / "store")
    write_published_files(tmp_path / "source")
    folder = import_bundle("sd15", tmp_path / "source").folder
    images = torch.rand(2, 3, 224, 224)
    with torch.no_grad():
        wanted = load_bundle("sd15").encoder(images)
    config = toy_manifest().encoder.config
    vision = {
        "layers": config["num_hidden_layers"],
        "width": config["hidden_size"],
        "head_width": config["hidden_size"] // config["num_attention_heads"],
        "mlp_ratio": config["intermediate_size"] / config["hidden_size"],
        "patch_size": config["patch_size"],
        "image_size": config["image_size"],
    }
    text = {"context_length": 4, "vocab_size": 8, "width": 8, "heads": 1, "layers": 1}
    path = tmp_path / "fapvideo-toy-tower.json"
    path.write_text(
        json.dumps(
            {
                "embed_dim": config["projection_dim"],
                "quick_gelu": config.get("hidden_act", "quick_gelu") == "quick_gelu",
                "vision_cfg": vision,
                "text_cfg": text,
            }
        )
    )
    open_clip.add_model_config(path)
    manifest = folder / "bundle.toml"
    text_of = tomlkit.parse(manifest.read_text("utf-8"))
    text_of["encoder"]["name"] = "open_clip:fapvideo-toy-tower"
    manifest.write_text(tomlkit.dumps(text_of), "utf-8")
    with torch.no_grad():
        bundle = load_bundle("sd15")
        assert type(bundle.encoder.module.tower).__name__ == "OpenClipTower"
        assert torch.allclose(bundle.encoder(images), wanted, rtol=0, atol=1e-4)
