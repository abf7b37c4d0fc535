"""A run's folder: everything that is done of it, so that a run that was stopped goes on.

.<output's name>.fapvideo/
  job.json           what it is of, its segments, what the report repeats
  plan/              of the first pass (`plan.store`)
  segments/NNNN.json what became of a segment; there only when the segment is whole
  segments/NNNN.packets  its pictures, encoded
  log.txt            what was done when
  lock, owner.json   of the run at work
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any, Self

import filelock

from fapvideo.config.schema import RunPreset
from fapvideo.errors import VideoReadError, VideoWriteError
from fapvideo.ops.files import (
    fitting_name,
    partial_name,
    remove,
    sha256_file,
    sweep_partial,
    write_text,
)
from fapvideo.ops.sealed import read_sealed, write_sealed
from fapvideo.plan.store import read_plan, write_plan
from fapvideo.plan.targets import Plan
from fapvideo.run.report import report_of, report_path, tracks_path
from fapvideo.run.segments import Outcome, Segment
from fapvideo.video.encoder import MUXERS
from fapvideo.video.writer import link_target

SCHEMA_VERSION = 1
TOLD = 3
"""Differences that are named."""


def job_folder(place: Path) -> Path:
    """Return where the work for the output at `place` is kept: hidden, beside it."""
    return place.with_name(fitting_name(f".{place.name}", ".fapvideo"))


class Job:
    """A folder with the work that is done of a run."""

    def __init__(self, folder: Path, content: dict[str, Any]) -> None:
        """Take what `create` or `read` found."""
        self.folder, self._content = folder, content
        self._plan: Plan | None = None

    @classmethod
    def create(cls, folder: Path, of: Mapping[str, Any], facts: Mapping[str, Any]) -> Self:
        """Begin anew in a folder; whatever is there of another job is removed.

        Args:
            folder: exists.
            of: what decides what comes out, as plain JSON types.
            facts: what else is to be known of the run.

        Raises:
            OSError: it cannot be written.
        """
        for path in folder.iterdir():
            if path.name not in _OF_THE_LOCK:
                remove(path)
        (folder / "segments").mkdir()
        job = cls(folder, {"schema_version": SCHEMA_VERSION, "of": dict(of), "facts": dict(facts)})
        job.save()
        return job

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Return the job in a folder.

        Raises:
            VideoReadError: there is none, or it is damaged.
        """
        path = folder / "job.json"
        try:
            content = read_sealed(path)
        except FileNotFoundError:
            raise VideoReadError(
                f"{folder} is no folder of a job: it has no job.json",
                hint="`fapvideo plan IN -o FOLDER` makes one",
            ) from None
        except (OSError, ValueError) as error:
            raise VideoReadError(
                f"{path} is damaged: {error}", hint="remove the folder, and start again"
            ) from error
        if content.get("schema_version") != SCHEMA_VERSION:
            raise VideoReadError(
                f"{path} is of another version of fapvideo",
                hint="remove the folder, and start again",
            )
        try:
            _check(content)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise VideoReadError(
                f"{path} says what cannot be: {str(error)[:300]}",
                hint="remove the folder, and start again",
            ) from error
        return cls(folder, content)

    @property
    def of(self) -> dict[str, Any]:
        """What decides what comes out."""
        return dict(self._content["of"])

    @property
    def facts(self) -> dict[str, Any]:
        """What else is known of the run: `input`, `output`, what the report repeats, `seconds`."""
        return dict(self._content["facts"])

    @property
    def finished(self) -> dict[str, Any]:
        """The report, where the output is whole; else nothing."""
        return dict(self._content.get("finished", {}))

    @property
    def joined(self) -> Path:
        """Where the finished output lies until it takes its name."""
        return self.folder / f"joined{self.of['container']}"

    @property
    def credentials(self) -> Path:
        """Where those of a finished output lie whose container holds none."""
        return self.folder / "credentials.c2pa"

    @property
    def lines(self) -> Path:
        """Where the lines lie that say what became of every face."""
        return self.folder / "tracks.jsonl"

    @property
    def segments(self) -> tuple[Segment, ...]:
        """The segments; none where the first pass is not done."""
        rows = self._content.get("segments", ())
        return tuple(Segment(index, *row) for index, row in enumerate(rows))

    def save(self, **content: Any) -> None:
        """Write `job.json` anew, with `content` in it.

        Raises:
            OSError: it cannot be written.
        """
        self._content |= content
        write_sealed(self.folder / "job.json", self._content)

    def say(self, text: str) -> None:
        """Put a line with the time into the log; it is not worth an error."""
        now = datetime.now().astimezone().isoformat(timespec="seconds")
        log = self.folder / "log.txt"
        with suppress(OSError), log.open("a", encoding="utf-8", errors="backslashreplace") as file:
            file.write(f"{now} {os.getpid()} {text}\n")

    # -------------------------------------------------------------------------- the first pass

    def keep_plan(
        self, plan: Plan, segments: Sequence[Segment], seconds: Mapping[str, float]
    ) -> Plan:
        """Keep the plan; return it as it will be read, with the landmarks on disk.

        Raises:
            VideoWriteError: it cannot be written.
        """
        try:
            write_plan(plan, self.folder / "plan", self.of)
            rows = [(segment.first, segment.frames) for segment in segments]
            self.save(segments=rows, facts={**self.facts, "seconds": dict(seconds)})
        except OSError as error:
            raise VideoWriteError(
                f"the plan cannot be kept in {self.folder}: {error.strerror or error}",
                hint="free space on the disk, or choose another folder for the output",
            ) from error
        self.say(f"followed {plan.frames} frames, to be painted in {len(segments)} segments")
        kept = self.plan()
        assert kept is not None
        return kept

    def plan(self) -> Plan | None:
        """Return the plan; None where the first pass is not done.

        Raises:
            VideoReadError: it is damaged.
        """
        if self._plan is None and self.segments:
            self._plan = read_plan(self.folder / "plan", self.of)
        return self._plan

    # -------------------------------------------------------------------------- the second pass

    def partial(self, segment: Segment) -> Path:
        """Return a new name for a segment that is being made."""
        return partial_name(self.packets_path(segment))

    def packets_path(self, segment: Segment) -> Path:
        """Return where the packets of a segment lie."""
        return self.folder / "segments" / f"{segment.index:04d}.packets"

    def keep(self, segment: Segment, packets: Path, outcome: Outcome) -> None:
        """Take a finished segment.

        Raises:
            VideoWriteError: it cannot be written.
        """
        place = self.packets_path(segment)
        try:
            packets.replace(place)
            text = {"segment": [segment.first, segment.frames], **outcome.to_dict()}
            write_sealed(place.with_suffix(".json"), text)
        except OSError as error:
            raise VideoWriteError(
                f"segment {segment.index} cannot be kept in {self.folder}: "
                f"{error.strerror or error}",
                hint="free space on the disk",
            ) from error
        last = segment.end - 1
        self.say(f"painted segment {segment.index}: frames {segment.first} to {last}")

    def outcome(self, segment: Segment) -> Outcome | None:
        """Return what became of a segment; None where it is not done, or not whole."""
        place = self.packets_path(segment)
        try:
            text = read_sealed(place.with_suffix(".json"))
            outcome = Outcome.from_dict(text)
            mine = text["segment"] == [segment.first, segment.frames]
            if mine and sha256_file(place) == outcome.packets.sha256:
                return outcome
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            pass
        return None

    def missing(self) -> tuple[Segment, ...]:
        """Return the segments that are not done."""
        return tuple(segment for segment in self.segments if self.outcome(segment) is None)

    def sweep(self) -> None:
        """Remove segments that nobody is making any more."""
        for path in (self.folder / "segments").iterdir():
            if ".partial" in path.name:
                remove(path)

    def remove(self) -> None:
        """Remove the folder and all that is in it."""
        shutil.rmtree(self.folder, ignore_errors=True)


