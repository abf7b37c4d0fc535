"""What became of the clips of a batch: `summary.json` and `summary.csv`, the worst first."""

from __future__ import annotations

import csv
import io
import json
import logging
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

import fapvideo
from fapvideo.config.problems import validate
from fapvideo.config.section import Section
from fapvideo.errors import FapVideoError, PresetError
from fapvideo.ops.files import write_text
from fapvideo.run.batch_jobs import Job
from fapvideo.run.done import made_from

log = logging.getLogger(__name__)

JSON_NAME, CSV_NAME = "summary.json", "summary.csv"
STRETCHES = 5
"""The longest stretches of a clip that fell back, in the summary; its report has them all."""
SHARE = 0.002
"""Of the time of a batch that writing the summary may take: of 10,000 clips it takes a second."""

Status = Literal["done", "skipped", "failed", "left"]


class Failure(Section):
    """Why a clip failed, as the command line says it."""

    type: str
    message: str
    hint: str = ""
    exit_code: int = 1


class Outcome(Section):
    """What became of one clip."""

    input: str
    output: str
    preset: str
    """Its name."""
    status: Status = "left"
    """`skipped`: it was done before; `left`: not come to."""
    frames: int = 0
    swapped: int = 0
    """Frames."""
    fell_back: int = 0
    """Frames in which a face that was asked for was held, faded or left."""
    reasons: dict[str, int] = Field(default_factory=dict)
    """Code of `structs.REASONS` -> frames, the most frequent first."""
    stretches: tuple[dict[str, Any], ...] = ()
    """The longest that fell back: rows of the report's `frame_log`."""
    warnings: tuple[str, ...] = ()
    seconds: float = 0.0
    error: Failure | None = None
    files: dict[str, str] = Field(default_factory=dict)
    """Path -> SHA-256 of the pictures and models that it was made with."""

    @classmethod
    def of_nothing(cls, job: Job) -> Outcome:
        """Return what is known of a job that was not come to."""
        return cls(input=str(job.input), output=str(job.output), preset=job.preset.name)

    @classmethod
    def of_report(cls, job: Job, status: Status, report: Mapping[str, Any]) -> Outcome:
        """Return what a report says of a job."""
        spans = [span for span in report["frame_log"] if span["reason"] != "not_cast"]
        length = {id(span): span["last"] - span["first"] + 1 for span in spans}
        reasons: Counter[str] = Counter()
        for span in spans:
            reasons[span["reason"]] += length[id(span)]
        fell = {frame for span in spans for frame in range(span["first"], span["last"] + 1)}
        longest = sorted(spans, key=lambda span: (-length[id(span)], span["first"]))
        return cls.of_nothing(job).model_copy(
            update={
                "status": status,
                "frames": report["frames"]["total"],
                "swapped": report["frames"]["swapped"],
                "fell_back": len(fell),
                "reasons": dict(reasons.most_common()),
                "stretches": tuple(longest[:STRETCHES]),
                "warnings": tuple(report["warnings"]),
                "seconds": report["timings"].get("wall_s", 0.0),
                "files": made_from(job.preset),
            }
        )

    @classmethod
    def of_error(cls, job: Job, error: Exception, seconds: float) -> Outcome:
        """Return that a job failed, and why."""
        name, text = type(error).__name__, str(error)
        ours = isinstance(error, FapVideoError)
        failure = Failure(
            type=name,
            message=text if ours else f"unexpected {name}: {text}",
            hint=error.hint if isinstance(error, FapVideoError) else "",
            exit_code=error.exit_code if isinstance(error, FapVideoError) else 1,
        )
        done = {"status": "failed", "error": failure, "seconds": round(seconds, 3)}
        return cls.of_nothing(job).model_copy(update=done)

    @property
    def badness(self) -> tuple[Any, ...]:
        """Sort by this: what failed, then by frames that fell back, reasons, warnings."""
        place = {"failed": 0, "done": 1, "skipped": 1, "left": 2}[self.status]
        return place, -self.fell_back, -len(self.reasons), -len(self.warnings), self.output


