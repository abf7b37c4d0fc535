"""Shell scripts whose `fapvideo` is the command line in this process, which has torch loaded."""

from __future__ import annotations

import io
import os
import re
import select
import subprocess
from contextlib import chdir, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import NamedTuple
from unittest.mock import patch

from fapvideo.cli.main import run_program

PASSED_ON = ("SLURM_ARRAY_TASK_ID", "JOB_COMPLETION_INDEX")
FAPVIDEO = f"""#!/bin/bash
call=$(mktemp -d "$SERVED/call.XXXXXX")
mkfifo "$call/answer"
printf '%s\\0' "$PWD" {" ".join(f'"${{{name}:-}}"' for name in PASSED_ON)} "$@" > "$call/asked"
printf '%s\\n' "$call" > "$SERVED/calls"
read -r code < "$call/answer"
cat "$call/out"
cat "$call/err" >&2
exit "$code"
"""


class Ran(NamedTuple):
    """What a script left behind."""

    code: int
    text: str
    """Both streams."""
    calls: list[list[str]]
    """Of `fapvideo`; the values of PASSED_ON come first."""


def recipe(page: Path, language: str = "sh") -> str:
    """Return what a page tells to type."""
    return "\n".join(
        re.findall(rf"^```{language}\n(.*?)^```", page.read_text("utf-8"), re.M | re.S)
    )


def run_script(text: str, folder: Path, programs: dict[str, str]) -> Ran:
    """Run a bash script in `folder`, with `fapvideo` and other programs by name -> script."""
    served = folder / ".served"
    served.mkdir()
    for name, script in {"fapvideo": FAPVIDEO, **programs}.items():
        (served / name).write_text(script, "utf-8")
        (served / name).chmod(0o755)
    os.mkfifo(served / "calls")
    queue = os.open(served / "calls", os.O_RDWR | os.O_NONBLOCK)
    variables = {**os.environ, "SERVED": str(served), "PATH": f"{served}:{os.environ['PATH']}"}
    log, calls = served / "log", list[list[str]]()
    try:
        with log.open("w") as sink:
            process = subprocess.Popen(
                ["bash", "-euo", "pipefail", "-c", text],
                cwd=folder, env=variables, stdout=sink, stderr=sink, stdin=subprocess.DEVNULL,
            )  # fmt: skip
        while process.poll() is None:
            if select.select([queue], [], [], 0.05)[0]:
                for call in os.read(queue, 65536).decode().splitlines():
                    calls.append(_serve(Path(call)))
    finally:
        process.kill()
        process.wait()
        os.close(queue)
    return Ran(process.returncode, log.read_text("utf-8"), calls)


def _serve(call: Path) -> list[str]:
    """Do what one call of `fapvideo` asks for; return it."""
    folder, *words = (call / "asked").read_text("utf-8").split("\0")[:-1]
    values, arguments = words[: len(PASSED_ON)], words[len(PASSED_ON) :]
    given = {name: value for name, value in zip(PASSED_ON, values, strict=True) if value}
    out, err = io.StringIO(), io.StringIO()
    told = redirect_stdout(out), redirect_stderr(err)
    with chdir(folder), patch.dict(os.environ, given), told[0], told[1]:
        code = run_program(arguments)
    (call / "out").write_text(out.getvalue(), "utf-8")
    (call / "err").write_text(err.getvalue(), "utf-8")
    (call / "answer").write_text(f"{code}\n", "utf-8")
    return words
