"""What every table of a preset is made of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from fapvideo.parts import PARTS

Fraction01 = Annotated[float, Field(ge=0.0, le=1.0)]
Gain = Annotated[float, Field(ge=0.0, le=2.0)]
"""What an expression is multiplied by."""


class Section(BaseModel):
    """Base of every table: frozen, an unknown key is an error, and numbers are finite."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False
    )


if TYPE_CHECKING:
    Part = str
else:
    Part = Literal[*PARTS]
