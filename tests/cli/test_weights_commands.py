"""`fapvideo weights` on a small bundle made here."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import tomlkit

from fapvideo.nets.tiny import tiny_manifest


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


def test_list_says_what_is_here_and_how_to_get_the_rest(fapvideo: Any) -> None:
    result = fapvideo("weights", "list", "--json")
    assert result.code == 0, result.err
    found = {item["name"]: item for item in json.loads(result.out)}
    assert found["tiny"]["here"]
    assert not found["sd15"]["here"]
    assert "fapvideo weights fetch sd15" in found["sd15"]["where"]
    assert "sd15" in fapvideo("weights", "list").out


def test_path(fapvideo: Any, bundle: Path) -> None:
    assert fapvideo("weights", "path", bundle).out.strip() == str(bundle)
    missing = fapvideo("weights", "path", "sd16")
    assert missing.code == 7
    assert "sd16" in missing.err


def test_verify_finds_damage(fapvideo: Any, bundle: Path) -> None:
    result = fapvideo("weights", "verify", bundle)
    assert (result.code, result.out) == (0, f"{bundle}: 1 files are as they should be\n")
    (bundle / "unet.safetensors").write_bytes(b"weightz")
    result = fapvideo("weights", "verify", bundle)
    assert result.code == 7
    assert "unet.safetensors is damaged" in result.err
