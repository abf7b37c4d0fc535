"""Importing published files into the store: recognised, checked, converted once, recorded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomlkit

from fapvideo.config.bundle import MANIFEST_NAME, BundleFile, BundleManifest
from fapvideo.config.toml_file import TomlError, read_toml_file
from fapvideo.errors import WeightsError
from fapvideo.ops.files import sha256_file, write_atomically, write_text
from fapvideo.progress import OnProgress, Progress
from fapvideo.weights.bundle import manifest_toml
from fapvideo.weights.convert import ROLES, convert_file
from fapvideo.weights.detect import NAMES, Detected, Kind, detect_file
from fapvideo.weights.foreign import PICKLES
from fapvideo.weights.known import KnownBundle, known_bundle
from fapvideo.weights.sd15 import sd15_manifest
from fapvideo.weights.state import write_tensors
from fapvideo.weights.store import is_installed, partial_folder, store_folder

SOURCES = "sources.toml"
"""Beside the converted files: kind -> file, size, SHA-256 and licence of what each came from."""


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import achieved."""

    folder: Path
    """The finished bundle, or what there is of it so far."""
    found: tuple[Detected, ...]
    missing: tuple[str, ...]
    """What is still needed, in words; empty when the bundle is ready."""


def import_bundle(name: str, path: Path, progress: OnProgress = lambda now: None) -> Imported:
    """Take weights from a file, or from all files in a folder and its subfolders.

    Files are recognised by their contents, not by their names. What is still missing may follow in
    another import; once nothing is, the bundle appears in the store in one step.

    Raises:
        WeightsError: unknown bundle, already installed, nothing useful found, or a file that is
            damaged, unsafe or does not fit.
    """
    known_bundle(name)
    return import_files(name, _candidates(path), progress)


def import_files(
    name: str, sources: Sequence[Path], progress: OnProgress = lambda now: None
) -> Imported:
    """Take weights from these files, one of each kind; see `import_bundle`.

    The SHA-256 of a file is recorded when it is imported. Until `remove_bundle`, another file of
    its kind is refused: a bundle is never mixed from two downloads without anybody noticing.

    Raises:
        WeightsError: as `import_bundle`.
    """
    known, manifest, partial = known_bundle(name), sd15_manifest(), partial_folder(name)
    recorded = recorded_sources(name)
    checked = [_compare(name, source, recorded, progress) for source in sources]
    if is_installed(name):
        raise WeightsError(
            f"bundle {name} is already installed",
            hint=f"`fapvideo weights verify {name}` checks it, `remove` deletes it",
        )
    for source, (found, digest) in zip(sources, checked, strict=True):
        if found.kind not in recorded:
            progress(Progress(f"reading {source.name}", 0, source.stat().st_size))
            _take(source, digest, manifest, partial, known, progress)
    return _finish(name, manifest, known, tuple(found for found, _ in checked))


def recorded_sources(name: str) -> Mapping[str, Mapping[str, Any]]:
    """Return what bundle `name` was made from so far: kind -> its line of `sources.toml`."""
    folder = store_folder() / name if is_installed(name) else partial_folder(name)
    return _read_toml(folder / SOURCES)


def _compare(
    name: str, source: Path, recorded: Mapping[str, Mapping[str, Any]], report: OnProgress
) -> tuple[Detected, str]:
    """Return what `source` is, and its SHA-256, if the bundle was given no other of its kind.

    Raises:
        WeightsError: it was; or the file is unreadable.
    """
    found = detect_file(source)
    report(Progress(f"checking {source.name}", 0, source.stat().st_size))
    digest = sha256_file(source)
    before = recorded.get(found.kind)
    if before is not None and before["sha256"] != digest:
        raise WeightsError(
            f"{source} is not the {NAMES[found.kind]} that bundle {name} was given before,"
            f" {before['file']} (SHA-256 {digest[:12]}…, then {before['sha256'][:12]}…)",
            hint=f"to take this one instead, run `fapvideo weights remove {name}` first, and import"
            " all files again",
        )
    return found, digest


