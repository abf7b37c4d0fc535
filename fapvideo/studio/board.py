"""Counts changes, so that open pages learn of them."""

from __future__ import annotations

import threading
from collections import Counter


class Board:
    """One counter for each clip."""

    def __init__(self) -> None:
        """Begin at zero."""
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self.closing = False
        """Whether pages are to stop listening."""

    def changed(self, name: str) -> None:
        """Say that something of a clip is another way."""
        with self._lock:
            self._counts[name] += 1

    def count(self, name: str) -> int:
        """Return how many changes there were."""
        return self._counts[name]
