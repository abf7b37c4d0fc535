"""Damage that keeps a file's structure, so that more than its first check is put to the test.

Every function takes a `random.Random`: the same seed damages alike.
"""

from __future__ import annotations

import copy
import io
import random
import struct
import zipfile
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from mutations import NUMBERS

MAGIC = 16
"""Bytes at the beginning that tell the format."""
TS_PACKET = 188
ODD_TEXTS = ("", "\x00", "../../x", "/etc/passwd", "nan", "x" * 5000, "é\u202e", "~nobody", "1e999")
ODD_NUMBERS = (-1, 0, 1, 2**31, 2**63 - 1, -(2**63), 0.5, -0.0, 1e300, -1e-300,
               float("inf"), float("nan"))  # fmt: skip
_PARENTS = frozenset({b"moov", b"trak", b"mdia", b"minf", b"stbl", b"edts", b"udta", b"mvex"})
_EBML_PARENTS = frozenset({0x18538067, 0x1654AE6B, 0xAE, 0xE0, 0xE1, 0x1F43B675, 0xA0, 0x1549A966})


# ------------------------------------------------------------------------------------- values


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the way to everything in nested dicts and lists."""
    inner = value.items() if isinstance(value, dict) else enumerate(value)
    for key, item in inner:
        yield (*path, key)
        if isinstance(item, dict | list):
            yield from places(item, (*path, key))


def mutated_values(value: Any, chance: random.Random) -> Any:
    """Return nested dicts and lists with one to three faults: of type, of size, of place."""
    value = copy.deepcopy(value)
    for _ in range(chance.randint(1, 3)):
        ways = list(places(value))
        if not ways:
            return value
        *way, key = chance.choice(ways)
        holder = value
        for step in way:
            holder = holder[step]
        kind = chance.randrange(8)
        if kind == 0:
            del holder[key]
        elif kind == 1 and isinstance(holder, dict):
            holder[f"{key}{chance.choice(('', 's', '.x', '_'))}x"] = holder[key]
        elif kind == 1:
            holder.insert(key, copy.deepcopy(holder[key]))
        elif kind == 2:
            holder[key] = chance.choice(({}, [], True, None, [[]], {"a": 1}, "text", 3, 1.5))
        else:
            holder[key] = odd(holder[key], chance)
    return value


def odd(value: Any, chance: random.Random) -> Any:
    """Return a value of the same type that nobody expects."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return chance.choice((value + 1, -value, value * 1000, *ODD_NUMBERS[:6]))
    if isinstance(value, float):
        return chance.choice((value * -1, value * 1e6, *ODD_NUMBERS))
    if isinstance(value, str):
        return chance.choice((value[:-1], value * 2, value.upper(), *ODD_TEXTS))
    if isinstance(value, list) and value:
        return chance.choice((value * 2, value[1:], value[::-1], value * 500))
    return chance.choice((None, 0, "", []))


# -------------------------------------------------------------------------------------- bytes


def flipped(data: bytes, chance: random.Random, start: int = 0, end: int | None = None) -> bytes:
    """Return data with one to eight bytes changed between two places."""
    out, end = bytearray(data), len(data) if end is None else end
    for _ in range(chance.randint(1, 8)):
        if start < end:
            at = chance.randrange(start, end)
            out[at] = chance.choice((out[at] ^ 1 << chance.randrange(8), 0, 255, out[at] - 1 & 255))
    return bytes(out)


def truncated(data: bytes, chance: random.Random) -> bytes:
    """Return the beginning of a file."""
    return data[: chance.randrange(1, len(data))]


def repeated(data: bytes, chance: random.Random) -> bytes:
    """Return data with a stretch of it twice, or left out, or zeroed."""
    size = chance.choice((1, 16, 188, 512, 4096))
    at = chance.randrange(len(data))
    piece = data[at : at + size]
    return data[:at] + chance.choice((piece * 2, b"", bytes(len(piece)))) + data[at + size :]


def number_set(data: bytes, chance: random.Random) -> bytes:
    """Return data with an extreme number somewhere, mostly near the beginning."""
    width = chance.choice((1, 2, 4, 8))
    limit = chance.choice((64, 512, 2048, len(data)))
    at = chance.randrange(min(limit, len(data)))
    number = chance.choice(NUMBERS) % 256**width
    order = chance.choice(("big", "little"))
    return data[:at] + number.to_bytes(width, order) + data[at + width :]


# ------------------------------------------------------------------------------------- videos


def boxes(data: bytes, start: int = 0, end: int | None = None) -> Iterator[tuple[int, int]]:
    """Yield (start, end) of the boxes of an MP4 or MOV, inner ones included."""
    end = len(data) if end is None else end
    while start + 8 <= end:
        size, kind = int.from_bytes(data[start : start + 4], "big"), data[start + 4 : start + 8]
        if not 8 <= size <= end - start:
            return
        yield start, start + size
        if kind in _PARENTS:
            yield from boxes(data, start + 8, start + size)
        start += size


