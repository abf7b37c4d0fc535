"""Additive injection of the fused token map into a UNet, by hooks that come off without a trace.

Variant A adds a projected map inside ResNet blocks; variant B replaces the output of every
cross-attention by one (docs/fuseanypart.md, 1.4 and 1.5; tests/goldens/PARITY.md, 5 and 6). Neither
map depends on the timestep or the latent, so `project` runs once per frame at the token grid and
only the nearest-neighbour enlargement is left for the steps. The maps are an argument of the
prediction, beside the latent and the time:

    adapter.inject()
    maps = adapter.project(tokens)
    noise = adapter.predict(unet, x, t, maps)
    adapter.eject()
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any, Self, cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from fapvideo.nets.sites import attention_sites, resnet_sites

Maps = Mapping[str, Tensor]
"""Name of the place in the UNet -> [B, C, G, G]."""


class Adapter(nn.Module):
    """What both variants share: the prediction, the maps' enlargement, and coming off again.

    The UNet is referred to, not owned: it is no submodule, and its parameters, `state_dict`, `repr`
    and `named_modules` stay as they were. Parameter names equal those of the published checkpoint.
    Not thread-safe: one adapter serves one UNet in one thread.
    """

    def __init__(self, width: int, sites: Mapping[str, Any]) -> None:
        """Start not injected; `sites` are the places in the UNet, `width` a token's channels."""
        super().__init__()
        self.width, self._sites = width, sites
        self._undo: list[Callable[[], object]] = []
        self._maps: Maps = {}

    @property
    def injected(self) -> bool:
        """Whether the UNet currently carries the adapter."""
        return bool(self._undo)

    def project(self, tokens: Tensor, scale: float = 1.0) -> dict[str, Tensor]:
        """Return the maps of fused tokens [B, G*G, C] without CLS: name -> [B, channels, G, G].

        `scale` is the strength of the injection.
        """
        raise NotImplementedError

    def inject(self) -> Self:
        """Attach to the UNet; a second call changes nothing, nor does the UNet alone then."""
        if not self._undo:
            self._undo = self._attach()
        return self

    def eject(self) -> None:
        """Leave the UNet exactly as it was; may be called at any time."""
        while self._undo:
            self._undo.pop()()

    def predict(
        self,
        unet: nn.Module,
        x: Tensor,
        time: float | Tensor,
        maps: Maps,
        context: Tensor | None = None,
    ) -> Tensor:
        """Call the UNet with `maps` injected: [N, in_channels, h, w] -> [N, out_channels, h, w].

        Args:
            unet: the one this adapter is injected into, as it is or compiled.
            x: its input.
            time: one for all samples, or [N].
            maps: of `project`, batch 1 or N; without any the UNet computes as if it were alone.
            context: [N, tokens, cross_attention_dim], where cross-attention looks at a text.

        Raises:
            ValueError: the maps' names are not this adapter's.
        """
        if maps and maps.keys() != self.site_names():
            odd = sorted(maps.keys() ^ self.site_names())
            raise ValueError(f"maps do not fit this adapter; first difference: {odd[0]}")
        with self._running(maps):
            # The third argument of a UNet2DModel is another one, and None as well.
            return unet(x, time, context).sample

    def checkpointed(self, block: nn.Module, *inputs: Tensor) -> Any:
        """Run a block of the UNet, and again in the backward pass with the maps of this call.

        For `unet.enable_gradient_checkpointing(adapter.checkpointed)`: the backward pass comes when
        `predict` is over.
        """
        if torch.compiler.is_compiling():  # then nothing runs again, and the context is in the way
            return checkpoint(block, *inputs, use_reentrant=False)
        maps = self._maps

        def run(*inputs: Tensor) -> Any:
            with self._running(maps):
                return block(*inputs)

        return checkpoint(run, *inputs, use_reentrant=False)

    def site_names(self) -> set[str]:
        """Return the dotted module names of the places this adapter feeds."""
        return set(self._sites)

    def _attach(self) -> list[Callable[[], object]]:
        raise NotImplementedError

    @contextmanager
    def _running(self, maps: Maps) -> Iterator[None]:
        """Let the hooks find the maps of the running call."""
        before, self._maps = self._maps, maps
        try:
            yield
        finally:
            self._maps = before


