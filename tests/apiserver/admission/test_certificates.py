"""Certificate requests: what may be asked for, and that approving and signing need the right for the signer."""

from __future__ import annotations

import base64

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from todoku.api.errors import Forbidden
from todoku.api.meta import GroupVersionKind, Object
from todoku.api.resources import registry
from todoku.apiserver.admission.certificates import CLIENT_SIGNER, REQUESTS, CertificateRequests
from todoku.apiserver.config import Attributes, Decision, Operation
from todoku.apiserver.request import RequestInfo, User

USER = User("ann", groups=("dev",), extra={"team": ("a",)})


class Rights:
    """Allows the (verb, signer) pairs it was given."""

    def __init__(self, *pairs: tuple[str, str]) -> None:
        self._pairs = pairs

    async def authorize(self, user: User, info: RequestInfo) -> Decision:
        return Decision((info.verb, info.name) in self._pairs)


def request(organisation: str = "dev") -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, organisation)])
    made = x509.CertificateSigningRequestBuilder(subject).sign(key, hashes.SHA256())
    return base64.b64encode(made.public_bytes(serialization.Encoding.PEM)).decode()


def write(
    operation: Operation, new: Object, old: Object | None = None, subresource: str = ""
) -> Attributes:
    resource = registry().find(REQUESTS)
    assert resource is not None
    return Attributes(
        operation=operation,
        user=USER,
        resource=resource,
        subresource=subresource,
        kind=GroupVersionKind("certificates.k8s.io", "v1", "CertificateSigningRequest"),
        namespace="",
        name="web",
        object=new,
        old=old,
        options={},
    )


def asked(**fields: object) -> Object:
    return {"metadata": {"name": "web"}, "spec": {"signerName": "a.b/c", **fields}, "status": {}}


async def test_no_client_certificate_is_asked_for_the_group_that_may_do_everything():
    plugin = CertificateRequests(Rights())
    await plugin.validate(write("CREATE", asked(signerName=CLIENT_SIGNER, request=request())))
    new = asked(signerName=CLIENT_SIGNER, request=request("system:masters"))
    with pytest.raises(Forbidden, match="signer with system:masters group is not allowed"):
        await plugin.validate(write("CREATE", new))


CERTIFIED = {"certificate": "eA=="}


@pytest.mark.parametrize(
    ("subresource", "status", "rights", "refused"),
    [
        ("approval", {}, [("approve", "a.b/c")], False),
        ("approval", {}, [("approve", "a.b/*")], False),
        ("approval", {}, [("sign", "a.b/c"), ("approve", "x.y/*")], True),
        ("status", {}, [], False),
        ("status", CERTIFIED, [], True),
        ("status", CERTIFIED, [("sign", "a.b/c")], False),
    ],
)
async def test_approving_and_signing_need_the_right_for_the_signer(
    subresource, status, rights, refused
):
    new = asked() | {"status": status}
    attributes = write("UPDATE", new, asked(), subresource)
    plugin = CertificateRequests(Rights(*rights))
    if not refused:
        return await plugin.validate(attributes)
    verb = "approve" if subresource == "approval" else "sign"
    with pytest.raises(
        Forbidden, match=f'not permitted to {verb} requests with signerName "a.b/c"'
    ):
        await plugin.validate(attributes)
    return None


async def test_conditions_say_since_when_they_hold():
    then = {"lastUpdateTime": "1970-01-01T00:00:01Z", "lastTransitionTime": "1970-01-01T00:00:02Z"}
    old = asked() | {"status": {"conditions": [{"type": "Approved", "status": "True", **then}]}}
    listed = [{"type": "Approved", "status": "True"}, {"type": "Failed", "status": "True"}]
    new = asked() | {"status": {"conditions": listed}}
    await CertificateRequests(Rights(), lambda: 9).mutate(write("UPDATE", new, old, "status"))
    now = "1970-01-01T00:00:09Z"
    assert listed[0]["lastTransitionTime"] == then["lastTransitionTime"]
    assert listed[0]["lastUpdateTime"] == now
    assert listed[1] == {
        "type": "Failed",
        "status": "True",
        "lastUpdateTime": now,
        "lastTransitionTime": now,
    }