def elements(data: bytes, start: int = 0, end: int | None = None) -> Iterator[tuple[int, int]]:
    """Yield (start, end) of the elements of a Matroska file, inner ones included."""
    end = len(data) if end is None else end
    while start + 2 <= end and data[start]:
        id_length = 9 - data[start].bit_length()
        at = start + id_length
        if at >= end or not data[at]:
            return
        length = 9 - data[at].bit_length()
        size = int.from_bytes(data[at : at + length], "big") & (1 << 7 * length) - 1
        body = at + length
        stop = end if size == (1 << 7 * length) - 1 else body + size
        if stop > end:
            return
        yield start, stop
        if int.from_bytes(data[start:at], "big") in _EBML_PARENTS:
            yield from elements(data, body, stop)
        start = stop


def packets(data: bytes) -> Iterator[tuple[int, int]]:
    """Yield (start, end) of the packets of a transport stream."""
    for start in range(0, len(data) - TS_PACKET + 1, TS_PACKET):
        yield start, start + TS_PACKET


def chunks(data: bytes, start: int = 12, end: int | None = None) -> Iterator[tuple[int, int]]:
    """Yield (start, end) of the chunks of an AVI, inner ones included."""
    end = len(data) if end is None else end
    while start + 8 <= end:
        (size,) = struct.unpack_from("<I", data, start + 4)
        stop = start + 8 + size + size % 2
        if stop > end:
            return
        yield start, stop
        if data[start : start + 4] == b"LIST":
            yield from chunks(data, start + 12, stop)
        start = stop


def pieces(data: bytes) -> list[tuple[int, int]]:
    """Return (start, end) of everything that a container consists of."""
    if data[4:8] == b"ftyp":
        return list(boxes(data))
    if data[:4] == b"\x1aE\xdf\xa3":
        return list(elements(data))
    if data[:4] == b"RIFF":
        return list(chunks(data))
    if data[:1] == b"G" and data[TS_PACKET : TS_PACKET + 1] == b"G":
        return list(packets(data))
    return []


def of_structure(data: bytes, chance: random.Random) -> bytes:
    """Damage one piece of a container: its size, its kind, its content, its place."""
    found = pieces(data)
    if not found:
        return chance.choice((number_set, repeated))(data, chance)
    start, end = chance.choice(found)
    piece = data[start:end]
    kind = chance.randrange(7)
    if kind == 0:  # as many as it says, and others
        size = chance.choice((0, 1, 7, 8, len(piece) + 1, len(piece) - 1, 2**31, 2**32 - 1))
        at = start if data[4:8] == b"ftyp" else start + 4
        order = "big" if data[4:8] == b"ftyp" else "little"
        return data[:at] + (max(size, 0) % 2**32).to_bytes(4, order) + data[at + 4 :]
    if kind == 1:
        return data[:end] + piece + data[end:]
    if kind == 2:
        return data[:start] + data[end:]
    if kind == 3:
        first, last = chance.choice(found)
        return data[:start] + data[first:last] + data[end:]
    if kind == 4:
        return data[:start] + piece[:8] + number_set(piece[8:] or b"\0", chance) + data[end:]
    return flipped(data, chance, min(start + 8, end), min(end, start + 200))


def mutated_video(samples: Sequence[bytes], chance: random.Random) -> bytes:
    """Return one of the samples with one to three faults, its first bytes mostly kept."""
    data = whole = chance.choice(samples)
    ways: tuple[Callable[[bytes, random.Random], bytes], ...] = (
        of_structure, of_structure, of_structure, flipped, number_set, repeated, truncated,
    )  # fmt: skip
    for _ in range(chance.randint(1, 3)):
        data = chance.choice(ways)(data, chance) or b"\0"
    return whole[:MAGIC] + data[MAGIC:] if chance.random() < 0.8 else data


# -------------------------------------------------------------------------------------- zips


def mutated_zip(data: bytes, chance: random.Random) -> bytes:
    """Return an archive of torch.save with damage in an entry, whose checksum is right again."""
    source, target = zipfile.ZipFile(io.BytesIO(data)), io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        entries = source.infolist()
        hit = next(e for e in entries if e.filename.endswith("data.pkl"))
        if chance.random() < 0.3:
            hit = chance.choice(entries)
        for entry in entries:
            content = source.read(entry)
            if entry is hit and content:
                content = chance.choice((flipped, flipped, repeated, number_set))(content, chance)
            archive.writestr(entry.filename, content)
    return target.getvalue()
