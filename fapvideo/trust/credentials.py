"""Content Credentials (C2PA): a signed account of a file, in it or beside it.

All of it works offline: no time stamp authority is asked, no manifest and no trust list fetched.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

from fapvideo.errors import ProvenanceError
from fapvideo.ops.files import fitting_name
from fapvideo.trust.keys import SigningKey
from fapvideo.trust.metadata import SOURCE_TYPE, SYSTEM, has_uuid_box

if TYPE_CHECKING:
    import c2pa

FORMATS: Mapping[str, str] = {
    ".mp4": "video/mp4",
    ".m4v": "video/x-m4v",
    ".mov": "video/quicktime",
    ".qt": "video/quicktime",
    ".avi": "video/x-msvideo",
}
"""Containers that hold credentials themselves: suffix -> media type."""
OTHER = "application/octet-stream"
"""Everything else is hashed as a whole; the credentials lie beside it."""
RUN = "org.fapvideo.run"
"""Label of this program's own assertion."""
C2PA_BOX = UUID("d8fec3d6-1b0e-483c-9297-5828877ec481").bytes
"""Of the box at the top level of ISO media (C2PA specification 2, A.5)."""
UNTRUSTED = "signingCredential.untrusted"
_SETTINGS = {
    "verify": {
        "verify_after_sign": True,
        "verify_trust": True,
        "remote_manifest_fetch": False,
        "ocsp_fetch": False,
    },
    "builder": {"thumbnail": {"enabled": False}},
}


@dataclass(frozen=True, slots=True)
class Credentials:
    """What the credentials of a file say, and whether they are whole."""

    whole: bool
    """Signed, and neither file nor account was changed since."""
    trusted: bool
    """Whether a certificate that was given as an anchor vouches for the signer."""
    signer: str
    generator: str
    """Program and version that made them."""
    actions: tuple[Mapping[str, Any], ...] = ()
    """Of this file, in order: `action`, `digitalSourceType`, `description`, ..."""
    run: Mapping[str, Any] = field(default_factory=dict)
    """This program's own account of the run; empty in files of others."""
    ingredients: tuple[Mapping[str, Any], ...] = ()
    """What it was made from: `title`, `relationship`, `signed`, `whole`."""
    problems: tuple[str, ...] = ()
    """C2PA's codes of what is wrong: `assertion.bmffHash.mismatch`, ..."""
    sidecar: bool = False
    """Whether they lie beside the file."""

    @property
    def source_types(self) -> tuple[str, ...]:
        """IPTC's terms that the actions carry, their last words: `trainedAlgorithmicMedia`."""
        found = (str(one.get("digitalSourceType", "")) for one in self.actions)
        return tuple(dict.fromkeys(term.rpartition("/")[2] for term in found if term))


def sidecar_path(path: Path) -> Path:
    """Return where the credentials of a file lie that cannot hold them: `clip.c2pa`."""
    return path.with_name(fitting_name(path.stem, ".c2pa"))


def found_sidecar(path: Path) -> Path | None:
    """Return the file beside `path`, or beside what it links to, that holds its credentials."""
    beside = (sidecar_path(one) for one in (path, path.resolve()))
    return next((one for one in beside if one != path and one.is_file()), None)


def holds(path: Path) -> bool:
    """Tell whether the container of a file that is called so can hold credentials."""
    return path.suffix.lower() in FORMATS