def _check(content: Mapping[str, Any]) -> None:
    """See that everything in `job.json` that is looked up later is there, and of its type.

    Raises:
        KeyError, TypeError, ValueError, AttributeError: it is not.
    """
    of, facts = content["of"], content["facts"]
    RunPreset.model_validate(of["preset"])
    if of["container"] not in MUXERS:
        raise ValueError(f"container {of['container']!r:.40}")
    texts = of["input"], facts["input"], *facts["warnings"]
    if not all(isinstance(text, str) for text in texts) or isinstance(facts["warnings"], str):
        raise ValueError("something that is to be a text is none")
    for name, kind, value in (
        ("bundle", dict, of["bundle"]),
        ("references", list, facts["references"]),
        ("consent", dict, facts["consent"]),
    ):
        if not isinstance(value, kind):
            raise ValueError(f"{name} has another form")
    if not all(isinstance(spent, int | float) for spent in facts.get("seconds", {}).values()):
        raise ValueError("seconds that are no numbers")
    following = 0
    for first, frames in content.get("segments", ()):
        if type(first) is not int or type(frames) is not int or first != following or frames < 1:
            raise ValueError("its segments do not follow one another")
        following += frames
    if content.get("finished"):
        report_of(content["finished"])


_OF_THE_LOCK = ("lock", "owner.json")


