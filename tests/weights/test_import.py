"""From the published files to a bundle that computes the published numbers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from golden_vectors import GOLDENS, golden, golden_manifest
from safetensors.torch import load_file, save_file
from toy_files import clip_state, fap_groups, old_vae_state, shrink, write_published_files
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from fapvideo.errors import WeightsError
from fapvideo.nets.clip import VIT_H_14
from fapvideo.nets.open_clip_tower import to_open_clip
from fapvideo.weights.bundle import build_networks, load_bundle
from fapvideo.weights.convert import convert_file
from fapvideo.weights.importer import import_bundle
from fapvideo.weights.known import known_bundle
from fapvideo.weights.sd15 import fap_layout, sd15_manifest
from fapvideo.weights.store import (
    installed_folder,
    is_installed,
    list_bundles,
    remove_bundle,
    store_folder,
    verify_bundle,
)

torch.set_num_threads(1)


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder of published toy files; the store is empty."""
    shrink(monkeypatch, tmp_path / "store")
    write_published_files(tmp_path / "source")
    return tmp_path / "source"


def predicts_the_published_noise(name: str) -> bool:
    """Run golden case c1 through a loaded bundle."""
    bundle, case = load_bundle(name), golden("unet_b_cases")
    key = "c1_b1_32_t501"
    with torch.no_grad():
        maps = bundle.adapter.inject().project(case[f"{key}.context"][:, -256:])
        sample, time = case[f"{key}.sample"], case[f"{key}.timestep"]
        noise = bundle.adapter.predict(bundle.unet, sample, time, maps)
    return torch.allclose(noise, case[f"{key}.noise_pred"], rtol=0, atol=3e-5)


def test_full_layout_is_the_recorded_one_key_by_key() -> None:
    recorded = json.loads((GOLDENS / "fap_bin_layout.json").read_text())
    found = fap_layout()
    assert {group: len(keys) for group, keys in found.items()} == {
        "image_proj": 51,
        "image_proj2": 6,
        "unet": 718,
    }
    for group, keys in recorded.items():
        assert {k: list(v) for k, v in found[group].items()} == keys
    counts = golden_manifest()["layout_counts"]
    for group, keys in found.items():
        total = sum(torch.Size(shape).numel() for shape in keys.values())
        assert total == counts[group]["params"]


def test_full_size_networks_have_the_published_counts() -> None:
    networks = build_networks(sd15_manifest(), empty=True)
    alive = sum(p.numel() for p in networks.unet.parameters())
    injected = sum(p.numel() for p in networks.adapter.parameters())
    assert injected == 9_597_120
    dead = 31_559_680 + sum(
        torch.Size(shape).numel()
        for key, shape in fap_layout()["unet"].items()
        if ".transformer_blocks.0.norm2." in key
    )
    assert alive + injected + dead == 869_132_484
    assert networks.projector is not None
    assert sum(p.numel() for p in networks.projector.parameters()) == 2_625_024
    assert all(p.is_meta for p in networks.unet.parameters())


def test_a_folder_is_imported_verified_loaded_and_right(source: Path) -> None:
    done = import_bundle("sd15", source)
    assert done.missing == ()
    assert done.folder == store_folder() / "sd15" == installed_folder("sd15")
    assert {found.kind for found in done.found} == {"fap", "vae", "clip_vision"}
    checks = verify_bundle(done.folder)
    assert [check.problem for check in checks] == [""] * 5
    assert any("openrail" in check.licence for check in checks)
    assert predicts_the_published_noise("sd15")
    bundle = load_bundle("sd15")
    assert all(len(entry.sha256) == 64 for entry in bundle.files)
    stored = load_file(done.folder / "unet.safetensors")
    assert not any("attn2.to_q" in key or "processor" in key for key in stored)
    assert not list(store_folder().glob("*.partial"))


def test_files_may_come_one_by_one(source: Path) -> None:
    first = import_bundle("sd15", source / "fap.bin")
    assert len(first.missing) == 2
    assert not is_installed("sd15")
    second = import_bundle("sd15", source / "vae")
    assert second.missing == ("CLIP image tower",)
    assert import_bundle("sd15", source / "models").missing == ()
    assert predicts_the_published_noise("sd15")


