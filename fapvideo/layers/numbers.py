"""Frame numbers and timecode of the source, for everything that is written beside it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from typing import Self

_TIMECODE = re.compile(r"(\d{1,2}):(\d{2}):(\d{2})([:;.])(\d{2,3})")
_A_DAY_S = 24 * 60 * 60


@dataclass(frozen=True, slots=True)
class Timecode:
    """Counts frames as SMPTE ST 12-1 does: a label for each, at a whole number a second."""

    frames: int
    """Since 00:00:00:00."""
    base: int
    """Frames a second of the labels: 30 for 29.97."""
    drop: bool
    """Whether labels are left out, to keep with the clock."""

    @classmethod
    def parse(cls, text: str, rate: Fraction) -> Self | None:
        """Return the timecode that a text says, for a frame rate; None where it says none."""
        match = _TIMECODE.fullmatch(text.strip())
        base = round(rate)
        if match is None or base < 1:
            return None
        hours, minutes, seconds, frame = (int(match[k]) for k in (1, 2, 3, 5))
        if minutes > 59 or seconds > 59 or frame >= base:
            return None
        drop = match[4] != ":" and base % 30 == 0
        count = ((hours * 60 + minutes) * 60 + seconds) * base + frame
        if drop:
            total = hours * 60 + minutes
            count -= base // 15 * (total - total // 10)
        return cls(count, base, drop)

    def after(self, frames: int) -> Timecode:
        """Return the timecode so many frames later."""
        return Timecode(self.frames + frames, self.base, self.drop)

    @property
    def fields(self) -> tuple[int, int, int, int]:
        """(hours, minutes, seconds, frame) of the label."""
        count = self.frames
        if self.drop:
            left_out, minute = self.base // 15, self.base * 60 - self.base // 15
            tens, rest = divmod(count, minute * 10 + left_out)
            count += left_out * 9 * tens
            count += left_out * max(0, (rest - left_out) // minute)
        count %= _A_DAY_S * self.base
        seconds, frame = divmod(count, self.base)
        return seconds // 3600, seconds // 60 % 60, seconds % 60, frame

    def __str__(self) -> str:
        """Return the label."""
        hours, minutes, seconds, frame = self.fields
        return f"{hours:02}:{minutes:02}:{seconds:02}{';' if self.drop else ':'}{frame:02}"


@dataclass(frozen=True, slots=True)
class Numbers:
    """What the frames of a clip are called in the source."""

    first: int
    """Number in the source of the clip's first frame; the source's own first one is 0."""
    rate: Fraction
    """Frames a second; of a variable rate the nominal one."""
    start: Timecode | None
    """Of the source's first frame, where it has a timecode."""

    @classmethod
    def of(cls, rate: Fraction, begins_s: float, timecode: str) -> Self:
        """Return those of a clip.

        Args:
            rate: frames a second.
            begins_s: when its first frame comes, seconds after the source's first one.
            timecode: of the source's first frame, or nothing.
        """
        return cls(round(begins_s * rate), rate, Timecode.parse(timecode, rate))

    def number(self, frame: int) -> int:
        """Return the number in the source of a frame of the clip."""
        return self.first + frame

    def timecode(self, frame: int) -> Timecode | None:
        """Return the timecode of a frame of the clip."""
        return None if self.start is None else self.start.after(self.number(frame))
