"""Licences of what a measurement used: models and public data."""

from __future__ import annotations

from collections.abc import Iterable

from fapvideo.config.bundle import load_manifest
from fapvideo.errors import FapVideoError
from fapvideo.training.faces.sets import public_set
from fapvideo.weights.bundle import bundle_folder


def licences_of(bundles: Iterable[str], sets: Iterable[str] = ()) -> dict[str, str]:
    """Return what each bundle (name or folder) and public set may be used for, by its name.

    A bundle that is not on this machine any more has no entry.

    Raises:
        WeightsError: no such public set.
    """
    found = {f"set {name}": public_set(name).licence for name in dict.fromkeys(sets) if name}
    for bundle in dict.fromkeys(bundles):
        try:
            files = load_manifest(bundle_folder(bundle)).files
        except FapVideoError:  # removed since, or built in
            continue
        found[f"bundle {bundle}"] = "; ".join(dict.fromkeys(file.licence for file in files))
    return found
