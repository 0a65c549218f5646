"""Who sent a request: client certificates, front proxies, bearer tokens, and impersonation on top.

Every authenticator answers None for credentials it does not know and raises Unauthorized for those it refuses.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from urllib.parse import unquote

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.x509.oid import NameOID

from todoku.api.errors import Unauthorized
from todoku.apiserver.authorization import forbidden
from todoku.apiserver.config import Authenticator, Authorizer
from todoku.apiserver.request import (
    ANONYMOUS,
    AUTHENTICATED,
    UNAUTHENTICATED,
    Credentials,
    RequestInfo,
    User,
)

_CREDENTIAL_ID = "authentication.kubernetes.io/credential-id"
_CACHED_CERTIFICATES = 512
_SERVICE_ACCOUNT = "system:serviceaccount:"


class IssuedBy:
    """Whether a certificate was signed by one of some CAs; remembers the certificates it has seen."""

    def __init__(self, ca_pem: bytes) -> None:
        self._cas = x509.load_pem_x509_certificates(ca_pem)
        self._seen: OrderedDict[bytes, x509.Certificate | None] = OrderedDict()

    def check(self, der: bytes) -> x509.Certificate | None:
        """The parsed certificate if one of the CAs issued it.  Its dates are the TLS layer's business."""
        if der in self._seen:
            self._seen.move_to_end(der)
            return self._seen[der]
        found = self._parse(der)
        self._seen[der] = found
        if len(self._seen) > _CACHED_CERTIFICATES:
            self._seen.popitem(last=False)
        return found

    def _parse(self, der: bytes) -> x509.Certificate | None:
        try:
            certificate = x509.load_der_x509_certificate(der)
        except ValueError:
            return None
        for ca in self._cas:
            try:
                certificate.verify_directly_issued_by(ca)
            except (InvalidSignature, ValueError, TypeError):
                continue
            return certificate
        return None


class CertificateAuthenticator:
    """A client certificate: the user is its common name, the groups are its organizations."""

    def __init__(self, ca_pem: bytes) -> None:
        self._issued = IssuedBy(ca_pem)
        self._users: dict[bytes, User | None] = {}

    async def authenticate(self, credentials: Credentials) -> User | None:
        der = credentials.certificate
        if not der:
            return None
        if der not in self._users:
            if len(self._users) >= _CACHED_CERTIFICATES:
                self._users.clear()
            self._users[der] = self._user(der)
        return self._users[der]

    def _user(self, der: bytes) -> User | None:
        certificate = self._issued.check(der)
        name = _names(certificate, NameOID.COMMON_NAME)
        if not name:
            return None
        digest = hashlib.sha256(der).hexdigest()
        return User(
            name=name[0],
            groups=_names(certificate, NameOID.ORGANIZATION_NAME),
            extra={_CREDENTIAL_ID: (f"X509SHA256={digest}",)},
        )


class FrontProxyAuthenticator:
    """A trusted proxy names the user in X-Remote-* headers (requestheader authentication)."""

    def __init__(self, ca_pem: bytes, allowed_names: Sequence[str]) -> None:
        self._issued = IssuedBy(ca_pem)
        self._allowed = frozenset(allowed_names)

    async def authenticate(self, credentials: Credentials) -> User | None:
        name = credentials.headers.get("X-Remote-User", "")
        if not name or not credentials.certificate:
            return None
        certificate = self._issued.check(credentials.certificate)
        common = _names(certificate, NameOID.COMMON_NAME) if certificate else ()
        if not common or (self._allowed and common[0] not in self._allowed):
            return None
        return User(
            name=name,
            uid=credentials.headers.get("X-Remote-Uid", ""),
            groups=values_of(credentials.headers, "X-Remote-Group"),
            extra=_extra(credentials.headers, "x-remote-extra-"),
        )


class Authenticated:
    """Adds the group system:authenticated to whomever the inner authenticator recognises."""

    def __init__(self, inner: Authenticator) -> None:
        self._inner = inner

    async def authenticate(self, credentials: Credentials) -> User | None:
        user = await self._inner.authenticate(credentials)
        return None if user is None else with_group(user, AUTHENTICATED)


