"""The certificates, keys and kubeconfigs of a lab: what `kubeadm init` makes, in 0.1 s.

ECDSA P-256 everywhere, except the RSA key that signs tokens of service accounts (RS256 is what every client
library verifies).  Files are 0600, made once and kept by `stop`.
"""

from __future__ import annotations

import base64
import datetime
import ipaddress
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from todoku.lab.paths import ADMIN, CONTROLLER_MANAGER, SCHEDULER, Paths
from todoku.lab.topology import Topology

_BACKDATED = datetime.timedelta(hours=1)  # clocks of clients may be behind
_LIFETIME = datetime.timedelta(days=3650)
_CLIENT: Final = ExtendedKeyUsageOID.CLIENT_AUTH
_SERVER: Final = ExtendedKeyUsageOID.SERVER_AUTH


@dataclass(frozen=True, slots=True)
class Authority:
    """A certificate authority; `path` without suffix names its `.crt` and `.key`."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    def issue(
        self,
        common_name: str,
        *,
        organization: str = "",
        usages: Sequence[x509.ObjectIdentifier] = (_CLIENT,),
        names: Sequence[str] = (),
    ) -> tuple[bytes, bytes]:
        """A certificate and its key, in PEM; `names` are DNS names and addresses."""
        key = ec.generate_private_key(ec.SECP256R1())
        builder = _builder(_subject(common_name, organization), self.certificate.subject, key)
        builder = builder.add_extension(x509.BasicConstraints(False, None), critical=True)
        builder = builder.add_extension(_key_usage(signs=False), critical=True)
        builder = builder.add_extension(x509.ExtendedKeyUsage(list(usages)), critical=False)
        builder = builder.add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()),
            critical=False,
        )
        if names:
            alternatives = x509.SubjectAlternativeName([_general_name(name) for name in names])
            builder = builder.add_extension(alternatives, critical=False)
        certificate = builder.sign(self.key, hashes.SHA256())
        return certificate.public_bytes(serialization.Encoding.PEM), _key_pem(key)


def ensure(paths: Paths, topology: Topology) -> None:
    """Make what is missing of `pki/`; the kubeconfigs need the port: see `write_kubeconfigs`.

    The marker is written last, so that an interrupted run starts over.
    """
    done = paths.pki / ".complete"
    if done.exists():
        return
    paths.pki.mkdir(parents=True, exist_ok=True, mode=0o700)
    cluster = _authority("kubernetes")
    front = _authority("front-proxy-ca")
    _write_pair(paths.pki / "ca", cluster.pem, _key_pem(cluster.key))
    _write_pair(paths.pki / "front-proxy-ca", front.pem, _key_pem(front.key))
    _write_pair(paths.pki / "front-proxy-client", *front.issue("front-proxy-client"))
    _write_pair(
        paths.pki / "apiserver",
        *cluster.issue("kube-apiserver", usages=(_SERVER,), names=_apiserver_names(topology)),
    )
    _write_pair(
        paths.pki / "apiserver-kubelet-client",
        *cluster.issue("kube-apiserver-kubelet-client", organization="kubeadm:cluster-admins"),
    )
    for name, user, group in _identities(topology):
        _write_pair(paths.pki / name, *cluster.issue(user, organization=group))
    for node in topology.nodes:
        _write_pair(
            paths.pki / f"kubelet-{node.name}",
            *cluster.issue(
                f"system:node:{node.name}",
                organization="system:nodes",
                usages=(_SERVER,),
                names=(node.name, node.short, node.address),
            ),
        )
    _write_service_account_keys(paths)
    _write(done, b"")


def write_kubeconfigs(paths: Paths, topology: Topology, port: int) -> None:
    """Write the admin's kubeconfig for `port` of this machine, and those of the components."""
    ca = (paths.pki / "ca.crt").read_bytes()
    lan = f"https://{topology.control_plane.address}:6443"
    for name, user, _ in _identities(topology):
        _write_kubeconfig(paths, paths.component_kubeconfig(name), name, user, server=lan, ca=ca)
    local = f"https://127.0.0.1:{port}"
    _write_kubeconfig(paths, paths.kubeconfig, ADMIN, "kubernetes-admin", server=local, ca=ca)


def _identities(topology: Topology) -> list[tuple[str, str, str]]:
    """File name, user and group of everyone who holds a client certificate."""
    return [
        (ADMIN, "kubernetes-admin", "kubeadm:cluster-admins"),
        (CONTROLLER_MANAGER, "system:kube-controller-manager", ""),
        (SCHEDULER, "system:kube-scheduler", ""),
        *(
            (f"node-{node.name}", f"system:node:{node.name}", "system:nodes")
            for node in topology.nodes
        ),
    ]


def _apiserver_names(topology: Topology) -> tuple[str, ...]:
    plane = topology.control_plane
    return (
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        f"kubernetes.default.svc.{topology.domain}",
        "localhost",
        plane.name,
        plane.short,
        "127.0.0.1",
        "::1",
        plane.address,
        topology.kubernetes_service,
    )


def _authority(common_name: str) -> Authority:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = _subject(common_name, "")
    builder = _builder(subject, subject, key)
    builder = builder.add_extension(x509.BasicConstraints(True, None), critical=True)
    builder = builder.add_extension(_key_usage(signs=True), critical=True)
    return Authority(builder.sign(key, hashes.SHA256()), key)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    public = key.public_key()
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATED)
        .not_valid_after(now + _LIFETIME)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    )


def _subject(common_name: str, organization: str) -> x509.Name:
    attributes = [x509.NameAttribute(NameOID.COMMON_NAME, common_name)]
    if organization:
        attributes.insert(0, x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization))
    return x509.Name(attributes)


def _key_usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=signs,
        crl_sign=signs,
        key_encipherment=False,
        content_commitment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _write_service_account_keys(paths: Paths) -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    _write(paths.pki / "sa.key", _key_pem(key))
    _write(paths.pki / "sa.pub", public)


def _key_pem(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _write_kubeconfig(
    paths: Paths, target: Path, identity: str, user: str, *, server: str, ca: bytes
) -> None:
    cluster = f"todoku-{paths.name}"
    context = f"{user}@{cluster}" if identity != ADMIN else cluster
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {
                "name": cluster,
                "cluster": {"certificate-authority-data": _base64(ca), "server": server},
            }
        ],
        "users": [
            {
                "name": f"{user}@{cluster}",
                "user": {
                    "client-certificate-data": _base64(
                        (paths.pki / f"{identity}.crt").read_bytes()
                    ),
                    "client-key-data": _base64((paths.pki / f"{identity}.key").read_bytes()),
                },
            }
        ],
        "contexts": [
            {"name": context, "context": {"cluster": cluster, "user": f"{user}@{cluster}"}}
        ],
        "current-context": context,
        "preferences": {},
    }
    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    _write(target, yaml.dump(document, Dumper=dumper, sort_keys=False).encode())


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _write_pair(stem: Path, certificate: bytes, key: bytes) -> None:
    _write(stem.with_name(stem.name + ".crt"), certificate)
    _write(stem.with_name(stem.name + ".key"), key)


def _write(path: Path, data: bytes) -> None:
    """Write a file whole, readable by root alone."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    temporary = path.with_name(f".{path.name}.new")
    with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(data)
    os.replace(temporary, path)
