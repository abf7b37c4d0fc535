"""The cast of a run: who is meant, and with which references, strength and seed.

A preset with `[references]` alone is a cast of one entry, for whomever `track.faces` takes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from fapvideo.config.casting import PersonConfig, WhoConfig
from fapvideo.config.problems import raise_problems, validate
from fapvideo.config.schema import ReferenceConfig, RunPreset
from fapvideo.errors import PresetError
from fapvideo.parts import PARTS
from fapvideo.plan.references import (
    Asked,
    ReferenceEncoder,
    References,
    align_source,
    asked_references,
    load_references,
    picture_source,
)
from fapvideo.structs import Bytes, Floats, Reference
from fapvideo.track.finder import FaceFinder
from fapvideo.track.identity import Looks

Who = str | Path | Bytes | Mapping[str, Any]
"""A photo (path or pixels), or one of `{"photo": ...}`, `{"left": 1}`, `{"track": 3}`,
`{"largest": True}`, `{"everyone_else": True}`."""


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody in a clip, and what becomes of them: `[[people]]` of a preset, from Python.

    What is None has the default of the preset's table.
    """

    who: Who
    references: References = field(default_factory=dict)
    """Part -> images; without any, those of the run or of the preset's `[references]`."""
    strength: float | None = None
    """Opacity in [0, 1]."""
    seed: int | None = None
    """Of the noise."""
    keep: bool | None = None
    """Leave this person alone."""
    parts: Mapping[str, Mapping[str, float]] | None = None
    """Part -> its own `strength` in [0, 1] and `expression` in [0, 2]."""


@dataclass(frozen=True, slots=True)
class Role:
    """One entry of a cast, ready to be used."""

    who: WhoConfig | None
    """Who is meant; None: whomever `track.faces` takes."""
    references: Mapping[str, Sequence[Reference]]
    """Part -> its references, in the order of painting; may be empty."""
    strength: float
    """Opacity in [0, 1]."""
    seed: int
    """Of the noise."""
    keep: bool = False
    """Whether whoever is meant stays as they are."""
    looks: Floats | None = None
    """What the face in `who.photo` looks like, for `track.identity`."""
    strengths: Mapping[str, float] = field(default_factory=dict)
    """Part -> opacity on top of `strength`, where it is not 1."""
    expression: Mapping[str, float] = field(default_factory=dict)
    """Part -> gain of the expression, where it is not that of `guide.expression`."""


Cast = Sequence[Role]


def described(cast: Cast) -> list[dict[str, Any]]:
    """Return what of a cast decides the targets, as plain JSON types."""
    return [
        {
            "who": None if role.who is None else role.who.model_dump(mode="json"),
            "looks": None if role.looks is None else [round(float(x), 6) for x in role.looks],
            "references": {
                part: [[one.sha256, one.weight, one.encoder] for one in group]
                for part, group in role.references.items()
            },
            "settings": [role.strength, role.seed, role.keep],
            "parts": [dict(role.strengths), dict(role.expression)],
        }
        for role in cast
    ]


def all_looks(cast: Cast) -> list[Floats]:
    """Return what those look like who are swapped; nothing where not all roles have a photo."""
    looks = [role.looks for role in cast if role.looks is not None]
    if len(looks) < len(cast):
        return []
    return [one.looks for one in cast if one.looks is not None and not one.keep]


def parts_of(cast: Cast) -> tuple[str, ...]:
    """Return the parts that somebody's references are of, in the order of painting."""
    named = {part for role in cast for part in role.references}
    return tuple(part for part in PARTS if part in named)


@dataclass(frozen=True, slots=True)
class AskedRole:
    """An entry of a cast as it was asked for, in one form."""

    settings: PersonConfig | None
    """Of `people`; its references are in `asked`."""
    asked: Asked | None
    """None: no references are needed."""
    photo: Bytes | None = None
    """Pixels, where `who.photo` is no file."""


def asked_roles(
    references: References | None, people: Sequence[Person] | None, preset: RunPreset
) -> tuple[AskedRole, ...]:
    """Bring what is given for one call, or the preset has, into one form.

    Args:
        references: in place of the preset's `[references]`.
        people: in place of the preset's `[[people]]`.
        preset: for what is not given.

    Raises:
        PresetError: everything that is wrong with `people`, or references that nobody takes.
    """
    entries = _configured(preset.people) if people is None else _given(people)
    if not entries:
        return (AskedRole(None, asked_references(references, preset)),)
    roles: list[AskedRole] = []
    for settings, own, photo in entries:
        asked = None if settings.keep else asked_references(own or references, preset)
        wrong = "" if asked is None else settings.unswapped(asked.sources)
        if wrong:
            raise PresetError(f"people.{len(roles)}.{wrong}")
        roles.append(AskedRole(settings, asked, photo))
    if references is not None and all(own or one.keep for one, own, _ in entries):
        raise PresetError(
            "references were given, and everybody in people has references of their own",
            hint="leave one of the two out",
        )
    return tuple(roles)


