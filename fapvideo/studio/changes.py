"""What the page shows as a preset: read, changed step by step, written as TOML or as a command."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

from fapvideo.config.presets import load_preset
from fapvideo.config.schema import RunPreset
from fapvideo.errors import ConsentError, PresetError
from fapvideo.ops.files import sha256_file
from fapvideo.parts import PARTS, TRAINED
from fapvideo.plan.casting import assign
from fapvideo.plan.people import CastReader
from fapvideo.plan.targets import Plan
from fapvideo.studio.library import FIRST_PRESET, Photo
from fapvideo.studio.words import say

SLIDERS: tuple[str, ...] = (
    *(f"guide.shape.{part}" for part in TRAINED),
    *(f"guide.expression.{part}" for part in TRAINED),
    "guide.offsets.smile",
    "guide.offsets.mouth_open",
    "guide.offsets.eyes_open",
    "guide.offsets.brows_up",
    "guide.colour",
    "guide.light",
    "mask.feather",
    "mask.dilate",
)
"""Keys of the preset that the page has sliders for; their limits are the schema's."""
EVERYONE = "everyone_else"
People = list[dict[str, Any]]


def limits(key: str) -> dict[str, float]:
    """Return least, most and step of a slider."""
    model: Any = RunPreset
    *tables, name = key.split(".")
    for table in tables:
        model = model.model_fields[table].annotation
    field = model.model_fields[name]
    bounds: dict[str, float] = {}
    for item in field.metadata:
        bounds |= {k: float(getattr(item, k)) for k in ("ge", "le") if hasattr(item, k)}
    least, most = bounds["ge"], bounds["le"]
    return {"min": least, "max": most, "step": round((most - least) / 100, 4),
            "default": float(field.default)}  # fmt: skip


def value_of(preset: RunPreset, key: str) -> float:
    """Return the value that a slider shows."""
    value: Any = preset
    for name in key.split("."):
        value = getattr(value, name)
    return float(value)


# ------------------------------------------------------------------------------------ the cast


def cast_of(preset: RunPreset, plan: Plan) -> tuple[People, dict[str, Any] | None]:
    """Return who of a clip gets what, person by person, and what everyone else does.

    Whoever the preset means by a photo, a place or a rule is here by a track's number.
    """
    if not preset.people:
        cast = CastReader().bystanders(preset)
        chosen = assign(plan, cast, preset.track.faces).roles
        entry = _entry(preset, None, {})
        people = sorted({plan.people.get(track, track) for track in chosen})
        return [{**entry, "who": {"track": person}} for person in people], None
    found = assign(plan, CastReader().bystanders(preset), preset.track.faces).roles
    entries = [_entry(preset, number, {}) for number in range(len(preset.people))]
    people_of: dict[int, int] = {}
    for track, number in found.items():
        people_of.setdefault(plan.people.get(track, track), number)
    others = next((e for e, one in zip(entries, preset.people, strict=True)
                   if one.who.everyone_else), None)  # fmt: skip
    named = [
        {**entries[number], "who": {"track": person}}
        for person, number in sorted(people_of.items())
        if not preset.people[number].who.everyone_else
    ]
    return named, others


def _entry(preset: RunPreset, number: int | None, who: Mapping[str, Any]) -> dict[str, Any]:
    one = None if number is None else preset.people[number]
    given = preset.references if one is None or not one.references else one.references
    entry: dict[str, Any] = {"who": dict(who) if one is None else one.who.model_dump(
        mode="json", exclude_none=True, exclude_defaults=True)}  # fmt: skip
    if one is not None and one.keep:
        return {**entry, "keep": True}
    entry["references"] = {
        str(part): [source.model_dump(mode="json", exclude_defaults=True) for source in sources]
        for part, sources in given.items()
    }
    if one is not None and one.strength != 1.0:
        entry["strength"] = one.strength
    if one is not None and one.seed is not None:
        entry["seed"] = one.seed
    if one is not None and one.parts:
        entry["parts"] = {
            str(part): own.model_dump(exclude_defaults=True) for part, own in one.parts.items()
        }
    return entry


def with_cast(
    preset: RunPreset, people: People, others: Mapping[str, Any] | None
) -> RunPreset:  # fmt: skip
    """Return a preset with this cast; entries that say nothing are left out."""
    entries = [one for one in people if one.get("keep") or one.get("references")]
    if others is not None and (others.get("keep") or others.get("references")):
        entries.append({**others, "who": {EVERYONE: True}})
    if not entries:  # nobody gets anything: a cast of one who is left alone says so
        entries = [{"who": {EVERYONE: True}, "keep": True}]
    return load_preset(preset.model_copy(update={"references": {}}), {"people": entries})


