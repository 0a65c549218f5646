"""Who sent a request: certificates, front proxies, tokens, impersonation; and what nodes may do."""

import base64
import datetime
import json

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from multidict import CIMultiDict

from tests.apiserver.objects import FakeObjects
from todoku.api.errors import BadRequest, Conflict, Forbidden, Invalid, NotFound, Unauthorized
from todoku.apiserver import default_roles, token_reviews
from todoku.apiserver.authentication import (
    Authenticated,
    CertificateAuthenticator,
    FrontProxyAuthenticator,
    impersonated,
)
from todoku.apiserver.config import Call, Decision
from todoku.apiserver.node_authorizer import NodeAuthorizer
from todoku.apiserver.rbac import Rule
from todoku.apiserver.request import Credentials, RequestInfo, User, read_path
from todoku.apiserver.tokens import (
    Binding,
    InvalidToken,
    ServiceAccountTokens,
    TokenAuthenticator,
    bearer,
)

NOW = 1_800_000_000


def credentials(certificate=b"", **headers):
    named = CIMultiDict({key.replace("_", "-"): value for key, value in headers.items()})
    return Credentials(certificate=certificate, headers=named)


class Authority:
    """A CA that signs client certificates."""

    def __init__(self, name="ca"):
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.pem = self._sign(self.name, self.key.public_key()).public_bytes(Encoding.PEM)

    def _sign(self, subject, key):
        start = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
        builder = x509.CertificateBuilder(
            self.name, subject, key, x509.random_serial_number(), start, start.replace(year=2036)
        )
        return builder.sign(self.key, hashes.SHA256())

    def client(self, name, *groups):
        parts = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
        if name:
            parts.append(x509.NameAttribute(NameOID.COMMON_NAME, name))
        key = ec.generate_private_key(ec.SECP256R1()).public_key()
        return self._sign(x509.Name(parts), key).public_bytes(Encoding.DER)


async def test_a_client_certificate_names_user_and_groups():
    ca = Authority()
    user = await Authenticated(CertificateAuthenticator(ca.pem)).authenticate(
        credentials(ca.client("ann", "dev", "ops"))
    )
    assert (user.name, user.groups) == ("ann", ("dev", "ops", "system:authenticated"))
    assert user.extra["authentication.kubernetes.io/credential-id"][0].startswith("X509SHA256=")


@pytest.mark.parametrize("name", ["", "ann"], ids=["no common name", "another CA"])
async def test_certificates_that_say_nothing_to_us(name):
    ca, other = Authority(), Authority("other")
    certificate = (other if name else ca).client(name, "dev")
    assert await CertificateAuthenticator(ca.pem).authenticate(credentials(certificate)) is None


async def test_a_front_proxy_names_the_user_in_headers():
    ca = Authority()
    headers = CIMultiDict(
        [("X-Remote-User", "ann"), ("X-Remote-Group", "a"), ("X-Remote-Group", "b"),
         ("X-Remote-Extra-Scopes", "s"), ("X-Remote-Extra-example.com%2fk", "v")]
    )  # fmt: skip
    proxy = FrontProxyAuthenticator(ca.pem, ["front-proxy-client"])
    user = await proxy.authenticate(Credentials(ca.client("front-proxy-client"), headers))
    assert user == User("ann", "", ("a", "b"), {"scopes": ("s",), "example.com/k": ("v",)})
    assert await proxy.authenticate(Credentials(ca.client("someone"), headers)) is None
    assert await proxy.authenticate(Credentials(b"", headers)) is None


# -- service account tokens


def pem(key):
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


KEYS = {
    "RS256": pem(rsa.generate_private_key(public_exponent=65537, key_size=2048)),
    "ES256": pem(ec.generate_private_key(ec.SECP256R1())),
}
API = "https://kubernetes.default.svc.cluster.local"


