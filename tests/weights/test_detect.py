"""A file is recognised by what is in it."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL, AutoencoderTiny, UNet2DConditionModel
from golden_vectors import GOLDENS
from safetensors.torch import save_file
from toy_files import clip_state, fap_groups, old_vae_state

from fapvideo.errors import WeightsError
from fapvideo.nets.open_clip_tower import to_open_clip
from fapvideo.nets.unet import SD15_CONFIG
from fapvideo.weights.detect import detect_file, detect_keys, expect
from fapvideo.weights.sd15 import SD15_VAE
from fapvideo.weights.state import shapes_of

TINY = {"encoder_block_out_channels": (8,) * 4, "decoder_block_out_channels": (8,) * 4}


def meta_shapes(make: Any, **config: Any) -> dict[str, tuple[int, ...]]:
    with torch.device("meta"):
        return shapes_of(make(**config).state_dict())


def test_full_size_networks_are_recognised() -> None:
    layout = json.loads((GOLDENS / "fap_bin_layout.json").read_text())
    fap = {f"{group}.{k}": tuple(v) for group, keys in layout.items() for k, v in keys.items()}
    found = detect_keys(fap)
    assert (found.kind, found.detail, found.tensors) == ("fap", "variant B", 775)
    found = detect_keys({k: v for k, v in fap.items() if not k.startswith("unet.")})
    assert (found.kind, found.detail) == ("fap", "without group unet")
    found = detect_keys(meta_shapes(UNet2DConditionModel, **SD15_CONFIG))
    assert (found.kind, found.detail) == ("unet", "9 input channels, context 768")
    assert str(found) == (
        "Stable Diffusion UNet (9 input channels, context 768): 686 tensors, 859.5 M parameters"
    )
    assert detect_keys(meta_shapes(AutoencoderKL, **SD15_VAE)).kind == "vae"
    assert detect_keys(meta_shapes(AutoencoderTiny, **TINY)).kind == "taesd"


def test_clip_in_both_layouts() -> None:
    state = clip_state()
    found = detect_keys(shapes_of(state))
    assert (found.kind, found.detail) == ("clip_vision", "width 40/14, transformers' names")
    open_clip = to_open_clip(state)
    for shapes in (open_clip, {f"visual.{k}": v for k, v in open_clip.items()}):
        found = detect_keys(shapes_of(shapes))
        assert (found.kind, found.detail) == ("clip_vision", "width 40/14, open_clip's names")


def test_old_vae_lora_and_strangers() -> None:
    assert detect_keys(shapes_of(old_vae_state())).detail == "old attention names"
    assert detect_keys({"unet.down.lora_A.weight": (4, 8)}).kind == "lora"
    assert detect_keys({"a": (1,), "b": (2,)}).detail == "first names: a, b"
    assert detect_keys({}).detail == "no tensors"


@pytest.mark.slow
@pytest.mark.parametrize("ending", [".bin", ".safetensors", ".pt", "", ".zip"])
@pytest.mark.parametrize("content", ["zip", "pickle", "safetensors"])
def test_files_are_read_whatever_their_name(tmp_path: Path, ending: str, content: str) -> None:
    """A browser, or a person, renames files; the first bytes say what they are."""
    path = tmp_path / f"something{ending}"
    if content == "safetensors":
        groups = fap_groups()
        save_file({f"{g}.{k}": v for g, keys in groups.items() for k, v in keys.items()}, path)
    else:
        torch.save(fap_groups(), path, _use_new_zipfile_serialization=content == "zip")
        if ending == ".safetensors":
            with pytest.raises(WeightsError, match="is a pickle") as caught:
                detect_file(path)
            assert "rename it" in caught.value.hint
            return
    assert detect_file(path).kind == "fap"
    with pytest.raises(WeightsError, match="is no CLIP image tower; it is: FuseAnyPart"):
        expect(path, "clip_vision")


class Payload:
    """What a malicious pickle would hold."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.marker,)


@pytest.mark.parametrize("how", ["torch", "legacy", "plain pickle", "old pickle"])
def test_a_pickle_with_code_is_refused_and_not_run(tmp_path: Path, how: str) -> None:
    path, marker = tmp_path / "fap.bin", tmp_path / "ran"
    content = {"unet": {"conv_in.weight": torch.zeros(1)}, "note": Payload(marker)}
    if "pickle" in how:
        path.write_bytes(pickle.dumps(content["note"], protocol=2 if how == "old pickle" else 4))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=how == "torch")
    wanted = "no file of tensors" if how == "plain pickle" else "refused: .* asks to run"
    with pytest.raises(WeightsError, match=wanted) as caught:
        detect_file(path)
    assert not marker.exists()
    assert str(path) in str(caught.value)
    assert caught.value.hint


@pytest.mark.parametrize("ending", [".bin", ".safetensors"])
@pytest.mark.parametrize("damage", ["cut", "empty", "text", "missing"])
def test_damaged_files_are_said_to_be_so(tmp_path: Path, ending: str, damage: str) -> None:
    path = tmp_path / f"weights{ending}"
    if ending == ".bin":
        torch.save(fap_groups(), path)
    else:
        save_file(clip_state(), path)
    whole = path.read_bytes()
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes({"cut": whole[: len(whole) // 2], "empty": b"", "text": b"<html>"}[damage])
    with pytest.raises(WeightsError, match="weights") as caught:
        detect_file(path)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < len(str(path)) + 130, "one line, not a paragraph"
    assert damage == "missing" or caught.value.hint


def test_other_endings_and_contents_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.onnx"
    path.write_bytes(b"x")
    with pytest.raises(WeightsError, match="is no file of weights"):
        detect_file(path)
    path = tmp_path / "list.pt"
    torch.save([torch.zeros(1)], path)
    with pytest.raises(WeightsError, match="holds a list"):
        detect_file(path)
