"""Reference features on disk, found again by content."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
from platformdirs import user_cache_dir
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from fapvideo.ops.files import write_atomically
from fapvideo.structs import Floats

log = logging.getLogger(__name__)

PREPROCESSING = "part-alone-3"
"""Change it when a picture is read or a part is cut out differently before it is encoded."""

MAX_BYTES = 64 * 2**20


class FeatureCache:
    """Tokens keyed by image bytes, part, encoder and preprocessing.

    A file is written under a temporary name and renamed, so that two runs may share the folder and
    a reader never sees half a file. A damaged file counts as absent.
    """

    def __init__(self, folder: Path | None, encoder_identity: str, *, enabled: bool = True) -> None:
        """Keep files in `folder` (the user's cache folder by default)."""
        self.folder = folder or Path(user_cache_dir("fapvideo")) / "features"
        self.enabled = enabled
        self._identity = encoder_identity

    def path(self, image_sha256: str, part: str) -> Path:
        """Return the file that holds (or would hold) the tokens."""
        text = "\n".join((image_sha256, part, self._identity, PREPROCESSING))
        return self.folder / f"{hashlib.sha256(text.encode()).hexdigest()}.safetensors"

    def get(
        self, image_sha256: str, part: str, compute: Callable[[], Floats]
    ) -> tuple[Floats, bool]:
        """Return tokens and whether they came from the cache."""
        path = self.path(image_sha256, part)
        if self.enabled and path.is_file():
            try:
                return _read(path), True
            except (SafetensorError, KeyError, OSError, ValueError, TypeError) as error:
                log.warning("%s is damaged and is made again (%s)", path, error)
        tokens = compute()
        if self.enabled:
            self._store(path, tokens)
        return tokens, False

    def _store(self, path: Path, tokens: Floats) -> None:
        """Write atomically; a folder that cannot be written costs speed, not the run."""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with write_atomically(path) as fresh:
                tokens = np.ascontiguousarray(tokens, np.float32)
                save_file({"tokens": tokens}, fresh, {"sha256": _digest(tokens)})
        except (OSError, SafetensorError) as error:
            log.warning("reference features are not cached: %s", error)


def _read(path: Path) -> Floats:
    """Return the tokens [N, C] of a file, if they are those that were written.

    Raises:
        ValueError: of another shape, type or content, or not finite.
        SafetensorError, KeyError, OSError: the file is damaged.
    """
    if path.stat().st_size > MAX_BYTES:
        raise ValueError(f"{path.stat().st_size} bytes")
    with safe_open(path, framework="np") as file:
        wanted = (file.metadata() or {})["sha256"]
        tokens: Floats = file.get_tensor("tokens")
    if tokens.dtype != np.float32 or tokens.ndim != 2 or not np.isfinite(tokens).all():
        raise ValueError(f"{tokens.dtype}{list(tokens.shape)}, or not finite")
    if _digest(tokens) != wanted:
        raise ValueError("other numbers than were written")
    return tokens


def _digest(tokens: Floats) -> str:
    """Return what tells tokens from others, their shape included."""
    return hashlib.sha256(repr(tokens.shape).encode() + tokens.tobytes()).hexdigest()