@pytest.mark.slow
def test_fap_as_safetensors_and_clip_in_open_clips_layout(source: Path) -> None:
    groups = fap_groups()
    (source / "fap.bin").unlink()
    flat = {f"{group}.{k}": v.clone() for group, keys in groups.items() for k, v in keys.items()}
    save_file(flat, source / "converted.safetensors")
    tower = {f"visual.{k}": v.contiguous() for k, v in to_open_clip(clip_state()).items()}
    save_file(tower, source / "models" / "image_encoder" / "model.safetensors")
    assert import_bundle("sd15", source).missing == ()
    bundle, images = load_bundle("sd15"), torch.rand(1, 3, 224, 224)
    assert predicts_the_published_noise("sd15")
    remove_bundle("sd15")  # and the other layout gives equal tokens
    save_file(clip_state(), source / "models" / "image_encoder" / "model.safetensors")
    import_bundle("sd15", source)
    with torch.no_grad():
        assert torch.equal(load_bundle("sd15").encoder(images), bundle.encoder(images))


@pytest.mark.slow
@pytest.mark.parametrize("mistake", ["missing", "shape", "unknown", "group", "nan"])
def test_a_checkpoint_that_does_not_fit_is_listed_readably(source: Path, mistake: str) -> None:
    groups = fap_groups()
    key = "down_blocks.0.attentions.0.transformer_blocks.0.attn2.processor.image_projector.bias"
    if mistake == "missing":
        del groups["unet"][key]
        wanted = f"unet.{key} is missing"
    elif mistake == "shape":
        groups["image_proj2"]["proj.0.weight"] = torch.zeros(40, 39)
        wanted = r"image_proj2.proj.0.weight has shape \[40, 39\], not \[40, 40\]"
    elif mistake == "unknown":
        groups["unet"]["surprise"] = torch.zeros(1)
        wanted = "unet.surprise is unknown"
    elif mistake == "group":
        del groups["image_proj2"]
        wanted = r"image_proj2.*\(and \d+ more\)|image_proj2.proj.0.bias is missing"
    else:
        groups["unet"]["conv_in.bias"] = torch.full_like(groups["unet"]["conv_in.bias"], torch.nan)
        wanted = "not finite"
    torch.save(groups, source / "fap.bin")
    with pytest.raises(WeightsError, match=wanted) as caught:
        import_bundle("sd15", source / "fap.bin")
    assert "fap.bin" in str(caught.value)
    assert not is_installed("sd15")
    assert not (store_folder() / "sd15.partial" / "unet.safetensors").exists()


def test_useless_and_doubled_files_are_refused(source: Path, tmp_path: Path) -> None:
    stranger = tmp_path / "stranger.safetensors"
    save_file({"a": torch.zeros(2)}, stranger)
    with pytest.raises(WeightsError, match="of no use"):
        import_bundle("sd15", stranger)
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(WeightsError, match="holds nothing") as caught:
        import_bundle("sd15", empty)
    assert "fap.bin" in caught.value.hint
    with pytest.raises(WeightsError, match="no such file or folder"):
        import_bundle("sd15", tmp_path / "not there")
    save_file(clip_state(), source / "another.safetensors")
    with pytest.raises(WeightsError, match="two files"):
        import_bundle("sd15", source)
    with pytest.raises(WeightsError, match="no bundle 'other'"):
        import_bundle("other", source)


def test_an_installed_bundle_is_listed_not_replaced_and_removed(source: Path) -> None:
    with pytest.raises(WeightsError, match="not on this machine") as caught:
        load_bundle("sd15")
    assert "weights fetch sd15" in caught.value.hint
    assert "weights import sd15" in caught.value.hint
    assert [entry.installed for entry in list_bundles()] == [False]
    import_bundle("sd15", source)
    (entry,) = list_bundles()
    assert entry.installed
    assert entry.size > 1_000_000
    assert any("openrail" in licence for licence in entry.licences)
    with pytest.raises(WeightsError, match="already installed"):
        import_bundle("sd15", source)
    assert remove_bundle("sd15") == entry.size
    assert not is_installed("sd15")
    with pytest.raises(WeightsError, match="nothing of bundle"):
        remove_bundle("sd15")


def other_vae() -> dict[str, torch.Tensor]:
    """Return a VAE that fits as well, with one value changed."""
    state = {key: value.clone() for key, value in old_vae_state().items()}
    state["decoder.conv_out.bias"] += 1
    return state


