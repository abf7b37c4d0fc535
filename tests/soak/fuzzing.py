"""Damaged files by the thousand, each read in a process that may die or hang.

python tests/soak/fuzzing.py KIND FIRST COUNT LOG    tries seeds, appends a JSON line of each
"""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

WORKER = Path(__file__).with_name("fuzz_worker.py")
LONGEST_S, MOST_BYTES = 20.0, 10**9
HUNG_S = 3 * LONGEST_S
"""Without a word for so long a process is ended; what took longer than `LONGEST_S` fails anyway."""
STARTING_S = 300.0


class Tried(NamedTuple):
    """What came of one file."""

    seed: int
    outcome: str
    """`result`, `refused` (an error of ours), `escaped` (another one), `died`, `hung`."""
    detail: str
    seconds: float
    bytes: int
    """How much the process grew at most."""

    @property
    def fault(self) -> str:
        """What is wrong; empty where all is well."""
        if self.outcome not in ("result", "refused"):
            return f"seed {self.seed} {self.outcome}: {self.detail}"
        if self.seconds > LONGEST_S:
            return f"seed {self.seed}: {self.seconds:.0f} s"
        if self.bytes > MOST_BYTES:
            return f"seed {self.seed}: {self.bytes / 1e9:.1f} GB"
        return ""


def fuzz(kind: str, first: int, count: int) -> Iterator[Tried]:
    """Yield what came of each seed; a process that dies or hangs is followed by another one."""
    end = first + count
    while first < end:
        for tried in _one_process(kind, first, end - first):
            first = tried.seed + 1
            yield tried


def _one_process(kind: str, first: int, count: int) -> Iterator[Tried]:
    """Yield what one worker says, and at the end what became of itself."""
    command = ["nice", "-n", "10", sys.executable, str(WORKER), kind, str(first), str(count)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as worker:
        assert worker.stdout is not None
        assert worker.stderr is not None
        seed, started = first, time.perf_counter()
        for line in _lines(worker.stdout):
            if line is None:
                worker.kill()
                yield Tried(seed, "hung", "", time.perf_counter() - started, 0)
                return
            said: dict[str, Any] = json.loads(line)
            started = time.perf_counter()
            if "begins" in said:
                seed = said["begins"]
            else:
                yield Tried(seed, said["outcome"], said["detail"], said["s"], said["bytes"])
                count -= 1
        code = worker.wait()
        if count:
            reason = worker.stderr.read().decode(errors="replace").strip()[-300:]
            yield Tried(seed, "died", f"exit code {code}: {reason}", 0.0, 0)


def _lines(stream: Any) -> Iterator[bytes | None]:
    """Yield the lines of a pipe; None where nothing comes for too long."""
    held, patience = b"", STARTING_S
    with selectors.DefaultSelector() as waiting:
        waiting.register(stream, selectors.EVENT_READ)
        while True:
            if not waiting.select(patience):
                yield None
                return
            patience = HUNG_S
            data = os.read(stream.fileno(), 65536)
            if not data:
                return
            *lines, held = (held + data).split(b"\n")
            yield from lines


def summary(found: list[Tried]) -> dict[str, Any]:
    """Return what is worth keeping of one kind's files."""
    outcomes = Counter(one.outcome for one in found)
    seconds = sorted(one.seconds for one in found)
    return {
        "inputs": len(found),
        **{name: outcomes[name] for name in ("result", "refused", "escaped", "died", "hung")},
        "median_s": round(seconds[len(seconds) // 2], 4),
        "slowest_s": round(seconds[-1], 2),
        "most_mb": round(max(one.bytes for one in found) / 1e6),
    }


if __name__ == "__main__":
    kind, first, count, log = sys.argv[1:]
    with Path(log).open("a") as file:
        for tried in fuzz(kind, int(first), int(count)):
            file.write(json.dumps({"kind": kind, **tried._asdict(), "fault": tried.fault}) + "\n")
            file.flush()
