"""Renders: `fapvideo run` in a process of its own, one after the other.

A render may take hours, and the networks serve one call at a time, so it must not be in this
process: stills go on, a crash takes nothing else along, and it goes on where it stopped like any
run (docs/jobs.md). Its progress is read from what it writes; a studio that was killed and started
again finds the process still at work.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from fapvideo.config.presets import dump_preset
from fapvideo.ops.files import write_text
from fapvideo.run.job import job_folder
from fapvideo.run.sinks import default_output
from fapvideo.studio.board import Board
from fapvideo.studio.library import Library, Project, problem, read_json, shown
from fapvideo.studio.timing import noted, seconds_left, seconds_of
from fapvideo.studio.words import say

log = logging.getLogger(__name__)

LOOK_S = 0.3
"""Between looks at what the process has written."""
AGAIN_S = 5.0
"""Until what could not be written is tried again."""
TAIL = 65536
"""Bytes at the end of its log that are looked at."""
HIDDEN = frozenset({"state.json", "log.jsonl", "stdout.json", "preset.toml"})


class Render:
    """One render, as its folder has it."""

    def __init__(self, project: Project, folder: Path) -> None:
        """Take its folder."""
        self.project, self.folder = project, folder

    @property
    def output(self) -> Path:
        """The video that it makes."""
        return self.folder / default_output(Path(shown(self.project.source.name))).name

    @property
    def report(self) -> Path:
        """The page about it."""
        return self.folder / "report" / "index.html"

    def state(self) -> dict[str, Any]:
        """Return what is known of it: `status`, and how far it has come."""
        return read_json(self.folder / "state.json") or {"status": "stopped"}

    def note(self, **changes: Any) -> None:
        """Change what is known of it."""
        write_text(self.folder / "state.json", json.dumps({**self.state(), **changes}))

    @property
    def plan(self) -> Path:
        """The folder of the studio's plan of the clip."""
        return self.project.folder / "plan"

    @property
    def planned(self) -> bool:
        """Whether the studio knows who is where."""
        return (self.plan / "plan.json").is_file()

    def command(self, device: str) -> list[str]:
        """Return what makes it, as a list of words."""
        preset = str(self.folder / "preset.toml")
        known = ["--plan", str(self.plan)] if self.planned else []
        return [sys.executable, "-m", "fapvideo", "run", str(self.project.source.absolute()),
                "-o", str(self.output), "--preset", preset, "--device", device, "--json",
                "--report-folder", str(self.report.parent), *known]  # fmt: skip

    def files(self) -> list[dict[str, Any]]:
        """Return what can be downloaded."""
        found = (p for p in sorted(self.folder.iterdir()) if p.is_file())
        return [
            {"name": p.name, "bytes": p.stat().st_size}
            for p in found
            if p.name not in HIDDEN and not p.name.startswith(".")
        ]

    def view(self) -> dict[str, Any]:
        """Return what pages show."""
        state = self.state()
        done = state["status"] == "done"
        steps, left = state.get("steps"), None
        if steps and state["status"] == "running":
            earlier = state.get("earlier", {})
            left = seconds_left(steps, time.time(), earlier, planned=state.get("planned", False))
        return {
            **{key: state.get(key) for key in ("status", "stage", "done", "total", "message",
                                               "hint")},
            "left_s": None if left is None else round(left),
            "number": self.folder.name,
            "clip": self.project.id,
            "title": self.project.title,
            "files": self.files() if done else [],
            "report": self.report.is_file(),
            "resumes": job_folder(self.output).is_dir(),
        }  # fmt: skip