def recast(
    preset: RunPreset,
    plan: Plan,
    person: str,
    change: Mapping[str, Any],
    photos: Mapping[str, Photo],
    protected: Mapping[str, str],
) -> RunPreset:
    """Return the preset with another cast for one person.

    Args:
        preset: as it is.
        plan: of the clip.
        person: number of the person, or `everyone_else`.
        change: `{"part": .., "photo": ID or ""}`, `{"strength": ..}`, `{"keep": ..}` or
            `{"parts": {PART: {"strength": .., "expression": .. or None}}}`.
        photos: the shelf.
        protected: person -> name, of those who are left alone.

    Raises:
        ConsentError: the person is protected.
        PresetError: there is no such person, part, photo or value.
    """
    people, others = cast_of(preset, plan)
    known = {str(plan.people.get(track.id, track.id)) for track in plan.tracks}
    if person != EVERYONE and person not in known:
        raise PresetError(say("cast.nobody"))
    if person in protected and (change.get("photo") or change.get("keep") is False):
        raise ConsentError(say("cast.protected", name=protected[person]))
    if person == EVERYONE:
        entry = others = dict(others or {"who": {EVERYONE: True}, "references": {}})
    else:
        who = {"track": int(person)}
        entry = next((one for one in people if one["who"] == who), {"who": who, "references": {}})
        people = [*(one for one in people if one["who"] != who), entry]
        people.sort(key=lambda one: one["who"]["track"])
    _alter(entry, change, photos)
    return with_cast(preset, people, others)


def _alter(entry: dict[str, Any], change: Mapping[str, Any], photos: Mapping[str, Photo]) -> None:
    if "keep" in change:
        entry["keep"] = bool(change["keep"])
        if entry["keep"]:
            entry["references"] = {}
    if "strength" in change:
        entry["strength"] = float(change["strength"])
    if "part" in change:
        references = entry.setdefault("references", {})
        for part in TRAINED if change["part"] == "all" else (str(change["part"]),):
            if part not in PARTS:
                raise PresetError(say("cast.no_part", part=part))
            references.pop(part, None)
            if change.get("photo"):
                if change["photo"] not in photos:
                    raise PresetError(say("cast.no_photo"))
                references[part] = [{"path": photos[change["photo"]].path}]
                entry.pop("keep", None)
    _tune(entry, change.get("parts") or {})


def _tune(entry: dict[str, Any], wanted: Mapping[str, Mapping[str, Any]]) -> None:
    """Set what parts have of their own; what is as usual, or of no part any more, goes."""
    parts, swapped = dict(entry.get("parts", {})), entry.get("references") or {}
    for part, values in wanted.items():
        if part not in swapped:
            raise PresetError(say("cast.no_part", part=part))
        own = {**parts.get(part, {}), **values}
        parts[part] = {k: v for k, v in own.items() if v is not None and (k, v) != ("strength", 1)}
    entry["parts"] = {part: own for part, own in parts.items() if own and part in swapped}


# ------------------------------------------------------------------------------------ the rest


def with_values(preset: RunPreset, values: Mapping[str, Any]) -> RunPreset:
    """Return the preset with other values of sliders.

    Raises:
        PresetError: a key without a slider, or a value that cannot be.
    """
    for key in values:
        if key not in SLIDERS:
            raise PresetError(say("change.no_slider", name=key))
    return load_preset(preset, values)


def with_consent(
    preset: RunPreset, given: Mapping[str, Any], documents: Mapping[str, Path]
) -> RunPreset:
    """Return the preset with the consent of the form; without a name there is none.

    Args:
        preset: as it is.
        given: what the form says.
        documents: signed ones, by the names that the form has for them.

    Raises:
        PresetError: something is missing or wrong.
    """
    who, clips = (_listed(given.get(name, "")) for name in ("who", "clips"))
    if not who:
        return preset.model_copy(update={"consent": RunPreset().consent})
    until = given.get("until", "")
    try:
        end = date.fromisoformat(until)
    except ValueError:
        raise PresetError(say("trust.until_wrong")) from None
    scope = {"parts": given.get("parts", []), "clips": clips,
             "purpose": given.get("purpose", "").strip()}  # fmt: skip
    changes = {"who": who, "by": given.get("by", "").strip(), "until": end, "scope": scope}
    changes |= _document(preset, given.get("document", ""), documents)
    return load_preset(preset, {"consent": changes})


