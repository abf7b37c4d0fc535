"""The weights store: where bundles that are not in the package live on this machine."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

from fapvideo.config.bundle import MANIFEST_NAME
from fapvideo.errors import WeightsError

BUILT_IN = ("embedded", "tiny", "tiny_sd15")
KNOWN = ("sd15",)


def store_folder() -> Path:
    """Return the store's folder: `$FAPVIDEO_WEIGHTS`, else the user's data folder."""
    given = os.environ.get("FAPVIDEO_WEIGHTS")
    return Path(given) if given else platformdirs.user_data_path("fapvideo") / "weights"


def installed_folder(name: str) -> Path:
    """Return the folder of bundle `name` in the store.

    Raises:
        WeightsError: the name is unknown, or the bundle is not installed.
    """
    folder = store_folder() / name
    if (folder / MANIFEST_NAME).is_file():
        return folder
    if name in KNOWN:
        raise WeightsError(
            f"the weights of bundle {name} are not on this machine",
            hint=f"run `fapvideo weights fetch {name}`, or `fapvideo weights import {name} FOLDER`"
            " with files you have",
        )
    raise WeightsError(
        f"there is no bundle {name!r}: neither a folder nor one of"
        f" {', '.join((*BUILT_IN, *KNOWN))}",
        hint="`fapvideo weights list` shows the bundles",
    )
