"""What a file says about itself, and whether that is whole: `fapvideo verify`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from fapvideo.errors import NoCredentials, ProvenanceError, VideoReadError
from fapvideo.ops.files import fitting_name, sha256_file
from fapvideo.trust.credentials import combined, found_sidecar, read_credentials
from fapvideo.trust.metadata import stated
from fapvideo.video.probe import probe

MOST_REPORTS = 200
"""Reports of other names in the folder that are looked into."""


@dataclass(frozen=True, slots=True)
class Verification:
    """What was found; plain JSON types."""

    file: str
    sha256: str
    state: Literal["whole", "broken", "unsigned"]
    """Of the Content Credentials."""
    trusted: bool = False
    """Whether one of the given anchors vouches for the signer."""
    signer: str = ""
    generator: str = ""
    credentials: str = ""
    """Where they lie: the file itself, or the one beside it."""
    problems: tuple[str, ...] = ()
    """C2PA's codes."""
    source_types: tuple[str, ...] = ()
    """IPTC's terms in the credentials: `compositeWithTrainedAlgorithmicMedia`."""
    stated: Mapping[str, str] = field(default_factory=dict)
    """What XMP and tags say, which nobody signed: `source_type`, `system`, `version`."""
    run: Mapping[str, Any] = field(default_factory=dict)
    """The signed account of the run: parts, preset, bundle, licences, consent, input."""
    ingredients: tuple[Mapping[str, Any], ...] = ()
    """What it was made from."""
    report: str = ""
    """The report of the run that made exactly this file, found by its hash."""

    def check(self) -> None:
        """Raise what is wrong, for its exit code.

        Raises:
            ProvenanceError: the credentials are broken.
            NoCredentials: there are none.
        """
        if self.state == "broken":
            raise ProvenanceError(
                f"{self.file}: the credentials are broken: {combined(self.problems)}",
                hint="what they say may have been true of another version of this file",
            )
        if self.state == "unsigned":
            raise NoCredentials(
                f"{self.file} carries no Content Credentials",
                hint="they may have been removed, as most programs do that encode a video again; "
                "those of a container that holds none lie beside it, in NAME.c2pa",
            )


def verify_file(path: Path, anchors: Path | None = None) -> Verification:
    """Look at a file's credentials, tags and report; offline.

    Args:
        path: any video.
        anchors: a PEM file of certificates; signers that they vouch for are trusted.

    Raises:
        VideoReadError: it cannot be read, or the anchors are no certificates.
    """
    try:
        pem = _anchors(anchors) if anchors is not None else b""
        found = read_credentials(path, pem)
        digest = sha256_file(path)
        tags = _tags(path)
        said = stated(path, tags or {})
        report = _report_of(path, digest)
    except OSError as error:
        name = error.filename or path
        raise VideoReadError(f"{name} cannot be read: {error.strerror or error}") from None
    if found is None and tags is None:
        raise VideoReadError(
            f"{path} is no video that can be read", hint="`fapvideo inspect` says what it is"
        )
    if found is None:
        return Verification(str(path), digest, "unsigned", stated=said, report=report)
    return Verification(
        str(path),
        digest,
        "whole" if found.whole else "broken",
        found.trusted,
        found.signer,
        found.generator,
        str(found_sidecar(path) if found.sidecar else path),
        found.problems,
        found.source_types,
        said,
        found.run,
        found.ingredients,
        report,
    )


def _anchors(path: Path) -> bytes:
    """Return a PEM file of certificates.

    Raises:
        VideoReadError: it is none: c2pa would take a whole signature for a broken one.
        OSError: it cannot be read.
    """
    from cryptography import x509

    data = path.read_bytes()
    try:
        x509.load_pem_x509_certificates(data)
    except ValueError as error:
        raise VideoReadError(
            f"{path} holds no certificates: {error}", hint="give PEM certificates as anchors"
        ) from None
    return data


def _tags(path: Path) -> Mapping[str, str] | None:
    """Return the container's tags; None of a file that is no video."""
    try:
        return probe(path).metadata
    except VideoReadError:
        return None


def _report_of(path: Path, digest: str) -> str:
    """Return the report in the file's folder that is about exactly this file; empty if none is."""
    others = sorted(path.parent.glob("*.report.json"))[:MOST_REPORTS]
    own = path.with_name(fitting_name(path.name, ".report.json"))
    for candidate in dict.fromkeys([own, *others]):
        try:
            report = json.loads(candidate.read_text("utf-8"))
            if report["output"]["sha256"] == digest:
                return str(candidate)
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return ""
