"""What the server knows of one kind: its names, verbs, subresources and the rules of its `Strategy`.

A `Strategy` holds pure functions over wire objects.  The server calls them in this order:

    create:  default(new) -> [admission, defaults again] -> prepare_create(new) -> allocate (server) -> validate(new, None)
    update:  default(new) -> prepare_update(new, old) -> [admission] -> validate(new, old)
    status:  default(new) -> prepare_status(new, old) -> [admission] -> validate_status(new, old)

The generic parts (metadata validation and defaulting, uid, generation, creationTimestamp, managed fields) are the
server's; a strategy only adds what its kind needs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from todoku.api.errors import FieldError
from todoku.api.meta import GroupVersionKind, Object
from todoku.api.validation import NameRule, dns1123_subdomain

ALL_VERBS = (
    "create",
    "delete",
    "deletecollection",
    "get",
    "list",
    "patch",
    "update",
    "watch",
)


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a server-side table; priority 0 is always shown, 1 only with `-o wide`.

    A column that shows a field is described by that field's documentation: `documents` names it, as in
    `core.v1.ServiceSpec.type`.
    """

    name: str
    type: str = "string"
    format: str = ""
    description: str = ""
    priority: int = 0
    documents: str = ""


def _nothing(new: Object) -> None:
    return None


def _keep(new: Object, old: Object) -> None:
    return None


def _no_problems(new: Object, old: Object | None) -> list[FieldError]:
    return []


def _no_status_problems(new: Object, old: Object) -> list[FieldError]:
    return []


def _no_warnings(new: Object, old: Object | None) -> list[str]:
    return []


def _no_fields(obj: Object) -> Mapping[str, str]:
    return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Strategy:
    """Pure rules of one kind.  `default` and `prepare_*` change their first argument in place."""

    default: Callable[[Object], None] = _nothing
    prepare_create: Callable[[Object], None] = _nothing
    # What the object keeps of who creates it, given an authentication.k8s.io UserInfo; after `prepare_create`.
    note_creator: Callable[[Object, Object], None] | None = None
    prepare_update: Callable[[Object, Object], None] = _keep
    prepare_status: Callable[[Object, Object], None] = _keep
    validate: Callable[[Object, Object | None], list[FieldError]] = _no_problems
    validate_status: Callable[[Object, Object], list[FieldError]] = _no_status_problems
    warnings: Callable[[Object, Object | None], list[str]] = _no_warnings
    # Called in a thread before `validate`, for kinds whose validation can take long: what it works out is remembered.
    examine: Callable[[Object, Object | None], None] | None = None
    compiles: bool = False  # expressions, so that even a small object may take long to validate
    # Beyond metadata.name and metadata.namespace, e.g. {"spec.nodeName": "worker1"}.
    selectable_fields: Callable[[Object], Mapping[str, str]] = _no_fields
    selectable_field_names: tuple[str, ...] = ()
    has_generation: bool = True
    # What metadata.generation counts the changes of; None: all but metadata and status.
    generation_of: Callable[[Object], object] | None = None
    has_status: bool = True
    allow_create_on_update: bool = False
    allow_unconditional_update: bool = True
    # Seconds of grace a plain delete gives; 0 removes at once.  Pods decide by their spec.
    graceful: Callable[[Object], int] | None = None
    # A delete without a propagation policy leaves what the object owns (as batch/v1 and core/v1 always did).
    orphans_dependents: bool = False
    # DELETE answers with the object (True, as pods do) or with a Status.
    delete_returns_object: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Subresource:
    """`pods/exec`, `deployments/scale`, …; `kind` is what it takes and answers, if not the parent's."""

    name: str
    verbs: tuple[str, ...]
    kind: GroupVersionKind | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """One served resource in one version."""

    group: str
    version: str
    kind: str
    plural: str
    singular: str
    namespaced: bool
    schema: str
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    verbs: tuple[str, ...] = ALL_VERBS
    subresources: tuple[Subresource, ...] = ()
    strategy: Strategy = field(default_factory=Strategy)
    # Name comes first; the server appends nothing.  `row` gives one cell per column.
    columns: Sequence[Column] = ()
    row: Callable[[Object], list[object]] | None = None
    # What the rows of a list are sorted by, where that is not their name.
    row_order: Callable[[Object], tuple[int, str]] | None = None
    # Where objects are stored if another version is the stored one ("events.k8s.io" shares "events").
    # If so, as (group, version); objects pass through `to_storage` and `from_storage`, which return new ones.
    storage: tuple[str, str] | None = None
    from_storage: Callable[[Object], Object] | None = None
    to_storage: Callable[[Object], Object] | None = None
    # Whether strategic merge patches are taken: kinds of CustomResourceDefinitions know no merge keys.
    strategic_merge: bool = True
    # The warning that every request for it gets; "" if it is not deprecated.
    deprecation: str = ""
    # What metadata.name must look like; for `validation.object_meta`.
    name_rule: NameRule = dns1123_subdomain

    @property
    def name(self) -> str:
        """The dotted name used everywhere: `deployments.apps`, `pods`."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def gvk(self) -> GroupVersionKind:
        return GroupVersionKind(self.group, self.version, self.kind)

    @property
    def api_version(self) -> str:
        return self.gvk.api_version
