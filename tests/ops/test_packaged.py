"""Nets and pictures that come with the package are what they were when it was made."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from fapvideo.cli.checks import CHECKS
from fapvideo.errors import WeightsError
from fapvideo.ops import packaged
from fapvideo.reference.images import read_image
from fapvideo.track.detector import read_net


def test_the_record_is_up_to_date(checkout: Path) -> None:
    """If not: `python scripts/packaged_hashes.py`."""
    before = packaged.RECORD.read_text("utf-8")
    subprocess.run([sys.executable, checkout / "scripts" / "packaged_hashes.py"], check=True)
    assert packaged.RECORD.read_text("utf-8") == before
    kinds = ("**/*.tflite", "assets/*.png", "*/models/*.safetensors")
    files = [path for kind in kinds for path in packaged.PACKAGE.glob(kind)]
    names = {path.relative_to(packaged.PACKAGE).as_posix() for path in files}
    assert names == set(packaged.recorded_hashes())


def test_a_changed_file_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    known = packaged.recorded_hashes()
    other = {name: digest[::-1] for name, digest in known.items()}
    monkeypatch.setattr(packaged, "recorded_hashes", lambda: other)
    with pytest.raises(WeightsError, match="iris_landmark"):
        read_net("iris_landmark")
    with pytest.raises(WeightsError, match="brand_face"):
        read_image(packaged.PACKAGE / "assets" / "brand_face.png")
    with pytest.raises(WeightsError):
        CHECKS["packaged files"]()
