"""Configuration of `fapvideo eval --suite`, and the thresholds a result is judged by."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from fapvideo.config.casting import named_parts
from fapvideo.config.overrides import merge, nest
from fapvideo.config.presets import (
    ASSETS,
    PACKAGE,
    PACKAGED_PREFIX,
    expanded,
    find_preset,
    is_file,
    packaged_file,
    read_toml,
)
from fapvideo.config.problems import raise_problems, validate
from fapvideo.config.schema import VideoConfig
from fapvideo.config.section import Part, Section
from fapvideo.errors import PresetError
from fapvideo.parts import TRAINED

EXAMPLE_PREFIX = "example:"
SYSTEMS = ("embedded", "guide", "paste", "poisson", "noop")
"""Systems that need nothing but their name."""
BASELINES = ("guide", "paste", "poisson", "noop")
"""What a result has to be better than; judged by thresholds only where nothing else was run."""


class ClipConfig(Section):
    """`[[clips]]`: one video to swap in, and what. Exactly one of `path`, `set`, `portrait`."""

    name: str = Field(pattern=r"^[a-z0-9_]+$")
    """Of the clip in the results."""
    path: str = ""
    """A video, relative to the preset; `example:NAME` comes with the package."""
    set: str = ""
    """A public set (`fapvideo/training/faces/sets.toml`), downloaded once."""
    member: str = ""
    """Which file of the set."""
    portrait: str = ""
    """A photo that is made to talk (`evaluation.animate`): its true landmarks are known."""
    side: int = Field(320, ge=64, multiple_of=2)
    """Width and height of the talking portrait, pixels."""
    seconds: float = Field(2.0, gt=0.0)
    """Length of the talking portrait, 25 frames a second."""
    start_s: float = Field(0.0, ge=0.0)
    """Where the stretch that is swapped begins, seconds."""
    end_s: float | None = Field(None, gt=0.0)
    """Where it ends, seconds; unset: at the end."""
    preset: str = "brand_avatar"
    """Run preset, by name or path: references, masks and all."""
    references: dict[Part, tuple[str, ...]] = Field(
        default_factory=dict, json_schema_extra=named_parts
    )
    """Part -> images, instead of the preset's."""
    settings: dict[str, Any] = Field(default_factory=dict)
    """Changes to the preset, dotted keys as for `--set`."""
    itself: bool = False
    """The references are the speaker's own photo: the truth is the source (`truth.*`)."""

    @field_validator(
        "references", mode="before", json_schema_input_type=dict[Part, str | tuple[str, ...]]
    )
    @classmethod
    def _as_lists(cls, value: Any) -> Any:
        """Accept `part = "a.png"`."""
        if not isinstance(value, dict):
            return value
        return {
            part: tuple(entry) if isinstance(entry, list) else (entry,)
            for part, entry in value.items()
        }

    @model_validator(mode="after")
    def _one_source(self) -> ClipConfig:
        given = [key for key in ("path", "set", "portrait") if getattr(self, key)]
        if len(given) != 1:
            raise ValueError("give exactly one of path, set and portrait")
        if self.set and not self.member:
            raise ValueError("set needs a member")
        VideoConfig(start_s=self.start_s, end_s=self.end_s)
        return self


class PairsConfig(Section):
    """`[pairs]`: photos of people with the parts of other people."""

    count: int = Field(0, ge=0)
    """How many; 0 leaves them out."""
    set: str = "celeba_sample"
    """A public set of photos."""
    folder: str = ""
    """Photos of one's own instead of `set`, relative to the preset."""
    training: str = "celeba"
    """Training preset whose held-out photos are used, and what it demands of photos."""
    seed: int = Field(0, ge=0)
    """Decides who gets whose parts."""
    preset: str = "brand_avatar"
    """Run preset."""
    settings: dict[str, Any] = Field(default_factory=dict)
    """Changes to the preset, dotted keys as for `--set`."""
    parts: tuple[Part, ...] = Field(TRAINED, min_length=1)
    """Which are swapped."""
    reference: str = ""
    """One image whose parts all get; empty: another held-out photo each."""


class Threshold(Section):
    """What a metric's value must not leave."""

    min: float | None = None
    """Lowest value that passes."""
    max: float | None = None
    """Highest value that passes."""

    @model_validator(mode="after")
    def _some(self) -> Threshold:
        if self.min is None and self.max is None:
            raise ValueError("give min, max or both")
        return self


