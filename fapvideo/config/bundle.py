"""The manifest of a bundle: which files, which architecture, which defaults."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from fapvideo.config.problems import validate
from fapvideo.config.section import Section
from fapvideo.config.toml_file import TomlError, read_toml_file
from fapvideo.errors import WeightsError

MANIFEST_NAME = "bundle.toml"
MAX_NUMBER = 16_384
"""Largest number in a network's configuration."""
MAX_SIDE = 2048
"""Longest side of a picture that a network is made for, pixels."""
MAX_LAYERS = 512
"""Of a network: its stages times the layers of each."""
PUBLISHED_FILL = tuple(round(value / 127.5 - 1, 6) for value in (245, 223, 209))
"""`hole_fill` of the published model: the flat beige of its example picture's hole."""


def check_network(config: dict[str, Any]) -> dict[str, Any]:
    """Return a network's configuration if one of that size can be built at all.

    Raises:
        ValueError: a number out of bounds; names the key.
    """
    stages = max((len(value) for value in config.values() if isinstance(value, list)), default=1)
    for key, value in _numbers(config):
        deep = "layers" in key or "blocks" in key
        most = MAX_SIDE if key.endswith(("image_size", "sample_size")) else MAX_NUMBER
        if abs(value) > most:  # nan has failed before: the file's numbers are finite
            raise ValueError(f"{key} is {value:g}: more than {most}")
        if deep and "channels" not in key and value * stages > MAX_LAYERS:
            raise ValueError(f"{key} makes more than {MAX_LAYERS} layers")
    return config


def _numbers(value: Any, key: str = "") -> Iterator[tuple[str, float]]:
    """Yield dotted key, number of everything in a table."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _numbers(inner, f"{key}.{name}" if key else name)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _numbers(inner, key)
    elif isinstance(value, int | float):
        if not abs(value) < float("inf"):
            raise ValueError(f"{key} is not finite")
        yield key, value


NetworkConfig = Annotated[dict[str, Any], AfterValidator(check_network)]


class BundleFile(Section):
    """One file of the bundle."""

    path: str
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    licence: str


class CodecSpec(Section):
    """How pixels become latents."""

    kind: Literal["space_to_depth", "autoencoder_kl", "autoencoder_tiny"]
    file: str | None = None
    factor: int = Field(8, ge=1, le=64)
    channels: int = Field(4, ge=1, le=MAX_NUMBER)
    scaling: float = Field(1.0, gt=1e-6, lt=1e6)
    config: NetworkConfig = Field(default_factory=dict)


class EncoderSpec(Section):
    """The image tower whose penultimate tokens are fused."""

    kind: Literal["mobilenet_v2", "clip"]
    file: str | None = None
    name: str = ""
    """`open_clip:ViT-H-14` asks for open_clip_torch; empty means transformers' tower."""
    image_size: int = Field(224, ge=8, le=MAX_SIDE)
    grid: int = Field(16, ge=1, le=128)
    width: int = Field(1280, ge=1, le=MAX_NUMBER)
    config: NetworkConfig = Field(default_factory=dict)


class UnetSpec(Section):
    """The denoising network: a diffusers class and its configuration."""

    kind: Literal["unet2d", "unet2d_condition"]
    file: str | None = None
    config: NetworkConfig = Field(default_factory=dict)


class AdapterSpec(Section):
    """How the fused map enters the UNet: variant A (in ResNet blocks) or B (replaces attn2)."""

    variant: Literal["A", "B"]
    file: str | None = None
    projector_file: str | None = None


class SamplerSpec(Section):
    """Sampler defaults; a preset's `[denoise]` overrides them."""

    kind: Literal["flow", "ddim", "unipc", "dpm++", "lcm"] = "flow"
    steps: int = Field(1, ge=1, le=1000)
    strength: float = Field(1.0, ge=0.0, le=1.0)
    guidance: float = Field(1.0, ge=0.0, le=100.0)
    noise: float = Field(1.0, ge=0.0, le=100.0)
    """Standard deviation of the start noise, in latent units."""
    residual: bool = False
    """Flow only: the network predicts the end point as a correction of the guide's latents."""
    correction: float = Field(1.0, gt=0.0, le=1.0)
    """Share of that correction that counts: below 1 some of the guide's own detail stays."""
    noise_published: float = Field(0.18215, ge=0.0, le=100.0)
    """Factor on the start noise in `published` mode (tests/goldens/PARITY.md, 8)."""


Shade = Annotated[float, Field(ge=-1.0, le=1.0)]


class BundleManifest(Section):
    """`bundle.toml`."""

    schema_version: Literal[1] = 1
    name: str
    description: str = ""
    resolution: int = Field(multiple_of=8, ge=8, le=MAX_SIDE)
    guide_channels: bool = False
    """Whether the UNet takes the guide as extra input channels."""
    hole_fill: tuple[Shade, Shade, Shade] = (0.0, 0.0, 0.0)
    """RGB in [-1, 1] of the hole in the target, for the codec and for the image encoder alike."""
    hole_noise: bool = False
    """Whether the target's latent is noise inside the hole (tests/goldens/PARITY.md, 8)."""
    codec: CodecSpec
    encoder: EncoderSpec
    unet: UnetSpec
    adapter: AdapterSpec
    sampler: SamplerSpec
    files: tuple[BundleFile, ...] = ()


def load_manifest(folder: Path) -> BundleManifest:
    """Read and validate `folder/bundle.toml`.

    Raises:
        WeightsError: no manifest there, or it is not valid.
    """
    path = folder / MANIFEST_NAME
    try:
        data = read_toml_file(path)
    except FileNotFoundError:
        raise WeightsError(
            f"{folder} is not a bundle: it holds no {MANIFEST_NAME}",
            hint="give the name of a bundle (`fapvideo weights list`) or such a folder",
        ) from None
    except OSError as error:
        raise WeightsError(f"{path} cannot be read: {error.strerror}") from None
    except TomlError as error:
        raise WeightsError(f"{path} is not readable as TOML: {error}") from None
    manifest, problems = validate(BundleManifest, data)
    if manifest is None:
        raise WeightsError(f"{path}: {len(problems)} problem(s), first: {problems[0]}")
    for entry in manifest.files:
        if not _is_inside(entry.path):
            raise WeightsError(f"{path}: {entry.path!r} is no file of the bundle's own folder")
    return manifest


def _is_inside(name: str) -> bool:
    """Return whether a name leads to a file below the folder that it is in, on any system."""
    parts = PurePosixPath(name).parts
    drive = PureWindowsPath(name)
    return (
        bool(parts) and ".." not in (*parts, *drive.parts) and not (name[0] in "/\\" or drive.drive)
    )
