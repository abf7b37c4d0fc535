"""What the queue of a farm costs: 10,000 clips with fake segments, three of ten attempts killed.

    python benchmarks/farm.py --clips 10000 -o benchmarks/results/farm.json

Clips go through `fapvideo.run.batch.run_batch` and `fapvideo.run.pool.Pool`, as those of
`fapvideo batch --engine ray` do: every clip is planned, its segments are painted by whichever
worker is free, it is put together. Only the work is fake: it takes its time and leaves a file.
Workers are threads that are lost at random, in the middle of their work or when it is done, and
take a while to come back.

`waited_share` is what the queue costs: the share of the workers' time that they waited for the next
task. `queue_cpu_share` is processor time of queue and bookkeeping, as a share of the time worked.
"""

from __future__ import annotations

import argparse
import json
import logging
import random
import shutil
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from about import about

from fapvideo.config.presets import load_preset
from fapvideo.config.schema import RunPreset
from fapvideo.run.batch import run_batch
from fapvideo.run.batch_jobs import Job
from fapvideo.run.pool import Pool, WorkerLost
from fapvideo.structs import RunReport


@dataclass
class Books:
    """What was done, and how long workers were at it."""

    root: Path
    work_s: float
    """Of a plan or a segment."""
    chance: float
    """That a worker is lost over a task."""
    seed: int = 0
    tasks: Counter[str] = field(default_factory=Counter)
    """Times that the work of a task was done, by its name."""
    clips: Counter[str] = field(default_factory=Counter)
    """Times that a clip was put together."""
    lost: int = 0
    worked_s: float = 0.0
    away_s: float = 0.0
    waited_s: float = 0.0
    lock: threading.Lock = field(default_factory=threading.Lock)


class FakeWorker:
    """Works by sleeping, and is lost now and then."""

    def __init__(self, books: Books, number: int) -> None:
        """Begin."""
        self.books, self.random = books, random.Random(f"{books.seed} {number}")
        self.gone, self.free_at = False, None

    def wait(self) -> None:
        """Come back."""
        if self.gone:
            started = time.perf_counter()
            time.sleep(self.books.work_s)
            with self.books.lock:
                self.books.away_s += time.perf_counter() - started
            self.gone, self.free_at = False, time.perf_counter()

    def do(self, task: str, name: str) -> None:
        """Take the time of a task; leave a mark that it is done."""
        started, fate = time.perf_counter(), self.random.random() / self.books.chance
        done = self.books.root / name
        if not done.exists():  # as `paint_segment` does
            time.sleep(self.books.work_s * (fate if fate < 0.5 else 1.0))
            if fate >= 0.5:
                done.touch()
        ended = time.perf_counter()
        with self.books.lock:
            self.books.worked_s += ended - started
            self.books.waited_s += started - (self.free_at or started)
            if fate >= 0.5:
                self.books.tasks[name] += 1
            if fate < 1:
                self.books.lost += 1
                self.gone = True
        self.free_at = ended
        if fate < 1:
            raise WorkerLost("killed")

    def dismiss(self) -> None:
        """Do nothing: it ends with its thread."""


class FakeFarm:
    """Like `Farm`: a plan, segments by whoever is free, and one output for each clip."""

    def __init__(self, preset: RunPreset, pool: Pool, books: Books, segments: int) -> None:
        """Take the workers."""
        self.preset, self.pool, self.books, self.segments = preset, pool, books, segments

    def with_preset(self, preset: RunPreset) -> FakeFarm:
        """Return one for another preset."""
        return FakeFarm(preset, self.pool, self.books, self.segments)

    def close(self) -> None:
        """Do nothing."""

    def run(self, input: Path, output: Path, **_: Any) -> RunReport:
        """Have a clip done."""
        self.pool.submit("plan", f"{input.stem}.plan").result()
        names = [f"{input.stem}.{number}" for number in range(self.segments)]
        tasks: list[Future[Any]] = [self.pool.submit("segment", name) for name in names]
        for task in tasks:
            task.result()
        missing = [name for name in names if not (self.books.root / name).exists()]
        assert not missing, missing
        with output.open("x") as file:  # an error where it is there
            file.write(input.stem)
        with self.books.lock:
            self.books.clips[input.stem] += 1
        return report(input, output, self.preset)


