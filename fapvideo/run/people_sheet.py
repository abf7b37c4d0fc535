"""A picture of everybody in a clip: who they are, and what speaks against swapping them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from fapvideo.errors import VideoWriteError
from fapvideo.ops.display import square_pixels
from fapvideo.ops.files import write_atomically
from fapvideo.ops.geometry import warp
from fapvideo.ops.pose import crop_matrix, head_pose
from fapvideo.plan.targets import Plan, Target
from fapvideo.progress import clock
from fapvideo.run.sources import Source
from fapvideo.structs import REASONS, Bytes, Track

BEST, MOMENT, MOMENTS = 192, 128, 4
"""Sides of a person's best picture and of the other moments, pixels, and how many of these."""
TEXT, GAP = 620, 12
"""Width of the text and space between things, pixels."""
BACK, INK, MUTED, WARN = (250, 250, 250), (20, 20, 20), (110, 110, 110), (170, 60, 0)
SMALL_PX, TURNED_DEG = 20.0, 40.0
MOST = 200
"""People on a sheet; the longest seen, if there are more."""
SAMPLED = 60
"""Frames of a track whose size and pose are looked at."""
BATCH = 8


@dataclass(frozen=True, slots=True)
class Card:
    """One person on the sheet."""

    person: int
    tracks: tuple[Track, ...]
    cast: str
    """What becomes of them: an entry of `[[people]]`, `swapped` or `not asked for`."""
    against: tuple[str, ...]
    """What speaks against a swap, in words with counts."""
    shots: tuple[tuple[int, Track], ...]
    """Frames to show and the tracks they are of; the best one first."""
    lines: tuple[str, ...]


def describe_people(plan: Plan) -> list[Card]:
    """Return everybody in a plan, who is seen longest first."""
    people: dict[int, list[Track]] = {}
    for track in plan.tracks:
        people.setdefault(plan.people.get(track.id, track.id), []).append(track)
    targets = {target.track.id: target for target in plan.targets}
    ranked = sorted(people.items(), key=lambda item: (-sum(map(len, item[1])), item[0]))
    return [_card(person, tracks, plan, targets) for person, tracks in ranked[:MOST]]


