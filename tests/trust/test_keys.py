"""The installation's own key is made once; a studio's has to be right."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization as forms
from cryptography.hazmat.primitives.asymmetric import ec

from fapvideo.config.trust import ProvenanceConfig
from fapvideo.errors import ProvenanceError
from fapvideo.trust import keys
from fapvideo.trust.keys import own_key_file, signing_key


def test_the_own_key_is_made_once_and_private() -> None:
    first, second = signing_key(ProvenanceConfig()), signing_key(ProvenanceConfig())
    assert first == second
    assert first.own
    assert first.algorithm == "es256"
    assert own_key_file().stat().st_mode & 0o777 == 0o600
    assert [path.name for path in own_key_file().parent.iterdir()] == ["signing.pem"]


def test_the_own_key_is_made_anew_when_it_has_run_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "OWN_YEARS", -1)
    own_key_file().parent.mkdir(parents=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keys, "OWN_YEARS", 0)
        keys.write_private(own_key_file(), keys._made())
    monkeypatch.setattr(keys, "OWN_YEARS", 1)
    assert "self-signed" in signing_key(ProvenanceConfig()).name


def test_an_own_key_that_is_damaged_is_not_replaced_silently() -> None:
    """Whoever relies on one signature for all outputs has to know."""
    own_key_file().parent.mkdir(parents=True)
    own_key_file().write_text("x", "utf-8")
    with pytest.raises(ProvenanceError, match="own key is damaged") as caught:
        signing_key(ProvenanceConfig())
    assert f"remove {own_key_file()}" in caught.value.hint


@pytest.fixture
def studio(tmp_path: Path) -> tuple[Path, Path]:
    """Return a certificate and its key, as two files."""
    key, _, chain = keys._made().partition(keys.BEGIN_CERTIFICATE)
    paths = tmp_path / "studio.pem", tmp_path / "studio.key"
    paths[0].write_bytes(keys.BEGIN_CERTIFICATE + chain)
    paths[1].write_bytes(key)
    return paths


def test_a_studios_key(studio: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    certificate, key = studio
    given = signing_key(ProvenanceConfig(certificate=certificate, key=key))
    assert not given.own
    monkeypatch.setenv("FAPVIDEO_CERTIFICATE", str(certificate))
    with pytest.raises(ProvenanceError, match="FAPVIDEO_KEY is not set"):
        signing_key(ProvenanceConfig())
    monkeypatch.setenv("FAPVIDEO_KEY", str(key))
    assert signing_key(ProvenanceConfig()) == given
    assert not own_key_file().exists()


def test_what_cannot_sign(studio: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    certificate, key = studio
    config = ProvenanceConfig(certificate=certificate, key=key)
    pem = forms.Encoding.PEM, forms.PrivateFormat.PKCS8
    other = ec.generate_private_key(ec.SECP256R1())
    key.write_bytes(other.private_bytes(*pem, forms.NoEncryption()))
    with pytest.raises(ProvenanceError, match="not this certificate's"):
        signing_key(config)
    key.write_bytes(other.private_bytes(*pem, forms.BestAvailableEncryption(b"secret")))
    with pytest.raises(ProvenanceError, match="no certificate and key") as caught:
        signing_key(config)
    assert "passphrase" in caught.value.hint
    key.write_bytes(b"hello")
    with pytest.raises(ProvenanceError, match="no certificate and key"):
        signing_key(config)


def test_a_certificate_that_has_run_out(
    studio: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Later(datetime.datetime):
        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> datetime.datetime:
            return datetime.datetime(2050, 1, 1, tzinfo=tz)

    monkeypatch.setattr(keys.datetime, "datetime", Later)
    with pytest.raises(ProvenanceError, match="valid from"):
        signing_key(ProvenanceConfig(certificate=studio[0], key=studio[1]))