class Lab:
    def __init__(self, algorithm="ES256"):
        self.now = NOW
        self.objects = FakeObjects()
        self.account = self.objects.add(
            "serviceaccounts", {"metadata": {"name": "robot", "namespace": "a"}}
        )
        self.node = self.objects.add("nodes", {"metadata": {"name": "n1"}})
        self.pod = self.objects.add(
            "pods",
            {"metadata": {"name": "p", "namespace": "a"},
             "spec": {"nodeName": "n1", "serviceAccountName": "robot"}},
        )  # fmt: skip
        self.tokens = ServiceAccountTokens(
            objects=self.objects,
            private_pem=KEYS[algorithm],
            issuer=API,
            audiences=[API],
            clock=lambda: self.now,
        )
        self.authenticator = TokenAuthenticator(self.tokens, {"secret": User("static")})
        self.handlers = token_reviews.handlers(self.objects, self.tokens, self.authenticator)

    def issue(self, **options):
        options = {"audiences": [API], "seconds": 600} | options
        return self.tokens.issue(self.account, **options).token

    async def request(self, spec):
        info = RequestInfo("create", "", resource="serviceaccounts", subresource="token")
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
        call = Call(
            user=User("u"), info=info, resource=None, body=body, parent=self.account, query={}
        )
        return await self.handlers["serviceaccounts/token"](call)

    async def review(self, **spec):
        info = RequestInfo("create", "", resource="tokenreviews")
        call = Call(
            user=User("u"), info=info, resource=None, body={"spec": spec}, parent=None, query={}
        )
        return (await self.handlers["tokenreviews.authentication.k8s.io"](call))["status"]


def claims(token):
    part = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))


@pytest.mark.parametrize("algorithm", KEYS)
async def test_an_issued_token_speaks_for_its_service_account(algorithm):
    lab = Lab(algorithm)
    user = await lab.authenticator.authenticate(credentials(Authorization=f"Bearer {lab.issue()}"))
    assert user.name == "system:serviceaccount:a:robot"
    assert user.uid == lab.account["metadata"]["uid"]
    assert user.groups == ("system:serviceaccounts", "system:serviceaccounts:a")


async def test_a_pods_token_carries_pod_and_node_and_lives_a_year():
    lab = Lab()
    reference = {"apiVersion": "v1", "kind": "Pod", "name": "p"}
    answer = await lab.request({"boundObjectRef": reference, "expirationSeconds": 3607})
    token = answer["status"]["token"]
    assert answer["status"]["expirationTimestamp"] == "2027-01-15T09:00:07Z"
    got = claims(token)
    assert got["kubernetes.io"]["pod"] == {"name": "p", "uid": lab.pod["metadata"]["uid"]}
    assert got["kubernetes.io"]["node"]["name"] == "n1"
    assert got["kubernetes.io"]["warnafter"] == NOW + 3607
    assert got["exp"] == NOW + 365 * 24 * 3600
    extra = lab.tokens.verify(token)[0].extra
    assert extra["authentication.kubernetes.io/pod-name"] == ("p",)
    assert extra["authentication.kubernetes.io/node-name"] == ("n1",)
    assert extra["authentication.kubernetes.io/credential-id"] == (f"JTI={got['jti']}",)


def _expire(lab):
    lab.now += 601


def _delete_account(lab):
    lab.objects._kept["serviceaccounts"].clear()


def _recreate_account(lab):
    lab.objects.add(
        "serviceaccounts", {"metadata": {"name": "robot", "namespace": "a", "uid": "new"}}
    )


def _delete_pod(lab):
    lab.objects._kept["pods"].clear()


def _delete_pod_long_ago(lab):
    stamp = datetime.datetime.fromtimestamp(NOW - 61, datetime.UTC).isoformat()
    lab.pod["metadata"]["deletionTimestamp"] = stamp


ENDS = {
    "time is up": (_expire, "has expired"),
    "its account is deleted": (_delete_account, 'service account "robot" does not exist'),
    "its account is another one of the same name": (_recreate_account, "another uid"),
    "its pod is deleted": (_delete_pod, 'bound pod "p" does not exist'),
    "its pod has been terminating for a minute": (_delete_pod_long_ago, "has been deleted"),
}


@pytest.mark.parametrize(("event", "reason"), ENDS.values(), ids=ENDS)
async def test_a_token_ends_when(event, reason):
    lab = Lab()
    token = lab.issue(bound=Binding("pod", "p", lab.pod["metadata"]["uid"]))
    assert lab.tokens.verify(token)
    event(lab)
    with pytest.raises(InvalidToken, match=reason):
        lab.tokens.verify(token)
    with pytest.raises(Unauthorized):
        await lab.authenticator.authenticate(credentials(Authorization=f"Bearer {token}"))
    status = await lab.review(token=token)
    assert "authenticated" not in status
    assert "invalid bearer token" in status["error"]


def _flip(token):
    head, body, signature = token.split(".")
    return f"{head}.{body}.{'A' if signature[0] != 'A' else 'B'}{signature[1:]}"


