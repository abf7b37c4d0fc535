"""The UNet and the image tower as ONNX Runtime computes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from fapvideo.nets.adapter import Maps
from fapvideo.structs import Floats


class Session:
    """One network in ONNX Runtime, on the CPU, in as many threads as torch uses now."""

    def __init__(self, graph: bytes) -> None:
        """Load a graph of `nets.onnx_graph`.

        Raises:
            ImportError: ONNX Runtime is not installed.
            Exception: of ONNX Runtime's many kinds: it cannot compute this graph.
        """
        import onnxruntime  # an extra

        onnxruntime.disable_telemetry_events()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.inter_op_num_threads = 1
        options.log_severity_level = 3  # errors
        # Threads that spin while they wait take the cores from decoder, encoder and torch.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = onnxruntime.InferenceSession(
            graph, options, providers=["CPUExecutionProvider"]
        )

    def __call__(self, feed: Mapping[str, Floats | np.ndarray]) -> Tensor:
        """Compute the one output of inputs by name.

        Raises:
            RuntimeError: it fails; with ONNX Runtime's reason, such as that memory is full.
        """
        try:
            return torch.from_numpy(self._session.run(None, feed)[0])
        except Exception as error:  # its errors have no base of their own
            raise RuntimeError(f"ONNX Runtime: {error}") from error


class Exported:
    """What `Adapter.predict` and `MobileNetV2Tokens` compute, within rounding of torch."""

    def __init__(self, runtime: str, unet: Session, tower: Session, places: Sequence[str]) -> None:
        """Take both networks; `places` names the maps, `runtime` what computes them."""
        self.runtime = runtime
        self._unet, self._tower, self._places = unet, tower, tuple(places)

    def predict(self, x: Tensor, time: float, maps: Maps) -> Tensor:
        """Return what the UNet with `maps` injected says: [N, out_channels, h, w].

        Args:
            x: float32 [N, in_channels, h, w].
            time: of the step; a fraction is dropped, as `UNet2DModel` does.
            maps: of `Adapter.project`, batch 1 or N.
        """
        given = {
            map_input(name): maps[name].expand(len(x), -1, -1, -1).numpy() for name in self._places
        }
        return self._unet({"x": x.numpy(), "time": np.array([int(time)], np.int64), **given})

    def tokens(self, pictures: Tensor) -> Tensor:
        """Return tokens [N, G*G, C] of float32 [N, 3, S, S] in [0, 1] at the tower's own size."""
        return self._tower({"pictures": pictures.numpy()})


def map_input(place: str) -> str:
    """Return the name of the graph's input that takes the map of a place in the UNet."""
    return f"map of {place}"
