"""Work on a batch in portions that fit the device's memory, and what to say where none does."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import TypeVar

import torch

from fapvideo.errors import DeviceError

T = TypeVar("T")

_DEVICE_FULL = ("out of memory", "CUBLAS_STATUS_ALLOC_FAILED", "CUDNN_STATUS_ALLOC_FAILED")
"""What drivers and their libraries say; torch has a class of its own only for its own allocator."""
_MACHINE_FULL = ("can't allocate memory", "not enough memory", "Insufficient memory", "bad alloc",
                 "Failed to allocate memory")  # fmt: skip
"""What torch's CPU allocator (on Linux, on Windows), OpenCV, C++ and ONNX Runtime say."""


def device_is_full(error: BaseException) -> bool:
    """Tell whether an error says that a GPU has no memory left."""
    if isinstance(error, torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(text in str(error) for text in _DEVICE_FULL)


def machine_is_full(error: BaseException) -> bool:
    """Tell whether an error says that the machine has no memory left."""
    if isinstance(error, MemoryError) or getattr(error, "errno", None) == errno.ENOMEM:
        return True
    # OpenCV's error is no RuntimeError.
    kinds = RuntimeError, *(kind for kind in type(error).__mro__ if kind.__module__ == "cv2")
    return isinstance(error, kinds) and any(text in str(error) for text in _MACHINE_FULL)


def full_error(error: BaseException, device: torch.device | str) -> DeviceError | None:
    """Return what to say where memory ran out; None for any other error."""
    if device_is_full(error):
        return DeviceError(
            f"{device} ran out of memory",
            hint="set denoise.batch_size = 1, denoise.precision = bf16, a smaller"
            " composite.max_size or bundle, or --device cpu; or end what else uses the device",
        )
    if machine_is_full(error):
        reason = (str(error).splitlines() or [""])[0]
        return DeviceError(
            f"this machine ran out of memory{f' ({reason[:200]})' if reason else ''}",
            hint="set denoise.batch_size = 1 and video.prefetch_batches = 1, or a smaller"
            " composite.max_size; or end other programs",
        )
    return None


class Portions:
    """Runs work on stretches of a batch; one that does not fit a GPU is halved, for good.

    Results must not depend on how a batch is divided.
    """

    def __init__(self, device: torch.device) -> None:
        """Begin without a limit on `device`."""
        self.limit: int | None = None
        """Samples at once that are known to fit, once some did not."""
        self.warnings: list[str] = []
        """What was halved; emptied by whoever has told it."""
        self._device = device

    def size(self, most: int) -> int:
        """Return how many samples to take at once where `most` are asked for."""
        return most if self.limit is None else min(most, self.limit)

    def run(self, count: int, most: int, work: Callable[[slice], T]) -> list[T]:
        """Return the results of `work` on rows 0 to `count`, `most` at a time at first.

        Raises:
            DeviceError: a single sample does not fit; says what to set.
        """
        done: list[T] = []
        start = 0
        while start < count:
            size = self.size(most)
            try:
                done.append(work(slice(start, start + size)))
            except Exception as error:
                found = full_error(error, self._device)
                if found is None:
                    raise
                if min(size, count - start) == 1 or not device_is_full(error):
                    raise found from None
                taken = min(size, count - start)
            else:
                start += size
                continue
            # Out of the handler: the error's traceback holds on to the tensors.
            self._halve(taken)
        return done

    def _halve(self, size: int) -> None:
        self.limit = size // 2
        text = f"{self._device} ran out of memory with {size} crops at once: went on with"
        self.warnings.append(f"{text} {self.limit} (denoise.batch_size = {self.limit} says so"
                             " from the start)")  # fmt: skip
        if self._device.type == "cuda":
            torch.cuda.empty_cache()
