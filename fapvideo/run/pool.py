"""Workers that may be lost, and a queue of tasks for them: every task is done once."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from typing import Any, Protocol

from fapvideo.errors import Cancelled, FapVideoError

log = logging.getLogger(__name__)

TRIES = 12
"""So many workers may be lost over one task: where three of ten are, one task in two million."""


class WorkerLost(Exception):
    """A worker has gone, with its machine or without; what it was at can be done by another."""


class Worker(Protocol):
    """Does tasks one by one, somewhere."""

    def wait(self) -> None:
        """Wait until it can work: at first, and after it was lost.

        Raises:
            WorkerLost: it will not come back.
        """

    def do(self, task: str, *arguments: Any) -> Any:
        """Do a task, and return or raise what comes of it.

        Raises:
            WorkerLost: it went before it was done.
        """

    def dismiss(self) -> None:
        """End it, also where it waits or works."""


@dataclass(eq=False, slots=True)
class _Task:
    name: str
    arguments: tuple[Any, ...]
    future: Future[Any] = field(default_factory=Future)
    lost: int = 0
    """Workers."""
    begun: bool = False


class Pool(AbstractContextManager["Pool"]):
    """A thread for each worker, which gives it the next task when it has done one.

    Workers are hired when there is something to do for them. A task whose worker is lost is the
    next one that another worker gets.
    """

    def __init__(self, hire: Callable[[], Worker], room: Callable[[], int]) -> None:
        """Begin without workers.

        Args:
            hire: makes one, without waiting for it.
            room: how many there may be just now.
        """
        self._hire, self.room = hire, room
        self._tasks: deque[_Task] = deque()
        self._workers: dict[threading.Thread, Worker] = {}
        self._idle, self._closed = 0, False
        self._changed = threading.Condition()

    def submit(self, name: str, *arguments: Any) -> Future[Any]:
        """Queue a task.

        Raises:
            FapVideoError: it is closed.
        """
        task = _Task(name, arguments)
        with self._changed:
            if self._closed:
                raise FapVideoError("this pool of workers is closed")
            self._tasks.append(task)
            self._grow()
        return task.future

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()

    def close(self) -> None:
        """Dismiss all workers; what is not done ends as cancelled."""
        with self._changed:
            self._closed = True
            threads, workers = list(self._workers), list(self._workers.values())
            tasks = list(self._tasks)
            self._tasks.clear()
            self._changed.notify_all()
        for worker in workers:
            worker.dismiss()
        for task in tasks:
            _fail(task, Cancelled("stopped on request"))
        for thread in threads:
            thread.join()

    def _grow(self) -> None:
        """Let a worker that waits take a task; where none does, and there is room, hire one."""
        if len(self._tasks) <= self._idle:
            self._changed.notify()
        elif not self._closed and len(self._workers) < max(1, self.room()):
            thread = threading.Thread(target=self._serve, daemon=True)
            self._workers[thread] = self._hire()
            thread.start()

    def _serve(self) -> None:
        """Give one worker task after task."""
        thread = threading.current_thread()
        worker, task = self._workers[thread], None
        try:
            worker.wait()
            while (task := self._next()) is not None:
                try:
                    result = worker.do(task.name, *task.arguments)
                except WorkerLost as lost:
                    self._again(task, lost)
                    worker.wait()
                except BaseException as error:  # the one who asked is to know
                    _fail(task, error)
                else:
                    task.future.set_result(result)
        except WorkerLost as lost:
            # One that never could begin counts for what it would have got: there is an end to it.
            with self._changed:
                waiting = self._tasks.popleft() if self._tasks and task is None else None
            if waiting is not None:
                self._again(waiting, lost)
        finally:
            worker.dismiss()
            with self._changed:
                del self._workers[thread]
                if self._tasks:
                    self._grow()

    def _next(self) -> _Task | None:
        """Return a task as soon as there is one; None at the end."""
        with self._changed:
            while True:
                while self._tasks:
                    task = self._tasks.popleft()
                    if task.begun or task.future.set_running_or_notify_cancel():
                        task.begun = True
                        return task
                if self._closed:
                    return None
                self._idle += 1
                self._changed.wait()
                self._idle -= 1

    def _again(self, task: _Task, lost: WorkerLost) -> None:
        """Put a task whose worker was lost before all others."""
        task.lost += 1
        with self._changed:
            if self._closed:
                _fail(task, Cancelled("stopped on request"))
                return
            if task.lost < TRIES:
                log.warning("a worker was lost, its work goes to another: %s", lost)
                self._tasks.appendleft(task)
                self._grow()
                return
        where = ", ".join(str(argument) for argument in task.arguments[1:])
        _fail(
            task,
            FapVideoError(
                f"{task.name} {where}: {TRIES} workers were lost over it: {lost}",
                hint="see whether a worker's machine has the memory, and the program, for it",
            ),
        )


def _fail(task: _Task, error: BaseException) -> None:
    with suppress(Exception):  # it was cancelled by the one who asked
        task.future.set_exception(error)