class EvalPreset(Section):
    """Everything one suite needs; see `presets/eval/*.toml`."""

    schema_version: Literal[1] = 1
    """Of the preset's format."""
    name: str = "unnamed"
    """Of the suite; by default the file's name."""
    description: str = ""
    """One line about it."""
    systems: tuple[str, ...] = Field(SYSTEMS, min_length=1)
    """What is compared: embedded, guide, paste, poisson, noop, `bundle=DIR`, a changed value of the
    preset such as `denoise.steps=4`, `name=PATH`."""
    fetch: tuple[str, ...] = ()
    """Public sets that metrics use, such as `perceptual`; downloaded once."""
    inception: str = ""
    """TorchScript file of an Inception network, relative to the preset, for `frechet.inception`."""
    clips: tuple[ClipConfig, ...] = ()
    """Videos to swap in."""
    pairs: PairsConfig = PairsConfig()
    thresholds: dict[str, Threshold] = Field(default_factory=dict)
    """Metric key (a piece may be `*`) -> bounds, for `--fail-under`."""

    @model_validator(mode="after")
    def _distinct(self) -> EvalPreset:
        names = [clip.name for clip in self.clips]
        if len(set(names)) < len(names) or "pairs" in names:
            raise ValueError("clips need names of their own, and none may be called pairs")
        if not names and not self.pairs.count:
            raise ValueError("a suite needs clips or pairs")
        return self


def load_eval_preset(
    name_or_path: str | Path, overrides: Mapping[str, Any] | None = None
) -> EvalPreset:
    """Read `presets/eval/NAME.toml` or a file, put `overrides` (dotted keys) over it, validate.

    Relative paths start at the file's folder, `pkg:NAME` and `example:NAME` come with the package.

    Raises:
        PresetError: no such preset or file, or everything that is wrong with it at once.
    """
    path = find_preset(name_or_path, "eval")
    tables = merge({"name": path.stem, **read_toml(path)}, nest(overrides or {}))
    preset, problems = validate(EvalPreset, tables)
    raise_problems(f"suite {path.stem}", problems, hint="docs/evaluation.md has the keys")
    assert preset is not None  # validate() gives a model or problems
    folder = path.resolve().parent
    paths = {
        name: _resolved(getattr(preset.pairs, name), folder) for name in ("folder", "reference")
    }
    paths["preset"] = _preset_path(preset.pairs.preset, folder)
    pairs = preset.pairs.model_copy(update=paths)
    clips = tuple(_absolute(clip, folder) for clip in preset.clips)
    inception = _resolved(preset.inception, folder)
    return preset.model_copy(update={"clips": clips, "pairs": pairs, "inception": inception})


def _absolute(clip: ClipConfig, folder: Path) -> ClipConfig:
    """Make a clip's paths absolute and check that its files are there."""
    changes: dict[str, Any] = {
        "path": _resolved(clip.path, folder),
        "portrait": _resolved(clip.portrait, folder),
        "preset": _preset_path(clip.preset, folder),
        "references": {
            part: tuple(_resolved(path, folder) for path in paths)
            for part, paths in clip.references.items()
        },
    }
    for text in (changes["path"], changes["portrait"], *sum(changes["references"].values(), ())):
        if text and not is_file(Path(text)):
            raise PresetError(f"clip {clip.name}: file not found: {text}")
    return clip.model_copy(update=changes)


def _resolved(text: str, folder: Path) -> str:
    """Return a path of an eval preset as an absolute one; empty stays empty."""
    if text.startswith(PACKAGED_PREFIX):
        return str(packaged_file(ASSETS, text.removeprefix(PACKAGED_PREFIX)))
    if text.startswith(EXAMPLE_PREFIX):
        return str(packaged_file(examples_root(), text.removeprefix(EXAMPLE_PREFIX)))
    return str((folder / expanded(text)).resolve()) if text else ""


def _preset_path(text: str, folder: Path) -> str:
    """Return a run preset's name as it is, and its path made absolute."""
    return _resolved(text, folder) if text.endswith(".toml") else text


def examples_root() -> Path:
    """Return the folder of the example clip: in an installed wheel, or beside the package."""
    installed = PACKAGE / "_examples"
    return installed if installed.is_dir() else PACKAGE.parent / "examples"