def _none(token):
    head = base64.urlsafe_b64encode(b'{"alg":"none"}').decode().rstrip("=")
    return f"{head}.{token.split('.')[1]}."


FORGED = {
    "a changed signature": _flip,
    "no signature": _none,
    "another lab's key": lambda token: Lab("RS256").issue(),
    "garbage": lambda token: "x.y.z",
    "no token": lambda token: "hello",
    "bytes": lambda token: "\xff.\xff.\xff",
}


@pytest.mark.parametrize("forge", FORGED.values(), ids=FORGED)
def test_forged_tokens_are_refused(forge):
    lab = Lab()
    with pytest.raises(InvalidToken):
        lab.tokens.verify(forge(lab.issue()))


async def test_audiences():
    lab = Lab()
    token = lab.issue(audiences=["vault", "x"])
    with pytest.raises(InvalidToken, match='audiences \\["vault" "x"\\] is invalid'):
        lab.tokens.verify(token)
    status = await lab.review(token=token, audiences=["vault", "other"])
    assert status["authenticated"] is True
    assert status["audiences"] == ["vault"]
    assert status["user"]["groups"][-1] == "system:authenticated"


def test_static_tokens_and_where_tokens_are_found():
    lab = Lab()
    assert lab.authenticator.authenticate_token("secret")[0].name == "static"
    assert bearer({"Authorization": "bearer  abc "}) == "abc"
    assert bearer({"Authorization": "Basic abc"}) is None
    protocols = "v5.channel.k8s.io, base64url.bearer.authorization.k8s.io.c2VjcmV0"
    assert bearer({"Sec-WebSocket-Protocol": protocols}) == "secret"


