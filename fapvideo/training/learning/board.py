"""TensorBoard files beside `log.csv`, where TensorBoard is installed (the extra `train`)."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from torch import Tensor

from fapvideo.structs import Bytes

FOLDER = "tensorboard"
EVERY = 10
"""Steps between two points of a loss curve."""


class Board:
    """Writes curves and pictures as event files, or nothing at all."""

    def __init__(self, folder: Path | None, step: int) -> None:
        """Write below `folder`; what was written there after `step` is no longer shown."""
        wanted = folder is not None and find_spec("tensorboard") is not None
        self._folder = folder if wanted else None
        self._step = step
        self._opened: Any = None

    def losses(self, step: int, losses: Mapping[str, Tensor]) -> None:
        """Add a point to the curves of the losses, every few steps."""
        if step % EVERY == 0 and (writer := self._writer()):
            for name, value in losses.items():
                writer.add_scalar(f"loss/{name}", float(value), step)

    def metrics(self, step: int, metrics: Mapping[str, float]) -> None:
        """Add a point to the curves of the held-out metrics."""
        if writer := self._writer():
            for name, value in metrics.items():
                writer.add_scalar(f"heldout/{name}", value, step)

    def sheet(self, step: int, picture: Bytes) -> None:
        """Add a picture [H, W, 3]."""
        if writer := self._writer():
            writer.add_image("sheet", picture, step, dataformats="HWC")

    def close(self) -> None:
        """Finish the file; what comes later goes into another."""
        if self._opened is not None:
            self._opened.close()

    def _writer(self) -> Any:
        """Return the writer, opened at its first use; `None` where there is nothing to write."""
        if self._opened is None and self._folder is not None:
            from torch.utils.tensorboard import SummaryWriter

            self._opened = SummaryWriter(str(self._folder / FOLDER), purge_step=self._step + 1)
        return self._opened