def kind_of(path: Path) -> str:
    """Return a file's media type by its first bytes, whatever it is called.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        head = file.read(12)
    if head[4:8] == b"ftyp":
        return "video/quicktime" if head[8:12] == b"qt  " else "video/mp4"
    if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
        return "video/x-msvideo"
    return FORMATS.get(path.suffix.lower(), OTHER)


# --------------------------------------------------------------------------------- reading


def read_credentials(path: Path, anchors: bytes = b"") -> Credentials | None:
    """Return the credentials of a file, in it or beside it; None where there are none.

    Args:
        path: the file.
        anchors: PEM certificates; who is vouched for by one of them is trusted.

    Raises:
        OSError: it cannot be read.
    """
    import c2pa

    kind = kind_of(path)
    beside = found_sidecar(path) if kind == OTHER else None
    store = beside.read_bytes() if beside is not None else None
    if store is None and kind == OTHER:
        return None
    with path.open("rb") as file:
        try:
            with c2pa.Reader(kind, file, manifest_data=store, context=_context(anchors)) as reader:
                return _described(json.loads(reader.json()), sidecar=store is not None)
        except c2pa.C2paError.ManifestNotFound:
            return None
        except c2pa.C2paError as error:
            if store is None and not carries_credentials(path):
                return None  # it cannot be read as a video, and nobody ever signed it
            reason = str(error).splitlines()[0][:300]
            return Credentials(False, False, "", "", problems=(reason,), sidecar=store is not None)


def carries_credentials(path: Path) -> bool:
    """Tell whether there is something in a file that C2PA put there, be it whole or not.

    Raises:
        OSError: it cannot be read.
    """
    if has_uuid_box(path, C2PA_BOX):
        return True
    with path.open("rb") as file:  # of an AVI; c2pa puts it behind the headers
        return b"c2pa" in file.read(1 << 20) if kind_of(path) == "video/x-msvideo" else False


def _context(anchors: bytes = b"") -> c2pa.Context:
    import c2pa

    settings: dict[str, Any] = dict(_SETTINGS)
    if anchors:
        settings["trust"] = {"trust_anchors": anchors.decode("ascii", "replace")}
    return c2pa.Context.from_dict(settings)


def _described(store: Mapping[str, Any], *, sidecar: bool) -> Credentials:
    """Return what a manifest store says, as c2pa reads it."""
    active = store.get("manifests", {}).get(store.get("active_manifest"), {})
    codes = [str(one.get("code", "")) for one in store.get("validation_status", ())]
    problems = tuple(dict.fromkeys(code for code in codes if code != UNTRUSTED))
    assertions = {one.get("label"): one.get("data") for one in active.get("assertions", ())}
    actions = assertions.get("c2pa.actions.v2") or assertions.get("c2pa.actions") or {}
    signature = active.get("signature_info", {})
    names = [signature.get("common_name"), signature.get("issuer")]
    makers = active.get("claim_generator_info") or [{}]
    return Credentials(
        whole=store.get("validation_state") in ("Valid", "Trusted") and not problems,
        trusted=store.get("validation_state") == "Trusted",
        signer=", ".join(str(name) for name in names if name),
        generator=f"{makers[0].get('name', '')} {makers[0].get('version', '')}".strip(),
        actions=tuple(actions.get("actions", ())),
        run=assertions.get(RUN) or {},
        ingredients=tuple(_ingredient(one) for one in active.get("ingredients", ())),
        problems=problems,
        sidecar=sidecar,
    )


def _ingredient(one: Mapping[str, Any]) -> dict[str, Any]:
    results = one.get("validation_results", {}).get("activeManifest", {})
    failures = {item.get("code") for item in results.get("failure", ())} - {UNTRUSTED}
    signed = bool(one.get("active_manifest"))
    return {
        "title": str(one.get("title", "")),
        "relationship": str(one.get("relationship", "")),
        "signed": signed,
        "whole": signed and not failures,
    }


# --------------------------------------------------------------------------------- signing


def sign(
    source: Path,
    target: Path,
    key: SigningKey,
    run: Mapping[str, Any],
    *,
    name: str,
    parent: Path | None = None,
    carried: bool = True,
) -> bytes:
    """Copy a finished file with its credentials in it; return them, for what cannot hold them.

    Args:
        source: the finished file, whose suffix says what it is.
        target: is made; for a container that cannot hold credentials it is a plain copy.
        key: to sign with.
        run: the account of the run: `version`, `parts`, ... (`trust.claims`).
        name: of the output.
        parent: the input, which becomes the ingredient; None: there was no file.
        carried: whether credentials that lie beside the input are taken over: c2pa cannot see
            whether they are of this file.

    Raises:
        ProvenanceError: it cannot be signed.
        OSError: a file cannot be read or written.
    """
    import c2pa

    kind = FORMATS.get(source.suffix.lower(), OTHER)
    try:
        info = c2pa.C2paSignerInfo(key.algorithm.encode(), key.chain, key.key, None)
        with (
            c2pa.Signer.from_info(info) as signer,
            c2pa.Builder(_text(_manifest(run, name, parent)), context=_context()) as builder,
        ):
            if parent is not None:
                _add_parent(builder, parent, carried=carried)
            if kind == OTHER:
                builder.set_no_embed()
            with source.open("rb") as whole, _Reporting(target) as signed:
                try:
                    made = builder.sign(signer, kind, whole, signed)
                except c2pa.C2paError:
                    if signed.failure is not None:  # c2pa tells of a full disk in its own words
                        raise signed.failure from None
                    raise
            return bytes(made)
    except c2pa.C2paError as error:
        raise ProvenanceError(
            f"{name} cannot be signed: {' '.join(str(error).split())[:400]}",
            hint="check provenance.certificate and provenance.key; provenance.on_failure = "
            '"warn" writes the output unsigned',
        ) from error


class _Reporting(io.FileIO):
    """A file to be written and read by c2pa, which remembers why writing failed."""

    def __init__(self, path: Path) -> None:
        """Make the file."""
        super().__init__(path, "w+")
        self.failure: OSError | None = None

    def write(self, data: Any, /) -> int:
        """Write all of `data`."""
        try:
            view = memoryview(data)
            while len(view):
                view = view[super().write(view) or 0 :]
            return len(data)
        except OSError as error:
            self.failure = error
            raise


def _manifest(run: Mapping[str, Any], name: str, parent: Path | None) -> dict[str, Any]:
    """Return the manifest's definition for c2pa."""
    agent = {"name": SYSTEM, "version": str(run.get("version", ""))}
    parts = ", ".join(run.get("parts", ())) or "nothing"
    begun: dict[str, Any] = {"action": "c2pa.created", "digitalSourceType": SOURCE_TYPE}
    if parent is not None:
        begun = {"action": "c2pa.opened", "parameters": {"ingredientIds": ["input"]}}
    edited = {
        "action": "c2pa.edited",
        "digitalSourceType": SOURCE_TYPE,
        "softwareAgent": agent,
        "description": f"facial parts changed with AI: {parts}",
    }
    label = run.get("label") or {}
    shown = {"action": "c2pa.addedText", "softwareAgent": agent,
             "description": f"visible label: {label.get('text', '')}"}  # fmt: skip
    return {
        "claim_generator_info": [agent],
        "title": name,
        "assertions": [
            {
                "label": "c2pa.actions.v2",
                "data": {"actions": [begun, edited, *([shown] if label else [])]},
            },
            {"label": RUN, "data": dict(run)},
        ],
    }


