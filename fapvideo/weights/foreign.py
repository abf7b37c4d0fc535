"""Reading checkpoints of others: safetensors, or pickles that hold tensors and nothing else."""

from __future__ import annotations

import pickle
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fapvideo.config.presets import is_file
from fapvideo.errors import WeightsError
from fapvideo.weights.pickles import check_pickles, refused
from fapvideo.weights.state import read_shapes, read_tensors, shapes_of

PICKLES = (".bin", ".pt", ".pth", ".ckpt")
"""Usual endings of pickles; what a file is, its first bytes say."""
MAX_DEPTH, MAX_NAMES = 16, 100_000
"""Of groups in groups, and of the names in them; published files have 3 and 775."""


def read_layout(path: Path) -> dict[str, tuple[int, ...]]:
    """Return dotted tensor name -> shape; values stay on the disk.

    Raises:
        WeightsError: as `read_foreign`.
    """
    if _is_pickle(path):
        return shapes_of(_flat(_unpickle(path), path))
    return read_shapes(path)


def read_foreign(path: Path) -> dict[str, Tensor]:
    """Return dotted tensor name -> tensor; nested groups are joined by dots.

    The format is told by the file's first bytes, not by its name. A pickle is read with
    `weights_only=True`, which runs no code from it, and mapped into memory rather than copied.

    Raises:
        WeightsError: missing, damaged, of an unknown format, or holding more than tensors.
    """
    if _is_pickle(path):
        return _flat(_unpickle(path), path)
    return read_tensors(path)


def _is_pickle(path: Path) -> bool:
    """Return whether to read `path` as a pickle (of torch.save, in a zip or not).

    Raises:
        WeightsError: it is missing, empty, or neither by its first bytes nor by its ending one of
            the two formats.
    """
    if not is_file(path):
        raise WeightsError(f"{str(path)[:300]} is missing")
    try:
        with path.open("rb") as file:
            start = file.read(9)
    except OSError as error:
        raise WeightsError(f"{path} cannot be read: {error.strerror}") from None
    if not start:
        raise WeightsError(f"{path} is empty", hint="download it again")
    if start[8:] == b"{":  # safetensors: 8 bytes of length, then JSON
        return False
    if start[:2] == b"PK" or start[:1] == b"\x80":
        if path.suffix == ".safetensors":  # torch.load goes by the name
            hint = "rename it: .bin in place of .safetensors"
            raise WeightsError(f"{path} is a pickle", hint=hint)
        return True
    if path.suffix not in (*PICKLES, ".safetensors"):
        raise WeightsError(
            f"{path} is no file of weights",
            hint=f"weights are read from safetensors, or from {', '.join(PICKLES)} files that hold"
            " tensors only",
        )
    return path.suffix in PICKLES


def _unpickle(path: Path) -> Mapping[str, Any]:
    check_pickles(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's advice on pickle protocols is for programmers
            loaded = torch.load(path, map_location="cpu", weights_only=True, mmap=_is_zip(path))
    except pickle.UnpicklingError as error:
        raise _refused(path, str(error)) from None
    except Exception as error:  # of damaged files torch raises a dozen kinds, assertions included
        # torch's first sentence names the damage; its advice goes on for three lines
        reason = (str(error).strip() or type(error).__name__).splitlines()[0].split(". ")[0]
        raise WeightsError(
            f"{path} cannot be read: {reason[:200]}",
            hint="the file is damaged or cut off; download it again",
        ) from None
    if not isinstance(loaded, Mapping):
        raise WeightsError(f"{path} holds a {type(loaded).__name__}, not named tensors")
    return loaded


def _is_zip(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(2) == b"PK"


def _refused(path: Path, message: str) -> WeightsError:
    """Return the error for what torch's restricted unpickler would not load."""
    asked = re.search(r"GLOBAL (\S+)", message)
    if asked is None:
        return WeightsError(
            f"{path} cannot be read: it is no file of tensors",
            hint="perhaps a web page was saved in its place; download it again",
        )
    return refused(path, asked[1])


def _flat(tree: Mapping[str, Any], path: Path) -> dict[str, Tensor]:
    """Join nested groups by dots; anything that is no tensor (step counts, options) is left out.

    Raises:
        WeightsError: nested too deeply, too many groups, or a tensor of more than its storage.
    """
    result: dict[str, Tensor] = {}
    level: list[tuple[str, Any]] = [("", tree)]
    for _ in range(MAX_DEPTH):
        inner: list[tuple[str, Any]] = []
        for name, value in level:
            if isinstance(value, Mapping):
                inner += ((f"{name}.{key}" if name else str(key), v) for key, v in value.items())
                if len(inner) > MAX_NAMES:
                    raise WeightsError(f"{path} holds more than {MAX_NAMES} names")
            elif isinstance(value, Tensor):
                result[name] = _dense(value, f"{path}: {name}")
        if not inner:
            return _without_wrapper(result)
        level = inner
    raise WeightsError(f"{path} holds groups nested more than {MAX_DEPTH} deep")


def _dense(value: Tensor, name: str) -> Tensor:
    """Return a tensor that is as large as it says: no view repeats one number a billion times."""
    plain = value.layout is torch.strided and value.device.type == "cpu" and not value.is_quantized
    if not plain or value.numel() * value.element_size() > value.untyped_storage().nbytes():
        raise WeightsError(f"{name[:300]} is no plain tensor", hint="get the file as safetensors")
    return value


def _without_wrapper(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Strip the `state_dict.` that training programs wrap around everything."""
    if tensors and all(key.startswith("state_dict.") for key in tensors):
        return {key.removeprefix("state_dict."): value for key, value in tensors.items()}
    return tensors
