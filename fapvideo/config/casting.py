"""Who gets which references: the tables `[references]` and `[[people]]` of a preset."""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, model_validator

from fapvideo.config.section import Fraction01, Gain, Part, Section


class ReferenceSource(Section):
    """One reference image: a path (absolute, relative to the preset, or `pkg:`), its weight and
    licence."""

    path: str = Field(min_length=1)
    """The image."""
    weight: float = Field(1.0, gt=0.0)
    """Against the other images of the part."""
    licence: str = ""
    """Of the image, as an SPDX name or in words (`"CC-BY-4.0"`); for `require_licence`."""


ImageOrTable = Annotated[str, Field(min_length=1)] | ReferenceSource


def named_parts(spec: dict[str, Any]) -> None:
    """Name the keys of a table of parts one by one in its JSON schema: editors complete those."""
    parts, value = spec.pop("propertyNames")["enum"], spec["additionalProperties"]
    spec |= {"properties": dict.fromkeys(parts, value), "additionalProperties": False}


def as_sources(value: Any) -> Any:
    """Accept `part = "a.png"`, `part = ["a.png", {path = "b.png", weight = 2}]`."""
    if not isinstance(value, dict):
        return value
    return {
        part: tuple(
            {"path": item} if isinstance(item, str) else item
            for item in (entry if isinstance(entry, list | tuple) else (entry,))
        )
        for part, entry in value.items()
    }


MOST_REFERENCES = 100
"""Of one part: all of them are in memory while a clip is painted."""

Sources = Annotated[
    dict[Part, Annotated[tuple[ReferenceSource, ...], Field(max_length=MOST_REFERENCES)]],
    BeforeValidator(
        as_sources, json_schema_input_type=dict[Part, ImageOrTable | tuple[ImageOrTable, ...]]
    ),
    Field(json_schema_extra=named_parts),
]
"""Part -> its images, in any of the forms that a preset may have."""


class WhoConfig(Section):
    """`[people.who]`: who is meant; exactly one of these. They stay meant after a cut."""

    photo: str | None = Field(None, min_length=1)
    """A photo of this person (absolute, relative to the preset, or `pkg:`)."""
    left: int | None = Field(None, ge=1)
    """The N-th from the left, where the first shot with so many people shows most of them."""
    track: int | None = Field(None, ge=0)
    """The person of this track, by the number that `fapvideo inspect` shows."""
    largest: bool = False
    """Whoever fills most of the picture, over the whole clip."""
    everyone_else: bool = False
    """Everybody whom no other entry means."""

    @model_validator(mode="after")
    def _one(self) -> WhoConfig:
        given = [name for name, value in self if value is not None and value is not False]
        if len(given) != 1:
            said = f"; there are {' and '.join(given)}" if given else ""
            raise ValueError(f"say in exactly one way who is meant: {WAYS}{said}")
        return self

    def __str__(self) -> str:
        """`left 1`, `photo anna.png`, `largest`."""
        ((name, value),) = ((n, v) for n, v in self if v is not None and v is not False)
        return name if value is True else f"{name} {value}"


WAYS = "photo, left, track, largest or everyone_else"


class PersonPartConfig(Section):
    """`[people.parts.PART]`: how one part of somebody is swapped, where not as the others are."""

    strength: Fraction01 = 1.0
    """Opacity of this part, together with the person's `strength`; 0 leaves it as filmed."""
    expression: Gain | None = None
    """In place of `guide.expression` for this part; unset: that."""


class PersonConfig(Section):
    """`[[people]]`: somebody in the clip, and what becomes of them. Others stay as they are."""

    who: WhoConfig
    """Who is meant."""
    references: Sources = Field(default_factory=dict)
    """Part -> this person's images. Without any, those of `[references]`."""
    strength: Fraction01 = 1.0
    """Opacity of this person's swap, together with `composite.opacity`; 0 leaves them alone."""
    parts: Annotated[dict[Part, PersonPartConfig], Field(json_schema_extra=named_parts)] = Field(
        default_factory=dict
    )
    """Part -> its own strength and expression: `{eyes = {strength = 0.5, expression = 1.2}}`."""
    seed: int | None = Field(None, ge=0, lt=2**63)
    """Of this person's noise; unset: the preset's."""
    keep: bool = False
    """Leave this person alone."""

    @model_validator(mode="after")
    def _kept_has_nothing(self) -> PersonConfig:
        if self.keep and (self.references or self.parts):
            what = "references" if self.references else "parts"
            raise ValueError(f"a person with keep = true is left alone: leave out the {what}")
        return self

    def unswapped(self, swapped: Collection[str]) -> str:
        """Return what is wrong with `parts` where only these are swapped; empty if nothing is."""
        idle = [part for part in self.parts if part not in swapped]
        return f"parts.{idle[0]}: there is no reference for the {idle[0]}" if idle else ""
