"""A pool of workers that may be lost: every task is done, told once, and given up in the end."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from concurrent.futures import CancelledError
from typing import Any

import pytest

from fapvideo.errors import Cancelled, FapVideoError
from fapvideo.run.pool import TRIES, Pool, WorkerLost


class Mortal:
    """A worker that is lost at random, before or after the work is done."""

    def __init__(self, done: Counter[int], chance: float) -> None:
        self.done, self.random, self.chance = done, random.Random(len(done)), chance
        self.left = threading.Event()

    def wait(self) -> None:
        if self.random.random() < self.chance / 3:
            raise WorkerLost("it will not come back")

    def do(self, task: str, number: int) -> int:
        if task == "sleep" and self.left.wait(20):
            raise WorkerLost("dismissed")
        if task == "fail":
            raise ValueError(number)
        if self.random.random() < self.chance / 2:
            raise WorkerLost("before")
        self.done[number] += 1
        if self.random.random() < self.chance / 2:
            raise WorkerLost("after")
        return number

    def dismiss(self) -> None:
        self.left.set()


def test_every_task_is_told_once_however_many_workers_are_lost() -> None:
    done: Counter[int] = Counter()
    hired: list[Mortal] = []

    def hire() -> Mortal:
        hired.append(Mortal(done, 0.3))
        return hired[-1]

    with Pool(hire, lambda: 4) as pool:
        futures = [pool.submit("count", number) for number in range(300)]
        assert [future.result(20) for future in futures] == list(range(300))
    assert set(done) == set(range(300))
    assert len(hired) > 4
    assert all(worker.left.is_set() for worker in hired), "none is left behind"


def test_an_error_is_the_task_s_own_and_the_worker_goes_on() -> None:
    with Pool(lambda: Mortal(Counter(), 0), lambda: 1) as pool:
        bad, good = pool.submit("fail", 1), pool.submit("count", 2)
        with pytest.raises(ValueError, match="1"):
            bad.result(20)
        assert good.result(20) == 2


@pytest.mark.parametrize("when", ["working", "starting"])
def test_a_task_that_ends_every_worker_is_given_up(
    when: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    hired = []

    class Doomed(Mortal):
        def wait(self) -> None:
            hired.append(self)
            if when == "starting":
                raise WorkerLost("no program there")

        def do(self, task: str, number: int) -> Any:
            raise WorkerLost("out of memory")

    with Pool(lambda: Doomed(Counter(), 0), lambda: 1) as pool:
        future = pool.submit("count", 0)
        with pytest.raises(FapVideoError, match=f"{TRIES} workers were lost over it"):
            future.result(20)
    assert len(hired) <= TRIES + 1


def test_closing_ends_what_works_and_what_waits() -> None:
    pool = Pool(lambda: Mortal(Counter(), 0), lambda: 1)
    working, waiting, dropped = (pool.submit("sleep", number) for number in range(3))
    while not working.running():
        time.sleep(0.01)
    assert dropped.cancel()
    pool.close()
    for future in (working, waiting):
        with pytest.raises(Cancelled):
            future.result(5)
    with pytest.raises(CancelledError):
        dropped.result(5)
    with pytest.raises(FapVideoError, match="closed"):
        pool.submit("count", 0)


def test_no_more_workers_are_hired_than_there_is_work_or_room_for() -> None:
    hired: list[Mortal] = []

    def hire() -> Mortal:
        hired.append(Mortal(Counter(), 0))
        return hired[-1]

    with Pool(hire, lambda: 3) as pool:
        for number in range(5):
            pool.submit("count", number).result(20)
            time.sleep(0.01)  # until it waits again
        assert len(hired) == 1
        futures = [pool.submit("sleep", number) for number in range(9)]
        while not futures[2].running():
            time.sleep(0.01)
        assert len(hired) == 3
