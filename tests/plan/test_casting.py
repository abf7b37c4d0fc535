"""Who of a clip is whom in the cast: by place, size, track, photo; with all their tracks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from portrait import posed

from fapvideo.config.casting import PersonConfig, WhoConfig
from fapvideo.config.schema import RunPreset
from fapvideo.errors import PresetError, ReferenceImageError
from fapvideo.ops import mesh
from fapvideo.plan.casting import assign
from fapvideo.plan.people import Person, Role, asked_roles
from fapvideo.plan.targets import Plan
from fapvideo.structs import Floats, Track

ANNA, BOB, EVE = np.eye(3, dtype=np.float32)


def track(number: int, first: int, last: int, x: float = 160.0, scale: float = 80.0) -> Track:
    """Return a track of a still face."""
    count = last - first + 1
    shape = np.repeat(posed(scale=scale, at=(x, 100))[None], count, axis=0)
    return Track(number, first, shape, np.ones(count, np.float32), np.zeros(count, np.float32),
                 mesh.canonical())  # fmt: skip


def plan() -> Plan:
    """Return two shots: Anna (left) and Bob; then Bob (left), Anna (large) and Eve."""
    tracks = (track(0, 0, 9, 100), track(1, 4, 9, 200, 50), track(2, 10, 39, 80, 60),
              track(3, 10, 39, 300, 90), track(4, 12, 20, 180, 50))  # fmt: skip
    looks = {0: ANNA, 1: BOB, 2: BOB, 3: ANNA, 4: EVE}
    people = {0: 0, 1: 1, 2: 1, 3: 0, 4: 4}
    return Plan(np.arange(40) / 25, (10,), tracks, (), people=people, looks=looks)


def role(looks: Floats | None = None, keep: bool = False, **who: Any) -> Role:
    photo = {} if looks is None else {"photo": "photo.png"}
    return Role(WhoConfig(**who, **photo), {}, 1.0, 0, keep, looks)


def roles(*cast: Role) -> tuple[dict[int, int], tuple[str, ...]]:
    found = assign(plan(), cast, "largest")
    return dict(found.roles), found.warnings


def test_a_person_keeps_the_role_after_a_cut() -> None:
    for cast, wanted in (
        (role(left=1), {0: 0, 3: 0}),
        (role(left=2), {1: 0, 2: 0}),
        (role(left=3), {0: 0, 3: 0}),  # three are seen together only after the cut
        (role(track=2), {1: 0, 2: 0}),
        (role(largest=True), {0: 0, 3: 0}),
        (role(looks=BOB), {1: 0, 2: 0}),
        (role(everyone_else=True), dict.fromkeys(range(5), 0)),
    ):
        assert roles(cast) == (wanted, ()), cast.who


def test_everyone_else_is_whom_no_other_entry_means_wherever_it_stands() -> None:
    wanted = {0: 1, 3: 1, 1: 2, 2: 2, 4: 0}
    assert roles(role(everyone_else=True), role(left=1), role(left=2, keep=True)) == (wanted, ())


def test_the_first_of_two_entries_that_mean_one_person_counts_and_it_is_said() -> None:
    found, (warning,) = roles(role(looks=ANNA), role(left=1))
    assert found == {0: 0, 3: 0}
    assert warning == (
        "people.1 (left 1): is the same person as people.0 (photo photo.png), which comes first"
    )


def test_an_entry_that_nobody_is_is_said() -> None:
    stranger = np.full(3, -(3**-0.5), np.float32)
    for cast in (role(left=4), role(track=9), role(looks=stranger)):
        found, (warning,) = roles(cast)
        assert found == {}
        assert warning == f"people.0 ({cast.who}): nobody in the clip is meant by it"


def test_a_photo_joins_people_whom_the_tracks_alone_did_not_show_to_be_one() -> None:
    """But nobody is in two places at once, nor in two photos."""
    apart = Plan(np.arange(40) / 25, (10,), plan().tracks, (), looks=plan().looks)
    between = (ANNA + 0.9 * BOB) / np.linalg.norm(ANNA + 0.9 * BOB)
    found = assign(apart, [role(looks=ANNA)], "largest")
    assert dict(found.roles) == {0: 0, 3: 0}
    found = assign(apart, [role(looks=between), role(looks=BOB)], "largest")
    assert dict(found.roles) == {0: 0, 3: 0, 1: 1, 2: 1}
    found = assign(apart, [role(looks=between)], "largest")
    assert dict(found.roles) == {0: 0, 3: 0}, "Anna and Bob are seen together"


def test_a_simple_preset_is_a_cast_of_one() -> None:
    simple = Role(None, {}, 1.0, 0)
    for rule, wanted in (("largest", [0, 3]), ("all", [0, 1, 2, 3, 4]), ("left:1", [0, 2]),
                         ("id:4", [4])):  # fmt: skip
        assert list(assign(plan(), [simple], rule).roles) == wanted


# -------------------------------------------------------------------------------- asking


def preset(**tables: Any) -> RunPreset:
    return RunPreset.model_validate({"references": {"mouth": "m.png", "nose": "n.png"}, **tables})


def parts(given: Any) -> list[list[str] | None]:
    return [None if one.asked is None else list(one.asked.sources) for one in given]


def test_who_names_no_references_gets_those_of_the_preset_or_the_call() -> None:
    people = [
        Person({"left": 1}, {"eyes": "e.png"}),
        Person({"left": 2}),
        Person("a.png", keep=True),
    ]
    assert parts(asked_roles(None, people, preset())) == [["eyes"], ["mouth", "nose"], None]
    assert parts(asked_roles({"brows": "b.png"}, people, preset())) == [["eyes"], ["brows"], None]
    tables = [{"who": {"left": 1}, "references": {"eyes": "e.png"}}, {"who": {"largest": True}}]
    assert parts(asked_roles(None, None, preset(people=tables))) == [["eyes"], ["mouth", "nose"]]
    assert parts(asked_roles(None, None, preset())) == [["mouth", "nose"]]


def test_python_people_are_checked_as_a_presets_are() -> None:
    pixels = np.zeros((8, 8, 3), np.uint8)
    (one,) = asked_roles(None, [Person(pixels, strength=0.5, seed=3)], preset())
    assert one.photo is pixels
    assert one.settings == PersonConfig(
        who=WhoConfig(photo=one.settings.who.photo), strength=0.5, seed=3
    )
    with pytest.raises(PresetError, match=r"people\.0\.parts\.eyes: there is no reference"):
        asked_roles(None, [Person({"left": 1}, parts={"eyes": {"strength": 0.5}})], preset())
    wrong = [Person({"left": 0}), Person({}), Person({"left": 1, "largest": True}, strength=2.0)]
    with pytest.raises(PresetError) as caught:
        asked_roles(None, wrong, preset())
    for text in ("people.0.who.left", "people.1.who: say in exactly one way who is meant",
                 "there are left and largest", "people.2.strength"):  # fmt: skip
        assert text in str(caught.value)
    with pytest.raises(ReferenceImageError, match=r"people\.0\.who\.photo"):
        asked_roles(None, [Person(pixels[..., :2])], preset())
    with pytest.raises(PresetError, match="references of their own"):
        asked_roles({"eyes": "e.png"}, [Person({"left": 1}, {"eyes": "x.png"})], preset())
    with pytest.raises(PresetError, match="names no reference"):
        asked_roles(None, [Person({"left": 1})], RunPreset())