BAD_REQUESTS = {
    "too short": ({"expirationSeconds": 599}, Invalid, "may not specify a duration less than 10 minutes"),
    "too long": ({"expirationSeconds": 1 << 33}, Invalid, "larger than 2\\^32 seconds"),
    "a pod that is not there": ({"boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": "q"}}, NotFound, 'pods "q" not found'),
    "a pod of another uid": ({"boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "x"}}, Conflict, "does not match"),
    "another kind": ({"boundObjectRef": {"apiVersion": "v1", "kind": "Service", "name": "p"}}, BadRequest, "cannot bind token"),
}  # fmt: skip


@pytest.mark.parametrize(("spec", "error", "message"), BAD_REQUESTS.values(), ids=BAD_REQUESTS)
async def test_token_requests_that_are_refused(spec, error, message):
    with pytest.raises(error, match=message):
        await Lab().request(spec)


@pytest.mark.parametrize("algorithm", KEYS)
def test_the_published_key_set_verifies_what_was_issued(algorithm):
    from joserfc import jwt
    from joserfc.jwk import KeySet

    lab = Lab(algorithm)
    keys = lab.tokens.jwks()
    assert jwt.decode(lab.issue(), KeySet.import_key_set(keys)).claims["iss"] == API
    assert keys["keys"][0]["alg"] == algorithm
    assert "d" not in keys["keys"][0]
    assert lab.tokens.discovery()["jwks_uri"] == f"{API}/openid/v1/jwks"
    assert lab.tokens.discovery()["id_token_signing_alg_values_supported"] == [algorithm]


# -- impersonation


class Grants:
    """Allows exactly some impersonations, written `resource[/subresource] [namespace/]name`."""

    def __init__(self, *allowed):
        self.allowed = allowed

    async def authorize(self, user, info):
        where = f"{info.resource}/{info.subresource}" if info.subresource else info.resource
        name = f"{info.namespace}/{info.name}" if info.namespace else info.name
        return Decision(info.verb == "impersonate" and f"{where} {name}" in self.allowed)


async def test_impersonation_of_user_groups_uid_and_extra():
    headers = CIMultiDict(
        [("Impersonate-User", "ann"), ("Impersonate-Group", "dev"), ("Impersonate-Group", "ops"),
         ("Impersonate-Uid", "7"), ("Impersonate-Extra-Scopes", "s")]
    )  # fmt: skip
    everything = ["users ann", "groups dev", "groups ops", "uids 7", "userextras/scopes s"]
    user = await impersonated(User("root"), headers, Grants(*everything))
    groups = ("dev", "ops", "system:authenticated")
    assert user == User("ann", "7", groups, {"scopes": ("s",)})
    for missing in everything:
        allowed = [one for one in everything if one != missing]
        with pytest.raises(Forbidden, match="cannot impersonate"):
            await impersonated(User("root"), headers, Grants(*allowed))


async def test_an_impersonated_service_account_brings_its_groups():
    headers = CIMultiDict({"Impersonate-User": "system:serviceaccount:a:robot"})
    user = await impersonated(User("root"), headers, Grants("serviceaccounts a/robot"))
    assert user.groups == (
        "system:serviceaccounts", "system:serviceaccounts:a", "system:authenticated",
    )  # fmt: skip


async def test_parts_without_a_user_are_refused_and_no_headers_change_nothing():
    root = User("root")
    assert await impersonated(root, CIMultiDict(), Grants()) is root
    with pytest.raises(Unauthorized):
        await impersonated(root, CIMultiDict({"Impersonate-Group": "dev"}), Grants())


# -- nodes

NODE = User("system:node:n1", groups=("system:nodes", "system:authenticated"))
USES_SECRET = {
    "metadata": {"name": "web", "namespace": "a"},
    "spec": {
        "nodeName": "n1",
        "serviceAccountName": "robot",
        "containers": [{"env": [{"valueFrom": {"secretKeyRef": {"name": "env"}}}],
                        "envFrom": [{"configMapRef": {"name": "from"}}]}],
        "volumes": [{"secret": {"secretName": "vol"}},
                    {"projected": {"sources": [{"configMap": {"name": "kube-root-ca.crt"}}]}},
                    {"persistentVolumeClaim": {"claimName": "data"}}],
        "imagePullSecrets": [{"name": "pull"}],
    },
}  # fmt: skip

NODE_ASKS = {
    "a secret in a pod's environment": ("GET /api/v1/namespaces/a/secrets/env", True),
    "a secret volume": ("GET /api/v1/namespaces/a/secrets/vol", True),
    "a pull secret": ("GET /api/v1/namespaces/a/secrets/pull", True),
    "a secret of nobody here": ("GET /api/v1/namespaces/a/secrets/other", False),
    "the same name in another namespace": ("GET /api/v1/namespaces/b/secrets/env", False),
    "all secrets": ("GET /api/v1/namespaces/a/secrets", False),
    "a config map for all variables": ("GET /api/v1/namespaces/a/configmaps/from", True),
    "a projected config map": ("GET /api/v1/namespaces/a/configmaps/kube-root-ca.crt", True),
    "a claim": ("GET /api/v1/namespaces/a/persistentvolumeclaims/data", True),
    "a token for the account of its pod": ("POST /api/v1/namespaces/a/serviceaccounts/robot/token", True),
    "a token for another account": ("POST /api/v1/namespaces/a/serviceaccounts/other/token", False),
    "the volume of a claim of its pod": ("GET /api/v1/persistentvolumes/pv1", True),
    "another volume": ("GET /api/v1/persistentvolumes/pv2", False),
    "pods": ("GET /api/v1/pods", True),
    "its own lease": ("PUT /apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/n1", True),
    "another node's lease": ("PUT /apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/n2", False),
    "a deployment": ("GET /apis/apps/v1/namespaces/a/deployments/d", False),
}  # fmt: skip


@pytest.mark.parametrize(("line", "allowed"), NODE_ASKS.values(), ids=NODE_ASKS)
async def test_a_node_reads_what_its_pods_refer_to(line, allowed):
    objects = FakeObjects()
    claim = {"metadata": {"name": "data", "namespace": "a"}, "spec": {"volumeName": "pv1"}}
    objects.add("persistentvolumeclaims", claim)
    authorizer = NodeAuthorizer(objects, [Rule.of(rule) for rule in default_roles.node_rules()])
    authorizer.start()
    method, _, path = line.partition(" ")
    ask = read_path(method, path, {})
    guarded = allowed and any(
        word in path for word in ("secrets", "configmaps", "token", "claim", "volumes")
    )
    assert (await authorizer.authorize(NODE, ask)).allowed is (allowed and not guarded)
    objects.add("pods", USES_SECRET)
    assert (await authorizer.authorize(NODE, ask)).allowed is allowed
    await objects.delete("pods", "web", "a")
    assert (await authorizer.authorize(NODE, ask)).allowed is (allowed and not guarded)
    stranger = User("system:node:n1", groups=())
    assert not (await authorizer.authorize(stranger, ask)).allowed
