"""`--set` items: TOML values where they are, strings where not."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from fapvideo.config.overrides import merge, nest, parse_overrides, parse_value
from fapvideo.errors import PresetError


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("12", 12),
        ("0.5", 0.5),
        ("true", True),
        ("all", "all"),
        ("left:2", "left:2"),
        ('"12"', "12"),
        ('["a.png", {path = "b.png"}]', ["a.png", {"path": "b.png"}]),
        ("none", None),
        ("", ""),
        ("2026-11-21", date(2026, 11, 21)),
        ("1\nother = 2", "1\nother = 2"),
        ("a # b", "a # b"),
    ],
)
def test_values(text: str, value: Any) -> None:
    assert parse_value(text) == value


def test_items_split_at_the_first_equals_sign() -> None:
    assert parse_overrides(["denoise.steps=12", " bundle = /a=b "]) == {
        "denoise.steps": 12,
        "bundle": "/a=b",
    }


def test_every_malformed_item_is_named() -> None:
    with pytest.raises(PresetError) as caught:
        parse_overrides(["denoise.steps", "=3", "seed=1"])
    assert "2 problems" in str(caught.value)
    assert "'denoise.steps': expected KEY=VALUE" in str(caught.value)
    assert "'=3': expected KEY=VALUE" in str(caught.value)


def test_tables_are_merged_and_values_replaced_without_touching_the_original() -> None:
    base = {"mask": {"dilate": 0.1, "feather": 0.2}, "references": {"eyes": ["a"]}}
    over = nest({"mask.dilate": 0.3, "references.eyes": ["b"], "references.nose": "c", "seed": 1})
    assert merge(base, over) == {
        "mask": {"dilate": 0.3, "feather": 0.2},
        "references": {"eyes": ["b"], "nose": "c"},
        "seed": 1,
    }
    assert base == {"mask": {"dilate": 0.1, "feather": 0.2}, "references": {"eyes": ["a"]}}