def _candidates(path: Path) -> list[Path]:
    """Return the files to import: `path` itself, or the useful ones below it.

    Raises:
        WeightsError: there is none.
    """
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise WeightsError(f"{path}: there is no such file or folder")
    endings = {*PICKLES, ".safetensors"}
    files = sorted(p for p in path.rglob("*") if p.suffix in endings and p.is_file())
    useful = {p: detect_file(p).kind for p in files}
    wanted: dict[Kind, Path] = {}
    for file, kind in useful.items():
        if kind in ROLES:
            if kind in wanted:
                raise WeightsError(
                    f"{path} holds two files that are a {NAMES[kind]}: {wanted[kind]} and {file}",
                    hint="import the right one by itself",
                )
            wanted[kind] = file
    if not wanted:
        raise WeightsError(
            f"{path} holds nothing for this bundle"
            + (f": {len(files)} weights file(s) of other kinds" if files else ""),
            hint=f"it needs {', '.join(NAMES[kind] for kind in ROLES)}",
        )
    return list(wanted.values())


def _take(
    source: Path,
    digest: str,
    manifest: BundleManifest,
    partial: Path,
    known: KnownBundle,
    report: OnProgress,
) -> None:
    """Convert one file into the partial bundle and record where it came from."""
    found, states = convert_file(source, manifest)
    partial.mkdir(parents=True, exist_ok=True)
    for name, state in states.items():
        report(Progress(f"writing {name}", 0, 0))
        try:
            with write_atomically(partial / name) as fresh:
                write_tensors(fresh, state)
        except OSError as error:
            raise WeightsError(f"{partial / name} cannot be written: {error}") from None
    record = {
        "file": source.name,
        "size": source.stat().st_size,
        "sha256": digest,
        "licence": next((f.licence for f in known.files if f.kind == found.kind), "unknown"),
    }
    taken = {**_read_toml(partial / SOURCES), found.kind: record}
    write_text(partial / SOURCES, tomlkit.dumps(taken))


def _finish(
    name: str, manifest: BundleManifest, known: KnownBundle, found: tuple[Detected, ...]
) -> Imported:
    """Publish the partial bundle if nothing is missing."""
    partial = partial_folder(name)
    taken = _read_toml(partial / SOURCES)
    missing = tuple(NAMES[kind] for kind in ROLES if kind not in taken)
    if missing:
        return Imported(partial, found, missing)
    licences = {file.kind: file.licence for file in known.files}
    entries = tuple(
        BundleFile(path=file, sha256=sha256_file(partial / file), licence=licences[kind])
        for kind, names in ROLES.items()
        for file in names
        if kind in licences
    )
    ready = manifest.model_copy(update={"files": entries})
    write_text(partial / MANIFEST_NAME, manifest_toml(ready))
    folder = store_folder() / name
    partial.rename(folder)
    return Imported(folder, found, ())


def check_first_sight(origin: str, path: Path) -> None:
    """Record the SHA-256 of a source file when it is first seen, and compare it ever after.

    Raises:
        WeightsError: the publisher's file is another than the one seen before.
    """
    record = store_folder() / "seen.toml"
    seen = _read_toml(record)
    digest = sha256_file(path)
    before = seen.get(origin)
    if before is None:
        write_text(record, tomlkit.dumps({**seen, origin: digest}))
    elif before != digest:
        raise WeightsError(
            f"{origin} is not the file it was when first fetched"
            f" (SHA-256 {digest[:12]}…, then {str(before)[:12]}…)",
            hint=f"if its publisher replaced it on purpose, delete its line in {record}",
        )


def _read_toml(path: Path) -> dict[str, Any]:
    """Read a record of the store; none is an empty one.

    Raises:
        WeightsError: it is damaged.
    """
    try:
        return read_toml_file(path) if path.is_file() else {}
    except (OSError, TomlError) as error:
        raise WeightsError(f"{path} is damaged: {error}", hint="delete it") from None
