"""Whether licences allow what a bundle and references are to be used for.

Licences are texts in manifests and presets. Only what is known to allow commercial use counts as
allowing it; whatever is unknown, unstated, or has a word that forbids does not.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from fapvideo.config.trust import Use
from fapvideo.errors import WeightsError

FORBIDS = re.compile(
    r"non-?commercial|research only|\bNC\b|-NC-|none stated|unknown|study", re.IGNORECASE
)
"""Words of a licence that does not allow commercial use, or does not say."""
ALLOWS = re.compile(
    r"\b(?:apache-2\.0|mit|isc|bsd(?:-[23]-clause)?|cc0(?:-1\.0)?|cc-by(?:-sa)?-[1-4]\.0|unlicense|"
    r"public domain|creativeml-openrail-m|openrail(?:\+\+)?-m|own(?: work)?)\b",
    re.IGNORECASE,
)
"""Licences that do, by SPDX's names; `own` says that the picture is the user's."""


def is_commercial(licence: str) -> bool:
    """Tell whether a licence is known to allow commercial use."""
    return bool(ALLOWS.search(licence)) and not FORBIDS.search(licence)


def check_licences(
    use: Use, bundle: Iterable[tuple[str, str]], references: Mapping[str, str]
) -> None:
    """See that everything may be used so.

    Args:
        use: of `require_licence`.
        bundle: (file, licence) of its weights.
        references: path -> licence; empty where nobody said.

    Raises:
        WeightsError: something may not; all of it is named.
    """
    if use == "any":
        return
    items = [*((f"weights {name}", licence) for name, licence in bundle), *references.items()]
    refused = [f"{name} ({licence or 'nobody says which licence'})"
               for name, licence in items if not is_commercial(licence)]  # fmt: skip
    if refused:
        more = f" and {len(refused) - 4} more" if len(refused) > 4 else ""
        raise WeightsError(
            f"require_licence {use!r}: not known to allow it: {'; '.join(refused[:4])}{more}",
            hint="take another bundle, or the guide alone (denoise.mode = off); say licence "
            '= ... of references, {path = "her.png", licence = "own"}',
        )
