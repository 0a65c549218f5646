"""Kubelets' certificate requests: approved when they ask for what they may have, and signed (certificates.k8s.io)."""

from __future__ import annotations

import base64
import datetime
from typing import ClassVar

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from todoku.api import times
from todoku.api.meta import Key, Object
from todoku.controllers import conditions
from todoku.controllers.controller import Controller

CLIENT, KUBELET = (
    "kubernetes.io/kube-apiserver-client",
    "kubernetes.io/kube-apiserver-client-kubelet",
)
SERVING = "kubernetes.io/kubelet-serving"
SIGNED = (CLIENT, KUBELET, SERVING)
DEFAULT_SECONDS, MINIMUM_SECONDS = 365 * 24 * 3600, 600
_USAGES = {
    "client auth": ExtendedKeyUsageOID.CLIENT_AUTH,
    "server auth": ExtendedKeyUsageOID.SERVER_AUTH,
}


def is_own_client_request(request: Object) -> bool:
    """A node, or a bootstrapping one, that asks for a node's client certificate."""
    spec = request["spec"]
    if spec.get("signerName") != KUBELET:
        return False
    usages = set(spec.get("usages") or ())
    if (
        not {"client auth", "digital signature"}
        <= usages
        <= {"client auth", "digital signature", "key encipherment"}
    ):
        return False
    csr = parse(request)
    common, organisations = _subject(csr)
    asks = common.startswith("system:node:") and organisations == ["system:nodes"]
    groups = set(spec.get("groups") or ())
    return asks and (spec.get("username") == common or "system:bootstrappers" in groups)


def parse(request: Object) -> x509.CertificateSigningRequest:
    return x509.load_pem_x509_csr(base64.b64decode(request["spec"]["request"]))


def _subject(csr: x509.CertificateSigningRequest) -> tuple[str, list[str]]:
    names = csr.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    organisations = csr.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
    return str(names[0].value) if names else "", [str(one.value) for one in organisations]


def sign(request: Object, ca_cert: bytes, ca_key: bytes, now: float) -> bytes:
    """The certificate (PEM) for an approved request, for as long as it asks, within limits."""
    csr = parse(request)
    authority = x509.load_pem_x509_certificate(ca_cert)
    key = serialization.load_pem_private_key(ca_key, password=None)
    seconds = max(request["spec"].get("expirationSeconds") or DEFAULT_SECONDS, MINIMUM_SECONDS)
    start = datetime.datetime.fromtimestamp(now, datetime.UTC)
    end = min(start + datetime.timedelta(seconds=seconds), authority.not_valid_after_utc)
    usages = [_USAGES[one] for one in request["spec"].get("usages") or () if one in _USAGES]
    builder = (
        x509.CertificateBuilder()
        .subject_name(csr.subject)
        .issuer_name(authority.subject)
        .public_key(csr.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start - datetime.timedelta(minutes=5))
        .not_valid_after(end)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
    )
    for extension in csr.extensions:
        if isinstance(extension.value, x509.SubjectAlternativeName):
            builder = builder.add_extension(extension.value, critical=extension.critical)
    made = builder.sign(key, hashes.SHA256())  # type: ignore[arg-type]
    return made.public_bytes(serialization.Encoding.PEM)


class CertificateRequestController(Controller):
    name: ClassVar[str] = "certificatesigningrequest"
    reconciles: ClassVar[str] = "certificatesigningrequests.certificates.k8s.io"

    async def reconcile(self, key: Key) -> None:
        request = self.cache.get(key)
        if request is None or not self.config.signing_ca_key:
            return
        status = request.get("status") or {}
        listed = status.get("conditions")
        if (
            status.get("certificate")
            or conditions.find(listed, "Denied")
            or conditions.find(listed, "Failed")
        ):
            return
        if conditions.find(listed, "Approved") is None:
            if is_own_client_request(request):
                await self._approve(request)
            return
        if request["spec"].get("signerName") in SIGNED:
            await self._sign(request)

    async def _approve(self, request: Object) -> None:
        now = times.text(self.clock.now())
        condition = {
            "type": "Approved", "status": "True", "reason": "AutoApproved",
            "message": "A node asks for its own client certificate.",
            "lastUpdateTime": now, "lastTransitionTime": now,
        }  # fmt: skip
        status = dict(request.get("status") or {})
        status["conditions"] = [*(status.get("conditions") or ()), condition]
        await self.client.update(
            self.reconciles, request | {"status": status}, subresource="approval"
        )

    async def _sign(self, request: Object) -> None:
        made = sign(
            request, self.config.signing_ca_cert, self.config.signing_ca_key, self.clock.now()
        )
        status = (request.get("status") or {}) | {"certificate": base64.b64encode(made).decode()}
        await self.client.update(
            self.reconciles, request | {"status": status}, subresource="status"
        )
