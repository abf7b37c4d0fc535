"""Options that are read as text: who is meant by `--person`, and what they get."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fapvideo.cli.options import parse_people
from fapvideo.errors import PresetError


@pytest.mark.parametrize(
    ("text", "entry"),
    [
        ("anna.png", {"who": {"photo": "anna.png"}}),
        ("photo=left=1", {"who": {"photo": "left=1"}}),
        ("left=1", {"who": {"left": 1}}),
        ("track=3:keep", {"who": {"track": 3}, "keep": True}),
        ("largest:strength=.5,seed=7", {"who": {"largest": True}, "strength": 0.5, "seed": 7}),
        (
            "left=1:eyes=her.png,eyes.strength=0.5,mouth.expression=2,eyes.expression=.7",
            {
                "who": {"left": 1},
                "references": {"eyes": ["her.png"]},
                "parts": {
                    "eyes": {"strength": 0.5, "expression": 0.7},
                    "mouth": {"expression": 2},
                },
            },
        ),
        ("everyone_else:keep", {"who": {"everyone_else": True}, "keep": True}),
        (
            r"C:\\her photos\\anna.png:eyes=D:\\brand.png,mouth=E:lips.png",
            {
                "who": {"photo": r"C:\\her photos\\anna.png"},
                "references": {"eyes": [r"D:\\brand.png"], "mouth": ["E:lips.png"]},
            },
        ),
        (
            "C:/a.png:eyes=x,y.png,eyes=z.png",
            {"who": {"photo": "C:/a.png"}, "references": {"eyes": ["x,y.png", "z.png"]}},
        ),
    ],
)
def test_people(text: str, entry: dict[str, Any]) -> None:
    assert parse_people([text]) == [entry]


@pytest.mark.parametrize(
    "text",
    ["", ":eyes=a.png", "photo=", "left=", "left=first", "anna.png:eyes=", "anna.png:kept",
     "anna.png:strength=much", "left=1:largest", "left=1:eyes=a.png,eyes.strength=x"],
)  # fmt: skip
def test_what_is_nobody(text: str) -> None:
    with pytest.raises(PresetError) as caught:
        parse_people(["largest", text])
    assert repr(text) in str(caught.value)
    assert "--person anna.png:eyes=her.png" in caught.value.hint


def test_a_photo_may_have_a_colon_in_its_name(tmp_path: Path) -> None:
    odd = tmp_path / "an:na.png"
    odd.touch()
    assert parse_people([f"{odd}:keep"]) == [{"who": {"photo": str(odd)}, "keep": True}]
