"""Killed at any moment, a run leaves nothing half-made, and the next one makes the same output."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import reliability
from killing import Kill, Kills
from programs import Programs

MANY = 100
FRAMES, MORE_FRAMES = 10, 20


@contextmanager
def prepared(factory: pytest.TempPathFactory, frames: int) -> Iterator[Kills]:
    folder = factory.mktemp("kills")
    temporary = folder / "tmp"
    temporary.mkdir()
    with Programs(TMPDIR=str(temporary), XDG_CACHE_HOME=str(folder / "cache")) as programs:
        yield Kills(programs, folder, temporary, frames)


@pytest.fixture(scope="module")
def kills(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kills]:
    with prepared(tmp_path_factory, FRAMES) as made:
        yield made


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "share", "times"),
    [(signal.SIGKILL, 0.7, 1), (signal.SIGTERM, 0.5, 1), (signal.SIGINT, 0.6, 6)],
    ids=lambda value: getattr(value, "name", str(value)),
)
def test_a_few_kills(kills: Kills, number: signal.Signals, share: float, times: int) -> None:
    killed = kills.kill(number, share * kills.cpu_s, times)
    assert killed.faults == ()


@pytest.mark.soak
def test_many_kills(tmp_path_factory: pytest.TempPathFactory) -> None:
    with prepared(tmp_path_factory, MORE_FRAMES) as kills:
        found = record_kills(kills)
    assert [one for one in found if one.faults] == []
    assert len({one.moment for one in found}) > 3, "they come at many moments"


def record_kills(kills: Kills) -> list[Kill]:
    """Kill, and write down what came of it as it goes."""
    found: list[Kill] = []
    for kill in kills.random(MANY, seed=1):
        found.append(kill)
        reliability.record("kills", {
            "kills": len(found),
            "by signal": dict(Counter(one.signal for one in found)),
            "by moment": dict(Counter(one.moment for one in found)),
            "by exit code": {str(k): n for k, n in Counter(o.exit_code for o in found).items()},
            "next run made the same output": sum(not one.faults for one in found),
            "went on with a job": sum(one.resumed for one in found),
            "frames lost": 0 if not any(one.faults for one in found) else "see the faults",
            "faults": [fault for one in found for fault in one.faults],
            "commit": reliability.commit(),
            "processor time of a whole run s": round(kills.cpu_s, 2),
        })  # fmt: skip
    return found