class ResnetAdapter(Adapter):
    """Variant A: `h = norm2(h) + scale * alpha * up(conv1d(tokens))` in the chosen ResNet blocks.

    The addition comes after norm2 and before the nonlinearity; `conv1d` has kernel 1 and bias,
    `alpha` is a learnable scalar that starts at 1. Non-square latents are allowed.

    Args:
        unet: a diffusers `UNet2DModel` or `UNet2DConditionModel`.
        width: channels of one token.
        blocks: dotted names of the `ResnetBlock2D`s that carry the addition; by default the
            published choice (`nets.sites.published_resnets`).
        zero_init: start the projections at zero, so that training begins with the plain UNet.

    Source: docs/fuseanypart.md, 1.5; tests/goldens/PARITY.md, 6.
    """

    def __init__(
        self,
        unet: nn.Module,
        width: int,
        blocks: Iterable[str] | None = None,
        *,
        zero_init: bool = False,
    ) -> None:
        """Create one projection per block.

        Raises:
            ValueError: a name is not a `ResnetBlock2D` of this UNet, or its time embedding scales
                norm2's output, where "right after norm2" is not "before the nonlinearity".
        """
        super().__init__(width, resnet_sites(unet, blocks))
        for name, resnet in self._sites.items():
            conv = self._plant(name, int(resnet.out_channels))
            if zero_init:
                nn.init.zeros_(conv.weight)
                nn.init.zeros_(cast(Tensor, conv.bias))

    @classmethod
    def for_places(
        cls, places: Mapping[str, int], width: int, unet: Callable[[], nn.Module]
    ) -> ResnetAdapter:
        """Return an adapter for a UNet that is built when the adapter is injected.

        Args:
            places: dotted names of `ResnetBlock2D`s -> their channels.
            width: channels of one token.
            unet: builds it.
        """
        adapter = cls.__new__(cls)
        Adapter.__init__(adapter, width, _SitesOf(unet, tuple(places)))
        for name, channels in places.items():
            adapter._plant(name, channels)
        return adapter

    def _plant(self, name: str, channels: int) -> nn.Conv1d:
        """Add the projection of one place; return its convolution."""
        conv = nn.Conv1d(self.width, channels, kernel_size=1)
        leaf = plant(self, name)
        leaf.add_module("conv1d", conv)
        leaf.register_parameter("alpha", nn.Parameter(torch.ones(())))
        return conv

    def project(self, tokens: Tensor, scale: float = 1.0) -> dict[str, Tensor]:
        """Return `scale * alpha * conv1d(tokens)` per block; tokens are [B, G*G, width]."""
        side = grid_side(tokens)
        rows = tokens.transpose(1, 2)
        maps = {}
        for name in self._sites:
            leaf: Any = self.get_submodule(name)
            value = (leaf.alpha * leaf.conv1d(rows)).unflatten(2, (side, side))
            maps[name] = value if scale == 1.0 else value * scale
        return maps

    def _attach(self) -> list[Callable[[], object]]:
        return [
            resnet.norm2.register_forward_hook(self._hook(name)).remove
            for name, resnet in self._sites.items()
        ]

    def _hook(self, name: str) -> Callable[[nn.Module, Any, Tensor], Tensor | None]:
        def add(_module: nn.Module, _inputs: Any, output: Tensor) -> Tensor | None:
            if name not in self._maps:
                return None
            size = (output.shape[2], output.shape[3])
            return output + enlarge(self._maps[name], size).to(output.dtype)

        return add


