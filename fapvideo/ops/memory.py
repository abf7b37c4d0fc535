"""Keeping freed memory for the next frame, and letting go of mapped files."""

from __future__ import annotations

import mmap

import numpy as np

from fapvideo.structs import Array

LEARNT_BYTES = 31 << 20
"""Just under glibc's largest threshold, 32 MiB on 64 bits."""


def keep_freed_memory() -> None:
    """Make the allocator keep what is freed, instead of handing it back page by page.

    glibc gives memory above a threshold back to the system at once, and pages that are asked for
    again for the next picture must be cleared first: a fifth of the time of array arithmetic on
    crops. It learns the threshold from the largest block freed so far (`mallopt(3)`,
    M_MMAP_THRESHOLD); so one is allocated, untouched, and freed. Elsewhere this does nothing.
    """
    np.empty(LEARNT_BYTES, np.uint8)


def release(array: Array) -> None:
    """Let the pages of a mapped file go out of this process' memory; they come back when needed.

    Of other arrays nothing happens, nor where the system has no such call.
    """
    mapping: object = array
    while isinstance(mapping, np.ndarray):
        if isinstance(mapping, np.memmap) and mapping.mode == "c":  # private: it would be lost
            return
        mapping = mapping.base
    if isinstance(mapping, mmap.mmap) and hasattr(mapping, "madvise"):
        mapping.madvise(mmap.MADV_DONTNEED)
