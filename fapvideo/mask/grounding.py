"""Grounding DINO: boxes for parts and for free text such as "glasses".

Masks as in FuseAnyPart's data preparation. This is transformers' port, the default of the two
backends; `grounding_py` holds the original authors' package behind the same interface. Both run the
same network on the same checkpoints (docs/grounding-dino.md), and share everything after
it: the caption, the labels, the threshold and the suppression of duplicates.

Paper: Liu et al., "Grounding DINO", arXiv 2303.05499. Nothing here is imported unless asked for.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fapvideo.errors import PresetError, WeightsError
from fapvideo.mask.boxes import Detection, suppress_overlaps
from fapvideo.ops.torchvision_shim import load_library
from fapvideo.structs import Bytes, Floats

SPECIAL_TOKENS = {"[CLS]": 101, "[SEP]": 102, ".": 1012, "?": 1029}
"""Ids of bert-base-uncased. transformers has them fixed in the network's code, so a tokenizer with
others would give wrong boxes without an error."""
MAX_TOKENS = 256
MAX_OVERLAP = 0.5
"""Intersection over union above which two boxes of one label are the same thing."""


class OpenSetDetector(Protocol):
    """Finds things named in words."""

    def detect(
        self,
        rgb: Bytes,
        prompts: Sequence[str],
        threshold: float,
        max_overlap: float = MAX_OVERLAP,
    ) -> list[Detection]:
        """Return what answers to one of `prompts` in one picture, best first.

        Args:
            rgb: [H, W, 3] uint8.
            prompts: what to look for: "eyes", "glasses"; no full stop or question mark within.
            threshold: a box needs a score above it; the authors use 0.35.
            max_overlap: largest intersection over union of two boxes with one label.

        Raises:
            PresetError: a prompt is empty, holds punctuation that separates prompts, or they are
                too long together.
        """
        ...


class GroundingDino(ABC):
    """What both packages' networks share: the words before them, the reading of boxes after."""

    def __init__(self, model: Any, tokenizer: Any, device: torch.device | str) -> None:
        """Take a model and its BERT tokenizer.

        Raises:
            WeightsError: the tokenizer is not one this network can use.
        """
        check_tokenizer(tokenizer)
        self._device = torch.device(device)
        self._model = model.to(self._device).eval()
        self._tokenizer = tokenizer

    def detect(
        self,
        rgb: Bytes,
        prompts: Sequence[str],
        threshold: float,
        max_overlap: float = MAX_OVERLAP,
    ) -> list[Detection]:
        """See `OpenSetDetector.detect`."""
        labels = unique_prompts(prompts)
        logits, boxes, ids = self.raw(rgb, caption(labels))
        found = read_detections(logits, boxes, ids, labels, picture_size(rgb), threshold)
        return suppress_overlaps(found, max_overlap)

    def raw(self, rgb: Bytes, text: str) -> tuple[Floats, Floats, NDArray[np.int64]]:
        """Run the network on one picture.

        Returns:
            Logits [Q, 256] (-inf past the text), boxes [Q, 4] (centre x, centre y, width, height
            in [0, 1]), token ids [L].
        """
        picture_size(rgb)
        tokens = self._tokenizer(text, return_tensors="pt")
        check_length(tokens["input_ids"])
        with torch.inference_mode():
            logits, boxes = self._forward(rgb, text, tokens)
        return (
            logits[0].float().cpu().numpy(),
            boxes[0].float().cpu().numpy(),
            tokens["input_ids"][0].numpy(),
        )

    @abstractmethod
    def _forward(self, rgb: Bytes, text: str, tokens: Any) -> tuple[Tensor, Tensor]:
        """Prepare the picture and run the package's network: logits [1, Q, 256], boxes [1, Q, 4].

        Args:
            rgb: [H, W, 3] uint8.
            text: the caption.
            tokens: the tokenizer's answer to it, for a batch of one.
        """


class GroundingDinoDetector(GroundingDino):
    """transformers' `GroundingDinoForObjectDetection`."""

    def __init__(
        self, model: Any, tokenizer: Any, image_processor: Any, device: torch.device | str = "cpu"
    ) -> None:
        """Take ready parts: a model, a BERT tokenizer and a Grounding DINO image processor.

        Raises:
            WeightsError: the tokenizer is not one this network can use.
        """
        super().__init__(model, tokenizer, device)
        self._image_processor = image_processor

    @classmethod
    def from_folder(cls, folder: Path, device: torch.device | str = "cpu") -> GroundingDinoDetector:
        """Load a folder in transformers' layout, such as `IDEA-Research/grounding-dino-tiny`.

        Raises:
            WeightsError: a file is missing or unreadable, or the weights do not fit the network.
        """
        require_files(
            folder,
            ["config.json", "preprocessor_config.json", "model.safetensors"],
            ["tokenizer.json", "vocab.txt"],
        )
        transformers = load_library("transformers")
        processing = load_library(
            "transformers.models.grounding_dino.image_processing_pil_grounding_dino"
        )
        try:
            with _no_progress_bar():
                model, info = transformers.GroundingDinoForObjectDetection.from_pretrained(
                    folder, local_files_only=True, use_safetensors=True, output_loading_info=True
                )
            tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
            image_processor = processing.GroundingDinoImageProcessorPil.from_pretrained(
                folder, local_files_only=True
            )
        except Exception as error:  # transformers raises whatever its parsers raise
            raise WeightsError(f"{folder} does not load as Grounding DINO: {error}") from error
        # from_pretrained fills what is missing with random numbers and only logs it.
        absent = sorted(info["missing_keys"])
        if absent:
            raise WeightsError(
                f"{folder}/model.safetensors lacks {len(absent)} tensor(s), first: {absent[0]}",
                hint="download the file again; its config.json must be of the same model",
            )
        return cls(model, tokenizer, image_processor, device)

    def _forward(self, rgb: Bytes, text: str, tokens: Any) -> tuple[Tensor, Tensor]:
        pixels = self._image_processor(images=rgb, return_tensors="pt")
        output = self._model(**{k: v.to(self._device) for k, v in (tokens | pixels).items()})
        return output.logits, output.pred_boxes


