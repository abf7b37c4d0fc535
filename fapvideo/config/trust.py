"""What an output says about itself, whose consent it has, and what a site demands of every run."""

from __future__ import annotations

import os
from datetime import date
from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from fapvideo.config.problems import raise_problems, validate
from fapvideo.config.section import Part, Section
from fapvideo.config.toml_file import TomlError, read_toml_file
from fapvideo.errors import PresetError

Use = Literal["any", "commercial"]
"""What licences must allow."""
OnProtected = Literal["leave", "refuse"]
SITE_VARIABLE = "FAPVIDEO_SITE_CONFIG"
SITE_FILE = Path("/etc/fapvideo/site.toml")


class ProvenanceConfig(Section):
    """`[provenance]`: what the output says about itself (docs/responsible-use.md)."""

    enabled: bool = True
    """Sign the output with Content Credentials, and tag it as made with AI. Switching this off is
    shown in the summary and in the report."""
    certificate: Path | None = None
    """PEM file: the certificate to sign with, and those that vouch for it. Unset:
    `$FAPVIDEO_CERTIFICATE`, else one that this installation makes for itself, once."""
    key: Path | None = None
    """PEM file of its private key. Unset: `$FAPVIDEO_KEY`."""
    on_failure: Literal["stop", "warn"] = "stop"
    """Where signing fails: end with an error and no output, or write it unsigned, with a
    warning."""

    @model_validator(mode="after")
    def _both(self) -> ProvenanceConfig:
        if (self.certificate is None) != (self.key is None):
            raise ValueError("certificate and key belong together: give both, or neither")
        return self


class AnonymizeConfig(Section):
    """`[anonymize]`: nobody shall be recognised by face (needs the extra `identity`)."""

    distance: float = Field(0.0, ge=0.0, le=1.0)
    """How far every swapped face has to be from the filmed one, by dlib's network, in every frame;
    one that is nearer is blurred. Photos of one person are closer than 0.6; 0 measures nothing."""


class ConsentScope(Section):
    """`[consent.scope]`: what a consent covers."""

    parts: tuple[Part, ...] = ()
    """Parts that may be changed; empty: all."""
    clips: tuple[str, ...] = ()
    """File names of the inputs, `*` and `?` stand for anything (`["spot_*.mp4"]`); empty: all."""
    purpose: str = ""
    """In words, for the record."""


class ConsentConfig(Section):
    """`[consent]`: who agreed to what. Recorded in the report and in the signed manifest."""

    who: tuple[str, ...] = ()
    """Those who gave it; empty: there is no consent on record."""
    by: str = ""
    """Who holds it and answers for it."""
    until: date | None = None
    """The last day on which it holds."""
    document: Path | None = None
    """The signed document, relative to the preset; only its name and hash are recorded."""
    document_sha256: str = Field("", pattern=r"^([0-9a-f]{64})?$")
    """Its SHA-256: a run is refused where the document is another one."""
    scope: ConsentScope = ConsentScope()

    @model_validator(mode="after")
    def _whole(self) -> ConsentConfig:
        if self.who and not (self.by and self.until):
            raise ValueError("a consent needs who, by and until")
        if not self.who and self != ConsentConfig.model_construct():
            raise ValueError("a consent needs who: whose it is")
        return self


class SiteConfig(Section):
    """Demands of a studio on every run on this machine; no preset and no option lowers them."""

    require_consent: bool = False
    """Refuse to swap without a `[consent]` that holds."""
    require_licence: Use = "any"
    """As in a preset."""
    require_provenance: bool = False
    """Refuse `provenance.enabled = false` and `provenance.on_failure = "warn"`."""
    protected: OnProtected = "leave"
    """As in a preset; "refuse" wins."""


def site_file() -> Path | None:
    """Return the site's file: `$FAPVIDEO_SITE_CONFIG`, else `/etc/fapvideo/site.toml` if there."""
    given = os.environ.get(SITE_VARIABLE)
    if given:
        return Path(given)
    return SITE_FILE if SITE_FILE.exists() else None


def load_site() -> SiteConfig:
    """Read the site's file; without one nothing is demanded.

    Raises:
        PresetError: it is named and cannot be read, or is wrong: nothing runs then.
    """
    path = site_file()
    if path is None:
        return SiteConfig()
    hint = f"it was named by ${SITE_VARIABLE}, or is the machine's own; ask who keeps it"
    try:
        tables = read_toml_file(path)
    except OSError as error:
        message = f"the site's file {path} cannot be read: {error.strerror}"
        raise PresetError(message, hint=hint) from None
    except TomlError as error:
        message = f"the site's file {path} is not valid TOML: {error}"
        raise PresetError(message, hint=hint) from None
    site, problems = validate(SiteConfig, tables)
    raise_problems(f"the site's file {path}", problems, hint=hint)
    assert site is not None  # validate() gives a model or problems
    return site
