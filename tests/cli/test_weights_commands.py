"""`fapvideo weights` on a small bundle made here."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import tomlkit

from fapvideo.nets.tiny import tiny_manifest
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
        progress("fetching fap.bin", 5, 10)
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


def test_remove_deletes_and_asks_first(fapvideo: Any, store: Path) -> None:
    (store / "sd15").mkdir(parents=True)
    (store / "sd15" / "unet.safetensors").write_bytes(bytes(3 * 2**20))
    assert fapvideo("weights", "remove", "sd15").code == 7, "nobody said yes"
    assert (store / "sd15").exists()
    result = fapvideo("weights", "remove", "sd15", "--yes")
    assert (result.code, result.out) == (0, "3 MiB freed\n")
    assert not (store / "sd15").exists()
