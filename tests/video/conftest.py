from collections.abc import Callable
from pathlib import Path

import clips
import pytest


@pytest.fixture(scope="session")
def clip(tmp_path_factory) -> Callable[[str], Path]:
    """Return the path of a named clip, made once."""
    folder = tmp_path_factory.mktemp("clips")
    made: dict[str, Path] = {}

    def get(name: str) -> Path:
        if name not in made:
            made[name] = clips.make_clip(folder, name)
        return made[name]

    return get
