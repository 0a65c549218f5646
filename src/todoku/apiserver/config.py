"""The seams of the server: its `Config`, and the Protocols of the parts that decide about a request.

The engine (REST, watch, discovery) knows these Protocols only; `components.standard` composes the real
authenticators, authorizers, admission plugins, allocators and connectors.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

from todoku.api.meta import GroupVersionKind, Object
from todoku.apiserver.request import Credentials, RequestInfo, User

if TYPE_CHECKING:
    from aiohttp import web

    from todoku.aio.metrics import Shown
    from todoku.api.resource import Resource
    from todoku.api.schemas import Type
    from todoku.apiserver.aggregation import Aggregator
    from todoku.storage.store import Store

Operation: TypeAlias = Literal["CREATE", "UPDATE", "DELETE", "CONNECT"]


class Authenticator(Protocol):
    """Tells who sent a request.

    Returns None when it sees no credentials it knows (the next authenticator is asked; after the last one
    the request is anonymous).  Raises `errors.Unauthorized` for credentials it knows and refuses.
    """

    async def authenticate(self, credentials: Credentials) -> User | None: ...


@dataclass(frozen=True, slots=True)
class Decision:
    """`allowed`, with the reason as clients read it in the 403 message (may be empty)."""

    allowed: bool
    reason: str = ""
    denied: bool = False  # an explicit no, which later authorizers cannot overrule


class Authorizer(Protocol):
    async def authorize(self, user: User, info: RequestInfo) -> Decision: ...

    async def rules(self, user: User, namespace: str) -> Object:
        """The `status` of a SelfSubjectRulesReview: resourceRules, nonResourceRules, incomplete."""


@dataclass(slots=True, kw_only=True)
class Attributes:
    """What admission sees of a write (k8s.io/apiserver admission.Attributes).

    `object` is the new wire object in the request's version (None for DELETE), which `mutate` may change in
    place or replace; `old` is the stored one (never change it).  For CONNECT `object` is the options object.
    `warnings` go to the client as Warning headers.  `asked` is set on attributes that show a request in another
    version than it was made for (matchPolicy Equivalent), and is the request as it was made.
    """

    operation: Operation
    user: User
    resource: Resource
    subresource: str
    kind: GroupVersionKind
    namespace: str
    name: str
    object: Object | None
    old: Object | None
    options: Object
    verb: str = ""  # of the request: a patch is an UPDATE too
    dry_run: bool = False
    warnings: list[str] = field(default_factory=list)
    annotations: dict[str, str] = field(default_factory=dict)
    # What a plugin keeps between its calls for one request, by its name.
    kept: dict[str, Any] = field(default_factory=dict)
    asked: Attributes | None = None
    # Set by a plugin that users configure when it changed the object: all plugins then mutate once more, `again`.
    reinvoke: bool = False
    again: bool = False
    # Called once the write is stored or has failed, undone too.
    settled: list[Callable[[], None]] = field(default_factory=list)


class AdmissionPlugin(Protocol):
    """One admission plugin; raises an `ApiError` to refuse.  No lock is held while it waits.

    The plugins of `Components.admission` run in order: all `mutate` (twice if one asks for it), then (after
    validation of the object by its strategy) all `validate`.  `undo` is called, in reverse order, for every plugin whose `validate` returned
    when the write failed after all (a quota takes back its charge); it must not raise.
    """

    name: str

    async def mutate(self, attributes: Attributes) -> None: ...

    async def validate(self, attributes: Attributes) -> None: ...

    async def undo(self, attributes: Attributes) -> None: ...


class Allocation(Protocol):
    """Values taken for one write: exactly one of the two is awaited afterwards."""

    async def commit(self) -> None: ...

    async def rollback(self) -> None: ...


class ServiceAllocator(Protocol):
    """Cluster addresses and node ports of Services (ServiceCIDR, IPAddress).

    `on_create` and `on_update` fill `spec.clusterIP(s)`, `ipFamilies`, `nodePort`s, `healthCheckNodePort` in place
    before validation, and raise `errors.Invalid` or `errors.InternalError` when a value is taken or none is left.
    `on_delete` frees what the deleted Service held; it is called after the delete is durable.  With `dry_run`
    nothing may be kept.
    """

    async def on_create(self, service: Object, *, dry_run: bool) -> Allocation: ...

    async def on_update(self, service: Object, old: Object, *, dry_run: bool) -> Allocation: ...

    async def on_delete(self, service: Object) -> None: ...


class Objects(Protocol):
    """The server's own view of its objects, without authorization and admission, for the parts above.

    Reads come from the cache and are as fresh as the last acknowledged write; what they return is shared: copy
    before changing.  `resource` is the dotted name (`pods`, `deployments.apps`), in the stored version.
    Writes raise `ApiError`s as the API would (Conflict, AlreadyExists, NotFound).
    """

    def get(self, resource: str, name: str, namespace: str = "") -> Object | None: ...

    def list(self, resource: str, namespace: str | None = None) -> Sequence[Object]: ...

    def served(self, kind: GroupVersionKind) -> Resource | None:
        """The resource of a kind that is served."""

    def schema(self, resource: Resource) -> Type:
        """The resolved schema of a resource that is served."""

    def equivalents(self, resource: Resource, subresource: str = "") -> Sequence[Resource]:
        """The other versions, of other groups too, in which the same objects are served with that subresource."""

    async def converted(self, obj: Object, resource: Resource, wanted: Resource) -> Object:
        """An object of `resource` as its equivalent `wanted`.  Raises InternalError when a webhook fails."""

    def generation(self, resource: str) -> int:
        """Changes whenever an object of the resource changes: the key for derived caches."""

    def subscribe(
        self, resource: str, handler: Callable[[Object | None, Object | None], None]
    ) -> Callable[[], None]:
        """Call `handler(old, new)` for each change, in order, from the cache's task; returns the unsubscriber."""

    async def create(self, resource: str, obj: Object, *, dry_run: bool = False) -> Object: ...

    async def update(self, resource: str, obj: Object, *, subresource: str = "") -> Object:
        """Replace; conflicts unless `metadata.resourceVersion` is current (or absent)."""

    async def delete(self, resource: str, name: str, namespace: str = "") -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A request to a `Handler`: `body` is the decoded wire object (defaults applied), {} for a GET."""

    user: User
    info: RequestInfo
    resource: Resource
    body: Object
    parent: Object | None  # the object that a subresource belongs to
    query: Mapping[str, str]
    dry_run: bool = False


Handler: TypeAlias = Callable[[Call], Awaitable[Object]]
"""Serves a resource or subresource that is not stored (tokenreviews, serviceaccounts/token): answers with the object."""


class Connector(Protocol):
    """Serves a subresource that streams (exec, attach, portforward, log, proxy).

    `parent` is the Pod, Service or Node.  Authorization, and for all but `log` CONNECT admission, are done.
    `info.parts` holds the path behind `/proxy`.
    """

    async def connect(
        self, request: web.BaseRequest, *, user: User, info: RequestInfo, parent: Object
    ) -> web.StreamResponse: ...


Converter: TypeAlias = Callable[[Object, Object], Awaitable[Any]]
"""Posts a ConversionReview to a webhook's clientConfig; the decoded answer.  Raises InternalError when that fails."""


