"""The manifest of a bundle: which files, which architecture, which defaults."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from fapvideo.config.section import Section
from fapvideo.errors import WeightsError

MANIFEST_NAME = "bundle.toml"
PUBLISHED_FILL = tuple(round(value / 127.5 - 1, 6) for value in (245, 223, 209))
"""`hole_fill` of the published model: the flat beige of its example picture's hole."""


class BundleFile(Section):
    """One file of the bundle."""

    path: str
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    licence: str


class CodecSpec(Section):
    """How pixels become latents."""

    kind: Literal["space_to_depth", "autoencoder_kl", "autoencoder_tiny"]
    file: str | None = None
    factor: int = 8
    channels: int = 4
    scaling: float = 1.0
    config: dict[str, Any] = Field(default_factory=dict)


class EncoderSpec(Section):
    """The image tower whose penultimate tokens are fused."""

    kind: Literal["mobilenet_v2", "clip"]
    file: str | None = None
    name: str = ""
    """`open_clip:ViT-H-14` asks for open_clip_torch; empty means transformers' tower."""
    image_size: int = 224
    grid: int = 16
    width: int = 1280
    config: dict[str, Any] = Field(default_factory=dict)


class UnetSpec(Section):
    """The denoising network: a diffusers class and its configuration."""

    kind: Literal["unet2d", "unet2d_condition"]
    file: str | None = None
    config: dict[str, Any] = Field(default_factory=dict)


class AdapterSpec(Section):
    """How the fused map enters the UNet: variant A (in ResNet blocks) or B (replaces attn2)."""

    variant: Literal["A", "B"]
    file: str | None = None
    projector_file: str | None = None


class SamplerSpec(Section):
    """Sampler defaults; a preset's `[denoise]` overrides them."""

    kind: Literal["flow", "ddim", "unipc", "dpm++", "lcm"] = "flow"
    steps: int = 1
    strength: float = 1.0
    guidance: float = 1.0
    noise: float = Field(1.0, ge=0.0)
    """Standard deviation of the start noise, in latent units."""
    residual: bool = False
    """Flow only: the network predicts the end point as a correction of the guide's latents."""
    correction: float = Field(1.0, gt=0.0, le=1.0)
    """Share of that correction that counts: below 1 some of the guide's own detail stays."""
    noise_published: float = 0.18215
    """Factor on the start noise in `published` mode (tests/goldens/PARITY.md, 8)."""


class BundleManifest(Section):
    """`bundle.toml`."""

    schema_version: Literal[1] = 1
    name: str
    description: str = ""
    resolution: int = Field(multiple_of=8)
    guide_channels: bool = False
    """Whether the UNet takes the guide as extra input channels."""
    hole_fill: tuple[float, float, float] = (0.0, 0.0, 0.0)
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
        return BundleManifest.model_validate(tomllib.loads(path.read_text("utf-8")))
    except FileNotFoundError:
        raise WeightsError(
            f"{folder} is not a bundle: it holds no {MANIFEST_NAME}",
            hint="give the name of a bundle (`fapvideo weights list`) or such a folder",
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise WeightsError(f"{path} is not readable as TOML: {error}") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        count = error.error_count()
        raise WeightsError(f"{path}: {count} problem(s), first: {where}: {first['msg']}") from None