class JobLock:
    """Keeps other runs away from a job's folder; use it as a context manager.

    The system takes the lock back when the process ends, however it ends.
    """

    def __init__(self, folder: Path, output: Path) -> None:
        """Make the folder, which is the one for `output`."""
        self.folder, self.output = folder, output
        self._lock = filelock.FileLock(folder / "lock", timeout=0)

    def __enter__(self) -> Self:
        """Take the lock; sweep what killed runs left of the output.

        Raises:
            VideoWriteError: another run is at work, or the folder cannot be made.
        """
        try:
            self.folder.mkdir(exist_ok=True, parents=False)
            self._lock.acquire()
        except filelock.Timeout:
            raise VideoWriteError(
                f"{self.output} is being written by another run{self._owner()}",
                hint="wait for it, or name another output",
            ) from None
        except OSError as error:
            raise VideoWriteError(
                f"{self.output}: the folder {self.folder.parent} cannot be written to "
                f"({error.strerror})",
                hint="choose another folder, or make it writable",
            ) from error
        owner = {"pid": os.getpid(), "host": platform.node(), "since": time.time()}
        write_text(self.folder / "owner.json", json.dumps(owner))
        for path in (link_target(self.output), report_path(self.output), tracks_path(self.output)):
            # Nobody else writes these now, so that whatever is half-written was left behind.
            sweep_partial(path)
        return self

    def __exit__(self, *_: object) -> None:
        """Release the lock; an empty folder goes."""
        (self.folder / "owner.json").unlink(missing_ok=True)
        if self.folder.is_dir() and not [p for p in self.folder.iterdir() if p.name != "lock"]:
            shutil.rmtree(self.folder, ignore_errors=True)
        self._lock.release()

    def _owner(self) -> str:
        """Return ` (process 123 on render-4)`, if it says so."""
        try:
            owner = json.loads((self.folder / "owner.json").read_text("utf-8"))
            return f" (process {int(owner['pid'])} on {owner['host']})"
        except (OSError, ValueError, KeyError, TypeError):
            return ""


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Return what differs between two jobs, by dotted key, the first few in words."""
    before, after = dict(_flat(old)), dict(_flat(new))
    keys = [key for key in {**before, **after} if before.get(key) != after.get(key)]
    told = [f"{key} ({_short(before.get(key))}, now {_short(after.get(key))})" for key in keys]
    more = [f"{len(told) - TOLD} more"] if len(told) > TOLD else []
    return [*told[:TOLD], *more]


def _flat(values: Any, prefix: str = "") -> list[tuple[str, Any]]:
    if isinstance(values, Mapping) and values:
        return [row for key, value in values.items() for row in _flat(value, f"{prefix}.{key}")]
    return [(prefix.lstrip("."), values)]


def _short(value: Any) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= 24 else f"{text[:20]}..."
