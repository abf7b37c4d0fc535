"""Configuration of `fapvideo train`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from fapvideo.config.overrides import merge, nest
from fapvideo.config.presets import find_preset, read_toml
from fapvideo.config.problems import raise_problems, validate
from fapvideo.config.section import Fraction01, Section


class DataConfig(Section):
    """`[data]`: photos and videos, and how samples are made from them."""

    sets: tuple[str, ...] = ("us_congress",)
    """Public sets by name (`fapvideo/training/faces/sets.toml`), used where no `--data` is given;
    with none, what comes with the package."""
    min_presence: Fraction01 = 0.9
    """Smallest probability the mesh gives that there is a face: covered ones have less."""
    max_yaw_deg: float = Field(25.0, gt=0.0, le=90.0)
    """Faces turned further to a side are left out."""
    min_face_px: int = Field(28, ge=8)
    """Smallest inter-ocular distance in the photo, pixels."""
    min_sharpness: float = Field(20.0, ge=0.0)
    """Smallest variance of the aligned crop's Laplacian (0..255 scale)."""
    min_colour: float = Field(0.0, ge=0.0)
    """Smallest deviation of colours from what brightness alone says of them, CIE Lab units: prints
    in one ink and toned scans, which mostly carry dots or a frame, have less than 2.4."""
    leave_out: tuple[str, ...] = ()
    """Names of files that are not used, such as photos of another origin; they count for
    `holdout`."""
    enlarge: bool = False
    """Photos smaller than the crop are made four times larger by Real-ESRGAN, once: fractions of a
    second each on a GPU, seconds on a CPU. Downloads 44 MB."""
    video_frames: int = Field(24, ge=1)
    """Frames of a video at most: sharp ones, spread over it, unlike each other."""
    one_person: bool = False
    """Files that lie directly in a `--data` folder all show the same person."""
    holdout: int = Field(10, ge=2)
    """Every n-th file by sorted name, photo or whole video, is never trained on."""
    pool: int = Field(8000, ge=16)
    """Samples made in advance; each draws new partners, parts and errors."""
    heldout_pool: int = Field(256, ge=1)
    """Samples of held-out faces, for the metrics."""
    cycle: Fraction01 = 0.65
    """Share of samples whose reference went through another person's face first (swap cycle)."""
    same_person: Fraction01 = 0.3
    """Share of samples with another photo or moment of the person as reference, if there is one."""
    relight: Fraction01 = 0.0
    """Share of samples whose target is seen in another light: few photos look too much alike."""
    soft: Fraction01 = 0.2
    """Share of samples whose target is as small, moved, noisy or compressed as video is."""
    moments: Fraction01 = 0.0
    """Share of samples that come in pairs, two moments of one swap: the photo is animated, with any
    expression and turned by up to 40 degrees. For `optim.temporal_weight`."""
    errors: Fraction01 = 0.5
    """Share of samples whose guide has misplaced landmarks, and lacks steps of colour and light."""
    intact: Fraction01 = 0.1
    """Share of samples whose guide is right as it is: what needs no correction should get none."""
    occluders: Fraction01 = 0.2
    """Share of samples with something drawn before a face: hands, hair, glasses, microphones."""
    all_parts: Fraction01 = 0.6
    """Share of samples in which every part is swapped."""


class ModelConfig(Section):
    """`[model]`: which network, and its size."""

    kind: Literal["embedded", "sd15_adapter"] = "embedded"
    """`embedded`: a small UNet of one's own, described below. `sd15_adapter`: the injection on the
    UNet of bundle `start`, of which only `variant` and `resolution` are chosen here."""
    variant: Literal["A", "B"] = "A"
    """Where the tokens are added: in ResNet blocks, or in place of cross-attention (`sd15_adapter`
    only). Another variant than `start`'s begins at zero."""
    resolution: int = Field(128, multiple_of=32)
    """Side of the face crop, pixels."""
    factor: int = Field(4, ge=2)
    """Space-to-depth factor; the UNet works on resolution / factor."""
    channels: tuple[Annotated[int, Field(ge=32, multiple_of=32)], ...] = (64, 128, 256)
    """Of each level; the deepest has self-attention."""
    layers: int = Field(1, ge=1)
    """ResNet blocks per level on the way down; one more on the way up."""
    guide: bool = True
    """Whether the network sees the guide as input channels."""
    encoder: Literal["imagenet", "random"] = "imagenet"
    """Weights of the MobileNetV2 image tower; `random` ones are drawn from the seed."""

    @model_validator(mode="after")
    def _fits(self) -> ModelConfig:
        if self.kind == "sd15_adapter":
            if self.resolution % 64:
                raise ValueError(f"resolution {self.resolution} is not a multiple of 64")
            return self
        if self.variant == "B":
            raise ValueError("variant B needs cross-attention: kind = 'sd15_adapter'")
        coarsest = self.factor * 2 ** (len(self.channels) - 1)
        if not self.channels or self.resolution % coarsest:
            raise ValueError(
                f"resolution {self.resolution} is not a multiple of factor {self.factor} times"
                f" 2 for each level but one of channels {self.channels}"
            )
        return self