@contextmanager
def _no_progress_bar() -> Iterator[None]:
    """Keep transformers from drawing on the terminal while it loads; printing is the caller's."""
    logging = load_library("transformers.utils").logging
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


# ------------------------------------------------------------- shared by both backends


def unique_prompts(prompts: Sequence[str]) -> list[str]:
    """Return the prompts in lower case without repetitions.

    Raises:
        PresetError: see `OpenSetDetector.detect`.
    """
    labels = list(dict.fromkeys(prompt.strip().lower() for prompt in prompts))
    wrong = [label for label in labels if not label or "." in label or "?" in label]
    if wrong or not labels:
        raise PresetError(
            f"detection prompt {wrong[0]!r} cannot be used" if wrong else "no detection prompt",
            hint='give one thing per prompt in plain words, such as "glasses"; . and ? separate'
            " prompts in Grounding DINO's caption",
        )
    return labels


def caption(labels: Sequence[str]) -> str:
    """Join prompts as the network was trained: "eyes. nose. mouth."."""
    return ". ".join(labels) + "."


def check_tokenizer(tokenizer: Any) -> None:
    """Raise `WeightsError` unless the separators have the ids that are fixed in the network."""
    ids = tokenizer.convert_tokens_to_ids(list(SPECIAL_TOKENS))
    if ids != list(SPECIAL_TOKENS.values()):
        raise WeightsError(
            f"the tokenizer gives {list(SPECIAL_TOKENS)} the ids {ids}, but Grounding DINO needs"
            f" {list(SPECIAL_TOKENS.values())}",
            hint="use the vocabulary of bert-base-uncased",
        )


def check_length(input_ids: torch.Tensor) -> None:
    """Raise `PresetError` if a caption [1, L] has more tokens than the network reads."""
    if input_ids.shape[1] > MAX_TOKENS:
        raise PresetError(
            f"the detection prompts make {input_ids.shape[1]} tokens, {MAX_TOKENS} are read",
            hint="use fewer or shorter prompts",
        )


def picture_size(rgb: Bytes) -> tuple[int, int]:
    """Return (width, height) of an [H, W, 3] uint8 picture; `ValueError` for anything else."""
    if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8 or 0 in rgb.shape:
        raise ValueError(f"rgb: expected uint8 [H, W, 3], got {rgb.dtype} {rgb.shape}")
    return rgb.shape[1], rgb.shape[0]


def require_files(folder: Path, all_of: Sequence[str], one_of: Sequence[str]) -> None:
    """Raise `WeightsError` unless `folder` holds all of the first and one of the second names."""
    absent = [name for name in all_of if not (folder / name).is_file()]
    if not any((folder / name).is_file() for name in one_of):
        absent.append(" or ".join(one_of))
    if absent:
        raise WeightsError(
            f"{folder} is no Grounding DINO model: it lacks {', '.join(absent)}",
            hint="docs/grounding-dino.md lists the files of each backend",
        )


def prompt_columns(input_ids: NDArray[np.int64], count: int) -> list[NDArray[np.int64]]:
    """Return for each of `count` prompts which tokens of the caption are its own.

    Args:
        input_ids: [L] tokens of a caption made by `caption`.
        count: number of prompts in it.
    """
    separators = np.nonzero(np.isin(input_ids, list(SPECIAL_TOKENS.values())))[0]
    spans = [
        np.arange(before + 1, after) for before, after in pairwise(separators) if after > before + 1
    ]
    if len(spans) != count:
        raise PresetError(
            f"{count} detection prompts were read as {len(spans)}",
            hint="use plain words without punctuation",
        )
    return spans


def read_detections(
    logits: Floats,
    boxes: Floats,
    input_ids: NDArray[np.int64],
    labels: Sequence[str],
    size: tuple[int, int],
    threshold: float,
) -> list[Detection]:
    """Turn the network's output for one picture into labelled boxes, best first.

    A box belongs to the prompt with its most probable token, and that probability is its score.
    (The authors' demo collects all tokens over a second threshold instead, which can join two
    prompts into a label that nobody asked for.)

    Args:
        logits: [Q, 256] one column per token.
        boxes: [Q, 4] centre x, centre y, width, height in [0, 1].
        input_ids: [L] tokens of the caption.
        labels: the prompts in the caption's order.
        size: width and height of the picture, pixels; boxes are clipped to it.
        threshold: scores have to exceed it.
    """
    probability = 1.0 / (1.0 + np.exp(-np.maximum(logits.astype(np.float64), -700.0)))
    columns = prompt_columns(input_ids, len(labels))
    scores = np.stack([probability[:, own].max(axis=1) for own in columns], axis=1)
    centre, extent = boxes[:, :2].astype(np.float64), boxes[:, 2:].astype(np.float64)
    corners = np.concatenate([centre - extent / 2, centre + extent / 2], axis=1).clip(0.0, 1.0)
    corners *= np.array([size[0], size[1], size[0], size[1]], np.float64)
    found = []
    for query in np.argsort(-scores.max(axis=1), kind="stable"):
        prompt = int(scores[query].argmax())
        score = float(scores[query, prompt])
        x0, y0, x1, y1 = (float(edge) for edge in corners[query])
        if score > threshold and x1 > x0 and y1 > y0:
            found.append(Detection(labels[prompt], score, (x0, y0, x1, y1)))
    return found
