"""One call at a time: what holds networks cannot serve two."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from fapvideo.errors import FapVideoError


class Turns:
    """Lets in one call at a time, and none after the last."""

    def __init__(self) -> None:
        """Begin open, and free."""
        self._call, self._owner, self._closed = threading.Lock(), 0, False

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Take a turn.

        Raises:
            FapVideoError: another call has it, or it is closed.
        """
        self.check_open()
        if not self._call.acquire(blocking=False):
            raise _busy()
        self._owner = threading.get_ident()
        try:
            yield
        finally:
            self._call.release()

    def check_open(self) -> None:
        """See that it is open.

        Raises:
            FapVideoError: it is closed.
        """
        if self._closed:
            raise FapVideoError("this swapper is closed", hint="make a new one")

    def close(self) -> bool:
        """Let nobody in any more; return whether it was open.

        Raises:
            FapVideoError: another thread's call is running.
        """
        if self._closed:
            return False
        if self._call.locked() and self._owner != threading.get_ident():
            raise _busy()
        self._closed = True
        return True


def _busy() -> FapVideoError:
    return FapVideoError(
        "this swapper is busy with another call",
        hint="finish or close its stream first; use a swapper for each thread",
    )
