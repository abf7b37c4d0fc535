"""The job list of `fapvideo batch jobs.toml`: inputs, outputs, and what differs between them.

[[jobs]]
input = "talk.mp4"
preset = "mine.toml"
set = { "denoise.steps" = 4 }
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, NamedTuple

from pydantic import Field

from fapvideo.config.casting import PersonConfig, Sources
from fapvideo.config.overrides import Tables
from fapvideo.config.presets import expanded, load_preset, read_toml
from fapvideo.config.problems import Problem, raise_problems, validate
from fapvideo.config.schema import RunPreset
from fapvideo.config.section import Section
from fapvideo.errors import PresetError


class JobConfig(Section):
    """`[[jobs]]`: one input, or several by a pattern, and what is done with it."""

    input: str = Field(min_length=1)
    """A video, a folder of videos, or a pattern (`clips/*.mp4`), relative to the file."""
    output: str | None = Field(None, min_length=1)
    """The file to write, relative to the file; unset: named as the input, in the output folder."""
    preset: str | None = Field(None, min_length=1)
    """Name of a preset, or a file relative to this one; unset: the command's."""
    set: dict[str, Any] = Field(default_factory=dict)
    """Dotted keys of the preset and other values, as `--set` has them; over the command's."""
    references: Sources = Field(default_factory=dict)
    """Part -> its images, in place of the preset's; others are not swapped."""
    people: tuple[PersonConfig, ...] = ()
    """Who gets what, in place of the preset's."""


class JobsFile(Section):
    """A job list."""

    schema_version: Literal[1] = 1
    """Of the format."""
    jobs: tuple[JobConfig, ...] = Field(min_length=1)
    """What is done, in this order."""


class ListedJob(NamedTuple):
    """One entry, ready to be used; paths are absolute."""

    input: str
    """A path or a pattern."""
    output: Path | None
    preset: RunPreset


def load_jobs(path: Path, preset: str, overrides: dict[str, Any]) -> tuple[ListedJob, ...]:
    """Read a job list, and every preset that it names.

    Args:
        path: the TOML file.
        preset: name or file of the preset where a job names none.
        overrides: dotted keys for every job, under those of its own.

    Raises:
        PresetError: with every problem of all jobs at once.
    """
    tables, folder = read_toml(path), path.resolve().parent
    listed, problems = validate(JobsFile, tables)
    raise_problems(str(path), problems, hint="docs/batch.md has the keys")
    assert listed is not None  # validate() gives a model or problems
    given = tables["jobs"]
    done: list[ListedJob] = []
    for number, job in enumerate(listed.jobs):
        try:
            done.append(_ready(job, given[number], folder, preset, overrides))
        except PresetError as error:
            # What a preset says of itself is one problem a line.
            first, *rest = str(error).splitlines()
            problems += [Problem(f"jobs.{number}", line.strip()) for line in rest or [first]]
    raise_problems(str(path), problems, hint="docs/batch.md has the keys")
    return tuple(done)


def _ready(
    job: JobConfig, given: Tables, folder: Path, preset: str, overrides: dict[str, Any]
) -> ListedJob:
    """Resolve one job.

    Raises:
        PresetError: with every problem of its own.
    """
    named = preset
    if job.preset is not None:
        is_file = job.preset.endswith(".toml") or Path(job.preset).name != job.preset
        named = str(folder / expanded(job.preset)) if is_file else job.preset
    own: dict[str, Any] = {**job.set}
    own |= {key: given[key] for key in ("references", "people") if key in given}
    output = None if job.output is None else folder / expanded(job.output)
    resolved = load_preset(load_preset(named, overrides), own, folder=folder)
    return ListedJob(str(folder / expanded(job.input)), output, resolved)
