"""Service-account tokens: issued for TokenRequest, verified for every request that shows one.

A token is a JWT whose private claim `kubernetes.io` names the service account and what the token is bound to (a
Pod, a Secret or a Node); it dies with that object.  Source: KEP-1205 bound tokens, KEP-4193 token improvements.
"""

from __future__ import annotations

import base64
import hashlib
import time
import uuid
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, RSAKey

from todoku.api.errors import Unauthorized
from todoku.api.meta import Object
from todoku.apiserver.config import Objects
from todoku.apiserver.request import User

JwtKey: TypeAlias = RSAKey | ECKey
PublicKey: TypeAlias = rsa.RSAPublicKey | ec.EllipticCurvePublicKey

_PREFIX = "system:serviceaccount:"
_EXTRA = "authentication.kubernetes.io/"
_ALGORITHMS = ["RS256", "ES256"]
_CACHED_TOKENS = 1024
# A pod that is being deleted may still need its token for this long (upstream: one minute).
_DELETION_LEEWAY_SECONDS = 60

# A pod's own token asks for 3607 s; such tokens really last a year, so that a client which never reads the file
# again goes on working; `warnafter` marks when it should have.
EXTENDABLE_SECONDS = 3607
_EXTENDED_SECONDS = 365 * 24 * 3600


class InvalidToken(Exception):
    """A bearer token that is ours to judge and is not good; the text says why, for TokenReview."""


@dataclass(frozen=True, slots=True)
class Binding:
    """What a token lives and dies with, in the private claim's words: `pod`, `secret` or `node`."""

    kind: str
    name: str
    uid: str


@dataclass(frozen=True, slots=True)
class Issued:
    token: str
    expires: float  # UNIX seconds, as reported to the client


