"""Reading safetensors files into networks, and saying readably what does not fit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from fapvideo.errors import WeightsError

SHOWN = 6
"""How many of the problems a message lists."""
FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def read_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Return tensor name -> shape of a safetensors file, without reading the tensors.

    Raises:
        WeightsError: missing, truncated, or no safetensors file.
    """
    try:
        with safe_open(path, framework="pt") as file:
            return {key: tuple(file.get_slice(key).get_shape()) for key in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError, TypeError, KeyError, RuntimeError) as error:
        raise _unreadable(path, error) from None


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a safetensors file.

    Raises:
        WeightsError: missing, truncated, or no safetensors file.
    """
    try:
        with safe_open(path, framework="pt") as file:
            return {k: file.get_tensor(k) for k in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError, TypeError, KeyError, RuntimeError) as error:
        raise _unreadable(path, error) from None


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write a safetensors file with the permissions that any new file gets here.

    Raises:
        OSError: it cannot be written.
    """
    path.touch()
    mode = path.stat().st_mode & 0o777  # as the umask has it; safetensors writes for its owner
    save_file({key: value.detach().cpu().contiguous() for key, value in tensors.items()}, path)
    path.chmod(mode)


def differences(
    found: Mapping[str, tuple[int, ...]], wanted: Mapping[str, tuple[int, ...]]
) -> list[str]:
    """Return one line per tensor that is missing, of another shape, or unknown."""
    lines = [f"{key} is missing" for key in sorted(wanted.keys() - found.keys())]
    lines += [
        f"{key} has shape {list(found[key])}, not {list(wanted[key])}"
        for key in sorted(wanted.keys() & found.keys())
        if tuple(found[key]) != tuple(wanted[key])
    ]
    return lines + [f"{key} is unknown" for key in sorted(found.keys() - wanted.keys())]


def check_fit(what: str, path: Path, problems: list[str]) -> None:
    """Raise unless `problems` is empty.

    Raises:
        WeightsError: with the first few problems and their number.
    """
    if problems:
        more = f" (and {len(problems) - SHOWN} more)" if len(problems) > SHOWN else ""
        raise WeightsError(
            f"{path} does not fit {what}: {'; '.join(problems[:SHOWN])}{more}",
            hint="it belongs to another architecture or is incomplete; get it from its publisher",
        )


def load_into(module: nn.Module, tensors: dict[str, Tensor], what: str, path: Path) -> None:
    """Give `module` (built on meta or not) exactly these tensors.

    Raises:
        WeightsError: names or shapes differ.
    """
    wanted = module.state_dict()
    check_fit(what, path, differences(shapes_of(tensors), shapes_of(wanted)))
    check_fit(what, path, _other_types(tensors, wanted))
    module.load_state_dict(tensors, assign=True)
    # assign=True takes over the file's flags; frozen networks and optimisers decide for themselves
    module.requires_grad_(True)


def _other_types(found: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> list[str]:
    """Return one line per tensor of another kind of number: floats of 16 to 64 bits are one."""
    return [
        f"{key} holds {str(found[key].dtype).removeprefix('torch.')}"
        for key, value in wanted.items()
        if (found[key].dtype in FLOATS) != value.is_floating_point()
        or not (value.is_floating_point() or found[key].dtype == value.dtype)
    ]


def shapes_of(state: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    """Return tensor name -> shape."""
    return {key: tuple(value.shape) for key, value in state.items()}


def finite_or_raise(tensors: Iterable[tuple[str, Tensor]], path: Path) -> None:
    """Raise where a tensor holds NaN or infinity.

    Raises:
        WeightsError: naming the first such tensor.
    """
    for key, value in tensors:
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            raise WeightsError(f"{path}: {key} holds values that are not finite")


def _unreadable(path: Path, error: Exception) -> WeightsError:
    if isinstance(error, FileNotFoundError):
        return WeightsError(f"{path} is missing")
    return WeightsError(
        f"{path} cannot be read as safetensors: {error}",
        hint="the file is damaged, cut off or of another format; fetch or import it again",
    )