def _listed(text: str) -> list[str]:
    """Return what commas divide."""
    return [item.strip() for item in text.split(",") if item.strip()]


def _document(preset: RunPreset, name: str, documents: Mapping[str, Path]) -> dict[str, Any]:
    """Return the keys of the document: the one that there was, or one of the clip's folder."""
    known = preset.consent
    if not name:
        return {"document": None, "document_sha256": ""}
    if known.document is not None and known.document.name == name:
        return {"document": str(known.document), "document_sha256": known.document_sha256}
    if name not in documents:
        raise PresetError(say("trust.no_document", name=name))
    return {"document": str(documents[name]), "document_sha256": sha256_file(documents[name])}


def with_licence(preset: RunPreset, path: str, licence: str) -> RunPreset:
    """Return the preset where a photo has another licence, wherever it is used."""

    def said(sources: Sequence[Any]) -> tuple[Any, ...]:
        update = {"licence": licence.strip()}
        return tuple(s.model_copy(update=update) if s.path == path else s for s in sources)

    def tables(given: Mapping[Any, Any]) -> dict[Any, Any]:
        return {part: said(sources) for part, sources in given.items()}

    people = tuple(
        one.model_copy(update={"references": tables(one.references)}) for one in preset.people
    )
    return preset.model_copy(update={"references": tables(preset.references), "people": people})


def licences(preset: RunPreset) -> dict[str, str]:
    """Return path -> licence of the photos that are used."""
    groups = [preset.references, *(one.references for one in preset.people)]
    return {s.path: s.licence for group in groups for given in group.values() for s in given}


# ------------------------------------------------------------------------------------ as a command


def command_line(source: Path, preset: RunPreset) -> str:
    """Return the command that does what the page shows."""
    words = ["fapvideo", "run", str(source), "--preset", FIRST_PRESET]
    standard = load_preset(FIRST_PRESET)
    for part, given in preset.references.items() if not preset.people else ():
        words += [w for one in given for w in ("--reference", f"{part}={one.path}")]
    for one in preset.people:
        words += ["--person", _person(one)]
    tables = _changed(standard, preset)
    for key, value in tables.items():
        words += ["--set", f"{key}={_toml(value)}"]
    return shlex.join(words)


def _person(one: Any) -> str:
    who = str(one.who).replace("photo ", "photo=").replace("track ", "track=")
    who = who.replace("left ", "left=")
    if one.keep:
        return f"{who}:keep"
    what = [f"{part}={s.path}" for part, given in one.references.items() for s in given]
    what += [f"strength={one.strength:g}"] if one.strength != 1.0 else []
    what += [
        f"{part}.{key}={value:g}"
        for part, own in one.parts.items()
        for key, value in own.model_dump(exclude_defaults=True).items()
    ]
    what += [f"seed={one.seed}"] if one.seed is not None else []
    return f"{who}:{','.join(what)}" if what else who


def _changed(standard: RunPreset, preset: RunPreset) -> dict[str, Any]:
    """Return dotted keys whose values are others than the first preset's."""
    skipped = ("name", "description", "references", "people", "schema_version")
    found: dict[str, Any] = {}

    def compare(prefix: str, old: Any, new: Any) -> None:
        if isinstance(new, Mapping) and isinstance(old, Mapping):
            for key in new:
                compare(f"{prefix}.{key}" if prefix else key, old.get(key), new[key])
        elif old != new and prefix not in skipped:
            found[prefix] = new

    dumped: Callable[[RunPreset], Any] = lambda p: p.model_dump(mode="json", by_alias=True)  # noqa: E731
    old, new = dumped(standard), dumped(preset)
    for name in skipped:
        old.pop(name, None)
        new.pop(name, None)
    compare("", old, new)
    return found


def _toml(value: Any) -> str:
    import tomlkit  # only for writing

    if value is None:
        return "none"
    return tomlkit.item(_inline(value)).as_string() if not isinstance(value, str) else _text(value)


def _inline(value: Any) -> Any:
    import tomlkit

    if isinstance(value, Mapping):
        table = tomlkit.inline_table()
        table.update({key: _inline(inner) for key, inner in value.items() if inner is not None})
        return table
    if isinstance(value, list | tuple):
        array = tomlkit.array()
        for inner in value:
            array.append(_inline(inner))
        return array
    return value


def _text(value: str) -> str:
    import tomlkit

    return tomlkit.item(value).as_string()
