"""The certificate and key that outputs are signed with: a studio's, or this installation's own."""

from __future__ import annotations

import datetime
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import platformdirs

from fapvideo.config.trust import ProvenanceConfig
from fapvideo.errors import ProvenanceError

if TYPE_CHECKING:
    from cryptography import x509

CERTIFICATE_VARIABLE, KEY_VARIABLE = "FAPVIDEO_CERTIFICATE", "FAPVIDEO_KEY"
OWN_YEARS = 10
"""How long a certificate that an installation makes for itself is valid."""
CURVES: Mapping[str, str] = {"secp256r1": "es256", "secp384r1": "es384", "secp521r1": "es512"}
"""Elliptic curve -> C2PA's name of the algorithm."""
BEGIN_CERTIFICATE = b"-----BEGIN CERTIFICATE-----"


@dataclass(frozen=True, slots=True)
class SigningKey:
    """What a signature is made with."""

    chain: bytes
    """PEM: the certificate first, then those that vouch for it."""
    key: bytes
    """PEM, PKCS #8, not encrypted."""
    algorithm: str
    """C2PA's name: es256, es384, es512, ps256, ed25519."""
    name: str
    """Whom the certificate names."""
    own: bool
    """Whether this installation made it for itself: nobody vouches for it."""


def signing_key(config: ProvenanceConfig) -> SigningKey:
    """Return the preset's certificate and key, those of the environment, or this installation's.

    Raises:
        ProvenanceError: a file is missing or not what it should be, the two do not belong
            together, or the certificate is not valid today.
    """
    certificate, key = config.certificate, config.key
    if certificate is None:
        given = os.environ.get(CERTIFICATE_VARIABLE), os.environ.get(KEY_VARIABLE)
        if any(given) and not all(given):
            missing = KEY_VARIABLE if given[0] else CERTIFICATE_VARIABLE
            raise ProvenanceError(
                f"${missing} is not set",
                hint=f"${CERTIFICATE_VARIABLE} and ${KEY_VARIABLE} belong together",
            )
        certificate, key = (Path(one) if one else None for one in given)
    if certificate is None or key is None:
        return _own_key()
    return _checked(_read(certificate), _read(key), f"{certificate} and {key}", own=False)


def own_key_file() -> Path:
    """Return where this installation keeps its own key and certificate."""
    return platformdirs.user_data_path("fapvideo") / "signing.pem"


def _own_key() -> SigningKey:
    """Return this installation's own key; make it where there is none, or it has run out."""
    path = own_key_file()
    if path.exists():
        data = _read(path)
        key, _, chain = data.partition(BEGIN_CERTIFICATE)
        try:
            return _checked(BEGIN_CERTIFICATE + chain, key, str(path), own=True)
        except _RanOut:
            path.unlink()
        except ProvenanceError as error:
            raise ProvenanceError(
                f"this installation's own key is damaged: {error}",
                hint=f"remove {path}: another one is made",
            ) from None
    text = _made()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_private(path, text)
    except FileExistsError:
        return _own_key()  # another process was first
    except OSError as error:
        raise ProvenanceError(
            f"no signing key can be kept in {path.parent}: {error.strerror}",
            hint=f"make the folder writable, or give ${CERTIFICATE_VARIABLE} and ${KEY_VARIABLE}",
        ) from None
    return _own_key()


def write_private(path: Path, data: bytes) -> None:
    """Make a file that only its owner may read, whole or not at all.

    Raises:
        FileExistsError: it is there already, and stays.
        OSError: it cannot be written.
    """
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")
    try:
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(data)
        os.link(fresh, path)  # unlike a rename, it never replaces
    finally:
        fresh.unlink(missing_ok=True)


class _RanOut(ProvenanceError):
    """The certificate is not valid today."""


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ProvenanceError(
            f"{path} cannot be read: {error.strerror}",
            hint="check provenance.certificate and provenance.key",
        ) from None


