"""`fapvideo weights` on a small bundle made here."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import tomlkit
import torch
from toy_files import fap_groups, shrink, write_published_files

from fapvideo.nets.tiny import tiny_manifest
from fapvideo.progress import Progress
from fapvideo.weights.importer import Imported


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """Write a bundle of one file; `verify` reads hashes only."""
    folder = tmp_path / "small"
    folder.mkdir()
    (folder / "unet.safetensors").write_bytes(b"weights")
    digest = hashlib.sha256(b"weights").hexdigest()
    manifest = tiny_manifest().model_dump(mode="json", exclude_none=True)
    manifest["files"] = [{"path": "unet.safetensors", "sha256": digest, "licence": "none"}]
    (folder / "bundle.toml").write_text(tomlkit.dumps(manifest), "utf-8")
    return folder


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put the store of weights into a folder of this test."""
    folder = tmp_path / "store"
    monkeypatch.setenv("FAPVIDEO_WEIGHTS", str(folder))
    return folder


def test_list_says_what_is_here_and_under_which_licence(fapvideo: Any, store: Path) -> None:
    result = fapvideo("weights", "list", "--json")
    assert result.code == 0, result.err
    found = {item["name"]: item for item in json.loads(result.out)}
    assert found["sd15"]["installed"] is False
    assert found["sd15"]["folder"] == str(store / "sd15")
    shown = fapvideo("weights", "list").out
    for expected in ("embedded", "sd15", "openrail", "no licence"):
        assert expected in shown


def test_path(fapvideo: Any, bundle: Path) -> None:
    assert fapvideo("weights", "path", bundle).out.strip() == str(bundle)
    missing = fapvideo("weights", "path", "sd15")
    assert missing.code == 7
    assert "fapvideo weights fetch sd15" in missing.err


def test_verify_finds_damage(fapvideo: Any, bundle: Path) -> None:
    result = fapvideo("weights", "verify", bundle)
    assert result.code == 0, result.err
    assert "unet.safetensors" in result.out
    (bundle / "unet.safetensors").write_bytes(b"weightz")
    result = fapvideo("weights", "verify", bundle, "--json")
    assert result.code == 7
    assert "damaged" in json.loads(result.out)[0]["problem"]
    assert "1 of 1 files are not right: unet.safetensors" in result.err


@pytest.mark.parametrize("yes", [False, True])
def test_fetch_shows_the_licences_and_takes_only_yes_for_yes(
    fapvideo: Any, monkeypatch: pytest.MonkeyPatch, yes: bool
) -> None:
    accepted = []

    def fetched(name: str, *, accept_licences: bool, progress: Any) -> Imported:
        accepted.append((name, accept_licences))
        progress(Progress("fetching fap.bin", 5, 10))
        return Imported(Path("/store/sd15"), (), ())

    monkeypatch.setattr("fapvideo.weights.fetch.fetch_bundle", fetched)
    result = fapvideo("weights", "fetch", "sd15", *(["--yes"] if yes else []))
    assert result.code == 0, result.err
    assert "creativeml-openrail-m" in result.err
    assert accepted == [("sd15", yes)]
    assert result.out == "bundle sd15 is ready: /store/sd15\n"


