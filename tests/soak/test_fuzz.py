"""Files damaged by chance: each gives a result or an error of ours, soon and in little memory."""

from __future__ import annotations

import time
import warnings
from pathlib import Path

import pytest
import reliability
from fuzz_kinds import KINDS
from fuzzing import LONGEST_S, MOST_BYTES, fuzz, summary
from peaks import forget_peak, peak_bytes

from fapvideo.errors import FapVideoError

SHORT = {"video": 25, "picture": 200, "preset": 60, "manifest": 12, "pickle": 60, "cache": 60,
         "plan": 40, "job": 30}  # fmt: skip
"""Files of each kind in the normal tests."""
MANY = {"video": 2500, "picture": 1800, "preset": 1500, "manifest": 800, "pickle": 1200,
        "cache": 1000, "plan": 1200, "job": 600}  # fmt: skip
"""Of each kind in `pytest -m soak`: more than 10,000."""
FIRST = 100_000
ONCE_ESCAPED = {
    "job": [100425],
    "manifest": [1063],
    "plan": [1009, 1027, 1055, 1117, 1125, 1127, 1165, 1213],
}
"""Seeds that ended in something else once."""


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_few_damaged_files(kind: str, tmp_path: Path) -> None:
    tried, found, refused = KINDS[kind](tmp_path), [], 0
    seeds = [*ONCE_ESCAPED.get(kind, ()), *range(SHORT[kind])]
    for seed in seeds:
        before, started = forget_peak(), time.perf_counter()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                tried.attempt(seed)
        except FapVideoError:
            refused += 1
        except Exception as error:
            found.append(f"{kind} {seed}: {type(error).__name__}: {error}"[:300])
        if time.perf_counter() - started > LONGEST_S:
            found.append(f"{kind} {seed}: slow")
        if peak_bytes() - before > MOST_BYTES:
            found.append(f"{kind} {seed}: large")
    assert found == []
    assert refused or kind == "cache", "nothing was damaged enough to be refused"


@pytest.mark.soak
@pytest.mark.parametrize("kind", KINDS)
def test_many_damaged_files(kind: str) -> None:
    """In processes of their own, which may die; `fuzz_worker.py KIND SEED` shows one again."""
    found = []
    for tried in fuzz(kind, FIRST, MANY[kind]):
        found.append(tried)
        if len(found) % 100 == 0 or len(found) == MANY[kind]:
            faults = [one.fault for one in found if one.fault]
            row = {**summary(found), "faults": len(faults), "commit": reliability.commit()}
            reliability.record("damaged files", {kind: row})
    assert [one.fault for one in found if one.fault] == []


def test_every_kind_is_asked_ten_thousand_times_in_all() -> None:
    assert MANY.keys() == SHORT.keys() == KINDS.keys()
    assert sum(MANY.values()) >= 10_000