def _checked(chain: bytes, key: bytes, what: str, *, own: bool) -> SigningKey:
    """Return certificate and key after seeing that they can sign together, today."""
    from cryptography import x509
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization as forms

    hint = "give PEM files: a certificate with its chain, and its key without a passphrase"
    try:
        leaf = x509.load_pem_x509_certificates(chain)[0]
        private = forms.load_pem_private_key(key, None)
    except (ValueError, TypeError, IndexError, UnsupportedAlgorithm) as error:
        raise ProvenanceError(f"{what}: no certificate and key: {error}", hint=hint) from None
    algorithm = _algorithm(private)
    if not algorithm:
        raise ProvenanceError(f"{what}: keys of this kind cannot sign", hint="use P-256 or Ed25519")
    public = forms.Encoding.DER, forms.PublicFormat.SubjectPublicKeyInfo
    if private.public_key().public_bytes(*public) != leaf.public_key().public_bytes(*public):
        raise ProvenanceError(f"{what}: the key is not this certificate's", hint=hint)
    now = datetime.datetime.now(datetime.UTC)
    if not leaf.not_valid_before_utc <= now <= leaf.not_valid_after_utc:
        span = f"{leaf.not_valid_before_utc:%Y-%m-%d} to {leaf.not_valid_after_utc:%Y-%m-%d}"
        raise _RanOut(f"{what}: the certificate is valid from {span} only", hint="renew it")
    plain = private.private_bytes(
        forms.Encoding.PEM, forms.PrivateFormat.PKCS8, forms.NoEncryption()
    )
    return SigningKey(chain, plain, algorithm, _subject(leaf), own)


def _algorithm(private: Any) -> str:
    """Return C2PA's name of what a key signs with; empty where it has none."""
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    if isinstance(private, ec.EllipticCurvePrivateKey):
        return CURVES.get(private.curve.name, "")
    if isinstance(private, rsa.RSAPrivateKey):
        return "ps256" if private.key_size >= 2048 else ""
    return "ed25519" if isinstance(private, ed25519.Ed25519PrivateKey) else ""


def _subject(leaf: x509.Certificate) -> str:
    names = [str(part.value) for part in leaf.subject]
    return ", ".join(reversed(names)) or "unnamed"


def _made() -> bytes:
    """Return a new key with a certificate and the one that vouches for it, PEM.

    That one's key is forgotten at once: it vouches for nothing else.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives import serialization as forms
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    tag = secrets.token_hex(4)
    start = datetime.datetime.now(datetime.UTC) - datetime.timedelta(hours=1)
    root_key, leaf_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))

    def name(text: str) -> x509.Name:
        return x509.Name(
            [
                x509.NameAttribute(NameOID.ORGANIZATION_NAME, "fapvideo, self-signed"),
                x509.NameAttribute(NameOID.COMMON_NAME, f"{text} {tag}"),
            ]
        )

    def certificate(subject: str, key: Any, *, root: bool) -> x509.Certificate:
        public, vouching = key.public_key(), root_key.public_key()
        builder = (
            x509.CertificateBuilder()
            .subject_name(name(subject))
            .issuer_name(name("root of installation"))
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(start)
            .not_valid_after(start + datetime.timedelta(days=365 * OWN_YEARS))
            .add_extension(x509.BasicConstraints(root, None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(vouching), critical=False
            )
            .add_extension(_usage(signs=not root, vouches=root), critical=True)
        )
        if not root:  # the purpose that C2PA asks of a signer
            purposes = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION])
            builder = builder.add_extension(purposes, critical=False)
        return builder.sign(root_key, hashes.SHA256())

    chain = [
        certificate("installation", leaf_key, root=False),
        certificate("root of installation", root_key, root=True),
    ]
    secret = leaf_key.private_bytes(
        forms.Encoding.PEM, forms.PrivateFormat.PKCS8, forms.NoEncryption()
    )
    return secret + b"".join(one.public_bytes(forms.Encoding.PEM) for one in chain)


def _usage(*, signs: bool, vouches: bool) -> x509.KeyUsage:
    from cryptography import x509

    return x509.KeyUsage(
        digital_signature=signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=vouches,
        crl_sign=vouches,
        encipher_only=False,
        decipher_only=False,
    )
