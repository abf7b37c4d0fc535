"""Whether a consent is there, and whether it covers what is about to be done."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from fnmatch import fnmatch
from typing import Any

from fapvideo.config.trust import ConsentConfig
from fapvideo.errors import ConsentError
from fapvideo.ops.files import sha256_file

HINT = "ask those who gave it, and write what they agreed to into [consent]"


def check_consent(
    consent: ConsentConfig, parts: Sequence[str], clip: str, *, required: bool, today: date
) -> dict[str, Any]:
    """Return the consent as it is recorded; empty where there is none and none is required.

    Args:
        consent: of the preset.
        parts: what is to be changed.
        clip: name of the input's file; empty where frames come from no file.
        required: whether the site's file asks for one.
        today: the day of the run.

    Raises:
        ConsentError: it is missing, has run out, does not cover this, or its document is another.
    """
    if not consent.who:
        if required:
            raise ConsentError(
                "this site swaps nobody without a consent, and the preset has none",
                hint="add a table [consent]: who, by, until (docs/responsible-use.md)",
            )
        return {}
    who = ", ".join(consent.who)
    if consent.until is None or today > consent.until:
        raise ConsentError(f"the consent of {who} ended on {consent.until}", hint=HINT)
    scope = consent.scope
    beyond = [part for part in parts if scope.parts and part not in scope.parts]
    if beyond:
        raise ConsentError(
            f"the consent of {who} covers {', '.join(scope.parts)}, not {', '.join(beyond)}",
            hint=HINT,
        )
    if scope.clips and not any(fnmatch(clip, pattern) for pattern in scope.clips):
        raise ConsentError(
            f"the consent of {who} covers {', '.join(scope.clips)}, not "
            f"{clip or 'frames that come from no file'}",
            hint=HINT,
        )
    return {
        "who": list(consent.who),
        "by": consent.by,
        "until": consent.until.isoformat(),
        "parts": list(scope.parts),
        "clips": list(scope.clips),
        "purpose": scope.purpose,
        **_document(consent, who),
    }


def _document(consent: ConsentConfig, who: str) -> dict[str, str]:
    """Return name and hash of the document; nothing where there is none."""
    if consent.document is None:
        return {"document_sha256": consent.document_sha256} if consent.document_sha256 else {}
    try:
        digest = sha256_file(consent.document)
    except OSError as error:
        raise ConsentError(
            f"the document of the consent of {who} cannot be read: {consent.document}: "
            f"{error.strerror}"
        ) from None
    if consent.document_sha256 and digest != consent.document_sha256:
        raise ConsentError(
            f"{consent.document} is not the document of the consent of {who}: its SHA-256 is "
            f"{digest}",
            hint="the preset's consent.document_sha256 says which one was signed",
        )
    return {"document": consent.document.name, "document_sha256": digest}
