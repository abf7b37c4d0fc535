"""`fapvideo jobs`, and engines that are not there."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

import fapvideo as package
from fapvideo.run.job import Job


@pytest.fixture
def job(preset: Path, tmp_path: Path) -> Path:
    """Return the folder of a job of twelve segments, none of which is done."""
    (tmp_path / "job").mkdir()
    of = {
        "preset": package.load_preset(str(preset)).model_dump(mode="json"),
        "container": ".mp4", "input": "0", "bundle": {},
    }  # fmt: skip
    facts = {"input": "talk.mp4", "warnings": [], "references": []}
    made = Job.create(tmp_path / "job", of, facts)
    made.save(segments=[(8 * number, 8) for number in range(12)])
    return made.folder


def test_jobs_prints_what_is_missing(
    fapvideo: Any, job: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = fapvideo("jobs", job)
    assert (result.code, result.out, result.err) == (0, "--array=0-11\n", "")
    genuine = Job.outcome
    monkeypatch.setattr(
        Job, "outcome", lambda self, one: "done" if one.index in (0, 4) else genuine(self, one)
    )
    assert fapvideo("jobs", job).out == "--array=1-3,5-11\n"
    told = json.loads(fapvideo("jobs", job, "--json").out)
    assert (told["segments"], told["array"]) == (12, "1-3,5-11")
    assert told["missing"] == [1, 2, 3, *range(5, 12)]
    monkeypatch.setattr(Job, "outcome", lambda *_: "done")
    assert fapvideo("jobs", job).out == "", "an array of nothing is no array"


def test_jobs_says_where_there_is_none(fapvideo: Any, tmp_path: Path, job: Path) -> None:
    result = fapvideo("jobs", tmp_path)
    assert result.code == 3
    assert "no folder of a job" in result.err
    content = Job.read(job)
    content.save(segments=[])
    assert "the first pass is not done" in fapvideo("jobs", job).err


@pytest.mark.parametrize("command", ["run", "batch"])
def test_without_the_extra_the_error_names_it(
    fapvideo: Any, clip: Path, preset: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    result = fapvideo(
        command, clip, "-o", clip.parent / "out", "-p", preset, "--engine", "ray", "--json"
    )
    assert result.code == 1
    (error,) = (event for event in result.events if event["event"] == "error")
    assert "needs Ray, which is not installed" in error["message"]
    assert "fapvideo[ray]" in error["hint"]


def test_an_unknown_engine_is_refused(fapvideo: Any, clip: Path) -> None:
    result = fapvideo("run", clip, "--engine", "dask")
    assert result.code == 2
    assert "'local', 'ray'" in result.err
