"""Whether a run may do what it was asked for: consent, licences, protected people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from fapvideo.config.schema import RunPreset
from fapvideo.config.trust import SiteConfig, Use, load_site
from fapvideo.plan.people import Cast, parts_of
from fapvideo.structs import VideoInfo
from fapvideo.trust.consent import check_consent
from fapvideo.trust.licences import check_licences
from fapvideo.trust.protected import check_references
from fapvideo.weights.bundle import Bundle


def check_permission(
    preset: RunPreset, bundle: Bundle | None, cast: Cast, info: VideoInfo | None
) -> dict[str, Any]:
    """See that nothing forbids the run, before it begins; return the consent as it is recorded.

    Args:
        preset: of the run.
        bundle: its weights; None: it has none.
        cast: who gets which references.
        info: of the input; None: there is no file.

    Raises:
        ConsentError: no consent that holds, or somebody protected among the references.
        WeightsError: a licence that does not allow it.
    """
    if not parts_of(cast):  # nothing is painted: somebody only looks
        return {}
    site = load_site()
    consent = consent_of(preset, cast, info, site)
    demands = site.require_licence, preset.require_licence
    use: Use = "commercial" if "commercial" in demands else "any"
    painting = weights_in(preset, bundle.files if bundle else ())
    files = [(file.path, file.licence) for file in painting]
    references = {one.path: one.licence for one in _references(cast).values()}
    check_licences(use, files, references)
    check_references([(one.path, one.crop, one.landmarks) for one in _references(cast).values()])
    return consent


def weights_in(preset: RunPreset, files: Sequence[Any]) -> Sequence[Any]:
    """Return the files of a bundle that the pictures come from: the guide alone takes none."""
    return files if preset.denoise.mode != "off" else ()


def consent_of(
    preset: RunPreset, cast: Cast, info: VideoInfo | None, site: SiteConfig
) -> dict[str, Any]:
    """Return the consent as it is recorded; empty where there is none.

    Raises:
        ConsentError: it is required and missing, or does not hold.
    """
    clip = info.path.name if info is not None and info.container else ""
    today = datetime.now(UTC).astimezone().date()
    required = site.require_consent
    return check_consent(preset.consent, parts_of(cast), clip, required=required, today=today)


def _references(cast: Cast) -> Mapping[str, Any]:
    """Return every photo of a cast once."""
    groups = (group for role in cast for group in role.references.values())
    return {one.sha256: one for group in groups for one in group}
