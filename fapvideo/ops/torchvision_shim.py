"""Lets a torchvision built for CUDA be imported beside a torch without it.

The registry's torchvision wheels are linked against CUDA libraries. Beside a CPU build of torch
their compiled part does not load, so that the two operators below are never declared, and
`import torchvision` fails. transformers and diffusers import torchvision wherever it is installed
and then fail too. Declaring the operators is enough: nothing in this package runs them.

Known upstream: pytorch/vision #9077 and #9085. docs/install.md says which pairs were tried.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import sys
from typing import Any

import torch

_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
_SYMPTOM = "operator torchvision::nms does not exist"


def load_library(name: str) -> Any:
    """Import diffusers, transformers, open_clip or groundingdino, or a module of theirs.

    Their only way in: they need the shim before them, and take seconds of start-up, so that they
    are imported by the function that uses them.

    Raises:
        ModuleNotFoundError: it is not installed.
    """
    make_torchvision_importable()
    return importlib.import_module(name)


def make_torchvision_importable() -> bool:
    """Declare torchvision's missing operators where its compiled part does not load.

    It does nothing where torchvision is absent or healthy, and is cheap when called again. Where
    it acts, `torchvision.ops.nms` still raises torchvision's own "Couldn't load custom C++ ops".

    Returns:
        Whether the operators had to be declared by this call.

    Raises:
        RuntimeError: torchvision is broken in another way (its own error).
    """
    if "torchvision" in sys.modules or importlib.util.find_spec("torchvision") is None:
        return False
    try:
        importlib.import_module("torchvision")
    except RuntimeError as error:
        if _SYMPTOM not in str(error):
            raise
    else:
        return False
    # Submodules that did import hold on to the half-made package; the second import needs new ones.
    for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
        del sys.modules[name]
    _declare_operators()
    importlib.import_module("torchvision")
    return True


@functools.cache
def _declare_operators() -> torch.library.Library:
    """Declare the schemas once; the cache keeps the library, whose deletion would undo it."""
    library = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
    for schema in _SCHEMAS:
        library.define(schema)  # type: ignore[no-untyped-call]
    return library
