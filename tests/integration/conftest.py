"""Clips with faces, and one thread for small networks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import face_clips
import pytest
import torch


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> Iterator[None]:
    """Small nets: threads cost more than they bring."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Return the path of a named clip with faces, made once."""
    folder = tmp_path_factory.mktemp("face-clips")
    return lambda name, **changes: face_clips.face_clip(folder, name, **changes)
