"""A farm's bookkeeping, short: what benchmarks/farm.py does with ten thousand clips."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest

from fapvideo.run import batch_summary
from fapvideo.run.batch_summary import Diary, Summary


@pytest.fixture
def farm(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(checkout / "benchmarks")
    return importlib.import_module("farm")


def test_every_clip_is_finished_once_though_three_of_ten_attempts_are_killed(farm: Any) -> None:
    found = farm.simulate(60, 3, 16, 0.001, 0.3, lambda count: None)  # asserts the rest
    assert found["finished_exactly_once"] == 60
    assert found["killed"] > 40


def test_the_summary_takes_a_small_share_of_the_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, written = [0.0], list[float]()

    def write(self: Summary, folder: Path) -> None:
        written.append(now[0])
        now[0] += 1.0  # as ten thousand clips take

    monkeypatch.setattr(Summary, "write", write)
    monkeypatch.setattr(batch_summary.time, "monotonic", lambda: now[0])
    diary = Diary(Summary(), tmp_path)
    while now[0] < 5000:
        diary.write()
        now[0] += 0.1
    assert len(written) == 10
    assert written[0] == 0.0, "the first at once"
