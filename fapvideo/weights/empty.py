"""Networks without weights, for those that are loaded right away."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

_ONE = threading.Lock()


@contextmanager
def without_weights() -> Iterator[None]:
    """Build modules whose parameters lie on the meta device; buffers stay real.

    `accelerate` does it by changing how every module of the process registers parameters. Here
    other threads build theirs as usual meanwhile, and two that do this wait for each other.
    """
    from accelerate import init_empty_weights  # as all that takes long to import

    with _ONE:
        usual, here = nn.Module.register_parameter, threading.get_ident()
        with init_empty_weights(include_buffers=False):
            empty = nn.Module.register_parameter

            def register(module: nn.Module, name: str, parameter: nn.Parameter | None) -> None:
                chosen = empty if threading.get_ident() == here else usual
                chosen(module, name, parameter)

            nn.Module.register_parameter = register  # type: ignore[method-assign, assignment]
            yield
