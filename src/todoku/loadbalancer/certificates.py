"""The webhook's certificate: made here, kept in a Secret, trusted through caBundle.

`renewed` runs the work in a short process of its own, because what importing cryptography costs would stay in
the controller's memory for good.  The shape follows MetalLB v0.14.9's rotator: CA `O=metallb, CN=cert` for ten
years and a leaf for one; the keys are ECDSA P-256.
"""

import base64
import datetime
import json
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from todoku.api.meta import Object
from todoku.loadbalancer.apart import run_apart

if TYPE_CHECKING:
    from cryptography import x509

FIELDS = ("ca.crt", "ca.key", "tls.crt", "tls.key")
_CA_DAYS, _LEAF_DAYS, _RENEW_BEFORE_DAYS = 3650, 365, 90


async def renewed(data: Mapping[str, str], dns_names: Sequence[str]) -> dict[str, str]:
    """The pair to use, as PEM texts under `FIELDS`: `data` itself while it is good, else a new one.

    Raises apart.Failed if the process that does the work fails.
    """
    asked = json.dumps({"data": dict(data), "names": list(dns_names)})
    made: dict[str, str] = json.loads(await run_apart("-m", __name__, data=asked.encode()))
    return made


def decoded(secret: Object) -> dict[str, str]:
    """A Secret's data as texts."""
    data = secret.get("data") or {}
    return {name: base64.b64decode(value).decode() for name, value in data.items() if value}


def encoded(data: Mapping[str, str]) -> dict[str, str]:
    """Texts as a Secret's data."""
    return {name: base64.b64encode(value.encode()).decode() for name, value in data.items()}


def problem(data: Mapping[str, str], dns_names: Sequence[str], now: datetime.datetime) -> str:
    """Why a pair cannot be used any longer, or ""."""
    from cryptography import x509
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    missing = [name for name in FIELDS if not data.get(name)]
    if missing:
        return f"{', '.join(missing)} missing"
    try:
        authority = x509.load_pem_x509_certificate(data["ca.crt"].encode())
        leaf = x509.load_pem_x509_certificate(data["tls.crt"].encode())
        key = load_pem_private_key(data["tls.key"].encode(), None)
        leaf.verify_directly_issued_by(authority)
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (ValueError, TypeError, InvalidSignature, x509.ExtensionNotFound) as error:
        return f"not readable: {error}"
    if key.public_key() != leaf.public_key():
        return "tls.key does not belong to tls.crt"
    if not set(dns_names) <= set(names.get_values_for_type(x509.DNSName)):
        return "tls.crt names other hosts"
    for one in (authority, leaf):
        if one.not_valid_before_utc > now:
            return "not valid yet"
        if one.not_valid_after_utc - now < datetime.timedelta(days=_RENEW_BEFORE_DAYS):
            return "expires soon"
    return ""


def make(dns_names: Sequence[str], now: datetime.datetime) -> dict[str, str]:
    """A new CA and a leaf for `dns_names`."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID

    def builder(common_name: str, days: int) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(_name(common_name))
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(days=days))
        )

    ca_key, leaf_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    identifier = x509.SubjectKeyIdentifier.from_public_key(ca_key.public_key())
    authority = (
        builder("cert", _CA_DAYS)
        .issuer_name(_name("cert"))
        .public_key(ca_key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(identifier, critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    alternatives = x509.SubjectAlternativeName([x509.DNSName(name) for name in dns_names])
    leaf = (
        builder(dns_names[0][:64], _LEAF_DAYS)
        .issuer_name(authority.subject)
        .public_key(leaf_key.public_key())
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(alternatives, critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False
        )
        .sign(ca_key, hashes.SHA256())
    )

    def text(key: ec.EllipticCurvePrivateKey) -> str:
        return key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ).decode()

    pem = serialization.Encoding.PEM
    return {
        "ca.crt": authority.public_bytes(pem).decode(),
        "ca.key": text(ca_key),
        "tls.crt": leaf.public_bytes(pem).decode(),
        "tls.key": text(leaf_key),
    }


def _name(common_name: str) -> "x509.Name":
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "metallb"),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )


def _usage(*, signs_certificates: bool) -> "x509.KeyUsage":
    from cryptography import x509

    return x509.KeyUsage(
        digital_signature=not signs_certificates, key_cert_sign=signs_certificates,
        crl_sign=signs_certificates, content_commitment=False, key_encipherment=False,
        data_encipherment=False, key_agreement=False, encipher_only=False, decipher_only=False,
    )  # fmt: skip


def _main() -> None:
    asked = json.load(sys.stdin)
    now = datetime.datetime.now(datetime.UTC)
    data = asked["data"]
    if problem(data, asked["names"], now):
        data = make(asked["names"], now)
    json.dump({name: data[name] for name in FIELDS}, sys.stdout)


if __name__ == "__main__":
    _main()
