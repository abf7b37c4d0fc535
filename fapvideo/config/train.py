"""Configuration of `fapvideo train`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from fapvideo.config.schema import Fraction01, Section


class DataConfig(Section):
    """`[data]`: photos and how samples are made from them."""

    sets: tuple[str, ...] = ("celeba_sample",)
    """Public sets by name (`fapvideo/training/sets.toml`), used where no `--data` is given."""
    min_presence: Fraction01 = 0.9
    max_yaw_deg: float = Field(25.0, gt=0.0, le=90.0)
    min_face_px: int = Field(28, ge=8)
    """Smallest inter-ocular distance in the photo, pixels."""
    holdout: int = Field(10, ge=2)
    """Every n-th photo by sorted name is never trained on."""
    pool: int = Field(8000, ge=16)
    """Samples made in advance; each draws new partners, parts and errors."""
    cycle: Fraction01 = 0.65
    """Share of samples whose reference went through another person's face first (swap cycle)."""
    all_parts: Fraction01 = 0.6
    """Share of samples in which every part is swapped."""


class ModelConfig(Section):
    """`[model]`: size of the network."""

    resolution: int = Field(128, multiple_of=32)
    factor: int = Field(4, ge=2)
    """Space-to-depth factor; the UNet works on resolution / factor."""
    channels: tuple[int, ...] = (64, 128, 256)
    layers: int = Field(1, ge=1)
    injection: bool = True
    guide: bool = True


class OptimConfig(Section):
    """`[optim]`: schedule and losses."""

    batch_size: int = Field(16, ge=1)
    steps: int = Field(20_000, ge=1)
    learning_rate: float = Field(3e-4, gt=0.0)
    warmup: int = Field(200, ge=0)
    weight_decay: float = Field(1e-2, ge=0.0)
    ema: float = Field(0.999, ge=0.0, lt=1.0)
    grad_clip: float = Field(1.0, gt=0.0)
    noise: float = Field(0.15, ge=0.0)
    """Standard deviation of the start noise, pixel values in [-1, 1]."""
    guide_dropout: Fraction01 = 0.15
    injection_dropout: Fraction01 = 0.1
    outside_weight: float = Field(0.1, ge=0.0)
    gradient_weight: float = Field(0.5, ge=0.0)
    perceptual_weight: float = Field(0.5, ge=0.0)
    save_minutes: float = Field(4.0, gt=0.0)
    sheet_steps: int = Field(500, ge=1)
    eval_steps: int = Field(500, ge=1)


class TrainPreset(Section):
    """Everything one training run needs; see `presets/train/*.toml`."""

    schema_version: Literal[1] = 1
    name: str = "unnamed"
    description: str = ""
    kind: Literal["embedded", "debug"] = "embedded"
    seed: int = Field(0, ge=0)
    data: DataConfig = DataConfig()
    model: ModelConfig = ModelConfig()
    optim: OptimConfig = OptimConfig()
