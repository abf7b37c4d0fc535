"""Encoded packets kept in a file until they are put into a container: the pictures of a segment.

The file holds the packets' bytes, one behind the other. What a container would say of them - times
in ticks of the source's clock, sizes, which ones are key frames - is a table of its own.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, Self

import av


@dataclass(slots=True)
class PacketTable:
    """What is known of the packets in a file, in the order of decoding."""

    pts: list[int] = field(default_factory=list)
    dts: list[int] = field(default_factory=list)
    duration: list[int] = field(default_factory=list)
    size: list[int] = field(default_factory=list)
    """Bytes."""
    key: list[int] = field(default_factory=list)
    """1 for a key frame, else 0."""
    extradata: str = ""
    """What describes the stream, in hexadecimal."""
    sha256: str = ""
    """Of the file."""

    def __len__(self) -> int:
        """Return how many packets there are."""
        return len(self.size)

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain JSON types."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Any) -> Self:
        """Return the table that `to_dict` wrote.

        Raises:
            ValueError: it is none.
        """
        names = ("pts", "dts", "duration", "size", "key")
        if not isinstance(values, dict) or set(values) != {*names, "extradata", "sha256"}:
            raise ValueError("it has no table of packets")
        columns = [values[name] for name in names]
        whole = all(
            isinstance(column, list)
            and len(column) == len(columns[0])
            and all(type(number) is int and abs(number) < 2**62 for number in column)
            for column in columns
        )
        if not whole or any(size < 0 for size in values["size"]):
            raise ValueError("its table of packets is damaged")
        bytes.fromhex(values["extradata"])
        return cls(**values)


class PacketFile(AbstractContextManager["PacketFile"]):
    """Writes packets to a file; use it as a context manager. `table` is whole after the block."""

    def __init__(self, path: Path) -> None:
        """Make the file.

        Raises:
            OSError: it cannot be made.
        """
        self.table = PacketTable()
        self._file = path.open("wb")
        self._hash = hashlib.sha256()

    def __exit__(self, *_: object) -> None:
        """Close the file."""
        self.close()

    def close(self) -> None:
        """Finish the file.

        Raises:
            OSError: the disk is full.
        """
        self._file.close()
        self.table.sha256 = self._hash.hexdigest()

    def write(self, packets: Iterable[Any]) -> None:
        """Append packets of one stream.

        Raises:
            OSError: the disk is full.
        """
        for packet in packets:
            data, table = bytes(packet), self.table
            self._file.write(data)
            self._hash.update(data)
            table.pts.append(int(packet.pts))
            table.dts.append(int(packet.dts))
            table.duration.append(int(packet.duration or 0))
            table.size.append(len(data))
            table.key.append(int(packet.is_keyframe))


def read_packets(path: Path, table: PacketTable, time_base: Fraction) -> Iterator[Any]:
    """Yield the packets of a file.

    Raises:
        OSError: it cannot be read, or is shorter than its table says.
    """
    with path.open("rb") as file:
        for pts, dts, duration, size, key in zip(
            table.pts, table.dts, table.duration, table.size, table.key, strict=True
        ):
            data = file.read(size)
            if len(data) < size:
                raise OSError(f"{path} is cut off")
            packet = av.Packet(data)
            packet.time_base = time_base
            packet.pts, packet.dts, packet.duration = pts, dts, duration
            packet.is_keyframe = bool(key)
            yield packet


def joined_times(tables: Iterable[PacketTable]) -> list[list[int]]:
    """Return, for each table, the times of decoding that its packets have in one stream.

    They are the encoder's own unless those go back at a joint, as they can where the gaps between
    frames differ and frames are reordered. Then the packets are decoded at the times at which
    frames are shown, in order, as many frames early as any of them is reordered.
    """
    kept = list(tables)
    own = [dts for table in kept for dts in table.dts]
    if all(before < after for before, after in itertools.pairwise(own)):
        return [list(table.dts) for table in kept]
    shown = [pts for table in kept for pts in table.pts]
    order = sorted(shown)
    place = {pts: number for number, pts in enumerate(order)}
    early = max(number - place[pts] for number, pts in enumerate(shown))
    # As x264 does it: the first ones keep their distances, before anything is shown.
    lead = [order[i] - (order[early] - order[0]) for i in range(early)]
    times = iter([*lead, *order[: len(order) - early]])
    return [[next(times) for _ in table.dts] for table in kept]
