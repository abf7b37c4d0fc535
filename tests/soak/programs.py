"""The real program in processes that can be killed: forks of one that has everything loaded.

Starting Python and torch takes longer than swapping a small clip; a fork has that behind it and
still begins at `fapvideo.__main__`.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

_SERVER = """
import json, os, signal, sys
import fapvideo.__main__ as program
import fapvideo.cli.main, fapvideo.swapper, fapvideo.guide.build, fapvideo.track.tracker
import scipy.ndimage, scipy.optimize, diffusers.models, rich.progress, fapvideo.evaluation
from fapvideo.weights.bundle import load_bundle
load_bundle("tiny")

for line in sys.stdin:
    asked = json.loads(line)
    child = os.fork()
    if child:
        print(child, flush=True)
        _, status, used = os.wait4(child, 0)
        print(os.waitstatus_to_exitcode(status), used.ru_utime + used.ru_stime, flush=True)
        continue
    os.setsid()
    for number, path in enumerate((os.devnull, asked["out"], asked["err"])):
        os.dup2(os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC), number)
    for number in (signal.SIGHUP, signal.SIGTERM):  # under nohup they would be ignored
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.update(asked["env"])
    sys.argv = ["fapvideo", *asked["arguments"]]
    try:
        program.main()
    except SystemExit as end:
        sys.stderr.flush()
        os._exit(int(end.code or 0))
    except BaseException:
        import traceback
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(99)
"""


class Programs(AbstractContextManager["Programs"]):
    """Runs the program, one at a time."""

    def __init__(self, **env: str) -> None:
        """Start the process that is forked; `env` is for the programs."""
        self._env = env
        settings = {"OMP_NUM_THREADS": "1", "OPENCV_FOR_THREADS_NUM": "1", "HF_HUB_OFFLINE": "1"}
        self._server = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", _SERVER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
            env={**os.environ, **settings, **env},
        )

    def __exit__(self, *_: object) -> None:
        """End it."""
        self._server.communicate()

    def start(self, folder: Path, *arguments: str | Path) -> Program:
        """Start `fapvideo ARGUMENTS`; what it says goes to files in `folder`."""
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        asked = {
            "arguments": [str(one) for one in arguments],
            "out": str(folder / "stdout"),
            "err": str(folder / "stderr"),
            "env": self._env,
        }
        print(json.dumps(asked), file=self._server.stdin)
        return Program(int(self._server.stdout.readline()), self._server.stdout, folder)


class Program:
    """One that was started."""

    def __init__(self, pid: int, status: Any, folder: Path) -> None:
        self._pid, self._status, self._folder = pid, status, folder
        self.cpu_s = 0.0
        """Processor time that it took; known when it has ended."""

    def send(self, number: signal.Signals) -> None:
        """Send a signal, if it still runs."""
        try:
            os.kill(self._pid, number)
        except ProcessLookupError:
            return

    def wait(self) -> int:
        """Return the exit code; that of a killed one is negative."""
        code, self.cpu_s = map(float, self._status.readline().split())
        return int(code)

    def wait_for(self, cpu_s: float) -> None:
        """Wait until it has had so much processor time, or has ended: on a busy machine, too."""
        while True:
            try:
                fields = Path(f"/proc/{self._pid}/stat").read_text().rpartition(")")[2].split()
            except OSError:
                return
            used = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
            if used >= cpu_s or fields[0] == "Z":
                return
            time.sleep(0.005)

    @property
    def said(self) -> str:
        """What it wrote to stderr so far."""
        return (self._folder / "stderr").read_text("utf-8", "replace")

    @property
    def stage(self) -> str:
        """What it was at last, by its progress lines (`--json`)."""
        stage = "start"
        for line in self.said.splitlines():
            try:
                event = json.loads(line)
            except ValueError:
                continue
            stage = event.get("stage", stage)
        return stage
