"""Grounding DINO by its authors' code: the package groundingdino-py 0.4.0, an extra.

The second backend, for people who have the original `.pth` files. The package is of 2023 and does
not run on transformers 5 as it is: its `BertModelWarper` calls methods of `BertModel` that are
gone. `_BertEncoder` below takes that class's place while a model is built; the outputs are the same
to the last bit (docs/grounding-dino.md). Nothing here is imported unless asked for.
"""

from __future__ import annotations

import json
import types
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from fapvideo.errors import WeightsError
from fapvideo.mask.grounding import GroundingDino, require_files
from fapvideo.ops.torchvision_shim import load_library
from fapvideo.structs import Bytes
from fapvideo.weights.foreign import read_foreign

SHORT_SIDE, LONG_SIDE = 800, 1333
"""Pixels to which pictures are resized, as in the package's own `util/inference.py`."""
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CONFIG_BY_WIDTH = {96: "GroundingDINO_SwinT_OGC", 128: "GroundingDINO_SwinB_cfg"}
"""The package's two configurations, told apart by the channels of the patch embedding."""
UNUSED = ("bert.pooler.",)
"""Left over from BERT: in some checkpoints and never read."""


class GroundingDinoPyDetector(GroundingDino):
    """groundingdino-py's `GroundingDINO`."""

    def __init__(
        self,
        model: Any,
        device: torch.device | str = "cpu",
        short_side: int = SHORT_SIDE,
        long_side: int = LONG_SIDE,
    ) -> None:
        """Take a model made by `build_model`; pictures are resized to the given sides (pixels).

        Raises:
            WeightsError: the model's tokenizer is not one this network can use.
        """
        super().__init__(model, model.tokenizer, device)
        self._short_side, self._long_side = short_side, long_side

    @classmethod
    def from_folder(
        cls, folder: Path, device: torch.device | str = "cpu"
    ) -> GroundingDinoPyDetector:
        """Load a folder with one checkpoint (`*.pth` or `*.safetensors`) and `bert/`.

        `bert/` holds `config.json` and the tokenizer of bert-base-uncased; its weights are in the
        checkpoint. An optional `config.json` beside the checkpoint replaces the package's own
        configuration, which otherwise is chosen by the checkpoint (Swin-T or Swin-B).

        Raises:
            WeightsError: a file is missing or unsafe, the weights do not fit, or the extra is not
                installed.
        """
        _import_groundingdino()
        checkpoint = _find_checkpoint(folder)
        require_files(folder / "bert", ["config.json"], ["tokenizer.json", "vocab.txt"])
        state = _read_state(checkpoint)
        settings = _settings(folder, state)
        model = build_model(settings, folder / "bert")
        unknown, missing = _load(model, state, checkpoint)
        if unknown or missing:
            raise WeightsError(
                f"{checkpoint} does not fit {settings['backbone']}: {len(missing)} tensor(s)"
                f" missing, {len(unknown)} unknown, first: {(missing + unknown)[0]}",
                hint="use the checkpoint with its own config.json and bert/",
            )
        return cls(
            model,
            device,
            settings.get("short_side", SHORT_SIDE),
            settings.get("long_side", LONG_SIDE),
        )

    def _forward(self, rgb: Bytes, text: str, tokens: Any) -> tuple[Tensor, Tensor]:
        pixels = self._prepare(rgb).to(self._device)
        with _quiet():
            output = self._model(pixels[None], captions=[text])
        return output["pred_logits"], output["pred_boxes"]

    def _prepare(self, rgb: Bytes) -> Tensor:
        """Resize and normalise with the package's own transforms: [3, h, w] float32."""
        transforms = load_library("groundingdino.datasets.transforms")
        transform = transforms.Compose(
            [
                transforms.RandomResize([self._short_side], max_size=self._long_side),
                transforms.ToTensor(),
                transforms.Normalize(IMAGENET_MEAN, IMAGENET_STD),
            ]
        )
        pixels: Tensor = transform(Image.fromarray(rgb), None)[0]
        return pixels


def build_model(settings: Mapping[str, Any], bert: Path) -> Any:
    """Build a `GroundingDINO` with random weights.

    Args:
        settings: the names of the package's configuration files.
        bert: folder with BERT's `config.json` and tokenizer; no weights are read from it.

    Raises:
        WeightsError: the extra is not installed, or BERT's files are unusable.
    """
    package = _import_groundingdino()
    transformers = load_library("transformers")
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(bert, local_files_only=True)
        config = transformers.BertConfig.from_pretrained(bert, local_files_only=True)
        text_encoder = transformers.BertModel(config)
    except Exception as error:  # transformers raises whatever its parsers raise
        raise WeightsError(f"{bert} does not load as BERT: {error}") from error
    # Checkpointing only saves memory in training, and warns about it otherwise.
    quick = {"use_checkpoint": False, "use_transformer_ckpt": False}
    with _patched(package, tokenizer, text_encoder), _quiet():
        return package.build_groundingdino(types.SimpleNamespace(**{**settings, **quick}))


