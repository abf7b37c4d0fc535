"""Configuration: the only home of defaults."""

from fapvideo.config.overrides import parse_overrides
from fapvideo.config.presets import (
    PresetEntry,
    check_preset,
    copy_preset,
    dump_preset,
    find_preset,
    list_presets,
    load_preset,
)
from fapvideo.config.schema import RunPreset

__all__ = [
    "PresetEntry",
    "RunPreset",
    "check_preset",
    "copy_preset",
    "dump_preset",
    "find_preset",
    "list_presets",
    "load_preset",
    "parse_overrides",
]
