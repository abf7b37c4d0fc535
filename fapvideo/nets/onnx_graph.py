"""Networks written down as ONNX graphs, for a runtime beside torch (the extra `fast`)."""

from __future__ import annotations

import io
import threading
import warnings
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from fapvideo.nets.adapter import Adapter

OPSET = 17
"""Of the ONNX operators; torch's own tracing exporter writes up to 20."""

_EXPORTING = threading.Lock()
"""torch's exporter keeps its state in globals, and refuses a second one beside the first."""


class UnetWithMaps(nn.Module):
    """A UNet and the adapter injected into it as one function of plain tensors."""

    def __init__(self, unet: nn.Module, adapter: Adapter) -> None:
        """Take both; the maps are given in the order of `places`."""
        super().__init__()
        self.unet, self._adapter = unet, [adapter]  # in a list: it is no part
        self.places = sorted(adapter.site_names())

    def forward(self, x: Tensor, time: Tensor, *maps: Tensor) -> Tensor:
        """Predict [N, out_channels, h, w] from [N, in_channels, h, w], int64 [1] and the maps."""
        given = dict(zip(self.places, maps, strict=True))
        return self._adapter[0].predict(self.unet, x, time, given)


def onnx_graph(module: nn.Module, inputs: Mapping[str, Tensor]) -> bytes:
    """Return a network as an ONNX graph with weights, traced on `inputs` by name.

    All inputs but those of one dimension take any number of samples; other sizes are as traced.
    """
    samples = {0: "samples"}
    axes = {name: samples for name, value in inputs.items() if value.dim() > 1}
    graph = io.BytesIO()
    with _EXPORTING, torch.no_grad(), warnings.catch_warnings():
        # That conditions on shapes become constants, as they shall; and that the exporter which
        # needs no other package than onnx is the older one.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module.eval(),
            tuple(inputs.values()),
            graph,  # type: ignore[arg-type]  # the tracing exporter writes to streams too
            input_names=list(inputs),
            output_names=["out"],
            dynamic_axes={**axes, "out": samples},
            opset_version=OPSET,
            dynamo=False,
        )
    return graph.getvalue()
