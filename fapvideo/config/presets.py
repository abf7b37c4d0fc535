"""Presets as files: find, read, override, resolve, validate, copy, write out.

A preset is TOML: `schema_version = 1`, one table per stage, and only what differs from the
defaults in `schema.py`. Packaged ones lie in `fapvideo/_presets` (an installed wheel) or in
`presets/` beside the package (a checkout).
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from fapvideo.config.overrides import Tables, merge, nest
from fapvideo.config.problems import Problem, did_you_mean, raise_problems, validate
from fapvideo.config.schema import RunPreset
from fapvideo.config.toml_file import TomlError, check_tables, read_toml_file
from fapvideo.errors import PresetError

PACKAGE = Path(__file__).resolve().parent.parent
ASSETS = PACKAGE / "assets"
PACKAGED_PREFIX = "pkg:"
ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")
"""How a URL begins, also after `Path` has made one slash of two."""
FILES = (
    ("denoise", "codec_file"),
    ("denoise", "lora_file"),
    ("provenance", "certificate"),
    ("provenance", "key"),
    ("consent", "document"),
)
"""Keys of a preset that name one local file."""


class PresetEntry(NamedTuple):
    """One packaged preset."""

    name: str
    path: Path
    description: str


def presets_root() -> Path:
    """Return the folder of the packaged presets; it holds `run/`, `train/` and `eval/`."""
    installed = PACKAGE / "_presets"
    return installed if installed.is_dir() else PACKAGE.parent / "presets"


def list_presets(kind: str = "run") -> tuple[PresetEntry, ...]:
    """Return the packaged presets of `kind`, sorted by name."""
    return tuple(
        PresetEntry(path.stem, path, str(read_toml(path).get("description", "")))
        for path in sorted((presets_root() / kind).glob("*.toml"))
    )


def find_preset(name_or_path: str | Path, kind: str = "run") -> Path:
    """Return the file of a packaged preset's name, or of a path to a `.toml` file.

    Raises:
        PresetError: there is no such preset or file.
    """
    text = str(name_or_path)
    path = expanded(text)
    if isinstance(name_or_path, Path) or path.suffix == ".toml" or path.name != text:
        if not is_file(path):
            raise PresetError(
                f"preset file not found: {text}",
                hint="`fapvideo presets copy NAME FILE` writes one to start from",
            )
        return path
    packaged = {file.stem: file for file in (presets_root() / kind).glob("*.toml")}
    if text not in packaged:
        names = sorted(packaged)
        raise PresetError(
            f"unknown preset {text!r}{did_you_mean(text, names)}",
            hint=f"presets: {', '.join(names)}; or give the path of a .toml file",
        )
    return packaged[text]


def load_preset(
    name_or_path: str | Path | RunPreset,
    overrides: Mapping[str, Any] | None = None,
    *,
    folder: Path | None = None,
) -> RunPreset:
    """Read a preset, put `overrides` over it, make its paths absolute, and validate all of it.

    Args:
        name_or_path: a packaged preset's name, a `.toml` file, or a preset made in code.
        overrides: dotted key -> value, `{"denoise.steps": 12, "references.eyes": ["a.png"]}`.
            The key `references` itself takes the place of the whole table: what it does not name
            is not swapped. Relative paths in a file start at that file's folder, those in overrides
            (and in a preset made in code) at the current folder; `pkg:NAME` is a packaged file.
        folder: where relative paths in `overrides` start instead.

    Raises:
        PresetError: with every problem at once: unknown keys and parts, wrong types, values out
            of range, reference files that are not there.
    """
    preset, source, problems = _load(name_or_path, overrides or {}, folder)
    raise_problems(source, problems, hint="`fapvideo presets show NAME` lists keys and values")
    assert preset is not None  # validate() gives a model or problems
    return preset


def check_preset(
    name_or_path: str | Path | RunPreset, overrides: Mapping[str, Any] | None = None
) -> tuple[Problem, ...]:
    """Return everything that is wrong with a preset; nothing where it is valid.

    Raises:
        PresetError: there is no such file, or it is not TOML.
    """
    return tuple(_load(name_or_path, overrides or {})[2])


def copy_preset(name: str, target: str | Path, *, overwrite: bool = False) -> Path:
    """Copy a packaged preset, comments and all, to a file or into a folder; return the file.

    Raises:
        PresetError: unknown name, or the file exists and `overwrite` is false.
    """
    source = find_preset(name)
    path = expanded(str(target))
    try:
        if path.is_dir():
            path = path / source.name
        if path.exists() and not (overwrite and path.is_file()):
            raise PresetError(f"{path} already exists", hint="pass --overwrite, or another name")
        shutil.copyfile(source, path)
    except OSError as error:
        raise PresetError(f"cannot write {path}: {error.strerror}") from None
    return path


def dump_preset(preset: RunPreset, *, differences: bool = False) -> str:
    """Return a preset as TOML that loads to an equal one.

    With all defaults, or with the differences from them alone, as a person would write it.
    """
    import tomlkit  # only for writing

    tables = preset.model_dump(
        mode="json", exclude_none=True, exclude_defaults=differences, by_alias=differences
    )
    return tomlkit.dumps({"schema_version": preset.schema_version, **tables})


def read_toml(path: Path) -> Tables:
    """Read a TOML file.

    Raises:
        PresetError: it cannot be read, or is not TOML; the message has line and column.
    """
    try:
        return read_toml_file(path)
    except OSError as error:
        raise PresetError(f"cannot read preset {path}: {error.strerror}") from None
    except TomlError as error:
        raise PresetError(f"{path} is not valid TOML: {error}") from None


def _load(
    name_or_path: str | Path | RunPreset,
    overrides: Mapping[str, Any],
    folder: Path | None = None,
) -> tuple[RunPreset | None, str, list[Problem]]:
    """Return the preset (or none), what to call it in a message, and every problem."""
    if isinstance(name_or_path, RunPreset):
        tables: Tables = name_or_path.model_dump(mode="json", exclude_none=True)
        source = f"preset {name_or_path.name}"
        tables = _absolute_paths(tables, Path.cwd())
    else:
        path = find_preset(name_or_path)
        tables = {"name": path.stem, **read_toml(path)}
        source = str(path) if path.parent != presets_root() / "run" else f"preset {path.stem}"
        tables = _absolute_paths(tables, path.resolve().parent)
    if "references" in overrides:
        tables.pop("references", None)
    over = nest(overrides)
    try:
        check_tables(over)
    except TomlError as error:
        raise PresetError(f"{source}: {error}") from None
    merged = merge(tables, _absolute_paths(over, folder or Path.cwd()))
    preset, problems = validate(RunPreset, merged)
    if preset is not None and "references" in overrides:
        problems += _unused(preset)
    return preset, source, [*problems, *_missing_files(merged)]


def _unused(preset: RunPreset) -> list[Problem]:
    """Say that references were given which nobody of the cast takes."""
    takers = [one for one in preset.people if not (one.keep or one.references)]
    if not preset.people or takers:
        return []
    return [Problem("references", "everybody in people has references of their own: nobody"
                    " takes these")]  # fmt: skip


def _absolute_paths(tables: Tables, folder: Path) -> Tables:
    """Resolve references and every other file and folder that a preset names against `folder`.

    Works on what was read, before validation, so it leaves alone whatever has the wrong type.
    """
    resolved = dict(tables)
    references = tables.get("references")
    if isinstance(references, dict):
        resolved["references"] = {
            part: _absolute_sources(entry, folder) for part, entry in references.items()
        }
    people = tables.get("people")
    if isinstance(people, list | tuple):
        resolved["people"] = [_absolute_person(one, folder) for one in people]
    bundle = tables.get("bundle")
    if isinstance(bundle, str) and (bundle.startswith((".", "~")) or Path(bundle).name != bundle):
        resolved["bundle"] = str(_absolute(bundle, folder))
    for table, key in (("reference", "cache_dir"), ("mask", "detector"), *FILES):
        section = resolved.get(table)
        if isinstance(section, dict) and isinstance(section.get(key), str | Path):
            resolved[table] = {**section, key: str(_absolute(str(section[key]), folder))}
    return resolved


def _absolute_sources(entry: Any, folder: Path) -> Any:
    """Resolve `"a.png"`, `{path = "a.png"}` or a list of these."""
    if isinstance(entry, list | tuple):
        return [_absolute_sources(item, folder) for item in entry]
    if isinstance(entry, str | Path) and str(entry):
        return str(_absolute(str(entry), folder))
    if isinstance(entry, Mapping) and isinstance(entry.get("path"), str | Path) and entry["path"]:
        return {**entry, "path": str(_absolute(str(entry["path"]), folder))}
    return entry


def _absolute_person(person: Any, folder: Path) -> Any:
    """Resolve the photo and the references of an entry of `people`."""
    if not isinstance(person, dict):
        return person
    resolved = _absolute_paths(person, folder)  # for `references`
    who = person.get("who")
    if isinstance(who, dict) and "photo" in who:
        resolved["who"] = {**who, "photo": _absolute_sources(who["photo"], folder)}
    return resolved


def local_path(text: str) -> str:
    """Return a reference's path as a file's: `pkg:NAME` is a packaged one.

    Raises:
        PresetError: there is no packaged file of that name.
    """
    if text.startswith(PACKAGED_PREFIX):
        return str(packaged_file(ASSETS, text.removeprefix(PACKAGED_PREFIX)))
    return text


def packaged_file(folder: Path, name: str) -> Path:
    """Return a file that came with the package; a name leads nowhere else.

    Raises:
        PresetError: there is none of that name in `folder`.
    """
    known = sorted(path.name for path in folder.iterdir() if path.suffix not in (".md", ".toml"))
    if name not in known:
        raise PresetError(
            f"{name!r} does not come with the package{did_you_mean(name, known)}",
            hint=f"there is: {', '.join(known)}",
        )
    return folder / name


def packaged_licence(path: str) -> str:
    """Return the licence of a picture that came with the package; of any other, nothing."""
    place = Path(path)
    if place.parent != ASSETS:
        return ""
    return str(read_toml(ASSETS / "licences.toml").get(place.name, ""))


def expanded(text: str) -> Path:
    """Return a path as the user wrote it, `~` included.

    Raises:
        PresetError: it is no path of this machine: an address, a NUL, an unknown user's home.
    """
    if ADDRESS.match(text):
        raise PresetError(f"{text}: addresses are not read", hint="download the file first")
    try:
        if "\0" in text:
            raise ValueError("a NUL character")
        return Path(text).expanduser()
    except (RuntimeError, ValueError) as error:
        raise PresetError(f"{text!r} is no path: {error}") from None


def is_file(path: Path) -> bool:
    """Return whether it is a file; a name that is too long is none."""
    try:
        return path.is_file()
    except OSError:
        return False


def _absolute(text: str, folder: Path) -> Path:
    if text.startswith(PACKAGED_PREFIX):
        return Path(local_path(text))
    path = folder / expanded(text)
    try:
        return path.resolve()
    except (RuntimeError, OSError):  # links in a circle: not found, then
        return path.absolute()


def is_folder(path: Path) -> bool:
    """Return whether it is a folder; a name that is too long is none."""
    try:
        return path.is_dir()
    except OSError:
        return False


def _missing_files(tables: Tables) -> list[Problem]:
    """Name every reference, model or document that is no file, and a detector that is no folder."""
    problems = []
    for table, key in FILES:
        section = tables.get(table)
        file = section.get(key) if isinstance(section, dict) else None
        if isinstance(file, str) and not is_file(Path(file)):
            problems.append(Problem(f"{table}.{key}", f"file not found: {file}"))
    mask = tables.get("mask")
    detector = mask.get("detector") if isinstance(mask, dict) else None
    if isinstance(detector, str) and not is_folder(Path(detector)):
        problems.append(Problem("mask.detector", f"folder not found: {detector}"))
    problems += _missing_references(tables, "")
    people = tables.get("people")
    for number, one in enumerate(people if isinstance(people, list | tuple) else ()):
        if not isinstance(one, dict):
            continue
        problems += _missing_references(one, f"people.{number}.")
        who = one.get("who")
        photo = who.get("photo") if isinstance(who, dict) else None
        if isinstance(photo, str) and photo and not is_file(Path(photo)):
            problems.append(Problem(f"people.{number}.who.photo", f"photo not found: {photo}"))
    return problems


def _missing_references(tables: Tables, prefix: str) -> list[Problem]:
    """Name every image in the table `references` that is not a file."""
    problems = []
    references = tables.get("references")
    for part, entry in references.items() if isinstance(references, dict) else ():
        many = isinstance(entry, list | tuple)
        for index, item in enumerate(entry if many else (entry,)):
            path = item.get("path") if isinstance(item, Mapping) else item
            if isinstance(path, str) and path and not is_file(Path(path)):
                key = f"{prefix}references.{part}" + (f".{index}" if many else "")
                problems.append(Problem(key, f"reference image not found: {path}"))
    return problems