Entry = tuple[PersonConfig, References | None, Bytes | None]
"""Settings, own references, pixels of the photo."""


def _configured(people: Sequence[PersonConfig]) -> list[Entry]:
    return [(one, dict(one.references) or None, None) for one in people]


def _given(people: Sequence[Person]) -> list[Entry]:
    """Check what Python gives as a preset's tables are checked."""
    entries: list[Entry] = []
    problems = []
    for number, person in enumerate(people):
        who = person.who if isinstance(person.who, Mapping) else {"photo": person.who}
        photo = who.get("photo")
        pixels: dict[str, Bytes] = {}
        if photo is not None:
            source = picture_source(photo, f"people.{number}.who.photo", pixels)
            who = {**who, "photo": source}
        names = ("strength", "seed", "keep", "parts")
        settings = {name: getattr(person, name) for name in names}
        tables = {"who": who, **{k: v for k, v in settings.items() if v is not None}}
        checked, found = validate(PersonConfig, tables)
        problems += [one._replace(key=f"people.{number}.{one.key}".rstrip(".")) for one in found]
        if checked is not None:
            entries.append((checked, person.references or None, next(iter(pixels.values()), None)))
    raise_problems("people", problems)
    return entries


class CastReader:
    """Reads, checks and encodes what a cast needs; each set of references and each photo once."""

    def __init__(self) -> None:
        """Know nothing yet."""
        self._sets: dict[str, tuple[Mapping[str, tuple[Reference, ...]], tuple[str, ...]]] = {}
        self._photos: dict[str, Floats] = {}
        self._looks: Looks | None = None

    def clear(self) -> None:
        """Forget everything."""
        self._sets.clear()
        self._photos.clear()
        self._looks = None

    def references(
        self, asked: Asked, encoder: ReferenceEncoder, config: ReferenceConfig
    ) -> tuple[Mapping[str, tuple[Reference, ...]], tuple[str, ...]]:
        """Return part -> its references, and warnings about them; see `load_references`."""
        key = f"{encoder.identity} {config!r} {asked.key}"
        if key in self._sets:
            return self._sets[key]
        loaded, warnings = load_references(asked, encoder, config)
        known = {part: tuple(replace(one, cached=True) for one in loaded[part]) for part in loaded}
        self._sets[key] = known, warnings
        return loaded, warnings

    def cast(
        self, roles: Sequence[AskedRole], encoder: ReferenceEncoder, preset: RunPreset
    ) -> tuple[Cast, tuple[str, ...]]:
        """Return the cast, and warnings about its pictures.

        Raises:
            ReferenceImageError: a picture that cannot be used.
            PresetError: parts that the painter does not have, or tokens of another bundle.
        """
        done, warnings = [], list[str]()
        for role in roles:
            references: Mapping[str, Sequence[Reference]] = {}
            if role.asked is not None:
                references, said = self.references(role.asked, encoder, preset.reference)
                warnings += [text for text in said if text not in warnings]
            done.append(self._role(role, references, preset))
        return tuple(done), tuple(warnings)

    def bystanders(self, preset: RunPreset) -> Cast:
        """Return the preset's cast without references: for who is who, and nothing to paint."""
        if not preset.people:
            return (self._role(AskedRole(None, None), {}, preset),)
        return tuple(self._role(AskedRole(one, None), {}, preset) for one in preset.people)

    def _role(
        self, role: AskedRole, references: Mapping[str, Sequence[Reference]], preset: RunPreset
    ) -> Role:
        settings = role.settings
        if settings is None:
            return Role(None, references, 1.0, preset.seed)
        looks = None
        if settings.who.photo is not None:
            looks = self._photo(settings.who.photo, role.photo, preset.reference)
        own = settings.parts
        strengths = {part: one.strength for part, one in own.items() if one.strength != 1.0}
        shown = {p: group for p, group in references.items() if strengths.get(p, 1.0) > 0.0}
        return Role(
            settings.who,
            shown,
            settings.strength,
            preset.seed if settings.seed is None else settings.seed,
            settings.keep or settings.strength == 0.0 or (bool(references) and not shown),
            looks,
            {part: strength for part, strength in strengths.items() if part in shown},
            {
                part: one.expression
                for part, one in own.items()
                if one.expression is not None and part in shown
            },
        )

    def _photo(self, name: str, pixels: Bytes | None, config: ReferenceConfig) -> Floats:
        """Return what the face in a photo looks like."""
        if name not in self._photos:
            pictures = {} if pixels is None else {name: pixels}
            face = align_source(name, pictures, FaceFinder(), config)
            self._looks = self._looks or Looks()
            crop = np.round(face.crop * 255).astype(np.uint8)
            self._photos[name] = self._looks.of_faces([(crop, face.landmarks)])
        return self._photos[name]
