"""A look at a pickle before it is read: what it asks for, and that reading it comes to an end.

torch's restricted unpickler runs no code of a file. Within its rules a few hundred bytes still ask
for any amount of memory (`bytearray(10**12)`) or time (a tuple of tuples as a key). So the stack
machine is followed here without making anything, and only what files of tensors need may pass.
"""

from __future__ import annotations

import io
import pickle
import pickletools
import re
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Any, NamedTuple

from fapvideo.errors import WeightsError

MAX_BYTES = 64 * 2**20
"""Of a pickle without its tensors; 700 tensors take 100 kB."""
MAX_OPCODES = 4_000_000
MAX_TUPLE, MAX_DEPTH = 10_000, 16
"""Of a tuple with all its inner ones: elements and levels."""
LEGACY = 5
"""Pickles, one after another, in torch.save's format of before 1.6."""

_TENSORS = re.compile(
    r"collections\.(OrderedDict|Counter)|_codecs\.encode|builtins\.(set|complex)"
    r"|__builtin__\.(set|complex)|torch\.Size|torch\.device|torch\.\w+Storage"
    r"|torch\.storage\.(UntypedStorage|TypedStorage)|torch\._utils\._rebuild_(parameter|tensor(_v\d)?)"
    r"|torch\.(b?float|complex|u?int|q?u?int|bool)\w*"
)
"""What a file of tensors asks for."""


class _Item(NamedTuple):
    """What is remembered of an object on the stack: tuples are counted with all that is in them."""

    size: int = 1
    depth: int = 0


def check_pickles(path: Path) -> None:
    """Look at the pickle(s) in a file of torch.save, in a zip or not.

    Raises:
        WeightsError: it asks for more than tensors, or is too large, too deep or damaged.
    """
    try:
        if zipfile.is_zipfile(path):
            _check_zip(path)
        else:
            with path.open("rb") as file:
                if file.read(1) != pickle.PROTO:
                    raise _damaged(path, "it is no file of tensors")
                file.seek(0)
                for _ in range(LEGACY):
                    _check(file, path)
    except WeightsError:
        raise
    except Exception as error:  # pickletools and zipfile raise half a dozen kinds
        raise _damaged(path, str(error) or type(error).__name__) from None


def _check_zip(path: Path) -> None:
    """Check that nothing in the archive is packed, and its one pickle."""
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        packed = any(entry.compress_type != zipfile.ZIP_STORED for entry in entries)
        if packed or sum(entry.file_size for entry in entries) > path.stat().st_size:
            raise _damaged(path, "its archive is compressed, torch.save's never is")
        pickles = [entry for entry in entries if entry.filename.endswith("data.pkl")]
        if len(pickles) != 1:
            raise _damaged(path, f"its archive holds {len(pickles)} files data.pkl, not one")
        _check(io.BytesIO(archive.read(pickles[0])), path)


def _check(file: IO[bytes], path: Path) -> None:
    """Follow one pickle to its end.

    Raises:
        WeightsError: as `check_pickles`.
    """
    stack: list[_Item | None] = []
    memo: dict[Any, _Item | None] = {}
    start = file.tell()
    for number, (opcode, arg, position) in enumerate(pickletools.genops(file)):
        name = opcode.name
        if number > MAX_OPCODES or (position or 0) - start > MAX_BYTES:
            raise _damaged(path, "its pickle is too large for one of tensors")
        if name in ("STACK_GLOBAL", "INST", "OBJ", "EXT1", "EXT2", "EXT4"):
            raise _damaged(path, "it is no file of tensors")  # torch.save writes none of these
        asked = str(arg).replace(" ", ".")
        if name == "GLOBAL" and not _TENSORS.fullmatch(asked):
            raise refused(path, asked)
        if name in ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"):
            memo[len(memo) if name == "MEMOIZE" else arg] = stack[-1]
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            stack.append(memo[arg])
        elif name == "DUP":
            stack.append(stack[-1])
        else:
            made = _step(opcode, stack)
            if made.size > MAX_TUPLE or made.depth > MAX_DEPTH:
                raise _damaged(path, "a tuple in it is nested too deeply")


def _step(opcode: Any, stack: list[_Item | None]) -> _Item:
    """Take from the stack what an opcode takes, and put back what it makes, which is returned."""
    taken: list[_Item | None] = []
    before = [kind.name for kind in opcode.stack_before]
    if "mark" in before:
        while (item := stack.pop()) is not None:
            taken.append(item)
        before = before[: before.index("mark")]
    for _ in before:
        taken.append(stack.pop())
    inner = [item or _Item() for item in taken]
    made = _tuple(inner) if opcode.name.startswith("TUPLE") else _Item()
    for kind in opcode.stack_after:
        stack.append(None if kind.name == "mark" else made)
    return made


def _tuple(inner: Iterable[_Item]) -> _Item:
    items = tuple(inner)
    depth = 1 + max((item.depth for item in items), default=0)
    return _Item(1 + sum(item.size for item in items), depth)


def refused(path: Path, asked: str) -> WeightsError:
    """Return the error for a pickle that asks for more than tensors."""
    return WeightsError(
        f"{path} is refused: it holds more than tensors and asks to run {asked[:200]}",
        hint="a weights file needs no code; get it from its publisher, best as safetensors",
    )


def _damaged(path: Path, reason: str) -> WeightsError:
    return WeightsError(
        f"{path} cannot be read: {reason[:200]}",
        hint="the file is damaged or cut off; download it again",
    )
