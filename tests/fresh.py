"""What a process of its own does: code run in a fork of one that has loaded torch, and no more.

Loading torch takes longer than most such checks, so one process does it for all of them.
"""

from __future__ import annotations

import atexit
import json
import subprocess
import sys
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

_SERVER = """
import json, os, sys, traceback, warnings
import torch

warnings.resetwarnings()  # torch itself has loaded without any
for line in sys.stdin:
    code, *paths = json.loads(line)
    child = os.fork()
    if child:
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
        continue
    for number, path in enumerate(paths, 1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    failed = False
    try:
        exec(compile(code, "<fresh>", "exec"), {"__name__": "__main__"})
    except BaseException:
        traceback.print_exc()
        failed = True
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(failed)
"""


@cache
def _server() -> subprocess.Popen[str]:
    command = [sys.executable, "-W", "error", "-c", _SERVER]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    )
    atexit.register(process.communicate)  # the end of its input is its end
    return process


def run_fresh(code: str) -> subprocess.CompletedProcess[str]:
    """Run Python code where nothing but torch is loaded."""
    server = _server()
    assert server.stdin is not None
    assert server.stdout is not None
    with TemporaryDirectory(prefix="fapvideo-fresh-") as folder:
        out, err = Path(folder, "out"), Path(folder, "err")
        print(json.dumps([code, str(out), str(err)]), file=server.stdin)
        status = int(server.stdout.readline())
        return subprocess.CompletedProcess(code, status, out.read_text(), err.read_text())