class OptimConfig(Section):
    """`[optim]`: schedule and losses."""

    batch_size: int = Field(16, ge=1)
    """Samples in a step."""
    steps: int = Field(20_000, ge=1)
    """Length of the training."""
    learning_rate: float = Field(3e-4, gt=0.0)
    """At the start; falls in a straight line to a tenth at the last step."""
    warmup: int = Field(200, ge=0)
    """Steps in which the learning rate rises from zero."""
    weight_decay: float = Field(1e-2, ge=0.0)
    """Of AdamW."""
    ema: float = Field(0.999, ge=0.0, lt=1.0)
    """Decay of the weights' moving average, which is what gets exported."""
    grad_clip: float = Field(1.0, gt=0.0)
    """Largest norm of the gradient."""
    noise: float = Field(0.075, ge=0.0)
    """Standard deviation of the start noise, pixel values in [-1, 1]."""
    guide_dropout: Fraction01 = 0.15
    """Share of samples without a guide: the tokens alone say what the part looks like."""
    injection_dropout: Fraction01 = 0.1
    """Share of samples without tokens; never without both."""
    outside_weight: float = Field(0.1, ge=0.0)
    """What an error outside the hole counts, against 1 inside."""
    gradient_weight: float = Field(0.5, ge=0.0)
    """Of the error in the differences of neighbouring pixels."""
    perceptual_weight: float = Field(1.0, ge=0.0)
    """Of the perceptual distance (LPIPS); 0 does without, and downloads nothing for it."""
    token_weight: float = Field(1.0, ge=0.0)
    """Of the distance between the image tower's tokens of result and truth: what is injected should
    be found again in what comes out."""
    temporal_weight: float = Field(0.0, ge=0.0)
    """Of how differently two moments of one swap are off; needs `data.moments`. Batches are then of
    pairs."""
    adversarial_weight: float = Field(0.0, ge=0.0)
    """Of how unreal the parts look to a patch discriminator; 0 does without."""
    adversarial_start: Fraction01 = 0.8
    """Share of the steps after which it acts: sharpness is for the last part."""
    train_unet: bool = True
    """Whether the UNet learns, too, or only what is injected into it (`sd15_adapter` only)."""
    checkpointing: bool = False
    """Compute activations twice instead of keeping them: less memory, a third more time."""
    compile: bool = False
    """Compile the UNet by torch.compile: minutes at the start, for long runs on a GPU."""
    save_minutes: float = Field(4.0, gt=0.0)
    """Between checkpoints; stopping saves in any case."""
    sheet_steps: int = Field(500, ge=1)
    """Between pictures."""
    eval_steps: int = Field(500, ge=1)
    """Between rows of `log.csv`."""


class TrainPreset(Section):
    """Everything one training run needs; see `presets/train/*.toml`."""

    schema_version: Literal[1] = 1
    """Of the preset's format."""
    name: str = "unnamed"
    """Of the bundle that is made; by default the file's name."""
    description: str = ""
    """One line about it."""
    seed: int = Field(0, ge=0)
    """Of samples, first weights and noise."""
    start: str = ""
    """Bundle (name or folder) whose weights and image tower training starts from; empty: random."""
    data: DataConfig = DataConfig()
    model: ModelConfig = ModelConfig()
    optim: OptimConfig = OptimConfig()

    @model_validator(mode="after")
    def _consistent(self) -> TrainPreset:
        if self.optim.temporal_weight > 0:
            if self.data.moments == 0 or self.model.kind != "embedded":
                raise ValueError(
                    "optim.temporal_weight needs data.moments above 0 and model.kind = 'embedded'"
                )
            if self.optim.batch_size % 2 or self.data.pool % 2:
                raise ValueError(
                    "optim.temporal_weight needs an even optim.batch_size and data.pool"
                )
        if self.model.kind == "embedded":
            if not self.optim.train_unet:
                raise ValueError("optim.train_unet = false needs model.kind = 'sd15_adapter'")
            return self
        if not self.start:
            raise ValueError("model.kind = 'sd15_adapter' needs start, the bundle to train")
        for name in ("perceptual_weight", "token_weight", "adversarial_weight"):
            if getattr(self.optim, name) > 0:
                raise ValueError(f"optim.{name} has to be 0: sd15_adapter is trained on latents")
        return self


def load_train_preset(
    name_or_path: str | Path, overrides: Mapping[str, Any] | None = None
) -> TrainPreset:
    """Read `presets/train/NAME.toml` or a file, put `overrides` (dotted keys) over it, validate.

    Raises:
        PresetError: no such preset, or everything that is wrong with it at once.
    """
    path = find_preset(name_or_path, "train")
    tables = merge({"name": path.stem, **read_toml(path)}, nest(overrides or {}))
    preset, problems = validate(TrainPreset, tables)
    raise_problems(f"training preset {path.stem}", problems, hint="docs/training.md has the keys")
    assert preset is not None  # validate() gives a model or problems
    return preset
