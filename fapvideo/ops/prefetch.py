"""Run a producer ahead of its consumer, in one thread, through a bounded queue."""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator, Iterable
from typing import Any, Literal, TypeVar

Item = TypeVar("Item")

_Message = tuple[Literal["item", "end", "error"], list[Any]]
"""What it is, and a list of one, so that taking the item out leaves no reference behind."""


def prefetch(iterable: Iterable[Item], depth: int) -> Generator[Item]:
    """Yield the items of `iterable`, produced in a thread at most `depth` + 1 items ahead.

    An exception of the producer is raised here, after the items before it. Closing this iterator
    early (or dropping it) stops the thread after the item it is working on and closes the source.

    Raises:
        ValueError: `depth` is below 1.
    """
    if depth < 1:
        raise ValueError(f"prefetch depth must be at least 1, got {depth}")
    return _consume(iterable, depth)


def _consume(iterable: Iterable[Item], depth: int) -> Generator[Item]:
    """Start the thread at the first `next()`, and take from the queue until it ends."""
    items: queue.Queue[_Message] = queue.Queue(maxsize=depth)
    stop = threading.Event()
    thread = threading.Thread(
        target=_produce, args=(iterable, items, stop), name="fapvideo-prefetch", daemon=True
    )
    thread.start()
    try:
        while True:
            kind, value = items.get()
            if kind == "error":
                raise value.pop()
            if kind == "end":
                return
            yield value.pop()
    finally:
        stop.set()
        _drain(items, thread)


def _produce(iterable: Iterable[Item], items: queue.Queue[_Message], stop: threading.Event) -> None:
    """Fill the queue; the source is closed here because a generator belongs to one thread."""
    last: _Message = ("end", [])
    try:
        source = iter(iterable)
        try:
            for item in source:
                items.put(("item", [item]))
                del item
                if stop.is_set():
                    break
        finally:
            close = getattr(source, "close", None)
            if close is not None:
                close()
    except BaseException as error:
        last = ("error", [error])
    items.put(last)


def _drain(items: queue.Queue[_Message], thread: threading.Thread) -> None:
    """Empty the queue until the producer, which may be blocked on it, has ended."""
    while thread.is_alive():
        try:
            items.get(timeout=0.01)
        except queue.Empty:
            continue
    thread.join()