class ServiceAccountTokens:
    """Issues and verifies tokens with the lab's own key; the objects tell whether a token's subject still lives."""

    def __init__(
        self,
        *,
        objects: Objects,
        private_pem: bytes,
        public_pems: Sequence[bytes] = (),
        issuer: str,
        audiences: Sequence[str],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._objects = objects
        self._issuer = issuer
        self._audiences = tuple(audiences)
        self._clock = clock
        self._claims: OrderedDict[str, Mapping[str, Any]] = OrderedDict()
        self._private: JwtKey | None = None
        self._publics: dict[str, JwtKey] = {}
        if private_pem:
            private = load_pem_private_key(private_pem, password=None)
            self._private, public = _signing_key(private)
            self._publics[key_id(public)] = _jwt_key(public)
            self._kid = key_id(public)
        for pem in public_pems:
            loaded = load_pem_public_key(pem)
            if not isinstance(loaded, rsa.RSAPublicKey | ec.EllipticCurvePublicKey):
                raise ValueError("service account keys are RSA or ECDSA")
            self._publics[key_id(loaded)] = _jwt_key(loaded)

    @property
    def issuer(self) -> str:
        return self._issuer

    @property
    def api_audiences(self) -> tuple[str, ...]:
        return self._audiences

    def issue(
        self,
        account: Object,
        *,
        audiences: Sequence[str],
        seconds: int,
        bound: Binding | None = None,
        node: Binding | None = None,
    ) -> Issued:
        """A signed token for `account`; `node` is where a bound pod runs."""
        if self._private is None:
            raise RuntimeError("no service account signing key is configured")
        now = int(self._clock())
        metadata = account["metadata"]
        private: Object = {
            "namespace": metadata["namespace"],
            "serviceaccount": {"name": metadata["name"], "uid": metadata["uid"]},
        }
        for binding in (bound, node):
            if binding is not None:
                private[binding.kind] = {"name": binding.name, "uid": binding.uid}
        lasts = seconds
        if (
            seconds == EXTENDABLE_SECONDS
            and bound
            and bound.kind == "pod"
            and set(audiences) <= set(self._audiences)
        ):
            private["warnafter"] = now + seconds
            lasts = _EXTENDED_SECONDS
        claims = {
            "aud": list(audiences),
            "exp": now + lasts,
            "iat": now,
            "iss": self._issuer,
            "jti": str(uuid.uuid4()),
            "kubernetes.io": private,
            "nbf": now,
            "sub": f"{_PREFIX}{metadata['namespace']}:{metadata['name']}",
        }
        algorithm = "ES256" if isinstance(self._private, ECKey) else "RS256"
        header = {"alg": algorithm, "kid": self._kid}
        token = jwt.encode(header, claims, self._private, algorithms=_ALGORITHMS)
        return Issued(token, now + seconds)

    def is_ours(self, token: str) -> bool:
        """Whether the token claims our issuer (unverified); others are left to other authenticators."""
        claims = _unverified(token)
        return claims is not None and claims.get("iss") == self._issuer

    def verify(self, token: str, audiences: Sequence[str] = ()) -> tuple[User, list[str]]:
        """The user a token speaks for, and the audiences it shares with `audiences` (default: the API's).

        Raises InvalidToken.
        """
        claims = self._verified(token)
        now = self._clock()
        if now >= claims["exp"]:
            raise InvalidToken("service account token has expired")
        if now < claims.get("nbf", 0):
            raise InvalidToken("service account token is not valid yet")
        asked = tuple(audiences) or self._audiences
        shared = [one for one in asked if one in _list(claims.get("aud"))]
        if not shared:
            raise InvalidToken(
                f"token audiences {_quoted(_list(claims.get('aud')))} is invalid "
                f"for the target audiences {_quoted(asked)}"
            )
        return self._user(claims), shared

    def jwks(self) -> Object:
        """The key set as /openid/v1/jwks serves it (RFC 7517)."""
        keys = []
        for kid, key in self._publics.items():
            public = key.as_dict(private=False)
            algorithm = "ES256" if isinstance(key, ECKey) else "RS256"
            keys.append(public | {"use": "sig", "kid": kid, "alg": algorithm})
        return {"keys": keys}

    def discovery(self) -> Object:
        """The document at /.well-known/openid-configuration (OpenID Connect Discovery 1.0)."""
        kinds = {"ES256" if isinstance(key, ECKey) else "RS256" for key in self._publics.values()}
        return {
            "issuer": self._issuer,
            "jwks_uri": f"{self._issuer.rstrip('/')}/openid/v1/jwks",
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": sorted(kinds, reverse=True),
        }

    def _verified(self, token: str) -> Mapping[str, Any]:
        """The claims of a token whose signature holds; verified once, then remembered."""
        known = self._claims.get(token)
        if known is not None:
            self._claims.move_to_end(token)
            return known
        claims = self._check_signature(token)
        if claims.get("iss") != self._issuer:
            raise InvalidToken("service account token has another issuer")
        self._claims[token] = claims
        if len(self._claims) > _CACHED_TOKENS:
            self._claims.popitem(last=False)
        return claims

    def _check_signature(self, token: str) -> Mapping[str, Any]:
        kid = _header(token).get("kid")
        keys = [self._publics[kid]] if kid in self._publics else list(self._publics.values())
        for key in keys:
            try:
                claims = jwt.decode(token, key, algorithms=_ALGORITHMS).claims
            except (JoseError, ValueError, TypeError):
                continue
            if isinstance(claims.get("exp"), int | float) and isinstance(claims.get("sub"), str):
                return claims
            raise InvalidToken("service account claims are incomplete")
        raise InvalidToken("invalid signature")

    def _user(self, claims: Mapping[str, Any]) -> User:
        private = claims.get("kubernetes.io")
        if not isinstance(private, dict):
            raise InvalidToken("service account token has no kubernetes.io claim")
        namespace = str(private.get("namespace", ""))
        account = _reference(private, "serviceaccount")
        self._check_alive("serviceaccounts", account, namespace, "service account")
        extra = {_EXTRA + "credential-id": (f"JTI={claims['jti']}",)} if "jti" in claims else {}
        for kind in ("secret", "pod", "node"):
            if kind not in private:
                continue
            bound = _reference(private, kind)
            # the node of a bound pod may be gone while the pod is still there
            if kind != "node" or "pod" not in private:
                where = "" if kind == "node" else namespace
                self._check_alive(f"{kind}s", bound, where, f"bound {kind}")
            if kind != "secret":
                extra[f"{_EXTRA}{kind}-name"] = (bound.name,)
                extra[f"{_EXTRA}{kind}-uid"] = (bound.uid,)
        return User(
            name=f"{_PREFIX}{namespace}:{account.name}",
            uid=account.uid,
            groups=("system:serviceaccounts", f"system:serviceaccounts:{namespace}"),
            extra=extra,
        )

    def _check_alive(self, resource: str, ref: Binding, namespace: str, what: str) -> None:
        found = self._objects.get(resource, ref.name, namespace)
        if found is None:
            raise InvalidToken(f'{what} "{ref.name}" does not exist')
        metadata = found["metadata"]
        if metadata.get("uid") != ref.uid:
            raise InvalidToken(f'{what} "{ref.name}" has another uid than the token')
        deleted = metadata.get("deletionTimestamp")
        if deleted and _seconds(deleted) + _DELETION_LEEWAY_SECONDS < self._clock():
            raise InvalidToken(f'{what} "{ref.name}" has been deleted')


class TokenAuthenticator:
    """Bearer tokens: static ones first, then service accounts."""

    def __init__(self, tokens: ServiceAccountTokens | None, static: Mapping[str, User]) -> None:
        self._tokens = tokens
        self._static = dict(static)

    def authenticate_token(
        self, token: str, audiences: Sequence[str] = ()
    ) -> tuple[User, list[str]]:
        """As `ServiceAccountTokens.verify`; static tokens are good for the API's own audiences."""
        if token in self._static:
            own = self._tokens.api_audiences if self._tokens else ()
            shared = [one for one in (audiences or own) if one in own]
            if audiences and not shared:
                raise InvalidToken("token is not valid for the target audiences")
            return self._static[token], shared
        if self._tokens is None:
            raise InvalidToken("invalid bearer token")
        return self._tokens.verify(token, audiences)

    async def authenticate(self, credentials: Any) -> User | None:
        token = bearer(credentials.headers)
        if token is None:
            return None
        try:
            return self.authenticate_token(token)[0]
        except InvalidToken as error:
            raise Unauthorized from error


def bearer(headers: Mapping[str, str]) -> str | None:
    """The bearer token of a request: Authorization, or a WebSocket's subprotocol (browsers can set no header)."""
    scheme, _, token = headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer" and token.strip():
        return token.strip()
    prefix = "base64url.bearer.authorization.k8s.io."
    for protocol in headers.get("Sec-WebSocket-Protocol", "").split(","):
        if protocol.strip().startswith(prefix):
            return _decoded(protocol.strip()[len(prefix) :])
    return None


def key_id(public: PublicKey) -> str:
    """`kid` as upstream computes it: the SHA-256 of the key's PKIX form, base64url without padding."""
    der = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return base64.urlsafe_b64encode(hashlib.sha256(der).digest()).rstrip(b"=").decode()


def _signing_key(private: object) -> tuple[JwtKey, PublicKey]:
    from cryptography.hazmat.primitives.serialization import NoEncryption, PrivateFormat

    if not isinstance(private, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey):
        raise ValueError("service account keys are RSA or ECDSA")
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    if isinstance(private, rsa.RSAPrivateKey):
        return RSAKey.import_key(pem), private.public_key()
    return ECKey.import_key(pem), private.public_key()


def _jwt_key(public: PublicKey) -> JwtKey:
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    if isinstance(public, rsa.RSAPublicKey):
        return RSAKey.import_key(pem)
    return ECKey.import_key(pem)


def _reference(private: Mapping[str, Any], kind: str) -> Binding:
    value = private.get(kind)
    if not isinstance(value, dict):
        raise InvalidToken(f"service account token names no {kind}")
    return Binding(kind, str(value.get("name", "")), str(value.get("uid", "")))


def _list(value: object) -> list[str]:
    if isinstance(value, str):
        return [value]
    return [str(one) for one in value] if isinstance(value, list) else []


def _quoted(values: Sequence[str]) -> str:
    return "[" + " ".join(f'"{one}"' for one in values) + "]"


def _header(token: str) -> Mapping[str, Any]:
    return _json_part(token, 0) or {}


def _unverified(token: str) -> Mapping[str, Any] | None:
    return _json_part(token, 1)


def _json_part(token: str, index: int) -> Mapping[str, Any] | None:
    import json

    parts = token.split(".")
    if len(parts) != 3:
        return None
    decoded = _decoded(parts[index])
    try:
        value = json.loads(decoded or "")
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _decoded(text: str) -> str | None:
    try:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode()
    except ValueError:
        return None


def _seconds(stamp: str) -> float:
    from datetime import datetime

    return datetime.fromisoformat(stamp).timestamp()
