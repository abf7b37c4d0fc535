"""What an output says about itself: prepared before a run touches anything, put on at its end."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from copy import copy
from pathlib import Path
from typing import Any

import fapvideo
from fapvideo.config.schema import RunPreset
from fapvideo.config.trust import SiteConfig, load_site
from fapvideo.errors import ProvenanceError, VideoWriteError
from fapvideo.ops.files import write_atomically
from fapvideo.parts import PARTS
from fapvideo.run.books import Books
from fapvideo.run.permission import weights_in
from fapvideo.structs import VideoInfo
from fapvideo.trust.credentials import (
    Credentials,
    combined,
    holds,
    read_credentials,
    sidecar_path,
    sign,
)
from fapvideo.trust.keys import SigningKey, signing_key
from fapvideo.trust.label import draw_label
from fapvideo.trust.metadata import ISO_MEDIA, append_xmp, marked, stated

log = logging.getLogger(__name__)

TRANSPARENT = ("yuva", "gbrap", "ya", "rgba", "bgra", "argb", "abgr")
"""How FFmpeg's pixel formats begin that have a plane of transparency."""
OFF = "provenance is switched off: the output does not say that AI changed it"


class Seal:
    """Tags and signs one output.

    `claims` is what it will say; `warnings` what the user should know. Calling it is the last thing
    that may be done to a file: whatever changes it afterwards breaks the signature.
    """

    def __init__(self, preset: RunPreset, info: VideoInfo, site: SiteConfig | None = None) -> None:
        """Look at the input's own marks.

        Args:
            preset: `[provenance]` is used.
            info: of the input.
            site: by default the one of this machine.

        Raises:
            PresetError: the site's file is wrong.
        """
        self._preset, self.config, self._info = preset, preset.provenance, info
        self.claims: dict[str, Any] = {"version": fapvideo.__version__, "parts": []}
        self.warnings: list[str] = []
        self._parent = info.path if info.container and info.path.is_file() else None
        self.input = self._input_marks(info)
        self._result: dict[str, Any] = {"signed": False, "why": "there is no file to sign"}
        self._site = site or load_site()
        self._key: SigningKey | None = None

    def again(self) -> Seal:
        """Return a seal for another file of the same run, with the same claims."""
        other = copy(self)
        other.claims, other.warnings = dict(self.claims), []
        return other

    def opened(self, info: VideoInfo, output: Path, *, overwrite: bool) -> VideoInfo:
        """Get the key ready, before a file is begun; return `info` with the file's tags.

        Raises:
            ProvenanceError: the site demands what the preset switches off, or nothing can sign.
            VideoWriteError: credentials would have to lie where something else lies.
        """
        strict = self.config.enabled and self.config.on_failure == "stop"
        if self._site.require_provenance and not strict:
            raise ProvenanceError(
                "this site demands signed outputs, and the preset does without",
                hint="leave out provenance.enabled and provenance.on_failure",
            )
        if not self.config.enabled:
            log.warning(OFF)
            self.warnings.append(OFF)
            self._result["why"] = "switched off"
            return info
        try:
            self._key = signing_key(self.config)
        except ProvenanceError as error:
            self._failed(error)
        beside = sidecar_path(output) if output.name and not holds(output) else None
        taken = beside is not None and beside.exists() and not output.exists()
        if taken and not overwrite:
            raise VideoWriteError(
                f"{beside}, where the credentials of {output.name} belong, exists already",
                hint="allow overwriting, or choose another name",
            )
        return marked(info, output.suffix, fapvideo.__version__)

    def __call__(self, file: Path, output: Path, beside: Path | None = None) -> None:
        """Tag and sign a finished file, in place, that will be called `output`.

        Where the container holds no credentials they are written to `beside`, by default to
        where they belong.

        Raises:
            ProvenanceError: it cannot be signed, and `provenance.on_failure` is "stop".
            OSError: it cannot be read or written: a full disk.
        """
        if not self.config.enabled:
            return
        if file.suffix.lower() in ISO_MEDIA:
            append_xmp(file, fapvideo.__version__)
        if self._key is None:
            return
        whole = self.input["credentials"] != "broken"
        parent = self._parent
        try:
            with write_atomically(file) as fresh:
                made = sign(file, fresh, self._key, self.claims, name=output.name, parent=parent,
                            carried=whole)  # fmt: skip
            if not holds(output):
                with write_atomically(beside or sidecar_path(output)) as fresh:
                    fresh.write_bytes(made)
        except ProvenanceError as error:
            self._failed(error)
            return
        trust = "own certificate, not from a trust list" if self._key.own else "certificate given"
        self._result = {
            "signed": True,
            "by": self._key.name,
            "trust": trust,
            "sidecar": "" if holds(output) else str(sidecar_path(output)),
        }

    def claim(
        self,
        bundle: Mapping[str, Any],
        references: Sequence[Mapping[str, Any]],
        consent: Mapping[str, Any],
        books: Books,
    ) -> None:
        """Put together what the output will say, once it is known what was painted.

        Args:
            bundle: as `report.describe_bundle` says.
            references: as `report.describe_references` says.
            consent: as `permission.consent_of` says.
            books: of the whole run.
        """
        painted = books.faces["total"] > books.faces["left"]
        named = {row["part"] for row in references}
        text = json.dumps(self._preset.model_dump(mode="json"), sort_keys=True)
        weights = weights_in(self._preset, bundle["files"])
        self.claims |= {
            "parts": [part for part in PARTS if part in named] if painted else [],
            "preset": {
                "name": self._preset.name,
                "sha256": hashlib.sha256(text.encode()).hexdigest(),
            },
            "bundle": {
                "name": bundle["name"],
                "licences": list(dict.fromkeys(file["licence"] for file in weights)),
            },
            "references": _references(references),
            "frames": dict(books.frames),
            "consent": dict(consent),
            "input": self.input,
            "label": self._label(books),
        }

    def describe(self) -> dict[str, Any]:
        """Return what the report says: plain JSON types."""
        return {
            **self._result,
            "input": self.input,
            "consent": self.claims.get("consent", {}),
            "label": self.claims.get("label", {}),
            "licences": {
                "bundle": self.claims.get("bundle", {}).get("licences", []),
                "references": sorted(
                    {row["licence"] or "not stated" for row in self.claims.get("references", ())}
                ),
            },
        }

    def _label(self, books: Books) -> dict[str, Any]:
        """Return what the plate in the picture says and its box; empty where there is none."""
        label = draw_label(self.config.label, self.config.label_corner, self._info)
        if label is None or not books.plan.targets:
            return {}
        if self._info.pixel_format.startswith(TRANSPARENT):
            self.warnings.append(
                "the visible label is in the colour planes only: where the video is transparent "
                "nobody sees it"
            )
        return {"kind": self.config.label, "text": label.text, "box": list(label.box)}

    def _failed(self, error: ProvenanceError) -> None:
        """Go on without a signature where that is allowed.

        Raises:
            ProvenanceError: it is not.
        """
        if self.config.on_failure == "stop":
            raise error
        self._result = {"signed": False, "why": f"failed: {error}"}
        self.warnings.append(f"the output is not signed: {error}")
        log.warning("the output is not signed: %s", error)

    def _input_marks(self, info: VideoInfo) -> dict[str, Any]:
        """Return what the input says about itself, and warn where its credentials are broken."""
        if self._parent is None:
            return {"credentials": "none"}
        try:
            found = read_credentials(self._parent)
            said = stated(self._parent, info.metadata)
        except OSError as error:
            self.warnings.append(f"{self._parent}: its credentials cannot be read: {error}")
            return {"credentials": "none"}
        marks: dict[str, Any] = {"credentials": "none", **({"stated": said} if said else {})}
        if found is not None:
            marks |= _told(found)
            if not found.whole:
                self.warnings.append(
                    f"the input's Content Credentials are broken ({combined(found.problems)}): "
                    "it was changed after it was signed, and the output's credentials say so"
                )
        return marks


def _told(found: Credentials) -> dict[str, Any]:
    return {
        "credentials": "whole" if found.whole else "broken",
        "signer": found.signer,
        "source_types": list(found.source_types),
    }


def _references(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """Return the references of a run by part, hash and licence: paths are nobody's business."""
    told = {(row["part"], row["sha256"], row["licence"]): None for row in rows}
    return [{"part": part, "sha256": digest, "licence": licence} for part, digest, licence in told]