class _BertEncoder(nn.Module):
    """What the package needs of BERT, with the mask made here instead of by `BertModel`.

    Takes the place of `BertModelWarper` and keeps its parameter names.
    """

    def __init__(self, bert_model: Any) -> None:
        super().__init__()
        self.config = bert_model.config
        self.embeddings = bert_model.embeddings
        self.encoder = bert_model.encoder
        self.pooler = bert_model.pooler  # never run, but in the checkpoints

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Encode [B, L] tokens under a boolean mask [B, L, L] (True where attention is allowed)."""
        hidden = self.embeddings(
            input_ids=input_ids, token_type_ids=token_type_ids, position_ids=position_ids
        )
        blocked = torch.zeros_like(attention_mask, dtype=hidden.dtype)
        blocked = blocked.masked_fill(~attention_mask.bool(), torch.finfo(hidden.dtype).min)
        output = self.encoder(hidden, attention_mask=blocked[:, None])
        return {"last_hidden_state": output.last_hidden_state}


@contextmanager
def _patched(package: Any, tokenizer: Any, text_encoder: Any) -> Iterator[None]:
    """Let the package build on our BERT: no download by name, no print, no gone methods."""
    loader = types.SimpleNamespace(
        get_tokenlizer=lambda _name: tokenizer,
        get_pretrained_language_model=lambda _name: text_encoder,
    )
    replaced = {"BertModelWarper": _BertEncoder, "get_tokenlizer": loader}
    before = {name: getattr(package, name) for name in replaced}
    for name, value in replaced.items():
        setattr(package, name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(package, name, value)


@contextmanager
def _quiet() -> Iterator[None]:
    """Hide deprecation warnings of the package, which its users cannot act on."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.filterwarnings("ignore", message="torch.meshgrid")
        yield


def _import_groundingdino() -> Any:
    """Import the package's module `groundingdino`; it brings torchvision, timm and matplotlib."""
    try:
        with _quiet():
            return load_library("groundingdino.models.GroundingDINO.groundingdino")
    except ModuleNotFoundError as error:
        raise WeightsError(
            f'mask.backend = "grounding_dino_py" needs groundingdino-py: {error}',
            hint="pip install 'fapvideo[groundingdino]', or use \"grounding_dino\", the same"
            " network in transformers",
        ) from None


def _find_checkpoint(folder: Path) -> Path:
    found = sorted([*folder.glob("*.safetensors"), *folder.glob("*.pth")])
    if len(found) != 1:
        names = ", ".join(path.name for path in found) or "none"
        raise WeightsError(
            f"{folder} must hold exactly one Grounding DINO checkpoint, found: {names}",
            hint="docs/grounding-dino.md lists the files of each backend",
        )
    return found[0]


def _read_state(path: Path) -> dict[str, Tensor]:
    """Return the network's tensors, without what the authors' training wrapped around them.

    Raises:
        WeightsError: damaged, or holding more than tensors.
    """
    tensors = read_foreign(path)
    wrapped = [key for key in tensors if key.startswith("model.")]
    names = {key: key.removeprefix("model.") for key in wrapped or tensors}
    return {name.removeprefix("module."): tensors[key] for key, name in names.items()}


def _settings(folder: Path, state: Mapping[str, Tensor]) -> dict[str, Any]:
    """Return the architecture: the folder's own, or the package's that has this width."""
    own = folder / "config.json"
    if own.is_file():
        try:
            return dict(json.loads(own.read_text("utf-8")))
        except (ValueError, TypeError) as error:
            raise WeightsError(f"{own} is no JSON object: {error}") from None
    patches = state.get("backbone.0.patch_embed.proj.weight")
    name = None if patches is None else CONFIG_BY_WIDTH.get(patches.shape[0])
    if name is None:
        raise WeightsError(
            f"the checkpoint in {folder} is neither Swin-T nor Swin-B Grounding DINO",
            hint="is it in transformers' layout? Then use the backend grounding_dino;"
            " otherwise put its configuration as config.json beside it",
        )
    module = load_library(f"groundingdino.config.{name}")
    return {key: value for key, value in vars(module).items() if not key.startswith("_")}


def _load(model: nn.Module, state: Mapping[str, Tensor], path: Path) -> tuple[list[str], list[str]]:
    """Copy `state` into `model`; return keys that are unknown and keys that are missing."""
    try:
        result = model.load_state_dict(state, strict=False)
    except RuntimeError as error:
        lines = str(error).splitlines()
        raise WeightsError(f"{path} has tensors of another shape: {lines[-1].strip()}") from None
    return (
        # Index buffers of older transformers: remade when the model is built.
        [k for k in result.unexpected_keys if not k.endswith("position_ids")],
        [k for k in result.missing_keys if not k.startswith(UNUSED)],
    )