def test_offline_fetch_ends_at_once_with_a_way_out(
    fapvideo: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAPVIDEO_OFFLINE", "1")
    result = fapvideo("weights", "fetch", "sd15", "--yes")
    assert result.code == 7
    assert "fapvideo weights import sd15" in result.err


def test_import_of_a_folder_without_weights_says_what_is_needed(
    fapvideo: Any, tmp_path: Path, store: Path
) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    result = fapvideo("weights", "import", "sd15", empty)
    assert result.code == 7
    assert "holds nothing for this bundle" in result.err
    assert "creativeml-openrail-m" in result.err, "licences are shown before use"
    assert not store.exists()


# ------------------------------------------------------------------- published files, toy-sized


class Payload:
    """What a malicious pickle would hold."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.marker,)


@pytest.fixture
def published(tmp_path: Path, store: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder of fap.bin, VAE and image tower in toy size, under their published names."""
    shrink(monkeypatch, store)
    write_published_files(tmp_path / "published")
    return tmp_path / "published"


def test_import_of_renamed_files_one_by_one(fapvideo: Any, published: Path, tmp_path: Path) -> None:
    told = []
    for number, path in enumerate(sorted(published.rglob("*.*"))):
        renamed = tmp_path / f"download ({number})"
        path.rename(renamed)
        result = fapvideo("weights", "import", "sd15", renamed)
        assert result.code == 0, result.err
        told.append(result.out.splitlines())
    assert [lines[0].split(" (")[0] for lines in told] == [
        "found: FuseAnyPart checkpoint",
        "found: CLIP image tower",
        "found: AutoencoderKL",
    ]
    assert told[0][1] == "still missing: AutoencoderKL, CLIP image tower"
    assert told[2][1].startswith("bundle sd15 is ready: ")
    verified = fapvideo("weights", "verify", "sd15")
    assert verified.code == 0, verified.err
    assert verified.out.count("ok ") == 5


@pytest.mark.slow
@pytest.mark.parametrize(
    ("damage", "wanted"),
    [
        ("cut off", "fap.bin cannot be read: "),
        ("empty", "fap.bin is empty"),
        ("web page", "fap.bin cannot be read: it is no file of tensors"),
        ("code", "fap.bin is refused: it holds more than tensors and asks to run "),
        ("shape", "image_proj2.proj.0.weight has shape [40, 39], not [40, 40]"),
        ("missing", "unet.conv_in.bias is missing"),
        ("other network", "; it is: Stable Diffusion UNet (9 input channels"),
        ("ending", "fap.safetensors is a pickle"),
    ],
)
def test_import_of_a_bad_file_is_one_line_and_a_hint(
    fapvideo: Any, published: Path, store: Path, tmp_path: Path, damage: str, wanted: str
) -> None:
    path, groups, marker = published / "fap.bin", fap_groups(), tmp_path / "ran"
    whole = path.read_bytes()
    if damage in ("cut off", "empty", "web page"):
        size = {"cut off": len(whole) // 2, "empty": 0}.get(damage)
        path.write_bytes(b"<!DOCTYPE html><html>" if size is None else whole[:size])
    elif damage == "ending":
        path = path.rename(published / "fap.safetensors")
    else:
        if damage == "code":
            groups["unet"]["conv_in.weight"] = Payload(marker)  # type: ignore[assignment]
        elif damage == "shape":
            groups["image_proj2"]["proj.0.weight"] = torch.zeros(40, 39)
        elif damage == "missing":
            del groups["unet"]["conv_in.bias"]
        unet = {k: v for k, v in groups["unet"].items() if ".processor." not in k}
        torch.save(unet if damage == "other network" else groups, path)
    result = fapvideo("weights", "import", "sd15", path)
    assert result.code == 7
    lines = [line for line in result.err.splitlines() if line.startswith(("error:", "hint:"))]
    assert [line.split(":")[0] for line in lines] == ["error", "hint"]
    assert wanted in lines[0]
    assert len(lines[0]) < len(str(path)) + 200
    assert not marker.exists()
    assert not store.exists()


@pytest.mark.slow
def test_import_of_another_file_in_an_imported_ones_place(
    fapvideo: Any, published: Path, tmp_path: Path
) -> None:
    assert fapvideo("weights", "import", "sd15", published / "fap.bin").code == 0
    other = tmp_path / "fap.bin"
    groups = fap_groups()
    groups["unet"]["conv_in.bias"] = groups["unet"]["conv_in.bias"] + 1
    torch.save(groups, other)
    result = fapvideo("weights", "import", "sd15", other)
    assert result.code == 7
    assert "is not the FuseAnyPart checkpoint (fap.bin) that bundle sd15 was given" in result.err
    assert "run `fapvideo weights remove sd15` first" in result.err
    assert fapvideo("weights", "remove", "sd15", "--yes").code == 0
    assert fapvideo("weights", "import", "sd15", other).code == 0


def test_remove_deletes_and_asks_first(fapvideo: Any, store: Path) -> None:
    (store / "sd15").mkdir(parents=True)
    (store / "sd15" / "unet.safetensors").write_bytes(bytes(3 * 2**20))
    assert fapvideo("weights", "remove", "sd15").code == 7, "nobody said yes"
    assert (store / "sd15").exists()
    result = fapvideo("weights", "remove", "sd15", "--yes")
    assert (result.code, result.out) == (0, "3 MiB freed\n")
    assert not (store / "sd15").exists()
