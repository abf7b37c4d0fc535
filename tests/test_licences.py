"""Every data file that ships names its licence; which of them not everybody may use is known."""

from __future__ import annotations

from pathlib import Path

from fapvideo.config.bundle import load_manifest
from fapvideo.config.presets import packaged_licences
from fapvideo.trust.licences import is_commercial

DATA = (".png", ".jpg", ".npy", ".npz", ".safetensors", ".tflite", ".onnx", ".bin", ".pt")
NOT_FREE = {
    "bundles/embedded/adapter.safetensors",
    "bundles/embedded/unet.safetensors",
}
"""Made from CelebA. Once what is made from portraits in the public domain ships (docs/training.md),
nothing is left here, and nothing may be added."""


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


def test_what_not_everybody_may_use_is_known_and_grows_no_more(checkout: Path) -> None:
    closed = {name for name, licence in shipped(checkout).items() if not is_commercial(licence)}
    assert closed == NOT_FREE
