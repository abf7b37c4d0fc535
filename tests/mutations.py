"""Damage to files by chance, as disks, downloads and fuzzers do it; the same for the same seed."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

NUMBERS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 2**31 - 1, 2**31, 2**32 - 1, 2**63)


def mutated(samples: Sequence[bytes], seed: int) -> bytes:
    """Return one of the samples with one to six faults."""
    chance = random.Random(seed)
    data = bytearray(chance.choice(samples))
    for _ in range(chance.randint(1, 6)):
        at = chance.randrange(len(data) + 1)
        # Headers are where the meaning is: half of all faults go there.
        at = min(at, chance.choice((64, 512, len(data))))
        kind = chance.randrange(7)
        if kind == 0 and at < len(data):
            data[at] ^= 1 << chance.randrange(8)
        elif kind == 1:
            data[at : at + chance.randint(1, 8)] = chance.randbytes(chance.randint(1, 8))
        elif kind == 2:
            del data[at : at + chance.randint(1, 64)]
        elif kind == 3:
            start = chance.randrange(len(data) + 1)
            data[at:at] = data[start : start + chance.randint(1, 64)]
        elif kind == 4:
            width, order = chance.choice((1, 2, 4, 8)), chance.choice(("big", "little"))
            number = chance.choice(NUMBERS) % 256**width
            data[at : at + width] = number.to_bytes(width, order)
        elif kind == 5 and chance.random() < 0.3:
            del data[at:]
        else:
            other = chance.choice(samples)
            start = chance.randrange(len(other) + 1)
            data[at : at + 32] = other[start : start + 32]
        data = data or bytearray(b"\0")
    return bytes(data)


def mutations(samples: Sequence[bytes], count: int, seed: int = 0) -> Iterator[bytes]:
    """Yield `count` damaged files."""
    for number in range(seed, seed + count):
        yield mutated(samples, number)
