"""Bundles: saved whole or not at all, loaded only when everything fits."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from published_toy import toy_manifest, toy_states
from safetensors.torch import save_file

from fapvideo.config.bundle import BundleManifest, load_manifest
from fapvideo.errors import DeviceError, WeightsError
from fapvideo.ops.files import sha256_file
from fapvideo.ops.precision import resolve_dtype
from fapvideo.weights.bundle import build_networks, load_bundle, save_bundle, verify_files

torch.set_num_threads(1)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_bundle(tmp_path / "toy", toy_manifest(), toy_states(), licences="random numbers")
    return tmp_path / "toy"


def replace_file(folder: Path, name: str, state: dict[str, torch.Tensor]) -> None:
    """Change one file and its hash in the manifest, as someone who builds a wrong bundle would."""
    manifest = load_manifest(folder)
    old = next(entry.sha256 for entry in manifest.files if entry.path == name)
    save_file(state, folder / name)
    path = folder / "bundle.toml"
    path.write_text(path.read_text().replace(old, sha256_file(folder / name)))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tiny", "tiny_sd15"])
def test_tiny_bundles_are_small_seeded_and_leave_the_global_generator_alone(name: str) -> None:
    torch.manual_seed(5)
    state = torch.get_rng_state()
    first = load_bundle(name)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(6)
    again = load_bundle(name)
    for key, value in first.unet.state_dict().items():
        assert torch.equal(value, again.unet.state_dict()[key])
    networks = (first.unet, first.adapter, first.codec, first.encoder.module)
    size = sum(p.numel() * 4 for n in networks for p in n.parameters())
    assert size < 1_000_000
    assert first.encoder.identity == again.encoder.identity
    assert not any(p.requires_grad for n in networks for p in n.parameters())
    assert not any(n.training for n in networks)


def test_what_is_saved_is_loaded(folder: Path) -> None:
    bundle, states = load_bundle(folder), toy_states()
    for key, value in bundle.unet.state_dict().items():
        assert torch.equal(value, states["unet.safetensors"][key])
    assert {entry.licence for entry in bundle.files} == {"random numbers"}
    assert bundle.folder == folder
    assert bundle.manifest.sampler == toy_manifest().sampler
    images = torch.rand(2, 3, 50, 50)
    tokens = bundle.encoder(images)
    assert tokens.shape == (2, 257, 40)
    assert (bundle.encoder.grid, bundle.encoder.width) == (16, 40)
    maps = bundle.project(tokens)
    assert len(maps) == 16
    assert maps["mid_block.attentions.0.transformer_blocks.0.attn2"].shape == (2, 48, 16, 16)


@pytest.mark.parametrize("umask", [0o022, 0o027, 0o077])
def test_files_get_the_permissions_that_the_umask_leaves(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        save_bundle(tmp_path / "mine", toy_manifest(), toy_states(), licences="x")
    finally:
        os.umask(before)
    modes = {path.stat().st_mode & 0o777 for path in (tmp_path / "mine").iterdir()}
    assert modes == {0o666 & ~umask}


@pytest.mark.slow
def test_number_formats(folder: Path) -> None:
    low = load_bundle(folder, dtype=torch.bfloat16)
    assert next(low.unet.parameters()).dtype is torch.bfloat16
    assert next(low.codec.parameters()).dtype is torch.bfloat16
    assert low.encoder(torch.rand(1, 3, 224, 224)).dtype is torch.float32
    assert low.encoder.identity != load_bundle(folder).encoder.identity
    half = load_bundle(folder, dtype=torch.float16)
    assert next(half.unet.parameters()).dtype is torch.float16
    assert next(half.codec.parameters()).dtype is torch.float32  # a VAE overflows in float16


@pytest.mark.slow
def test_identity_follows_the_encoders_weights(folder: Path, tmp_path: Path) -> None:
    states = toy_states()
    key = next(iter(states["encoder.safetensors"]))
    states["encoder.safetensors"][key] = states["encoder.safetensors"][key] + 1
    save_bundle(tmp_path / "other", toy_manifest(), states, licences="random")
    identity = load_bundle(folder).encoder.identity
    assert load_bundle(tmp_path / "other").encoder.identity != identity


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(toy_states()))
def test_a_file_of_another_architecture_is_listed_readably(folder: Path, name: str) -> None:
    state = toy_states()[name]
    key = sorted(k for k in state if "layers.2" not in k and "post_l" not in k)[0]
    del state[key]
    replace_file(folder, name, state)
    with pytest.raises(WeightsError, match="does not fit") as caught:
        load_bundle(folder)
    assert str(folder / name) in str(caught.value)
    assert key.removeprefix("vision_model.") in str(caught.value)
    assert caught.value.hint


def test_a_file_that_is_no_safetensors_is_refused(folder: Path) -> None:
    replace_file(folder, "unet.safetensors", toy_states()["unet.safetensors"])
    path = folder / "unet.safetensors"
    old = sha256_file(path)
    path.write_bytes(b"not safetensors")
    toml = folder / "bundle.toml"
    toml.write_text(toml.read_text().replace(old, sha256_file(path)))
    with pytest.raises(WeightsError, match="cannot be read as safetensors"):
        load_bundle(folder)


def test_a_file_without_a_hash_is_refused(folder: Path) -> None:
    manifest = load_manifest(folder)
    text = (folder / "bundle.toml").read_text()
    entry = next(e for e in manifest.files if e.path == "adapter.safetensors")
    start = text.index('[[files]]\npath = "adapter.safetensors"')
    end = text.index(entry.licence, start) + len(entry.licence) + 2
    (folder / "bundle.toml").write_text(text[:start] + text[end:])
    with pytest.raises(WeightsError, match=r"adapter\.file names no file that is listed"):
        load_bundle(folder)


def test_saving_replaces_a_bundle_whole_or_not_at_all(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {p.name: p.read_bytes() for p in folder.iterdir()}

    def fail(*_: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr("fapvideo.weights.state.save_file", fail)
    with pytest.raises(WeightsError, match="no space left"):
        save_bundle(folder, toy_manifest(), toy_states(), licences="x")
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == before
    assert [p.name for p in folder.parent.iterdir()] == ["toy"]
    monkeypatch.undo()
    extra = {"MODEL_CARD.md": "# Toy\n"}
    save_bundle(folder, toy_manifest(), toy_states(), licences="new", extra=extra)
    assert (folder / "MODEL_CARD.md").read_text() == "# Toy\n"
    assert {entry.licence for entry in load_manifest(folder).files} == {"new"}
    assert [p.name for p in folder.parent.iterdir()] == ["toy"]


def test_a_folder_that_is_no_bundle_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "diary.txt").write_text("dear")
    with pytest.raises(WeightsError, match="no bundle"):
        save_bundle(tmp_path / "mine", toy_manifest(), toy_states(), licences="x")
    assert (tmp_path / "mine" / "diary.txt").read_text() == "dear"
    with pytest.raises(WeightsError, match=r"holds no bundle\.toml"):
        load_bundle(tmp_path / "mine")


def test_empty_networks_take_no_memory_but_keep_real_buffers() -> None:
    networks = build_networks(toy_manifest(), empty=True)
    assert all(p.is_meta for p in networks.unet.parameters())
    assert not any(b.is_meta for b in networks.encoder.buffers())


def test_verify_names_the_missing_file(folder: Path) -> None:
    manifest: BundleManifest = load_manifest(folder)
    (folder / "codec.safetensors").unlink()
    with pytest.raises(WeightsError, match=r"codec\.safetensors is missing"):
        verify_files(folder, manifest)


def test_precision() -> None:
    assert resolve_dtype("fp32", "cpu") is torch.float32
    assert resolve_dtype("bf16", "cpu") is torch.bfloat16
    assert resolve_dtype("auto", "cpu") in (torch.float32, torch.bfloat16)
    with pytest.raises(DeviceError, match="fp16"):
        resolve_dtype("fp16", "cpu")