def _text(value: Mapping[str, Any]) -> str:
    """Return JSON for c2pa; bytes of file names that are no text become question marks."""
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "replace").decode("utf-8")


def _add_parent(builder: c2pa.Builder, parent: Path, *, carried: bool) -> None:
    """Make the input the ingredient that the output was opened from, with its own credentials."""
    about: dict[str, Any] = {
        "title": parent.name,
        "relationship": "parentOf",
        "instance_id": "input",
        "label": "input",
    }
    kind, beside = kind_of(parent), found_sidecar(parent)
    if kind != OTHER:
        with parent.open("rb") as file:
            builder.add_ingredient(_text(about), kind, file)
    elif carried and beside is not None:
        with beside.open("rb") as file:
            builder.add_ingredient(_text(about), "application/c2pa", file)
    else:
        builder.add_ingredient(_text(about), OTHER, io.BytesIO())


def combined(problems: Sequence[str]) -> str:
    """Return C2PA's codes in plain words."""
    words = (_WORDS.get(one.rpartition(".")[0], one) for one in problems)
    return "; ".join(dict.fromkeys(words))


_WORDS = {
    "assertion.bmffHash": "the file was changed after it was signed",
    "assertion.dataHash": "the file was changed after it was signed",
    "assertion.hashedURI": "the account itself was changed",
    "claimSignature": "the signature is not that of the account",
}
