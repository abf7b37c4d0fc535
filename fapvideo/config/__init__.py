"""Configuration: the only home of defaults."""

from fapvideo.config.presets import copy_preset, dump_preset

__all__ = ["copy_preset", "dump_preset"]
