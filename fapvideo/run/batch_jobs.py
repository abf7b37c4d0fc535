"""What a batch is to do: inputs by path, folder and pattern, each with an output of its own."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from fapvideo.config.jobs import ListedJob
from fapvideo.config.presets import expanded
from fapvideo.config.problems import Problem, raise_problems
from fapvideo.config.schema import RunPreset
from fapvideo.errors import VideoReadError
from fapvideo.run.sinks import default_output

# fmt: off
VIDEOS = frozenset((
    ".3gp", ".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts",
    ".mxf", ".ogv", ".qt", ".ts", ".webm", ".wmv",
))
# fmt: on
"""Suffixes of what is taken from folders and patterns; a file that is named is taken as it is."""


@dataclass(frozen=True, slots=True)
class Job:
    """One clip: what is read, what is written, by which preset."""

    input: Path
    output: Path
    preset: RunPreset


def find_inputs(patterns: Iterable[str]) -> list[Path]:
    """Return the videos that paths, folders and patterns (`clips/*.mp4`, `**`) mean.

    In the order of the arguments, those of a folder or pattern by name; each once.

    Raises:
        VideoReadError: an argument means no video.
    """
    found: dict[Path, Path] = {}
    for text in patterns:
        path = expanded(text)
        if path.is_file():  # also one with a star or a bracket in its name
            matches = [path]
        elif path.is_dir():
            matches = _videos(path.iterdir())
        else:
            matches = _videos(map(Path, glob.glob(str(path), recursive=True)))  # noqa: PTH207
        if not matches:
            raise VideoReadError(
                f"{text}: no video there",
                hint=f"name a file, a folder, or a pattern; taken is {', '.join(sorted(VIDEOS))}",
            )
        for match in matches:
            found.setdefault(match.resolve(), match)
    return list(found.values())


def _videos(paths: Iterable[Path]) -> list[Path]:
    """Return the visible videos among files, by name."""
    return sorted(
        path
        for path in paths
        if path.suffix.lower() in VIDEOS and not path.name.startswith(".") and path.is_file()
    )


def output_in(folder: Path, source: Path) -> Path:
    """Return where the output of an input goes: its name, in a container that can be written."""
    return folder / (source.stem + default_output(source).suffix)


def jobs_of(inputs: Sequence[Path], preset: RunPreset, folder: Path) -> tuple[Job, ...]:
    """Return a job for every input, with outputs of the same names in `folder`.

    Raises:
        PresetError: two inputs would have the same output, or one would be overwritten.
    """
    return _checked([Job(path, output_in(folder, path), preset) for path in inputs])


def jobs_listed(listed: Iterable[ListedJob], folder: Path) -> tuple[Job, ...]:
    """Return the jobs of a list; outputs that it does not name go to `folder`.

    Raises:
        PresetError: as `jobs_of`, or a pattern of several inputs has one output.
        VideoReadError: an input is not there.
    """
    jobs, problems = [], list[Problem]()
    for number, entry in enumerate(listed):
        inputs = find_inputs([entry.input])
        if entry.output is not None and len(inputs) > 1:
            text = f"one file for the {len(inputs)} inputs of {entry.input}"
            problems.append(Problem(f"jobs.{number}.output", text))
        for path in inputs:
            jobs.append(Job(path, entry.output or output_in(folder, path), entry.preset))
    raise_problems("the job list", problems, hint="leave out the output, or name one input")
    return _checked(jobs)


def _checked(jobs: Sequence[Job]) -> tuple[Job, ...]:
    """See that every output is its own, and no input.

    Raises:
        PresetError: with everything that is not so.
    """
    inputs = {_place(job.input): job.input for job in jobs}
    makers: dict[str, list[Path]] = {}
    for job in jobs:
        makers.setdefault(_place(job.output), []).append(job.input)
    problems = []
    for job in jobs:
        place = _place(job.output)
        others = makers.pop(place, [])
        if len(others) > 1:
            names = " and ".join(map(str, others))
            problems.append(Problem(str(job.output), f"is what {names} would all be written to"))
        if others and place in inputs:
            problems.append(Problem(str(job.output), "is an input, too"))
    raise_problems(
        "outputs", problems, hint="choose another output folder, or name outputs in a job list"
    )
    return tuple(jobs)


def _place(path: Path) -> str:
    """Return what is the same for all names of one file."""
    return os.path.normcase(path.resolve())
