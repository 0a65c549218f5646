"""Certificate requests: what may be asked for, and that approving and signing need the right for the signer.

Semantics: the plugins CertificateSubjectRestriction, CertificateApproval and CertificateSigning of kube-apiserver.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Mapping

from cryptography import x509
from cryptography.x509.oid import NameOID

from todoku.api import times
from todoku.api.meta import Object
from todoku.apiserver.admission.base import Plugin, creates, new_object, new_spec, refusal
from todoku.apiserver.config import Attributes, Authorizer
from todoku.apiserver.request import SYSTEM_MASTERS, RequestInfo

REQUESTS = "certificatesigningrequests.certificates.k8s.io"
GROUP = "certificates.k8s.io"
CLIENT_SIGNER = "kubernetes.io/kube-apiserver-client"
# subresource -> verb on the signer
_RIGHTS: Mapping[str, str] = {"approval": "approve", "status": "sign"}


class CertificateRequests(Plugin):
    name = "CertificateRequests"

    def __init__(self, authorizer: Authorizer, clock: Callable[[], float] = time.time) -> None:
        self._authorizer = authorizer
        self._clock = clock

    async def mutate(self, attributes: Attributes) -> None:
        """Conditions say since when they hold."""
        if attributes.resource.name == REQUESTS and attributes.subresource in _RIGHTS:
            _stamp(new_object(attributes), attributes.old or {}, times.text(self._clock()))

    async def validate(self, attributes: Attributes) -> None:
        if attributes.resource.name != REQUESTS or attributes.operation == "DELETE":
            return
        if creates(attributes, REQUESTS):
            _check_subject(attributes)
            return
        verb = _RIGHTS.get(attributes.subresource)
        if verb and (verb == "approve" or _signs(new_object(attributes), attributes.old or {})):
            await self._check_right(attributes, verb)

    async def _check_right(self, attributes: Attributes, verb: str) -> None:
        """The verb on the signer, or on all of its domain (`example.com/*`)."""
        signer = str(((attributes.old or {}).get("spec") or {}).get("signerName", ""))
        for name in (signer, f"{signer.partition('/')[0]}/*"):
            info = RequestInfo(
                verb=verb, path="", group=GROUP, version="*", resource="signers", name=name
            )
            if (await self._authorizer.authorize(attributes.user, info)).allowed:
                return
        raise refusal(
            attributes, f'user not permitted to {verb} requests with signerName "{signer}"'
        )


def _stamp(new: Object, old: Object, now: str) -> None:
    before = (old.get("status") or {}).get("conditions") or ()
    since = {
        (one.get("type"), one.get("status")): one.get("lastTransitionTime")
        for one in reversed(before)
        if one.get("lastTransitionTime")
    }
    for one in (new.get("status") or {}).get("conditions") or ():
        one["lastUpdateTime"] = one.get("lastUpdateTime") or now
        if not one.get("lastTransitionTime"):
            one["lastTransitionTime"] = since.get((one.get("type"), one.get("status"))) or now


def _check_subject(attributes: Attributes) -> None:
    """A client certificate is not a way into the group that may do everything."""
    spec = new_spec(attributes)
    if spec.get("signerName") != CLIENT_SIGNER:
        return
    request = x509.load_pem_x509_csr(base64.b64decode(spec.get("request", "")))
    groups = request.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
    if any(one.value == SYSTEM_MASTERS for one in groups):
        text = f"use of {CLIENT_SIGNER} signer with {SYSTEM_MASTERS} group is not allowed"
        raise refusal(attributes, text)


def _signs(new: Object, old: Object) -> bool:
    """Whether the certificate or the conditions change."""
    after, before = new.get("status") or {}, old.get("status") or {}
    return any(after.get(key) != before.get(key) for key in ("certificate", "conditions"))
