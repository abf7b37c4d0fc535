"""Every data file that ships names its licence, and everybody may use it for anything."""

from __future__ import annotations

from pathlib import Path

from fapvideo.config.bundle import load_manifest
from fapvideo.config.presets import packaged_licences
from fapvideo.trust.licences import is_commercial

DATA = (".png", ".jpg", ".npy", ".npz", ".safetensors", ".tflite", ".onnx", ".bin", ".pt")


def shipped(checkout: Path) -> dict[str, str]:
    """Return path in the package -> licence of all data files, those of bundles included."""
    package = checkout / "fapvideo"
    found = packaged_licences()
    for manifest in package.glob("bundles/*/bundle.toml"):
        folder = manifest.parent
        for file in load_manifest(folder).files:
            found[(folder / file.path).relative_to(package).as_posix()] = file.licence
    return found


def test_every_data_file_names_its_licence(checkout: Path) -> None:
    package = checkout / "fapvideo"
    files = {path.relative_to(package).as_posix()
             for path in package.rglob("*") if path.suffix in DATA}  # fmt: skip
    assert files == set(shipped(checkout))


def test_nothing_that_ships_is_for_non_commercial_use_only(checkout: Path) -> None:
    assert [name for name, licence in shipped(checkout).items() if not is_commercial(licence)] == []