class _SitesOf(Mapping[str, Any]):
    """The `ResnetBlock2D`s of a UNet that is built when they are asked for, by known names."""

    def __init__(self, unet: Callable[[], nn.Module], names: tuple[str, ...]) -> None:
        self._unet, self._names = unet, names

    def __getitem__(self, name: str) -> Any:
        return resnet_sites(self._unet(), self._names)[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


class AttentionAdapter(Adapter):
    """Variant B: every attn2 returns `W_o (scale * up(P(F))) + b_o` and looks at nothing else.

    `W_o` and the nearest enlargement commute, so everything but the enlargement is done at the
    token grid. Queries, keys, values and norm2 of these layers have no effect. Without maps the
    UNet's own processors answer.

    Args:
        unet: a diffusers `UNet2DConditionModel`.
        width: channels of one feature (of the projector's output).

    Source: docs/fuseanypart.md, 1.4; tests/goldens/PARITY.md, 5.
    """

    def __init__(self, unet: nn.Module, width: int) -> None:
        """Create one Linear per cross-attention, under the published checkpoint's names."""
        super().__init__(width, attention_sites(unet))
        for name, attention in self._sites.items():
            linear = nn.Linear(width, int(attention.out_dim))
            plant(self, f"{name}.processor").add_module("image_projector", linear)

    def project(self, tokens: Tensor, scale: float = 1.0) -> dict[str, Tensor]:
        """Return `scale * W_o P(F) + b_o` per cross-attention.

        Tokens are features F [B, G*G, width], the projector's output.
        """
        side = grid_side(tokens)
        maps = {}
        for name, attention in self._sites.items():
            projected = self.get_submodule(f"{name}.processor.image_projector")(tokens)
            out = functional.linear(projected, attention.to_out[0].weight)
            out = out.transpose(1, 2).unflatten(2, (side, side))
            scaled, bias = out if scale == 1.0 else out * scale, attention.to_out[0].bias
            maps[name] = scaled if bias is None else scaled + bias[:, None, None]
        return maps

    def _attach(self) -> list[Callable[[], object]]:
        undo: list[Callable[[], object]] = []
        for name, attention in self._sites.items():
            original = attention.processor
            attention.set_processor(_MapProcessor(self, name, original))
            undo.append(partial(attention.set_processor, original))
        return undo

    def rows(self, name: str, hidden: Tensor) -> Tensor | None:
        """Return the output of cross-attention `name` for `hidden` [B, N, C], or `None`.

        Raises:
            ValueError: N is not a square, so the map's place in it is unknown.
        """
        if name not in self._maps:
            return None
        side = grid_side(hidden)
        value = enlarge(self._maps[name], (side, side)).to(hidden.dtype)
        return value.flatten(2).transpose(1, 2).expand(hidden.shape[0], -1, -1)


class _MapProcessor:
    """The attention processor of variant B; a plain object, so the UNet gains no parameters."""

    def __init__(self, adapter: AttentionAdapter, name: str, original: Callable[..., Any]) -> None:
        self._adapter, self._name, self._original = adapter, name, original

    def __call__(self, attn: nn.Module, hidden_states: Tensor, *given: Any, **named: Any) -> Tensor:
        rows = self._adapter.rows(self._name, hidden_states)
        if rows is not None:
            return rows
        return cast(Tensor, self._original(attn, hidden_states, *given, **named))


def both_branches(unconditional: Maps, maps: Maps) -> dict[str, Tensor]:
    """Return the maps of guidance's doubled batch [unconditional; conditional].

    Source: tests/goldens/PARITY.md, 9.

    An unconditional batch of 1 is repeated.
    """
    return {k: torch.cat([unconditional[k].expand_as(value), value]) for k, value in maps.items()}


def grid_side(tokens: Tensor) -> int:
    """Return G of tokens [B, G*G, C].

    Raises:
        ValueError: the number of tokens is not a square.
    """
    count = tokens.shape[1]
    side = math.isqrt(count)
    if side * side != count:
        raise ValueError(f"{count} tokens do not form a square grid (was CLS left in?)")
    return side


def enlarge(value: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize [B, C, G, G] by legacy nearest: floor(i * G / h) (tests/goldens/PARITY.md, 5)."""
    return functional.interpolate(value, size=size, mode="nearest")


def plant(root: nn.Module, path: str) -> nn.Module:
    """Return the submodule at dotted `path`, creating empty modules on the way.

    Makes parameter names equal to the published ones, although the blocks themselves live in the
    UNet.
    """
    node = root
    for step in path.split("."):
        if step not in node._modules:
            node.add_module(step, nn.Module())
        node = cast(nn.Module, node._modules[step])
    return node