def _card(person: int, tracks: Sequence[Track], plan: Plan, targets: Mapping[int, Target]) -> Card:
    seen = [
        (track.first_frame + i, track, head_pose(track.landmarks[i]))
        for track in tracks
        for i in range(0, len(track), max(1, len(track) // SAMPLED))
        if track.presence[i] > 0 and np.isfinite(track.landmarks[i]).all()
    ]
    yaws = np.array([pose.yaw_deg for _, _, pose in seen] or [0.0])
    pitches = np.array([pose.pitch_deg for _, _, pose in seen] or [0.0])
    sizes = np.array([pose.scale for _, _, pose in seen] or [0.0])
    frames = sum(map(len, tracks))
    times = [
        f"{clock(plan.times_s[track.first_frame])}-{clock(plan.times_s[track.last_frame])}"
        for track in tracks
    ]
    cast = next((plan.cast[t.id] for t in tracks if t.id in plan.cast), "")
    chosen = any(track.id in targets for track in tracks)
    ids = ", ".join(str(track.id) for track in tracks)
    lines = (
        f"track {_shortened(ids)}    {frames} frames",
        f"time {_shortened(', '.join(times))}",
        f"size {sizes.min():.0f}-{sizes.max():.0f} px between the eyes",
        f"pose yaw {yaws.min():+.0f} to {yaws.max():+.0f}, "
        f"pitch {pitches.min():+.0f} to {pitches.max():+.0f} degrees",
    )
    worth = [pose.scale * np.cos(np.radians(pose.yaw_deg)) for _, _, pose in seen]
    best = [seen[int(np.argmax(worth))][:2]] if seen else []
    chosen_at = np.unique(np.linspace(0, len(seen) - 1, min(len(seen), MOMENTS)).astype(int))
    return Card(
        person,
        tuple(tracks),
        cast or ("swapped" if chosen else "not asked for"),
        _against(tracks, targets, sizes, yaws, frames),
        (*best, *(seen[i][:2] for i in chosen_at)),
        lines,
    )


def _against(
    tracks: Sequence[Track],
    targets: Mapping[int, Target],
    sizes: NDArray[np.float64],
    yaws: NDArray[np.float64],
    frames: int,
) -> tuple[str, ...]:
    """Return what speaks against a swap; of whom nobody asked for, what the tracks say."""
    why: Counter[str] = Counter()
    for track in tracks:
        fates = targets[track.id].frames.reason if track.id in targets else track.faults
        why.update(code for code in fates if code and code != "beside")
    out = [f"{REASONS[code]}: {count} of {frames} frames" for code, count in why.most_common()]
    small, turned = (float(np.mean(x)) for x in (sizes < SMALL_PX, np.abs(yaws) > TURNED_DEG))
    if small > 0:
        out.append(f"small (under {SMALL_PX:.0f} px): {small:.0%} of the frames")
    if turned > 0 and "profile" not in why:
        out.append(f"turned over {TURNED_DEG:.0f} degrees: {turned:.0%} of the frames")
    return tuple(out)


def _shortened(text: str, most: int = 70) -> str:
    return text if len(text) <= most else f"{text[: most - 3]}..."


def draw_sheet(source: Source, plan: Plan) -> Bytes:
    """Return the sheet uint8 [H, W, 3]: a row for each person, or a line that nobody is there.

    Goes through the clip once more, for the pictures.
    """
    cards = describe_people(plan)
    crops = portraits(source, cards)
    height = max(BEST, MOMENT) + 2 * GAP
    width = GAP + BEST + GAP + MOMENTS * (MOMENT + GAP) + TEXT
    head = 2 * GAP + 22
    sheet = Image.new("RGB", (width, head + max(1, len(cards)) * height), BACK)
    draw = ImageDraw.Draw(sheet)
    title, text = ImageFont.load_default(18), ImageFont.load_default(14)
    count = f"{len(cards)} {'person' if len(cards) == 1 else 'people'}"
    hidden = len(set(plan.people.values())) - len(cards)
    more = f" (and {hidden} seen more briefly)" if hidden > 0 else ""
    facts = f"{source.info.path.name}: {plan.frames} frames, {count}{more}"
    draw.text((GAP, GAP), facts, INK, title)
    if not cards:
        draw.text((GAP, head + GAP), "no face was found in any frame", WARN, title)
    for row, card in enumerate(cards):
        top = head + row * height
        draw.line([(0, top), (width, top)], (215, 215, 215))
        left = GAP
        for number, shot in enumerate(card.shots):
            side = BEST if number == 0 else MOMENT
            picture = Image.fromarray(crops[shot[0], shot[1].id]).resize((side, side))
            sheet.paste(picture, (left, top + GAP))
            if number:
                when = clock(plan.times_s[shot[0]])
                draw.text((left, top + GAP + MOMENT + 4), when, MUTED, text)
            left += side + GAP
        left = GAP + BEST + GAP + MOMENTS * (MOMENT + GAP)
        draw.text((left, top + GAP), f"person {card.person}  ({card.cast})", INK, title)
        against = card.against or ("nothing speaks against a swap",)
        colour = WARN if card.against else MUTED
        rows = [(line, INK) for line in card.lines] + [(line, colour) for line in against]
        for place, (line, ink) in enumerate(rows[:9]):
            draw.text((left, top + GAP + 26 + 18 * place), line, ink, text)
    return np.asarray(sheet)


def portraits(source: Source, cards: Sequence[Card]) -> dict[tuple[int, int], Bytes]:
    """Return (frame, track) -> the aligned face [BEST, BEST, 3] of all that cards show.

    Goes through the clip once more.
    """
    wanted: dict[int, dict[int, Track]] = {}
    for card in cards:
        for number, track in card.shots:
            wanted.setdefault(number, {})[track.id] = track
    found = {}
    for batch in source.batches(BATCH) if wanted else ():
        for frame, view in zip(batch.frames, batch.views, strict=True):
            if frame.index not in wanted:
                continue
            picture = square_pixels(view(), source.info)
            for number, track in wanted[frame.index].items():
                shape = np.asarray(track.landmarks[frame.index - track.first_frame], np.float32)
                matrix = crop_matrix(head_pose(shape), BEST)
                crop = warp(picture, matrix, (BEST, BEST), interpolation=cv2.INTER_AREA)
                found[frame.index, number] = np.asarray(crop, np.uint8)
    return found


def write_sheet(path: Path, source: Source, plan: Plan) -> None:
    """Write the sheet of a followed clip as PNG, whole or not at all.

    Raises:
        VideoWriteError: it cannot be written.
    """
    sheet = draw_sheet(source, plan)
    try:
        with write_atomically(path) as fresh:
            Image.fromarray(sheet).save(fresh, "PNG")
    except OSError as error:
        raise VideoWriteError(f"cannot write {path}: {error.strerror or error}") from None