def with_group(user: User, group: str) -> User:
    """`user` as a member of `group` too; the anonymous user stays as it is."""
    if group in user.groups or user.name == ANONYMOUS:
        return user
    return User(user.name, user.uid, (*user.groups, group), user.extra)


async def impersonated(user: User, headers: Mapping[str, str], authorizer: Authorizer) -> User:
    """The user that a request wants to act as, `user` itself without Impersonate-* headers.

    Raises Forbidden unless `user` may impersonate every part of it, Unauthorized when parts come without a
    name.  Source: the impersonation filter of k8s.io/apiserver.
    """
    name = headers.get("Impersonate-User", "")
    uid = headers.get("Impersonate-Uid", "")
    groups = values_of(headers, "Impersonate-Group")
    extra = _extra(headers, "impersonate-extra-")
    if not name:
        if uid or groups or extra:
            raise Unauthorized("Unauthorized")
        return user
    for info in _impersonation_requests(name, uid, groups, extra):
        decision = await authorizer.authorize(user, info)
        if not decision.allowed:
            raise forbidden(user, info, decision)
    return _target(name, uid, groups, extra)


def _impersonation_requests(
    name: str, uid: str, groups: Sequence[str], extra: Mapping[str, Sequence[str]]
) -> list[RequestInfo]:
    namespace, account = _service_account(name)
    if account:
        requests = [_impersonate("serviceaccounts", account, namespace=namespace)]
    else:
        requests = [_impersonate("users", name)]
    requests += [_impersonate("groups", group) for group in groups]
    if uid:
        requests.append(_impersonate("uids", uid, group="authentication.k8s.io"))
    for key, values in extra.items():
        requests += [
            _impersonate("userextras", value, group="authentication.k8s.io", subresource=key)
            for value in values
        ]
    return requests


def _impersonate(
    resource: str, name: str, *, namespace: str = "", group: str = "", subresource: str = ""
) -> RequestInfo:
    version = "v1" if group else ""
    return RequestInfo(
        verb="impersonate",
        path="",
        group=group,
        version=version,
        resource=resource,
        subresource=subresource,
        namespace=namespace,
        name=name,
    )


def _target(
    name: str, uid: str, groups: tuple[str, ...], extra: Mapping[str, tuple[str, ...]]
) -> User:
    namespace, account = _service_account(name)
    if account and not groups:
        groups = ("system:serviceaccounts", f"system:serviceaccounts:{namespace}")
    if name == ANONYMOUS:
        if UNAUTHENTICATED not in groups:
            groups = (*groups, UNAUTHENTICATED)
    elif AUTHENTICATED not in groups and UNAUTHENTICATED not in groups:
        groups = (*groups, AUTHENTICATED)
    return User(name=name, uid=uid, groups=groups, extra=extra)


def _service_account(name: str) -> tuple[str, str]:
    """Namespace and name of a service account's user name, else two empty strings."""
    if not name.startswith(_SERVICE_ACCOUNT):
        return "", ""
    namespace, _, account = name.removeprefix(_SERVICE_ACCOUNT).partition(":")
    return namespace, account


def values_of(headers: Mapping[str, str], name: str) -> tuple[str, ...]:
    """All values of a header that may come several times."""
    getall = getattr(headers, "getall", None)
    if getall is not None:
        return tuple(getall(name, ()))
    return (headers[name],) if name in headers else ()


def _extra(headers: Mapping[str, str], prefix: str) -> dict[str, tuple[str, ...]]:
    extra: dict[str, tuple[str, ...]] = {}
    for key in dict.fromkeys(key for key in headers if key.lower().startswith(prefix)):
        name = unquote(key[len(prefix) :]).lower()
        if name not in extra:
            extra[name] = values_of(headers, key)
    return extra


def _names(certificate: x509.Certificate | None, oid: x509.ObjectIdentifier) -> tuple[str, ...]:
    if certificate is None:
        return ()
    return tuple(str(one.value) for one in certificate.subject.get_attributes_for_oid(oid))