class Renders(threading.Thread):
    """The queue. One render is at work, the others wait."""

    def __init__(
        self,
        library: Library,
        board: Board,
        device: str = "auto",
        ready: Callable[[Project], bool] = lambda project: True,
    ) -> None:
        """Work in `library`, and tell `board` of progress.

        A render waits until its clip is `ready`, unless something is done of it: nobody is followed
        twice.
        """
        super().__init__(name="renders", daemon=True)
        self._library, self._board, self._device = library, board, device
        self._ready = ready
        self._change = threading.Condition()
        self._process: psutil.Process | None = None
        self._at_work: Render | None = None
        self._closing = False
        self._recover()

    def all(self, project: Project | None = None) -> list[Render]:
        """Return the renders of a clip, or of all, the latest first."""
        projects = self._library.projects() if project is None else [project]
        return [
            Render(one, folder)
            for one in projects
            for folder in sorted((one.folder / "renders").glob("[0-9]*"), reverse=True)
        ]

    def find(self, project: Project, number: str) -> Render | None:
        """Return a render of a clip."""
        return next((one for one in self.all(project) if one.folder.name == number), None)

    def add(self, project: Project) -> Render:
        """Render what the page of a clip shows now."""
        preset = project.preset()
        with self._change:
            known = [int(p.name) for p in (project.folder / "renders").glob("[0-9]*")]
            folder = project.folder / "renders" / f"{max(known, default=0) + 1:03d}"
            folder.mkdir(parents=True)
            write_text(folder / "preset.toml", dump_preset(preset, differences=True))
            render = Render(project, folder)
            render.note(status="waiting", order=self._last_order() + 1)
            self._change.notify()
        self._board.changed(project.id)
        return render

    def cancel(self, render: Render) -> None:
        """Stop a render; what is done of it stays."""
        with self._change:
            if self._is_at_work(render) and self._process is not None:
                render.note(status="stopping")
                with suppress(psutil.Error):
                    self._process.send_signal(signal.SIGTERM)
            elif render.state()["status"] == "waiting":
                render.note(status="stopped", message=say("render.stopped"))
        self._board.changed(render.project.id)

    def resume(self, render: Render) -> None:
        """Put a render that was stopped, or has failed, into the queue again."""
        with self._change:
            if render.state()["status"] in ("stopped", "failed"):
                render.note(status="waiting", order=self._last_order() + 1, message="", hint="")
                self._change.notify()
        self._board.changed(render.project.id)

    def close(self) -> None:
        """Stop soon; a render at work stops, and can be resumed."""
        with self._change:
            self._closing = True
            if self._process is not None:
                with suppress(psutil.Error):
                    self._process.send_signal(signal.SIGTERM)
            self._change.notify()

    def run(self) -> None:
        """Work through the queue until `close`."""
        while True:
            with self._change:
                self._change.wait_for(lambda: self._closing or self._next() is not None, LOOK_S * 3)
                if self._closing:
                    return
                render = self._next()
                if render is None:
                    continue
                self._at_work = render
            try:
                self._work(render)
            except Exception as error:
                log.debug("render %s", render.folder, exc_info=True)
                self._failed(render, error)
            with self._change:
                self._process, self._at_work = None, None
            self._board.changed(render.project.id)

    def _failed(self, render: Render, error: Exception) -> None:
        """Write down that it could not be done; where even that cannot be, it waits for a while."""
        try:
            render.note(status="failed", **problem(error))
        except OSError:  # a full disk: what can be written is written when there is room
            with self._change:
                self._change.wait_for(lambda: self._closing, AGAIN_S)

    def _is_at_work(self, render: Render) -> bool:
        return self._at_work is not None and self._at_work.folder == render.folder

    def _last_order(self) -> int:
        return max((one.state().get("order", 0) for one in self.all()), default=0)

    def _next(self) -> Render | None:
        """Return what is to be done: what is at work from before comes first."""
        rows = [(one.state(), one) for one in self.all()]
        adopted = [one for state, one in rows if state["status"] in ("running", "stopping")]
        waiting = sorted((s["order"], str(one.folder), one) for s, one in rows
                         if s["status"] == "waiting")  # fmt: skip
        ready = (one for _, _, one in waiting
                 if job_folder(one.output).is_dir() or self._ready(one.project))  # fmt: skip
        return adopted[0] if adopted else next(ready, None)

    def _recover(self) -> None:
        """See what became of renders that an earlier studio has left."""
        for render in self.all():
            state = render.state()
            if state["status"] in ("running", "stopping") and _process_of(state) is None:
                self._ended(render, None)

    def _work(self, render: Render) -> None:
        """Start the process, or take one that is at work, and follow it to its end."""
        state, child = render.state(), None
        process = _process_of(state)
        if process is None and state["status"] != "waiting":  # it ended, and that was not noted
            self._ended(render, None)
            return
        if process is None:
            child = self._start(render)
            process = psutil.Process(child.pid)
            steps = noted({}, {"stage": "", "done": 0, "total": 0}, time.time())
            try:
                render.note(status="running", pid=child.pid, started=process.create_time(),
                            stage="", planned=render.planned, earlier=self._earlier(render),
                            steps=steps, done=0, total=0)  # fmt: skip
            except OSError:
                child.terminate()
                child.wait()
                raise
        with self._change:
            self._process = process
            if self._closing:
                process.send_signal(signal.SIGTERM)
        while _is_running(process, child):
            self._look(render)
            threading.Event().wait(LOOK_S)
        self._look(render)
        self._ended(render, None if child is None else child.returncode)

    def _earlier(self, render: Render) -> dict[str, float]:
        """Return what the steps of the last render of the clip took that is done."""
        states = (one.state() for one in self.all(render.project))
        done = (state for state in states if state["status"] == "done" and state.get("steps"))
        return next((seconds_of(state["steps"]) for state in done), {})

    def _start(self, render: Render) -> subprocess.Popen[bytes]:
        environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
        with (
            (render.folder / "log.jsonl").open("wb") as log_file,
            (render.folder / "stdout.json").open("wb") as out,
        ):
            return subprocess.Popen(
                render.command(self._device),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=log_file,
                env=environment,
                cwd=render.folder,
                start_new_session=True,  # Ctrl-C is the studio's, which tells it
            )

    def _look(self, render: Render) -> None:
        """Read how far it has come."""
        events = [e for e in read_events(render.folder / "log.jsonl") if e["event"] == "progress"]
        if events:
            now = {key: events[-1].get(key) for key in ("stage", "done", "total")}
            state = render.state()
            if any(state.get(key) != value for key, value in now.items()):
                render.note(**now, steps=noted(state.get("steps", {}), now, time.time()))
                self._board.changed(render.project.id)

    def _ended(self, render: Render, code: int | None) -> None:
        """Write down how it ended."""
        errors = [e for e in read_events(render.folder / "log.jsonl") if e["event"] == "error"]
        if render.output.is_file() and not errors:
            warnings = [e["message"] for e in read_events(render.folder / "log.jsonl")
                        if e["event"] == "log"]  # fmt: skip
            steps = render.state().get("steps", {})
            for row in list(steps.values())[-1:]:
                row["seen"] = time.time()
            message = warnings[-1] if warnings else ""
            render.note(status="done", message=message, hint="", steps=steps)
        elif errors and errors[-1].get("type") != "Cancelled":
            message, hint = errors[-1].get("message", ""), errors[-1].get("hint", "")
            render.note(status="failed", message=message, hint=hint)
        elif errors or code is None or code < 0:
            render.note(status="stopped", message=say("render.stopped"), hint="")
        else:
            render.note(status="failed", message=say("render.ended", code=code), hint="")


def read_events(path: Path) -> Sequence[dict[str, Any]]:
    """Return the last lines of JSON that a command has written; others are no events."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - TAIL))
            lines = file.read().splitlines()
    except OSError:
        return []
    events = []
    for line in lines:
        with suppress(ValueError):
            event = json.loads(line)
            if isinstance(event, dict) and "event" in event:
                events.append(event)
    return events


def _process_of(state: dict[str, Any]) -> psutil.Process | None:
    """Return the process of a render, if it is still the same one."""
    try:
        process = psutil.Process(state["pid"])
        same = abs(process.create_time() - state["started"]) < 1
        return process if same and process.status() != psutil.STATUS_ZOMBIE else None
    except (psutil.Error, KeyError, TypeError):
        return None


def _is_running(process: psutil.Process, child: subprocess.Popen[bytes] | None) -> bool:
    if child is not None:
        return child.poll() is None
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
