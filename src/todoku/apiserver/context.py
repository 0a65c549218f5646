"""What the verbs are handed: one resource request, and the engine's shared state."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from todoku.apiserver.cache import Cache, Collection
from todoku.apiserver.catalog import Catalog, Served
from todoku.apiserver.config import Components, Config
from todoku.apiserver.negotiation import PLAIN, Form
from todoku.apiserver.request import RequestInfo, User
from todoku.apiserver.telemetry import Telemetry
from todoku.storage.store import Store


@dataclass(slots=True, kw_only=True)
class Context:
    """One request for a resource; `warnings` become Warning headers."""

    user: User
    info: RequestInfo
    served: Served
    query: Mapping[str, str] = field(default_factory=dict)
    content_type: str = ""
    body: bytes = b""
    size_bytes: int = 0  # of the object, as far as it is known: of the body, or of what is stored
    form: Form = PLAIN
    user_agent: str = ""
    internal: bool = False  # from the server itself: no admission
    dry_run: bool = False
    warnings: list[str] = field(default_factory=list)
    # A watch calls it when it has sent what was there: from then on it takes no seat.
    begun: Callable[[], None] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)  # of an answer that is a stream

    @property
    def field_manager(self) -> str:
        """The manager that managedFields names: the parameter, else the client's program."""
        return self.query.get("fieldManager") or self.user_agent.partition("/")[0] or "unknown"


@dataclass(slots=True, kw_only=True)
class Engine:
    """What all verbs share."""

    config: Config
    store: Store
    cache: Cache
    catalog: Catalog
    components: Components
    clock: Callable[[], float]
    telemetry: Telemetry = field(default_factory=Telemetry)

    def collection(self, served: Served) -> Collection:
        return self.cache.collection(served.prefix)
