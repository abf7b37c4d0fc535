"""Who of a clip is whom in the cast."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fapvideo.config.casting import WhoConfig
from fapvideo.plan.people import Cast, Role
from fapvideo.plan.targets import Plan
from fapvideo.structs import Floats, Track
from fapvideo.track.choose import area, select
from fapvideo.track.identity import LIKE, SAME, apart, together


@dataclass(frozen=True, slots=True)
class Assigned:
    """Track id -> index of its role, and what the user should know about it."""

    roles: Mapping[int, int]
    warnings: tuple[str, ...] = ()


def assign(plan: Plan, cast: Cast, rule: str) -> Assigned:
    """Give every track its role; a track without one stays as it is.

    A role of `[[people]]` goes to a person with all their tracks, so they keep it after a cut.
    Whom several entries mean gets the first of them; `everyone_else` gets whom no other one means.

    Args:
        plan: its tracks, and which of them are one person.
        cast: one role for whomever `rule` takes, or the roles of `[[people]]`.
        rule: `track.faces`.
    """
    if len(cast) == 1 and cast[0].who is None:
        return Assigned({track.id: 0 for track in select(plan.tracks, rule)})
    people: dict[int, list[Track]] = {}
    for track in plan.tracks:
        people.setdefault(plan.people.get(track.id, track.id), []).append(track)
    meant = _by_photo(plan, cast, people)
    for number, role in enumerate(cast):
        if role.who is not None and role.who.photo is None and not role.who.everyone_else:
            found = _person(role.who, plan, people)
            meant[number] = [] if found is None else [found]
    first = {person: min(numbers) for person, numbers in _inverted(meant).items()}
    for number, role in enumerate(cast):
        if role.who is not None and role.who.everyone_else:
            others = [person for person in people if person not in first]
            meant[number] = others
            first.update(dict.fromkeys(others, number))
    roles = {track.id: first[person] for person in first for track in people[person]}
    warnings = _warnings(plan, cast, people, meant, first) if plan.tracks else []
    return Assigned(roles, tuple(warnings))


def _inverted(meant: Mapping[int, Sequence[int]]) -> dict[int, list[int]]:
    """Return person -> the numbers of the roles that mean them."""
    inverted: dict[int, list[int]] = {}
    for number, people in meant.items():
        for person in people:
            inverted.setdefault(person, []).append(number)
    return inverted


def _by_photo(
    plan: Plan, cast: Cast, people: Mapping[int, Sequence[Track]]
) -> dict[int, list[int]]:
    """Return role -> the people who look like its photo, nearest first.

    Several are one whom the tracks alone did not show to be one: they are as alike as tracks.
    Nobody is in two places at once, and nobody is in two photos.
    """
    pairs = sorted(
        (nearest(role.looks, plan.looks, tracks), number, person)
        for number, role in enumerate(cast)
        if role.looks is not None
        for person, tracks in people.items()
    )
    meant: dict[int, list[int]] = {i: [] for i, role in enumerate(cast) if role.looks is not None}
    taken: set[int] = set()
    for distance, number, person in pairs:
        own = [track for other in meant[number] for track in people[other]]
        near = distance < (SAME if own else LIKE)
        if near and person not in taken and not together(own, people[person]):
            meant[number].append(person)
            taken.add(person)
    return meant


def nearest(looks: Floats, known: Mapping[int, Floats], tracks: Sequence[Track]) -> float:
    """Return how far a photo is from the nearest of a person's tracks."""
    return min((apart(looks, known[t.id]) for t in tracks if t.id in known), default=float("inf"))


def _person(who: WhoConfig, plan: Plan, people: Mapping[int, Sequence[Track]]) -> int | None:
    """Return the person that is meant without a photo; None where there is none."""
    if who.track is not None:
        return next(
            (p for p, tracks in people.items() if who.track in {t.id for t in tracks}), None
        )
    if who.left is not None:
        found = _from_left(plan, who.left)
        return None if found is None else plan.people.get(found.id, found.id)
    areas = {person: sum(area(track) for track in tracks) for person, tracks in people.items()}
    return max(areas, key=lambda person: areas[person], default=None)


def _from_left(plan: Plan, number: int) -> Track | None:
    """Return the N-th face from the left where the first shot with so many shows most at once."""
    starts = sorted({track.first_frame for track in plan.tracks})
    seen = {
        frame: [t for t in plan.tracks if t.first_frame <= frame <= t.last_frame]
        for frame in starts
    }
    shots = {frame: int(np.searchsorted(plan.cuts, frame, side="right")) for frame in starts}
    enough = [frame for frame in starts if len(seen[frame]) >= number]
    if not enough:
        return None
    shot = [frame for frame in enough if shots[frame] == shots[enough[0]]]
    frame = max(shot, key=lambda f: (len(seen[f]), -f))
    ranked = sorted(
        seen[frame], key=lambda t: float(t.landmarks[frame - t.first_frame, :468, 0].mean())
    )
    return ranked[number - 1]


def _unsure(plan: Plan, number: int, role: Role, tracks: Sequence[Track]) -> list[str]:
    """Say that a photo is not much like the person who was taken for it, if so."""
    distance = nearest(role.looks, plan.looks, tracks) if role.looks is not None else 0.0
    if distance < SAME:
        return []
    ids = ", ".join(str(track.id) for track in tracks)
    return [
        f"people.{number} ({role.who}): not sure who that is; of all in the clip, track {ids} looks"
        f" most like it ({distance:.2f} apart, surely one person is up to {SAME})"
    ]


def _warnings(
    plan: Plan,
    cast: Cast,
    people: Mapping[int, Sequence[Track]],
    meant: Mapping[int, Sequence[int]],
    first: Mapping[int, int],
) -> list[str]:
    """Say which entries nobody is, and which only people who are another entry's."""
    out = []
    for number, role in enumerate(cast):
        if any(first[person] == number for person in meant[number]):
            if role.looks is not None:
                out += _unsure(plan, number, role, people[meant[number][0]])
            continue
        if meant[number]:
            other = first[meant[number][0]]
            out.append(
                f"people.{number} ({role.who}): is the same person as people.{other}"
                f" ({cast[other].who}), which comes first"
            )
        else:
            out.append(f"people.{number} ({role.who}): nobody in the clip is meant by it")
    return out
