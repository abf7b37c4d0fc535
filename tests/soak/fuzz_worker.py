"""Reads damaged files in a process of its own and says of each what came of it.

python tests/soak/fuzz_worker.py KIND FIRST COUNT    a JSON line per file; FIRST is its seed
python tests/soak/fuzz_worker.py KIND SEED           one file, with its traceback
"""

from __future__ import annotations

import json
import logging
import os
import resource
import sys
import tempfile
import time
import traceback
import warnings
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOM = 4 * 2**30
"""Address space that a file may take beside what the process has already; then memory fails."""


def say(what: dict[str, object]) -> None:
    """Write a line to whoever started this."""
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


def main(kind: str, first: int, count: int | None = None) -> None:
    """Try the seeds from `first` on."""
    sys.path[:0] = [str(HERE), str(HERE.parent)]
    os.environ["HF_HUB_OFFLINE"] = "1"
    with tempfile.TemporaryDirectory(prefix="fapvideo-fuzz-") as folder:
        for name in ("XDG_CACHE_HOME", "XDG_DATA_HOME", "FAPVIDEO_TEST_RENDERS"):
            os.environ.setdefault(name, str(Path(folder, name)))
        import av
        from fuzz_kinds import KINDS
        from peaks import forget_peak, peak_bytes, status

        from fapvideo.errors import FapVideoError

        av.logging.set_level(av.logging.PANIC)
        logging.disable(logging.CRITICAL)
        warnings.simplefilter("ignore")
        work = Path(folder, "files")
        work.mkdir()
        tried = KINDS[kind](work)
        if count is None:
            tried.attempt(first)
            return
        if hasattr(tried, "warm_up"):
            tried.warm_up()
        limit = 1024 * status("VmSize") + ROOM
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        for seed in range(first, first + count):
            say({"begins": seed})
            before, started = forget_peak(), time.perf_counter()
            outcome, detail = "result", ""
            try:
                tried.attempt(seed)
            except FapVideoError as error:
                outcome, detail = "refused", type(error).__name__
            except BaseException as error:
                where = traceback.extract_tb(error.__traceback__)[-1]
                outcome = "escaped"
                detail = f"{type(error).__name__}: {error} ({where.filename}:{where.lineno})"[:500]
            seconds = time.perf_counter() - started
            grown = max(0, peak_bytes() - before)
            took = {"s": round(seconds, 4), "bytes": grown}
            say({"seed": seed, "outcome": outcome, "detail": detail, **took})


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