class Summary:
    """The outcomes of a batch by output; every change is written whole or not at all."""

    def __init__(self, outcomes: Iterable[Outcome] = ()) -> None:
        """Take the outcomes, at most one for each output."""
        self._rows = {one.output: one for one in outcomes}

    @classmethod
    def of_jobs(cls, jobs: Iterable[Job]) -> Summary:
        """Return the summary of jobs before the first is done."""
        return cls(Outcome.of_nothing(job) for job in jobs)

    @property
    def worst_first(self) -> tuple[Outcome, ...]:
        """All outcomes."""
        return tuple(sorted(self._rows.values(), key=lambda one: one.badness))

    @property
    def counts(self) -> dict[str, int]:
        """Clips in all and by status."""
        found = Counter(one.status for one in self._rows.values())
        statuses: Sequence[Status] = ("done", "skipped", "failed", "left")
        return {"total": len(self._rows), **{status: found[status] for status in statuses}}

    def of(self, job: Job) -> Outcome:
        """Return what became of a job; `left` where nothing is known."""
        return self._rows.get(str(job.output)) or Outcome.of_nothing(job)

    def files(self, job: Job) -> Mapping[str, str]:
        """Return path -> SHA-256 of what a job's output was made with, as far as that is known."""
        return self.of(job).files

    def keep(self, last: Summary) -> None:
        """Take over what an earlier summary says of the same jobs."""
        self._rows |= {key: one for key, one in last._rows.items() if key in self._rows}

    def add(self, outcome: Outcome) -> None:
        """Note what became of a job, in place of what is known of it."""
        self._rows[outcome.output] = outcome

    def write(self, folder: Path) -> None:
        """Write both files; where that cannot be, say so and go on: the clips are there."""
        rows = [one.model_dump(mode="json") for one in self.worst_first]
        told = {
            "schema_version": 1,
            "version": fapvideo.__version__,
            "counts": self.counts,
            "clips": rows,
        }
        try:
            write_text(folder / JSON_NAME, json.dumps(told, indent=1) + "\n")
            write_text(folder / CSV_NAME, _csv(self.worst_first))
        except OSError as error:
            log.warning("%s: no summary written: %s", folder, error.strerror or error)


class Diary:
    """Writes a summary as it grows: soon after every change, for a small share of the time.

    Whoever is killed in between loses no clip: what is done is told by the outputs themselves.
    """

    def __init__(self, summary: Summary, folder: Path) -> None:
        """Begin with the next change."""
        self._summary, self._folder, self._due = summary, folder, float("-inf")

    def write(self) -> None:
        """Write it, unless that was done a short time ago as compared with how long it takes."""
        started = time.monotonic()
        if started >= self._due:
            self._summary.write(self._folder)
            ended = time.monotonic()
            self._due = ended + (ended - started) / SHARE


def read_summary(folder: Path) -> Summary | None:
    """Return the summary in a folder; None without one.

    Raises:
        PresetError: it is damaged.
    """
    path = folder / JSON_NAME
    try:
        rows = json.loads(path.read_text("utf-8"))["clips"]
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
        raise PresetError(f"{path} is damaged: {error}", hint="remove it") from None
    outcomes = []
    for row in rows if isinstance(rows, list) else [rows]:
        outcome, problems = validate(Outcome, row if isinstance(row, dict) else {})
        if outcome is None:
            raise PresetError(f"{path} is damaged: {problems[0]}", hint="remove it")
        outcomes.append(outcome)
    return Summary(outcomes)


def _csv(outcomes: Iterable[Outcome]) -> str:
    """Return a table for spreadsheets; bytes of names that are no text are written as escapes."""
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\n")
    table.writerow(
        ("output", "status", "frames", "swapped", "fell_back", "reasons", "warnings", "seconds",
         "preset", "input", "error")
    )  # fmt: skip
    for one in outcomes:
        reasons = "; ".join(f"{code} {count}" for code, count in one.reasons.items())
        error = "" if one.error is None else one.error.message
        table.writerow(
            (one.output, one.status, one.frames, one.swapped, one.fell_back, reasons,
             " | ".join(one.warnings), one.seconds, one.preset, one.input, error)
        )  # fmt: skip
    return out.getvalue().encode("utf-8", "backslashreplace").decode()