@pytest.mark.slow
def test_another_file_of_a_kind_is_refused_until_the_bundle_is_removed(
    source: Path, tmp_path: Path
) -> None:
    """The SHA-256 of every file is recorded when it comes, whatever the file is called."""
    import_bundle("sd15", source / "vae")
    same = tmp_path / "vae-again.bin"  # by its contents the same file
    same.write_bytes((source / "vae" / "diffusion_pytorch_model.safetensors").read_bytes())
    assert import_bundle("sd15", same).found[0].kind == "vae"
    other = source / "vae" / "diffusion_pytorch_model.safetensors"  # the same name, other values
    save_file(other_vae(), other)
    for path in (other, source):  # alone, and in a folder: then nothing is taken of that
        with pytest.raises(WeightsError, match="not the AutoencoderKL that bundle sd15") as caught:
            import_bundle("sd15", path)
        assert "\n" not in str(caught.value)
        assert "fapvideo weights remove sd15" in caught.value.hint
    assert not (store_folder() / "sd15.partial" / "unet.safetensors").exists()
    assert len(import_bundle("sd15", source / "fap.bin").missing) == 1
    assert import_bundle("sd15", source / "models").missing == ()
    with pytest.raises(WeightsError, match="not the AutoencoderKL"):  # and when it is whole
        import_bundle("sd15", other)
    with pytest.raises(WeightsError, match="already installed"):
        import_bundle("sd15", same)
    remove_bundle("sd15")
    assert import_bundle("sd15", source).missing == ()
    bias = load_file(store_folder() / "sd15" / "codec.safetensors")["decoder.conv_out.bias"]
    assert torch.equal(bias, other_vae()["decoder.conv_out.bias"])


@pytest.mark.slow
def test_what_was_imported_is_not_converted_again(
    source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import_bundle("sd15", source / "fap.bin")
    converted = []

    def convert(path: Path, manifest: Any) -> Any:
        converted.append(path.name)
        return convert_file(path, manifest)

    monkeypatch.setattr("fapvideo.weights.importer.convert_file", convert)
    assert import_bundle("sd15", source).missing == ()
    assert sorted(converted) == ["diffusion_pytorch_model.safetensors", "model.safetensors"]
    assert predicts_the_published_noise("sd15")


@pytest.mark.slow
def test_an_import_that_was_killed_half_way_is_done_again(
    source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kind counts as there once its record is written, after its last file."""

    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("fapvideo.weights.importer.write_text", killed)
        with pytest.raises(KeyboardInterrupt):
            import_bundle("sd15", source / "fap.bin")
    partial = store_folder() / "sd15.partial"
    (partial / "adapter.safetensors").write_bytes(b"half")
    assert len(import_bundle("sd15", source / "vae").missing) == 2
    assert import_bundle("sd15", source).missing == ()
    assert predicts_the_published_noise("sd15")


@pytest.mark.slow
def test_a_changed_file_is_found_by_verify_and_by_load(source: Path) -> None:
    folder = import_bundle("sd15", source).folder
    path = folder / "adapter.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    assert [c.path.name for c in verify_bundle(folder) if c.problem] == ["adapter.safetensors"]
    with pytest.raises(WeightsError, match="damaged or was changed"):
        load_bundle("sd15")
    path.unlink()
    with pytest.raises(WeightsError, match="is missing"):
        load_bundle("sd15")


def test_unknown_names_say_what_there_is() -> None:
    with pytest.raises(WeightsError, match="embedded, tiny, tiny_sd15, sd15"):
        load_bundle("nonsense")


@pytest.mark.slow
def test_full_size_codec_and_tower_have_the_published_sizes() -> None:
    networks = build_networks(sd15_manifest(), empty=True)
    assert sum(p.numel() for p in networks.codec.parameters()) == 83_653_863
    with torch.device("meta"):
        tower = CLIPVisionModelWithProjection(CLIPVisionConfig(**VIT_H_14))
    parameters = sum(p.numel() for p in tower.parameters())
    (known,) = [f for f in known_bundle("sd15").files if f.kind == "clip_vision"]
    assert known.size is not None
    # four bytes each, so float32; the rest is the header
    assert 0 < known.size - 4 * parameters < 100_000
    last = sum(p.numel() for p in tower.vision_model.encoder.layers[-1].parameters())
    unused = last + 2 * 1280 + 1024 * 1280  # last layer, final norm, projection
    running = sum(p.numel() for p in networks.encoder.parameters())
    assert running == parameters - unused
