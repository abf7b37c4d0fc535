"""The recorded numbers are the ones that were recorded."""

from __future__ import annotations

import hashlib

from golden_vectors import GOLDENS, golden_manifest


def test_every_vector_file_is_listed_and_unchanged() -> None:
    manifest = golden_manifest()
    listed = {f["file"]: f["sha256"] for f in (*manifest["files"], *manifest["json_files"])}
    here = {p.name for p in GOLDENS.iterdir() if p.suffix in (".safetensors", ".json")}
    assert here == set(listed) | {"manifest.json"}
    for name, sha256 in listed.items():
        assert hashlib.sha256((GOLDENS / name).read_bytes()).hexdigest() == sha256, name