@dataclass(slots=True, kw_only=True)
class Components:
    """Everything the engine is handed; see `components.standard`.

    `handlers` and `connectors` are keyed by resource and subresource: `"tokenreviews.authentication.k8s.io"`,
    `"serviceaccounts/token"`, `"pods/exec"`.  `bootstrap` are objects (with apiVersion and kind) created at start if
    absent.  `start` and `stop` frame the parts' background work; `upkeep` runs between them, in the server's own group.
    """

    authenticators: Sequence[Authenticator] = ()
    authorizer: Authorizer | None = None  # None: everything is allowed
    admission: Sequence[AdmissionPlugin] = ()
    services: ServiceAllocator | None = None
    handlers: Mapping[str, Handler] = field(default_factory=dict)
    connectors: Mapping[str, Connector] = field(default_factory=dict)
    converter: Converter | None = None
    # Non-resource paths such as /openid/v1/jwks -> a document.
    documents: Mapping[str, Callable[[], Any]] = field(default_factory=dict)
    bootstrap: Sequence[Object] = ()
    aggregator: Aggregator | None = None  # serves groups of extension API servers
    metrics: Sequence[Shown] = ()  # what the parts show on /metrics
    start: Callable[[], Awaitable[None]] | None = None
    stop: Callable[[], Awaitable[None]] | None = None
    upkeep: Callable[[], Coroutine[Any, Any, None]] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Timings:
    """All in seconds."""

    compact_every: float = 60.0
    keep_history: float = 300.0
    bookmark_every: float = 60.0
    request_timeout: float = 60.0
    fresh_within: float = 3.0  # how long a read waits for a revision of the future
    watch_timeout: float = 1800.0  # minimum; each watch gets up to twice that
    shutdown_grace: float = 2.0
    publish_every: float = (
        10.0  # how long what others took away of the Service `kubernetes` stays away
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """How one API server runs.  Files are PEM; `sockets` are bound already and stay the caller's to re-create."""

    sockets: Sequence[socket.socket]
    store: Store | str  # a store, or the path of a SQLite file
    cert_file: str
    key_file: str
    client_ca_file: str = ""
    # People's and components' static tokens: token -> user (the lab itself uses certificates).
    tokens: Mapping[str, User] = field(default_factory=dict)
    service_account_key_file: str = ""  # signs
    service_account_public_file: str = ""  # verifies; derived from the key when empty
    service_account_issuer: str = "https://kubernetes.default.svc.cluster.local"
    api_audiences: tuple[str, ...] = ("https://kubernetes.default.svc.cluster.local",)
    kubelet_ca_file: str = ""
    kubelet_client_cert_file: str = ""
    kubelet_client_key_file: str = ""
    requestheader_ca_file: str = ""
    requestheader_allowed_names: tuple[str, ...] = ("front-proxy-client",)
    proxy_client_cert_file: str = ""
    proxy_client_key_file: str = ""
    service_cidrs: tuple[str, ...] = ("10.96.0.0/12",)
    node_port_range: tuple[int, int] = (30000, 32767)
    advertise_address: str = ""  # "" publishes no `kubernetes` endpoints
    advertise_port: int = 6443
    authorization: bool = True  # RBAC and Node; False allows everything
    anonymous: bool = True
    request_limit_bytes: int = 3 * 1024 * 1024
    max_requests_inflight: int = 400
    max_mutating_inflight: int = 200
    timings: Timings = field(default_factory=Timings)
    clock: Callable[[], float] = time.time
    # Composes the parts; None means `components.standard`.
    components: Callable[[Config, Objects], Components] | None = None
