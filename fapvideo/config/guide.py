"""Tables of `[guide]`: shares and gains for each part, and an expression by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field, create_model

from fapvideo.config.section import Fraction01, Gain, Section
from fapvideo.parts import PARTS

if TYPE_CHECKING:

    class GuideShape(Section):
        """What type checkers see."""

        def __init__(self, **shares: float) -> None:
            """Take a share for each part."""

    class GuideExpression(Section):
        """What type checkers see."""

        def __init__(self, **gains: float) -> None:
            """Take a gain for each part."""
else:
    GuideShape = create_model(
        "GuideShape",
        __base__=Section,
        __module__=__name__,
        __doc__="`[guide.shape]`: 1 takes the reference's own shape, 0 the target's.",
        **{
            name: (Fraction01, Field(part.shape, description=f"Share of the reference's, {name}."))
            for name, part in PARTS.items()
        },
    )
    GuideExpression = create_model(
        "GuideExpression",
        __base__=Section,
        __module__=__name__,
        __doc__="`[guide.expression]`: 1 is the target's, 0 calm, more exaggerates.",
        **{
            name: (Gain, Field(1.0, description=f"Strength of the target's expression, {name}."))
            for name in PARTS
        },
    )


class GuideOffsets(Section):
    """`[guide.offsets]`: an expression by hand, on top of the target's."""

    smile: float = Field(0.0, ge=-1.0, le=1.0)
    """1 pulls the mouth's corners into a full smile, -1 down."""
    mouth_open: float = Field(0.0, ge=-0.3, le=0.3)
    """Parts the lips by so much more, inter-ocular distances."""
    eyes_open: float = Field(0.0, ge=-1.0, le=0.5)
    """Opens the eyes by a share of how far they are open; -1 shuts them."""
    brows_up: float = Field(0.0, ge=-1.0, le=1.0)
    """1 raises the brows by a tenth of the distance between the eyes, -1 lowers them."""