def report(input: Path, output: Path, preset: RunPreset) -> RunReport:
    """Return a report of usual size."""
    spans = [
        {"first": first, "last": first + 5, "track": 1, "reason": "profile", "state": "left",
         "start_s": first / 25, "end_s": first / 25 + 0.24}
        for first in range(0, 120, 20)
    ]  # fmt: skip
    return RunReport(
        input={"path": str(input)}, output={"path": str(output)},
        preset=preset.model_dump(mode="json"), seed=0, bundle={}, references=[], tracks=[],
        frames={"total": 250, "swapped": 214, "held": 0, "faded": 0, "left": 36},
        outside_changed_samples=0, timings={"wall_s": 10.0}, peak_rss_bytes=0,
        warnings=["the face is small"], versions={}, frame_log=spans,
    )  # fmt: skip


def simulate(
    clips: int,
    segments: int,
    workers: int,
    work_s: float,
    chance: float,
    told: Callable[[int], None],
) -> dict[str, Any]:
    """Do so many clips; return what it took.

    Raises:
        AssertionError: a clip was not finished, or more than once.
    """
    root = Path(tempfile.mkdtemp(prefix="fapvideo-farm-"))
    try:
        (root / "out").mkdir()
        books, hired = Books(root, work_s, chance), []
        preset = load_preset("brand_avatar")
        jobs = [
            Job(root / f"{number:05d}.mp4", root / "out" / f"{number:05d}.mp4", preset)
            for number in range(clips)
        ]

        def hire() -> FakeWorker:
            hired.append(FakeWorker(books, len(hired)))
            return hired[-1]

        finished: Counter[str] = Counter()
        started, cpu = time.perf_counter(), time.process_time()
        with Pool(hire, lambda: workers) as pool:
            summary = run_batch(
                jobs, lambda wanted: FakeFarm(wanted, pool, books, segments), root / "out",
                told=lambda one: (finished.update([one.output]), told(len(finished)))[0],
                at_once=2 * workers,
            )  # fmt: skip
        wall_s, cpu_s = time.perf_counter() - started, time.process_time() - cpu
        once = {job.input.stem: 1 for job in jobs}
        assert books.clips == once, "every clip is put together exactly once"
        assert finished == {str(job.output): 1 for job in jobs}, "and told exactly once"
        assert summary.counts["done"] == clips
        assert {name.partition(".")[0] for name in books.tasks} == set(once)
        assert len(books.tasks) == clips * (segments + 1)
        assert len(json.loads((root / "out" / "summary.json").read_text("utf-8"))["clips"]) == clips
    finally:
        shutil.rmtree(root)
    return {
        "clips": clips, "segments": clips * segments, "tasks": clips * (segments + 1),
        "workers": workers, "task_s": work_s, "killed": books.lost,
        "finished_exactly_once": len(books.clips),
        "wall_s": round(wall_s, 2), "worked_s": round(books.worked_s, 2),
        "away_s": round(books.away_s, 2),
        "waited_s": round(books.waited_s, 2),
        "waited_share": round(books.waited_s / (books.waited_s + books.worked_s), 6),
        "queue_cpu_s": round(cpu_s, 2),
        "queue_cpu_share": round(cpu_s / books.worked_s, 6),
        "queue_cpu_s_per_task": round(cpu_s / (clips * (segments + 1)), 6),
    }  # fmt: skip


def main() -> None:
    """Simulate, and write the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=int, default=10_000)
    parser.add_argument("--segments", type=int, default=3)
    parser.add_argument("--workers", type=int, default=256)
    parser.add_argument("--task-s", type=float, default=2.0)
    parser.add_argument("--killed", type=float, default=0.3)
    parser.add_argument("-o", "--output", type=Path, required=True)
    options = parser.parse_args()

    logging.getLogger("fapvideo").setLevel(logging.ERROR)  # each loss is a warning

    def told(count: int) -> None:
        if count % 500 == 0:
            print(f"{count} clips", flush=True)

    found = simulate(
        options.clips, options.segments, options.workers, options.task_s, options.killed, told
    )
    command = (
        f"python benchmarks/farm.py --clips {options.clips} --segments {options.segments} "
        f"--workers {options.workers} --task-s {options.task_s:g} --killed {options.killed:g} "
        f"-o {options.output}"
    )
    result = {
        **about("what the queue of a farm costs, and that it loses nothing", command),
        **found,
    }
    options.output.write_text(json.dumps(result, indent=1) + "\n", "utf-8")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
